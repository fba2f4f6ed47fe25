"""What the tests of `sttp_reactor.net` stand on: a clock by hand, a selector that watches, a protocol that takes notes.

No test waits: time passes when the clock is moved, and a socket pair of one thread is ready as soon as the other end
has been written to. Only what goes through TCP may need a moment; `Net.until` gives it one, turn by turn.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from sttp_reactor.net.connection import Connection
from sttp_reactor.net.poller import default_selector
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import Reactor

# What one turn may take of the processor, and so what every other connection may have to wait for it. Not wall time:
# a busy machine says nothing about the code.
# Of thread CPU time. A collection of the whole suite's garbage may fall into a turn, and takes 60 ms by itself.
LONGEST_HOLD_SECONDS = 0.15


class _HasClose(Protocol):
    def close(self) -> object: ...


Closable = TypeVar("Closable", bound=_HasClose)


class Clock:
    """Monotonic seconds, by hand. `when_read` is called at each reading, for tests that must act just then."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.when_read: Callable[[], None] = _nothing

    def __call__(self) -> float:
        self.when_read()
        return self.now


class WatchedSelector(selectors.BaseSelector):
    """A selector that counts, that never waits longer than `patience` seconds, and that does as it is told.

    `waits` holds the timeouts it was asked for, `calls` the changes of interest. `order` sorts what is ready, and
    `hidden` keeps handlers' events back.
    """

    def __init__(self, inner: selectors.BaseSelector, patience: float = 0.0) -> None:
        self.inner = inner
        self.patience = patience
        self.waits: list[float | None] = []
        self.calls: list[tuple[str, int]] = []
        self.slept = 0  # waits that ended with nothing ready, though they were allowed to last
        self.longest_hold = 0.0
        self.before_select: Callable[[], None] = _nothing
        self.after_select: Callable[[], None] = _nothing
        self.order: Callable[[selectors.SelectorKey], Any] | None = None
        self.hidden: list[object] = []
        self.failures: list[OSError] = []  # raised by the next waits
        self._held_since: float | None = None
        self._passing: int | None = None
        self._refusal = OSError()

    def refuse_after(self, count: int | None, code: int = 0) -> None:
        """Let so many registrations and changes of interest pass, and fail all others; None: fail no more."""
        self._passing, self._refusal = count, OSError(code, os.strerror(code))

    def _maybe_refuse(self) -> None:
        if self._passing is not None:
            self._passing -= 1
            if self._passing < 0:
                raise self._refusal

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        self._maybe_refuse()
        self.calls.append(("register", events))
        return self.inner.register(fileobj, events, data)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        try:
            self._maybe_refuse()
        except OSError:
            self.inner.unregister(fileobj)  # as the library's own do
            raise
        self.calls.append(("modify", events))
        return self.inner.modify(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        self.calls.append(("unregister", 0))
        return self.inner.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self.let_go()
        self.waits.append(timeout)
        self.before_select()
        if self.failures:
            raise self.failures.pop(0)
        ready = self.inner.select(self.patience if timeout is None else min(timeout, self.patience))
        if not ready and timeout != 0:
            self.slept += 1
        self.after_select()
        if self.hidden:
            ready = [(key, events) for key, events in ready if key.data not in self.hidden]
        if self.order is not None:
            order = self.order
            ready.sort(key=lambda entry: order(entry[0]))
        self._held_since = time.thread_time()
        return ready

    def let_go(self) -> None:
        """The turn is over; what comes before the next wait is the test's own work."""
        if self._held_since is not None:
            self.longest_hold = max(self.longest_hold, time.thread_time() - self._held_since)
            self._held_since = None

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self.inner.get_map()

    def close(self) -> None:
        self.inner.close()

    @contextlib.contextmanager
    def changes(self) -> Iterator[list[tuple[str, int]]]:
        """The changes of interest made within the block."""
        before, made = len(self.calls), list[tuple[str, int]]()
        yield made
        made += self.calls[before:]


class Recorder:
    """A protocol that writes down what it is told, and reacts as the test says.

    `heard` holds `made`, `data`, `eof`, `paused`, `resumed` and `lost`, in their order; a reaction of the same name is
    called with the transport. What breaks the rules of `net.protocol` goes to `broken_rules`, because an exception
    here would be caught by the code under test.
    """

    transport: Transport

    def __init__(self, **reactions: Callable[[Transport], object]) -> None:
        self.reactions = reactions
        self.heard: list[str] = []
        self.chunks: list[bytes] = []
        self.error: Exception | None = None
        self.broken_rules: list[str] = []
        self._inside: list[str] = []
        self._last = ""
        self._paused = False

    @property
    def received(self) -> bytes:
        return b"".join(self.chunks)

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self._told("made")

    def data_received(self, data: bytes) -> None:
        self.chunks.append(data)
        self._told("data")

    def eof_received(self) -> None:
        self._told("eof")

    def connection_lost(self, error: Exception | None) -> None:
        self.error = error
        self._told("lost")

    def pause_writing(self) -> None:
        self._told("paused")

    def resume_writing(self) -> None:
        self._told("resumed")

    def _told(self, what: str) -> None:
        # pause_writing alone comes from within a call of the protocol's own: the write that went over the mark.
        if self._inside and what != "paused":
            self.broken_rules.append(f"{what} inside {self._inside[-1]}")
        if (what == "made") is not (not self.heard):
            self.broken_rules.append(f"{what} after {self.heard}")
        if self._last == "lost" or (self._last == "eof" and what in ("data", "eof")):
            self.broken_rules.append(f"{what} after {self._last}")
        if what == ("paused" if self._paused else "resumed"):
            self.broken_rules.append(f"{what} twice")
        if what in ("eof", "lost"):
            self._last = what
        elif what in ("paused", "resumed"):
            self._paused = what == "paused"
        self.heard.append(what)
        self._inside.append(what)
        try:
            reaction = self.reactions.get(what)
            if reaction is not None:
                reaction(self.transport)
        finally:
            self._inside.pop()


class End(NamedTuple):
    """A connection under test, its protocol, and the socket at the other end."""

    connection: Connection
    protocol: Recorder
    peer: socket.socket


class Net:
    """A reactor with a clock and a watched selector, and what was opened on it."""

    def __init__(self, selector: selectors.BaseSelector | None = None) -> None:
        self.clock = Clock()
        self.selector = WatchedSelector(default_selector() if selector is None else selector)
        self.reactor = Reactor(self.selector, self.clock)
        self.failures: list[str] = []  # what the code under test logged as an error
        self.failures_expected = 0
        self._protocols: list[Recorder] = []
        self._open: list[_HasClose] = []
        self._log = _ErrorLog(self.failures)

    def __enter__(self) -> Net:
        logging.getLogger("sttp_reactor.net").addHandler(self._log)
        gc.disable()  # a collection of the whole test run's heap is not what the hold limit is about
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.selector.patience = 0.0
        for protocol in self._protocols:
            if protocol.heard:
                protocol.transport.abort()
        self.turns(3)
        for thing in self._open:
            thing.close()
        self.reactor.close()
        gc.enable()
        logging.getLogger("sttp_reactor.net").removeHandler(self._log)
        if kind is None:
            self._check()

    def _check(self) -> None:
        for protocol in self._protocols:
            assert protocol.broken_rules == []
            assert protocol.heard.count("lost") == protocol.heard.count("made")
        assert len(self.failures) == self.failures_expected, "\n".join(self.failures)
        assert self.selector.longest_hold < LONGEST_HOLD_SECONDS

    # -- Opening --

    def recorder(self, **reactions: Callable[[Transport], object]) -> Recorder:
        protocol = Recorder(**reactions)
        self._protocols.append(protocol)
        return protocol

    def will_close(self, thing: Closable) -> Closable:
        self._open.append(thing)
        return thing

    def socketpair(self) -> tuple[socket.socket, socket.socket]:
        """Two connected Unix stream sockets, non-blocking; small buffers, so that few bytes fill them."""
        pair = socket.socketpair()
        for sock in pair:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16384)
            self.will_close(sock)
        return pair

    def tcp_pair(self) -> tuple[socket.socket, socket.socket]:
        """Two ends of a TCP connection on the loopback, non-blocking."""
        with socket.create_server(("127.0.0.1", 0)) as listening:
            near = self.will_close(socket.create_connection(listening.getsockname()))
            far = self.will_close(listening.accept()[0])
        for sock in (near, far):
            sock.setblocking(False)
        return near, far

    def connect(self, protocol: Recorder | None = None, *, tcp: bool = False, write_timeout: float = 30.0) -> End:
        """A connection and its peer."""
        near, far = self.tcp_pair() if tcp else self.socketpair()
        if protocol is None:
            protocol = self.recorder()
        return End(Connection(self.reactor, near, lambda: protocol, "peer", write_timeout), protocol, far)

    # -- Running --

    def turns(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.turn()
            self.selector.let_go()

    def pass_time(self, seconds: float) -> None:
        """Move the clock, and let the reactor notice."""
        self.clock.now += seconds
        self.turns()

    def until(self, condition: Callable[[], object], turns: int = 2000) -> None:
        """Turn until `condition` holds. What goes through TCP may take a moment, and gets 5 ms a turn."""
        patience, self.selector.patience = self.selector.patience, 0.005
        for _ in range(turns):
            if condition():
                break
            self.turns()
        else:
            raise AssertionError(f"still not so after {turns} turns")
        self.selector.patience = patience


class _ErrorLog(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(self.format(record))


def read_all(sock: socket.socket) -> bytes:
    """What has arrived by now. Raises ConnectionResetError where the connection was reset."""
    received = bytearray()
    with contextlib.suppress(BlockingIOError):
        while data := sock.recv(1 << 20):
            received += data
    return bytes(received)


def fill(sock: socket.socket, limit: int = 1 << 30) -> int:
    """Send until the kernel takes no more, or `limit` bytes. How many it took."""
    sent = 0
    with contextlib.suppress(BlockingIOError):
        while sent < limit:
            sent += sock.send(bytes(min(65536, limit - sent)))
    return sent


def has_ended(sock: socket.socket) -> bool:
    """Whether the peer of `sock` has closed or shut down its side, and everything was read."""
    try:
        return sock.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False


def fail(*_: object) -> None:
    raise ZeroDivisionError("as the test wants it")


def _nothing() -> None:
    pass
