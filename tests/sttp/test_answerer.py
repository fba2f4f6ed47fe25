"""A session asks an answerer, whoever that is: here one that has neither files nor a cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from scripted import FakeTransport, HandClock

from sttp_reactor.net.reactor import Reactor
from sttp_reactor.sttp.answerer import Answerer, Asker, Done, FastWay, Waiter
from sttp_reactor.sttp.session import Session, SessionLimits
from sttp_reactor.wire.messages import Request


class Oracle:
    """Answers when the test says so. What it was asked is in `asked`, chunks that its fast way took in `chunks`."""

    def __init__(self) -> None:
        self.keeps_order = False
        self.takes_chunks = False
        self.has_room = True
        self.asked: list[tuple[Request, Done]] = []
        self.chunks: list[tuple[bytes, Asker]] = []
        self.waiting: list[Callable[[], None]] = []

    def fast_way(self, asker: Asker) -> FastWay:
        return partial(self._take, asker)

    def _take(self, asker: Asker, chunk: bytes, _now: float) -> bytes | None:
        if not self.takes_chunks or not chunk.startswith(b"SHOW ") or not chunk.endswith(b"\n"):
            return None
        self.chunks.append((chunk, asker))
        return b""

    def cached(self, request: Request) -> bytes | None:
        return b"200 /known OK\nat once\n" if request.path == b"/known" else None

    def start(self, request: Request, done: Done, waiter: Waiter) -> bool:
        if self.has_room:
            self.asked.append((request, done))
        return self.has_room

    def when_room(self, request: Request, callback: Callable[[], None]) -> None:
        self.waiting.append(callback)


class Stage:
    """One session on an oracle, turned by hand."""

    def __init__(self) -> None:
        self.reactor = Reactor(clock=HandClock())
        self.oracle = Oracle()
        answerer: Answerer = self.oracle
        self.session = Session(self.reactor, answerer, SessionLimits(), lambda _: None)
        self.transport = FakeTransport(self.reactor)
        self.session.connection_made(self.transport)

    def send(self, data: bytes) -> bytes:
        """What is written when this arrives, and in the turn after that."""
        self.session.data_received(data)
        return self.written()

    def written(self) -> bytes:
        self.reactor.call_soon(lambda: None)
        self.reactor.turn()
        sent = bytes(self.transport.sent)
        self.transport.sent.clear()
        return sent

    def answer(self, number: int, reply: bytes) -> bytes:
        self.oracle.asked[number][1](reply)
        return self.written()


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.session.connection_lost(None)
    stage.reactor.close()


def test_replies_come_from_the_answerer_in_the_order_of_the_requests(stage: Stage) -> None:
    assert stage.send(b"SHOW /a\nSHOW /known\nSHOW /b\n") == b""
    assert [request.path for request, _ in stage.oracle.asked] == [b"/a", b"/b"]
    assert stage.answer(1, b"400 /b NOT FOUND\n") == b""
    assert stage.answer(0, b"200 /a OK\nx\n") == b"200 /a OK\nx\n200 /known OK\nat once\n400 /b NOT FOUND\n"


def test_a_write_waits_for_all_earlier_replies_and_everything_later_waits_for_it(stage: Stage) -> None:
    stage.send(b"SHOW /a\nDELETE /a\nSHOW /a\n")
    assert len(stage.oracle.asked) == 1
    stage.answer(0, b"200 /a OK\nx\n")
    assert [request.action.word for request, _ in stage.oracle.asked] == [b"SHOW", b"DELETE"]
    stage.answer(1, b"600 /a DELETED\n")
    assert len(stage.oracle.asked) == 3


@pytest.mark.parametrize("keeps_order", [False, True])
def test_a_write_waits_for_the_write_before_it_where_the_answerer_may_mix_them_up(
    stage: Stage, keeps_order: bool
) -> None:
    stage.oracle.keeps_order = keeps_order
    stage.send(b"UPDATE /a 1\nUPDATE /a 2\n")
    assert len(stage.oracle.asked) == 1 + keeps_order
    stage.answer(0, b"200 /a OK\n1\n")
    assert len(stage.oracle.asked) == 2


def test_without_room_a_request_waits_until_there_is(stage: Stage) -> None:
    stage.oracle.has_room = False
    stage.send(b"SHOW /a\n")
    assert stage.oracle.asked == []
    stage.oracle.has_room = True
    stage.oracle.waiting.pop()()
    assert stage.answer(0, b"200 /a OK\nx\n") == b"200 /a OK\nx\n"


def test_a_chunk_that_is_taken_is_answered_later_and_what_comes_meanwhile_after_it(stage: Stage) -> None:
    assert stage.send(b"SHOW /known\n") == b"200 /known OK\nat once\n"  # the fast way is for sessions that have begun
    stage.oracle.takes_chunks = True
    assert stage.send(b"SHOW /a\nSHOW /b\n") == b""
    assert stage.send(b"SHOW /known\nUPDATE /a new\n") == b""
    assert stage.oracle.asked == []  # the write waits
    ((chunk, asker),) = stage.oracle.chunks
    assert (chunk, asker.peer) == (b"SHOW /a\nSHOW /b\n", stage.transport.peer)
    asker.answered(b"200 /a OK\nx\n200 /b OK\ny\n")
    assert stage.written() == b"200 /a OK\nx\n200 /b OK\ny\n200 /known OK\nat once\n"
    assert stage.answer(0, b"200 /a OK\nnew\n") == b"200 /a OK\nnew\n"
    assert stage.send(b"SHOW /c\n") == b""
    assert len(stage.oracle.chunks) == 2


def test_a_chunk_is_taken_from_what_ends_in_a_piece_of_a_line(stage: Stage) -> None:
    stage.send(b"SHOW /known\n")
    stage.oracle.takes_chunks = True
    assert stage.send(b"SHOW /a\nSHOW /b") == b""
    assert stage.send(b"b\n") == b""
    ((chunk, asker),) = stage.oracle.chunks
    assert chunk == b"SHOW /a\n"
    asker.answered(b"200 /a OK\nx\n")
    stage.written()
    assert [request.path for request, _ in stage.oracle.asked] == [b"/bb"]
    assert stage.answer(0, b"400 /bb NOT FOUND\n") == b"400 /bb NOT FOUND\n"


def test_replies_for_one_who_has_gone_are_for_nobody(stage: Stage) -> None:
    stage.send(b"SHOW /known\n")
    stage.oracle.takes_chunks = True
    stage.send(b"SHOW /a\n")
    stage.session.connection_lost(ConnectionResetError())
    assert stage.session.is_gone
    stage.oracle.chunks[0][1].answered(b"200 /a OK\nx\n")
    assert stage.written() == b""
