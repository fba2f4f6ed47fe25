"""Stand-ins that a test drives by hand: a clock, a store that stops where the test says, a transport on no socket.

With them every interleaving of workers and loop is forced, step by step, and nothing ever waits for real time.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

from sttp_reactor.errors import FileMissing, Refused, StoreError
from sttp_reactor.limits import DISK_THREADS, STUCK_SECONDS
from sttp_reactor.metrics import Sample
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.store.base import AnyRead, Found, OnChange, Operation, Store, Write
from sttp_reactor.sttp.cache import Cache
from sttp_reactor.sttp.service import Service
from sttp_reactor.sttp.session import Session, SessionLimits
from sttp_reactor.sttp.team import Member
from sttp_reactor.wire.messages import Request
from sttp_reactor.wire.parser import RequestParser

# Only a failing test waits this long for another thread; less than the time limit, so that it says what it waited for.
PATIENCE_SECONDS = 15.0

REACTOR_LOG = "sttp_reactor.net.reactor"


class HandClock:
    """Seconds that pass when the test says so."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class Gate:
    """A place where a worker stops until the test lets it go on."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._reached = threading.Event()
        self._opened = threading.Event()

    def stop_here(self) -> None:
        """For the worker."""
        self._reached.set()
        assert self._opened.wait(PATIENCE_SECONDS), f"nobody opened the gate {self._name}"

    def wait_until_reached(self) -> None:
        assert self._reached.wait(PATIENCE_SECONDS), f"nobody came to the gate {self._name}"

    @property
    def is_reached(self) -> bool:
        return self._reached.is_set()

    def open(self) -> None:
        self._opened.set()


class ScriptedStore:
    """A `store.base.Store` in a dict: one directory, `/`.

    `gate("before show /a")` stops the next SHOW of /a before it has looked, `after show` when it has looked and not
    yet answered; `before list` the next LIST, `before commit` and `after commit` the next batch of writes.
    `show_errors` and `commit_error` are raised instead of an answer.
    """

    is_telling = True
    barrier: Callable[[], bool] | None = None

    def __init__(self, files: dict[bytes, bytes] | None = None) -> None:
        self.files = dict(files or {})
        self.shown: list[bytes] = []  # paths, in the order they were looked at
        self.listed = 0
        self.committed: list[list[Write]] = []
        self.checkpoints = 0
        self.show_errors: dict[bytes, BaseException] = {}
        self.commit_error: Exception | None = None
        self.checkpoint_error: Exception | None = None
        self.reader_error: Exception | None = None
        self._gates: dict[str, Gate] = {}
        self._every_gate: list[Gate] = []

    def gate(self, name: str) -> Gate:
        gate = self._gates[name] = Gate(name)
        self._every_gate.append(gate)
        return gate

    def open_every_gate(self) -> None:
        self._gates.clear()
        for gate in self._every_gate:
            gate.open()

    # -- The contract --

    def open(self, on_change: OnChange | None = None) -> None:
        pass

    def close(self) -> None:
        pass

    def samples(self) -> Iterable[Sample]:
        return ()

    def checkpoint(self) -> None:
        self.checkpoints += 1
        if self.checkpoint_error is not None:
            raise self.checkpoint_error

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        if self.reader_error is not None:
            raise self.reader_error
        for read in reads:
            try:
                yield read, self._list(read.path) if read.is_list else self._show(read.path)
            except StoreError as error:
                yield read, error

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        self._pass("before commit")
        self.committed.append(list(writes))
        outcomes = [self._carry_out(write) for write in writes]
        self._pass("after commit")
        if self.commit_error is not None:
            raise self.commit_error
        return outcomes

    # -- Within --

    def _show(self, path: bytes) -> bytes:
        name = path.decode()
        self._pass(f"before show {name}")
        self.shown.append(path)
        contents, error = self.files.get(path), self.show_errors.get(path)
        self._pass(f"after show {name}")
        if error is not None:
            raise error
        if contents is None:
            raise FileMissing
        return contents

    def _list(self, path: bytes) -> list[bytes]:
        self._pass("before list")
        self.listed += 1
        if path != b"/":
            raise FileMissing
        return sorted(name[1:] for name in self.files)

    def _carry_out(self, write: Write) -> StoreError | None:
        operation, path, contents = write
        if operation is Operation.CREATE and path in self.files:
            return Refused("the file exists; use UPDATE")
        if operation is not Operation.CREATE and path not in self.files:
            return FileMissing()
        if operation is Operation.DELETE:
            del self.files[path]
        else:
            self.files[path] = contents or b""
        return None

    def _pass(self, point: str) -> None:
        gate = self._gates.pop(point, None)
        if gate is not None:
            gate.stop_here()


class FakeTransport:
    """A `net.protocol.Transport` that keeps what is written. What it is told is there to read."""

    def __init__(self, reactor: Reactor, peer: str = "192.0.2.7:51234") -> None:
        self.peer = peer
        self.peer_names: tuple[str, ...] = ()
        self.last_received = reactor.now
        self.sent = bytearray()
        self.writes: list[bytes] = []
        self.is_reading = True
        self.is_closed = False
        self.is_aborted = False
        self.unread = 0

    def write(self, data: bytes) -> None:
        if not self.is_closed and not self.is_aborted:
            self.sent += data
            self.writes.append(data)

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def local_address(self) -> str:
        return "203.0.113.1:8080"

    def bytes_unread(self) -> int:
        return self.unread

    def bytes_unsent(self) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_aborted = True


class Bench:
    """A real reactor on a hand-wound clock, and a service with real workers on a scripted store. A context manager."""

    def __init__(
        self,
        store: ScriptedStore | None = None,
        *,
        max_files: int = 100,
        expiration: float = 300.0,
        caching: bool = True,
        threads: int = DISK_THREADS,
        served: Store | None = None,
        team: Member | None = None,
    ) -> None:
        """`served` is a store to serve instead of the scripted one; `team` where others serve it too."""
        self.clock = HandClock()
        self.reactor = Reactor(clock=self.clock)
        self.store = ScriptedStore() if store is None else store
        self.cache = Cache(max_files, 1 << 20, expiration, self.clock) if caching else None
        self.service = Service(self.reactor, served or self.store, self.cache, threads, team)

    def __enter__(self) -> Self:
        self._mishaps = _Mishaps()
        logging.getLogger(REACTOR_LOG).addHandler(self._mishaps)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(REACTOR_LOG).removeHandler(self._mishaps)
        self.store.open_every_gate()
        ended = self.service.close(PATIENCE_SECONDS)
        self.reactor.close()
        assert ended
        assert self._mishaps.texts == []

    # -- Time and turns --

    def turn(self) -> None:
        """One turn that waits for nothing, and as many more as it takes until jobs are handed to the workers."""
        self.reactor.call_soon(_do_nothing)
        self.reactor.turn()
        while self.reactor._in_lull:
            self.reactor.call_soon(_do_nothing)
            self.reactor.turn()

    def until(self, condition: Callable[[], bool]) -> None:
        """Turns, waiting for the workers, until `condition` holds."""
        while not condition():
            self.reactor.turn()

    def rest(self) -> None:
        """Turns until the workers are done, their results have been dealt with, and nobody wants another turn."""
        self.turn()
        self.until(lambda: self.service.under_way == 0)
        for _ in range(3):
            self.turn()
        while self.reactor._ready:
            self.turn()

    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turn()

    def wake_another_reader(self) -> None:
        """Let the pool find that the worker at a gate is stuck. It looks when the time has come, not when asked."""
        for _ in range(2):
            self.advance(STUCK_SECONDS)

    # -- Requests --

    def start(self, line: bytes) -> list[bytes]:
        """Have the service carry out one request. The list gets the reply, when it comes."""
        replies: list[bytes] = []
        assert self.service.start(request(line), replies.append), "the queue is full"
        self.turn()
        return replies

    def fill_queue(self) -> list[bytes]:
        """SHOWs of missing files, as many as there is room for. The list gets the replies."""
        replies: list[bytes] = []
        numbers = itertools.count()
        while self.service.start(request(b"SHOW /%d" % next(numbers)), replies.append):
            pass
        return replies

    def fast(self, chunk: bytes) -> bytes | None:
        """What the fast way answers."""
        return self.service.fast_way()(chunk, self.clock.now)

    def ask(self, line: bytes) -> bytes:
        """The reply to one request, from the cache or by way of the workers."""
        reply = self.service.cached(request(line))
        if reply is None:
            replies = self.start(line)
            self.until(lambda: bool(replies))
            (reply,) = replies
        return reply


class _Mishaps(logging.Handler):
    """What the reactor has caught and logged: it goes on, and a test must not."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))


class Talk:
    """One session of a bench, on a fake transport: the client's words go in, the server's come out."""

    def __init__(self, bench: Bench, limits: SessionLimits | None = None, access_log: Any = None) -> None:
        self.bench = bench
        self.lost: list[Session] = []
        self.session = Session(bench.reactor, bench.service, limits or SessionLimits(), self.lost.append, access_log)
        self.transport = FakeTransport(bench.reactor)
        self.session.connection_made(self.transport)

    def send(self, data: bytes) -> None:
        """These bytes arrive, in one piece. What they start has not been handed to the workers yet."""
        assert self.transport.is_reading, "the session does not read now"
        assert not self.transport.is_closed
        self.transport.last_received = self.bench.reactor.now
        self.transport.unread = max(0, self.transport.unread - len(data))
        self.session.data_received(data)

    def half_close(self) -> None:
        self.session.eof_received()

    def lose(self) -> None:
        """The connection is gone."""
        self.session.connection_lost(ConnectionResetError())

    def received(self) -> bytes:
        """What the session has written since this was last asked."""
        sent = bytes(self.transport.sent)
        self.transport.sent.clear()
        return sent

    def ask(self, data: bytes) -> bytes:
        """Send, let the workers finish, and give what was answered."""
        self.send(data)
        self.bench.rest()
        return self.received()


def request(line: bytes) -> Request:
    parser = RequestParser()
    parser.receive_data(line + b"\n")
    message = parser.next_message()
    assert isinstance(message, Request), message
    return message


def _do_nothing() -> None:
    pass
