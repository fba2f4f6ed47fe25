"""A parent's view of its child processes: who lives, and what they answer to orders.

An order goes to all of them before the first answer is awaited, so that they carry it out together. Each has
CONTROL_SECONDS for it; whoever takes longer is stuck, and that is an answer too.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from sttp_reactor.daemon.control import Control
from sttp_reactor.limits import CONTROL_SECONDS

# Seconds until it is noticed that nobody is to be waited for any more.
_HURRY_LOOK_SECONDS: Final = 0.1


class Child:
    """`is_serving` is False until it has said that it serves; `fault` is what it said instead, or empty."""

    def __init__(self, index: int, pid: int, control: Control, *, is_serving: bool = True) -> None:
        self.index = index
        self.pid = pid
        self.control = control
        self.is_serving = is_serving
        self.fault = ""
        self.started_at = time.monotonic()

    def look(self) -> None:
        """Take notice of what it has said of its start, if it has. Does not wait for it."""
        if self.is_serving or self.fault or not select.select([self.control], [], [], 0)[0]:
            return
        try:
            message = self.control.receive(patience=CONTROL_SECONDS)
        except OSError:
            self.fault = f"process {self.index} did not start"
            return
        self.is_serving, self.fault = message.content is None, message.content or ""

    def kill(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def __repr__(self) -> str:
        return f"<Child {self.index}: process {self.pid}, for {time.monotonic() - self.started_at:.1f} s>"


class Children:
    """Those that serve, and those that are about to: only the former are iterated over, given orders and told things.
    Belongs to the parent; `forget` is for a child that has inherited its siblings' ends."""

    def __init__(self, is_hurried: Callable[[], bool] = lambda: False) -> None:
        """While `is_hurried()` no answer is awaited."""
        self._is_hurried = is_hurried
        self._by_pid: dict[int, Child] = {}
        self._serial = 0

    def __len__(self) -> int:
        return len(self._by_pid)

    def __iter__(self) -> Iterator[Child]:
        return iter([child for child in self._by_pid.values() if child.is_serving])

    @property
    def starting(self) -> list[Child]:
        return [child for child in self._by_pid.values() if not child.is_serving]

    def add(self, child: Child) -> None:
        self._by_pid[child.pid] = child

    def signal(self, number: signal.Signals) -> None:
        """Those that start get it too."""
        for child in self._by_pid.values():
            child.kill(number)

    def reap(self) -> Iterator[tuple[Child, int]]:
        """Those that have ended since, and how (as `os.waitstatus_to_exitcode` gives it)."""
        for pid, child in list(self._by_pid.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del self._by_pid[pid]
                child.look()
                child.control.close()
                yield child, os.waitstatus_to_exitcode(status)

    def forget(self) -> None:
        """Close our ends: a child must be the only one to hold its own, or nobody would see the parent's end."""
        for child in self._by_pid.values():
            child.control.close()
        self._by_pid.clear()

    def order(
        self, kind: str, content: Any = None, make_sockets: Callable[[], Sequence[socket.socket]] | None = None
    ) -> list[str]:
        """Have every child carry it out. Returns what went wrong, in words. `make_sockets` is called for each child;
        what it returns is sent along and closed here."""
        self._serial += 1
        children = list(self)
        sent = [self._send(child, kind, content, make_sockets() if make_sockets else ()) for child in children]
        deadline = time.monotonic() + CONTROL_SECONDS
        answers = [fault or self._answer_of(child, deadline) for child, fault in zip(children, sent, strict=True)]
        return [f"process {child.index}: {answer}" for child, answer in zip(children, answers, strict=True) if answer]

    def tell(self, kind: str, content: Any = None) -> None:
        """The same, without waiting for anybody: whoever cannot be told is stuck, or ends anyway."""
        self._serial += 1
        for child in self:
            with contextlib.suppress(OSError):
                child.control.send(self._serial, kind, content, patience=0.0)

    def order_in_turn(self, kind: str) -> None:
        """The same, one after the other, and whatever they answer."""
        for child in self:
            self._serial += 1
            if not self._send(child, kind, None, ()):
                self._answer_of(child, time.monotonic() + CONTROL_SECONDS)

    def _send(self, child: Child, kind: str, content: Any, sockets: Sequence[socket.socket]) -> str:
        try:
            child.control.send(self._serial, kind, content, sockets, patience=CONTROL_SECONDS)
        except OSError as error:
            return f"cannot be told: {error}"
        finally:
            for sock in sockets:
                sock.close()
        return ""

    def _wait_for(self, child: Child, deadline: float) -> None:
        while not self._is_hurried() and (left := deadline - time.monotonic()) > 0:
            if select.select([child.control], [], [], min(left, _HURRY_LOOK_SECONDS))[0]:
                return

    def _answer_of(self, child: Child, deadline: float) -> str:
        try:
            while True:
                self._wait_for(child, deadline)
                if self._is_hurried():
                    return "not waited for: the server is to stop"
                message = child.control.receive(patience=max(0.0, deadline - time.monotonic()))
                if message.serial == self._serial:
                    return str(message.content)
        except (TimeoutError, BlockingIOError):  # the other one where those before it have taken all the time
            return f"does not answer: nothing within {CONTROL_SECONDS:g} s"
        except OSError as error:
            return f"does not answer: {error}"
