"""The parent's side: starts the processes, watches the server beside them, and adds up what they report."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Protocol

from sttp_reactor.load.faults import LoadError, Unreachable
from sttp_reactor.load.gathering import Gathering
from sttp_reactor.load.messages import CLEAN, STOP, Cleaned, Done, Failed, Message, Progress, Ready, Tick
from sttp_reactor.load.plan import Plan

_START_DELAY_NS = 20_000_000  # until the start that is told to all processes: each has heard it by then
_TURN = 0.1  # seconds: how long an interrupt may go unseen
_KILL_AFTER = 5.0


class View(Protocol):
    """Whoever shows a run while it goes on."""

    def stage(self, name: str, done: int, total: int) -> None: ...
    def tick(self, gathering: Gathering) -> None: ...
    def close(self) -> None: ...


class Load:
    """One run. `left` keys could not be deleted afterwards, because of `problem`."""

    def __init__(self, plan: Plan, view: View, server_pid: int | None = None) -> None:
        self.gathering = Gathering(plan, server_pid)
        self.left = 0
        self.problem = ""
        self._plan = plan
        self._view = view
        self._interruptions = 0
        self._failures: list[Failed] = []
        self._ready = 0
        self._is_warm = not plan.warmup
        self._done = {"preparing": 0, "cleaning": 0}
        self._channels: list[Connection] = []
        self._cleaned: set[Connection] = set()
        self._processes: list[subprocess.Popen[bytes]] = []

    def interrupt(self) -> None:
        """For a signal handler: ends the run with the results so far; a second one gives up deleting the keys, too."""
        self._interruptions += 1

    @property
    def is_interrupted(self) -> bool:
        return self._interruptions > 0

    def run(self) -> None:
        """Raises Unreachable or LoadError where nothing could be measured."""
        try:
            self._start_processes()
            self._follow()
        finally:
            self._end_processes()
        if len(self._cleaned) < self._plan.processes and not self._failures:
            self.left, self.problem = self._plan.keys, "interrupted again"
        if self._failures:
            unreachable = next((each for each in self._failures if each.is_unreachable), None)
            raise Unreachable(unreachable.message) if unreachable else LoadError(self._failures[0].message)

    def _start_processes(self) -> None:
        for number in range(self._plan.processes):
            channel, process = _start_process()
            self._channels.append(channel)
            self._processes.append(process)
            channel.send((self._plan, number))

    def _follow(self) -> None:
        open_channels = list(self._channels)
        has_stopped = False
        while open_channels and self._interruptions < 2:
            if self._interruptions and not has_stopped:
                has_stopped = True
                self._tell_all(STOP)
            timeout = min(_TURN, self.gathering.until_sample())
            for channel in wait(open_channels, timeout):
                assert isinstance(channel, Connection)
                try:
                    message: Message = channel.recv()
                except (EOFError, OSError):
                    open_channels.remove(channel)
                    self._on_end(channel)
                    continue
                if isinstance(message, Cleaned):
                    self._cleaned.add(channel)
                self._on_message(message)
            self.gathering.sample()

    def _on_message(self, message: Message) -> None:
        plan = self._plan
        if isinstance(message, Progress):
            self._done[message.stage] += message.done
            self._view.stage(message.stage, self._done[message.stage], plan.keys)
        elif isinstance(message, Ready):
            self._ready += 1
            if self._ready == plan.processes:
                self._ready = 0
                self._start_all()
        elif isinstance(message, Tick):
            self.gathering.add(message)
            self._view.tick(self.gathering)
        elif isinstance(message, Done):
            self.gathering.finish(message)
            if self.gathering.is_complete:
                self._tell_all(CLEAN)
        elif isinstance(message, Failed):
            self._failures.append(message)
            self._tell_all(STOP)
        elif isinstance(message, Cleaned):
            self.left += message.left
            self.problem = self.problem or message.problem

    def _start_all(self) -> None:
        """Tells every process when to start: the warm-up first, if there is one, and then the measurement."""
        start = time.monotonic_ns() + _START_DELAY_NS
        if self._is_warm:
            self.gathering.begin(start)
        self._view.stage("measuring" if self._is_warm else "warming up", 0, 0)
        self._is_warm = True
        self._tell_all(str(start))

    def _on_end(self, channel: Connection) -> None:
        """A process has ended, or been ended by somebody."""
        if channel not in self._cleaned:
            self._failures.append(Failed("a process of sttpbench has ended before its time"))
            self._tell_all(STOP)
            self._tell_all(CLEAN)

    def _tell_all(self, word: str) -> None:
        for channel in self._channels:
            try:
                channel.send(word)
            except OSError:
                continue  # that one has ended already

    def _end_processes(self) -> None:
        deadline = time.monotonic() + _KILL_AFTER
        for channel in self._channels:
            channel.close()
        for process in self._processes:
            if self._interruptions > 1:
                process.terminate()
            try:
                process.wait(max(deadline - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _start_process() -> tuple[Connection, subprocess.Popen[bytes]]:
    """A fresh interpreter, at the other end of a socket pair. Not `multiprocessing`: its spawn leaves a helper process
    behind, and its fork would inherit a caller's threads and a half-drawn live view."""
    ours, theirs = socket.socketpair()
    package_root = str(Path(__file__).parents[2])
    paths = [package_root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with theirs:
        process = subprocess.Popen(
            # -P: the directory we are started from is none of this process's business.
            [sys.executable, "-P", "-m", "sttp_reactor.load.worker", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.DEVNULL,
        )
    return Connection(ours.detach()), process
