"""One connection to a server: calls go out, all that a turn has collected in one write; replies come back in order.

It connects when it is first asked, and ends once: whatever ends it, the calls that were under way are handed back,
those of which no byte was sent apart from the others, because only these can be asked elsewhere without a doubt.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.serving import Connecting, connect
from sttp_reactor.net.timers import Timer
from sttp_reactor.proxy.call import Call
from sttp_reactor.proxy.replies import Replies
from sttp_reactor.proxy.target import Target

# Closed by us after this much silence: sooner than a server that has the usual `idle_timeout` (60 s) would, so that no
# request is ever on its way to one that is just closing.
IDLE_SECONDS: Final = 20.0


class LinkTimes(NamedTuple):
    """Seconds: for the connection to be made, for a reply to a read, to a write, and until it is closed unused."""

    connect: float
    read: float
    write: float
    idle: float = IDLE_SECONDS


class LinkOwner(Protocol):
    """Whom a link tells. `ended` is called once; `is_fault` is False where the server has done nothing wrong: it closed
    while nothing was asked of it, or has said that it refuses the connection."""

    def answered(self, link: Link, found: list[tuple[Call, bytes]]) -> None: ...
    def ended(self, link: Link, sent: Sequence[Call], unsent: Sequence[Call], why: str, *, is_fault: bool) -> None: ...


class Link:
    """Belongs to the reactor's thread."""

    def __init__(
        self, reactor: Reactor, target: Target, times: LinkTimes, owner: LinkOwner, greeting: bytes = b""
    ) -> None:
        """`greeting` goes out before the first call."""
        self._reactor = reactor
        self._greeting = greeting
        self._target = target
        self._times = times
        self._owner = owner
        self._waiting: deque[Call] = deque()
        self._replies = Replies(self._waiting)
        self._unwritten: list[bytes] = []
        self._is_write_due = False
        self._transport: Transport | None = None
        self._connecting: Connecting | None = None
        self._timer: Timer | None = None
        self._last_used = reactor.now
        self.is_over = False
        self.is_leaving = False  # it is to end as soon as nothing is under way

    @property
    def is_connected(self) -> bool:
        return self._transport is not None

    def ask(self, call: Call) -> None:
        call.sent_at = self._last_used = self._reactor.now
        self._waiting.append(call)
        self._unwritten.append(call.lines)
        if not self._is_write_due:
            self._is_write_due = True
            self._reactor.call_at_turn_end(self._write)

    def leave(self) -> None:
        """End once everything is answered."""
        self.is_leaving = True
        if not self._waiting:
            self._end("", is_fault=False)

    def close(self) -> None:
        """End now, and tell nobody."""
        self._release()

    # -- From the connection --

    def connection_made(self, transport: Transport) -> None:
        self._connecting = None
        if self.is_over:
            transport.abort()
            return
        self._transport = transport
        self._write()

    def data_received(self, data: bytes) -> None:
        if self.is_over:
            return
        found = self._replies.receive(data)
        if found:
            self._owner.answered(self, found)
        if self._replies.fault:
            self._end(self._replies.fault, is_fault=not self._replies.refusal)
        elif self.is_leaving and not self._waiting:
            self._end("", is_fault=False)

    def eof_received(self) -> None:
        self._end("it closed the connection before it answered", is_fault=bool(self._waiting))

    def connection_lost(self, error: Exception | None) -> None:
        why = "" if error is None else f" ({error})"
        self._end(f"the connection was lost before it answered{why}", is_fault=bool(self._waiting))

    def pause_writing(self) -> None:
        pass  # how much can be under way is bounded by the number of calls

    def resume_writing(self) -> None:
        pass

    # -- Within --

    def _write(self) -> None:
        self._is_write_due = False
        if self._transport is not None:
            if self._unwritten:
                self._transport.write(b"".join(self._unwritten))
                self._unwritten.clear()
            if self._timer is None:
                self._check_time()
        elif self._connecting is None and not self.is_over:
            self._connecting = connect(
                self._reactor,
                lambda: self,
                self._target.host,
                self._target.port,
                on_failure=self._not_connected,
                timeout=self._times.connect,
                tls=self._target.tls,
                write_timeout=self._times.write,
                greeting=self._greeting,
            )

    def _not_connected(self, error: Exception) -> None:
        self._connecting = None
        if isinstance(error, OSError) and error.errno == errno.ETIMEDOUT:
            why = f"it did not take the connection within {self._times.connect:g} s"
        else:
            why = (isinstance(error, OSError) and error.strerror) or str(error)
        self._end(f"cannot connect: {why}", is_fault=True)

    def _check_time(self) -> None:
        """One timer for each connection, and it looks at the call that has waited longest."""
        self._timer = None
        if self.is_over:
            return
        if self._waiting:
            call = self._waiting[0]
            seconds = self._times.write if call.is_write else self._times.read
            deadline = call.sent_at + seconds
            if self._reactor.now >= deadline:
                self._end(f"it did not answer within {seconds:g} s", is_fault=True)
                return
        else:
            deadline = self._last_used + self._times.idle
            if self._reactor.now >= deadline:
                self._end("", is_fault=False)
                return
        # One that is asked after this has less time, perhaps.
        deadline = min(deadline, self._reactor.now + self._times.read)
        self._timer = self._reactor.call_at(deadline, self._check_time)

    def _end(self, why: str, *, is_fault: bool) -> None:
        if self.is_over:
            return
        sent, unsent = self._split()
        self._release()
        self._waiting.clear()
        self._owner.ended(self, sent, unsent, why, is_fault=is_fault)

    def _split(self) -> tuple[list[Call], list[Call]]:
        """The calls under way: those of which the kernel may have taken a byte, and those of which it has none."""
        calls = list(self._waiting)
        if self._replies.refusal:
            return [], calls  # it says itself that it has carried out nothing
        left = sum(map(len, self._unwritten))
        if self._transport is None:
            return [], calls
        if self._target.tls is None:
            left += self._transport.bytes_unsent()
        at = len(calls)
        while at and left >= len(calls[at - 1].lines):
            at -= 1
            left -= len(calls[at].lines)
        return calls[:at], calls[at:]

    def _release(self) -> None:
        self.is_over = True
        self._unwritten.clear()
        if self._timer is not None:
            self._timer.cancel()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    def __repr__(self) -> str:
        state = "over" if self.is_over else "connected" if self.is_connected else "not connected"
        return f"<Link {self._target}: {state}, {len(self._waiting)} under way>"
