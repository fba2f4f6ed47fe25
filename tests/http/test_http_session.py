"""One connection's conversation in HTTP: order, keep-alive, streams, bounds, time, and every way it ends."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("httptools", reason="the extra `http`")

from http_support import Bench, Talk, answers_in, get

from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response, encode, sentence
from sttp_reactor.limits import REQUESTS_PER_TURN


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench(idle_timeout=60.0, request_timeout=10.0)
    yield bench
    bench.site.abort()
    bench.reactor.close()


@pytest.fixture
def talk(bench: Bench) -> Talk:
    return bench.talk()


def later(bench: Bench) -> None:
    """From now on requests are answered when the test says so."""
    bench._handle = lambda request, exchange: None


def test_a_connection_is_kept_alive_and_head_gets_what_get_gets_but_the_body(talk: Talk) -> None:
    whole = talk.ask(get("/a"))
    head = talk.ask(get("/a", method="HEAD"), of_head=True)
    assert (whole.status, whole.body) == (200, b"GET /a \n")
    assert head.headers["content-length"] == "9"  # of "HEAD /a \n", which a GET of this handler's would be
    assert {*head.headers} == {*whole.headers} == {"date", "content-type", "content-length"}
    assert not talk.is_closed


def test_pipelined_requests_are_answered_in_their_order(bench: Bench, talk: Talk) -> None:
    later(bench)
    talk.send(get("/1") + get("/2") + get("/3", method="POST", body=b"abc"))
    assert [request.path for request in bench.seen] == ["/1"]  # one at a time
    assert not talk.is_reading  # what follows waits in the kernel
    for number in (1, 2, 3):
        bench.exchanges[-1].answer(sentence(200, str(number)))
    assert [answer.body for answer in answers_in(talk.received())] == [b"1\n", b"2\n", b"3\n"]
    assert talk.is_reading


def test_a_turn_answers_so_many_and_the_rest_in_the_next(bench: Bench, talk: Talk) -> None:
    talk.send(get("/") * (REQUESTS_PER_TURN + 1))
    assert len(answers_in(talk.received())) == REQUESTS_PER_TURN
    assert not talk.is_reading
    bench.turns(2)
    assert len(answers_in(talk.received())) == 1
    assert talk.is_reading


def test_nothing_is_begun_while_the_peer_reads_nothing(bench: Bench, talk: Talk) -> None:
    talk.session.pause_writing()
    talk.send(get("/1"))
    assert bench.seen == []
    talk.session.resume_writing()
    assert len(answers_in(talk.received())) == 1


@pytest.mark.parametrize(
    "data",
    [
        get("/", "Connection: close"),
        b"GET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
)
def test_a_connection_that_ends_with_its_request(bench: Bench, talk: Talk, data: bytes) -> None:
    answer = talk.ask(data)
    assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert talk.is_closed
    talk.session.data_received(get("/more"))
    assert len(bench.seen) == 1


def test_what_is_no_request_is_refused_behind_what_was_one(bench: Bench, talk: Talk) -> None:
    later(bench)
    talk.send(get("/1") + b"GET / HTTP/1.1\r\n\r\n")
    assert talk.received() == b""
    bench.exchanges[0].answer(sentence(200, "1"))
    first, second = answers_in(talk.received())
    assert (first.status, second.status, second.headers["connection"]) == (200, 400, "close")
    assert second.body == b"exactly one Host header is needed.\n"
    assert talk.is_closed


def test_a_peer_that_waits_for_100_is_told_to_go_on_when_it_is_its_turn(bench: Bench, talk: Talk) -> None:
    later(bench)
    head = get("/2", "Expect: 100-continue", "Content-Length: 3", method="PUT")
    talk.send(get("/1") + head)
    bench.exchanges[0].answer(sentence(200, "1"))
    received = talk.received()
    assert received.endswith(b"\r\n\r\n1\nHTTP/1.1 100 Continue\r\n\r\n")
    talk.send(b"a")
    talk.send(b"bc")
    assert talk.received() == b""
    bench.exchanges[1].answer(sentence(200, "2"))
    assert (bench.seen[1].body, answers_in(talk.received())[0].body) == (b"abc", b"2\n")


def test_a_body_that_would_be_refused_is_not_asked_for(talk: Talk) -> None:
    answer = talk.ask(get("/", "Expect: 100-continue", "Content-Length: 65537", method="PUT"))
    assert (answer.status, talk.is_closed) == (413, True)


def test_half_closed_everything_is_answered_and_then_the_end(bench: Bench, talk: Talk) -> None:
    later(bench)
    talk.send(get("/1") + get("/2") + b"GET /3 HT")
    talk.session.eof_received()
    assert not talk.is_closed
    bench.exchanges[0].answer(sentence(200, "1"))
    bench.exchanges[1].answer(sentence(200, "2"))
    assert len(answers_in(talk.received())) == 2
    assert talk.is_closed


def test_a_handler_that_fails_costs_its_request_a_500(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    def fail(request: Request, exchange: Exchange) -> Response:
        raise RuntimeError(request.path)

    bench._handle = fail
    talk = bench.talk()
    assert [talk.ask(get("/")).status for _ in range(2)] == [500, 500]
    assert "a handler failed" in caplog.text


def test_an_answer_to_nobody_does_no_harm(bench: Bench, talk: Talk) -> None:
    later(bench)
    talk.send(get("/1") + get("/2"))
    [exchange] = bench.exchanges
    talk.hang_up()
    assert exchange.is_gone
    exchange.answer(sentence(200, "1"))
    assert (talk.received(), len(bench.seen)) == (b"", 1)


def test_only_the_first_answer_counts(bench: Bench, talk: Talk) -> None:
    later(bench)
    talk.send(get("/1") + get("/2"))
    first = bench.exchanges[0]
    first.answer(sentence(200, "1"))
    first.answer(sentence(500, "again"))
    bench.exchanges[1].answer(sentence(200, "2"))
    assert [answer.body for answer in answers_in(talk.received())] == [b"1\n", b"2\n"]


# -- The fast way --


def reusing(bench: Bench) -> None:
    bench._handle = lambda request, exchange: Response(200, request.path.encode(), reusable=True)


def test_a_request_that_is_answered_again_costs_no_handler_and_its_date_goes_on(bench: Bench, talk: Talk) -> None:
    reusing(bench)
    first, second = talk.ask(get("/1")), bench.talk().ask(get("/1"))
    assert first == second
    assert len(bench.seen) == 1
    bench.site.date = lambda: "later"  # type: ignore[assignment, method-assign]
    bench.site.ready._date = bench.site.date
    bench.pass_time(1.5)
    assert talk.ask(get("/1")).headers["date"] == "later"
    assert len(bench.seen) == 1


@pytest.mark.parametrize(
    ("chunks", "seen"),
    [
        ([get("/1") + get("/2"), get("/1"), get("/2")], 4),  # came together: nothing says which bytes were whose
        ([get("/1")[:9], get("/1")[9:], get("/1")], 2),
        ([get("/1", "Connection: close")], 1),
        ([get("/1", "X: " + "x" * 1024), get("/1", "X: " + "x" * 1024)], 2),  # too long to be kept
    ],
)
def test_only_what_came_alone_is_kept(bench: Bench, chunks: list[bytes], seen: int) -> None:
    reusing(bench)
    talk = bench.talk()
    for chunk in chunks:
        talk.send(chunk)
    assert len(bench.seen) == seen


def test_what_is_wrong_behind_a_request_is_not_forgotten(bench: Bench) -> None:
    reusing(bench)
    for _ in range(2):
        talk = bench.talk()
        talk.send(get("/1") + b"\0\r\n")
        assert [answer.status for answer in answers_in(talk.received())] == [200, 501]


def test_no_fast_answer_overtakes_a_slow_one(bench: Bench, talk: Talk) -> None:
    reusing(bench)
    talk.ask(get("/1"))
    later(bench)
    talk.send(get("/slow"))
    talk.send(get("/1"))
    bench.exchanges[-1].answer(sentence(200, "slow"))
    bench.exchanges[-1].answer(sentence(200, "1"))
    assert [answer.body for answer in answers_in(talk.received())] == [b"slow\n", b"1\n"]


def test_the_oldest_answers_go(bench: Bench, talk: Talk) -> None:
    reusing(bench)
    bench.site.ready._most = 3
    for number in (1, 2, 3, 4, 4, 2):
        talk.ask(get(f"/{number}"))
    assert len(bench.seen) == 4
    talk.ask(get("/1"))
    assert len(bench.seen) == 5


# -- Streams --


class Watching:
    """A handler whose body comes piece by piece."""

    def __init__(self, bench: Bench) -> None:
        self.lost = 0
        self.began: bool | None = None
        bench._handle = self._begin

    def _begin(self, request: Request, exchange: Exchange) -> None:
        self.exchange = exchange
        self.began = exchange.begin(Response(200, content_type="text/event-stream"), self._on_lost)

    def _on_lost(self) -> None:
        self.lost += 1


def test_a_stream_is_chunked_and_the_connection_goes_on(bench: Bench, talk: Talk) -> None:
    watching = Watching(bench)
    talk.send(get("/"))
    assert watching.exchange.send(b"first")
    assert watching.exchange.send(b"")
    assert watching.exchange.send(b"second")
    watching.exchange.end()
    head, _, body = talk.received().partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert b"Content-Length" not in head
    assert body == b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"
    assert watching.lost == 0
    bench._handle = bench.echo
    assert talk.ask(get("/2")).status == 200


def test_a_stream_to_an_old_client_ends_with_its_connection(bench: Bench, talk: Talk) -> None:
    watching = Watching(bench)
    talk.send(b"GET / HTTP/1.0\r\n\r\n")
    watching.exchange.send(b"piece")
    watching.exchange.end()
    head, _, body = talk.received().partition(b"\r\n\r\n")
    assert (body, b"Transfer-Encoding" in head, talk.is_closed) == (b"piece", False, True)


def test_a_head_of_a_stream_has_no_body(bench: Bench, talk: Talk) -> None:
    watching = Watching(bench)
    talk.send(get("/", method="HEAD"))
    assert watching.began is False
    assert not watching.exchange.send(b"piece")
    assert talk.received().endswith(b"chunked\r\n\r\n")


def test_a_watcher_that_does_not_read_misses_pieces_and_costs_nothing(bench: Bench, talk: Talk) -> None:
    watching = Watching(bench)
    talk.send(get("/"))
    talk.received()
    talk.session.pause_writing()
    assert not watching.exchange.send(b"missed")
    talk.session.resume_writing()
    assert watching.exchange.send(b"seen")
    assert talk.received() == b"4\r\nseen\r\n"


def test_a_stream_learns_once_that_its_peer_has_gone(bench: Bench, talk: Talk) -> None:
    watching = Watching(bench)
    talk.send(get("/"))
    talk.hang_up()
    assert watching.lost == 1
    assert not watching.exchange.send(b"piece")
    watching.exchange.end()
    assert watching.lost == 1


def test_a_body_is_made_as_it_is_read(bench: Bench, talk: Talk) -> None:
    made: list[int] = []
    over: list[bool] = []

    def pieces() -> Iterator[bytes]:
        for number in range(6):
            made.append(number)
            yield b"%d" % number

    def feed(request: Request, exchange: Exchange) -> None:
        exchange.feed(Response(200), pieces(), lambda: over.append(True))

    bench._handle = feed
    talk.send(get("/"))
    bench.turns(2)
    talk.session.pause_writing()
    so_far = len(made)
    bench.turns(3)
    assert (len(made), so_far < 6, over) == (so_far, True, [])
    talk.session.resume_writing()
    bench.turns(8)
    assert (made, over) == ([*range(6)], [True])
    assert talk.received().partition(b"\r\n\r\n")[2] == b"".join(b"1\r\n%d\r\n" % n for n in range(6)) + b"0\r\n\r\n"
    talk.send(get("/"))
    talk.hang_up()
    bench.turns(2)
    assert (len(made), over) == (7, [True, True])
    head = bench.talk()
    head.send(get("/", method="HEAD"))
    bench.turns(2)
    assert (len(made), over) == (7, [True] * 3)


# -- Time --


def test_a_connection_without_a_request_is_closed_after_a_while(bench: Bench, talk: Talk) -> None:
    bench.pass_time(59)
    talk.ask(get("/"))
    bench.pass_time(59)
    assert not talk.is_closed
    bench.pass_time(2)
    assert (talk.is_closed, talk.received()) == (True, b"")


@pytest.mark.parametrize(
    "drips",
    [[b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 4], [get("/", "Content-Length: 9", method="PUT"), *[b"a"] * 4]],
)
def test_a_request_that_drips_has_its_time(bench: Bench, talk: Talk, drips: list[bytes]) -> None:
    """From its first byte to its last, of the head or of the body."""
    for drip in drips:
        assert not talk.is_closed
        talk.send(drip)
        bench.pass_time(2)
    assert [answer.status for answer in answers_in(talk.received())] == [408]
    assert talk.is_closed


def test_a_slow_answer_and_a_stream_are_no_idleness(bench: Bench, talk: Talk) -> None:
    later(bench)
    talk.send(get("/"))
    for _ in range(3):
        bench.pass_time(61)
    assert not talk.is_closed
    bench.exchanges[0].answer(sentence(200, "at last"))
    assert answers_in(talk.received())[0].body == b"at last\n"


# -- The end --


def test_draining_answers_what_has_come_and_closes(bench: Bench) -> None:
    idle, busy, reading = bench.talk(), bench.talk(), bench.talk()
    later(bench)
    busy.send(get("/1") + get("/2"))
    reading.unread = 10
    gone: list[bool] = []
    bench.site.on_lost = lambda: gone.append(True)
    bench.site.drain()
    assert (idle.is_closed, busy.is_closed, reading.is_closed) == (True, False, False)
    bench.exchanges[0].answer(sentence(200, "1"))
    bench.exchanges[1].answer(sentence(200, "2"))
    first, second = answers_in(busy.received())
    assert ("connection" in first.headers, second.headers["connection"], busy.is_closed) == (False, "close", True)
    reading.send(get("/3"))
    bench.exchanges[2].answer(sentence(200, "3"))
    assert reading.is_closed
    busy.hang_up()
    assert gone == [True]


def test_draining_ends_streams(bench: Bench, talk: Talk) -> None:
    watching = Watching(bench)
    talk.send(get("/"))
    bench.site.drain()
    assert talk.received().endswith(b"0\r\n\r\n")
    assert (watching.lost, talk.is_closed) == (1, True)


def test_a_header_cannot_become_two() -> None:
    for value in ("a\nb", "a\rb", "a\0b"):
        with pytest.raises(ValueError, match="line break"):
            encode(Response(200, headers=[("Location", value)]), "now")


def test_the_log_is_told_of_each_answer(bench: Bench, talk: Talk) -> None:
    told: list[tuple[str | None, int, int]] = []

    def note(session: object, request: Request | None, status: int, size: int, seconds: float) -> None:
        told.append((request and request.path, status, size))

    bench.site.on_answered = note  # type: ignore[method-assign, assignment]
    talk.send(get("/a") + b"\0")
    assert told == [("/a", 200, 8), (None, 501, 16)]
