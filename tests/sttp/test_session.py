"""One connection's conversation (PROTOCOL.md section 2): order, barriers, bounds, and every way it ends.

The reactor and the workers are real, the clock and the store are the test's, and the transport is no socket.
"""

from __future__ import annotations

import itertools
import re
import socket
from collections.abc import Iterator

import pytest
from scripted import Bench, ScriptedStore, Talk

from sttp_reactor.limits import CHUNK_LINES, LEAST_REQUESTS_PER_TURN, QUEUED_JOBS, REQUESTS_IN_FLIGHT, REQUESTS_PER_TURN
from sttp_reactor.net.connection import Connection
from sttp_reactor.sttp.access_log import Access
from sttp_reactor.sttp.session import Session, SessionLimits

A = b"200 /a OK\ntext of a\n"
B = b"200 /b OK\ntext of b\n"
NEW = b"200 /a OK\nnew\n"
LISTED = b"200 / OK\na, b\n"
NO_ACTION = rb'300 /%d CLIENT ERROR "unknown action[^"]*"\n'


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(ScriptedStore({b"/a": b"text of a", b"/b": b"text of b"})) as bench:
        yield bench


@pytest.fixture
def talk(bench: Bench) -> Talk:
    return Talk(bench)


def warm(talk: Talk) -> None:
    """Put /a into the cache, and the session where it takes the fast way."""
    assert talk.ask(b"SHOW /a\n") == A
    shown = len(talk.bench.store.shown)
    assert talk.ask(b"SHOW /a\n") == A
    assert len(talk.bench.store.shown) == shown


def junk(count: int, start: int = 0) -> bytes:
    """Lines that are refused at once, each with a reply of its own."""
    return b"".join(b"X /%d\n" % number for number in range(start, start + count))


def is_answer_to_junk(received: bytes, count: int, start: int = 0) -> bool:
    pattern = b"".join(NO_ACTION % number for number in range(start, start + count))
    return re.fullmatch(pattern, received) is not None


# -- Order --


def test_requests_are_answered_in_their_order_though_the_disk_answers_in_another(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\n")
    bench.turn()
    gate.wait_until_reached()
    talk.send(b"SHOW /b\nSHOW /none\n")
    bench.turn()
    bench.wake_another_reader()
    bench.until(lambda: bench.service.under_way == 1)
    assert talk.received() == b""
    gate.open()
    bench.rest()
    assert talk.received() == A + B + b"400 /none NOT FOUND\n"


def test_what_is_known_at_once_waits_for_what_was_asked_before(bench: Bench, talk: Talk) -> None:
    talk.ask(b"SHOW /b\n")
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nSHOW /b\nX /0\n")
    bench.turn()
    gate.wait_until_reached()
    assert talk.received() == b"", "a hit and a refusal, but not before their turn"
    gate.open()
    bench.rest()
    assert re.fullmatch(re.escape(A + B) + NO_ACTION % 0, talk.received())


def test_what_comes_first_and_is_known_goes_out_at_once(bench: Bench, talk: Talk) -> None:
    talk.ask(b"SHOW /b\n")
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /b\nSHOW /a\n")
    bench.turn()
    gate.wait_until_reached()
    assert talk.received() == B
    gate.open()
    bench.rest()
    assert talk.received() == A


def test_a_thousand_pipelined_requests(talk: Talk) -> None:
    count = 1000
    script = b"".join(b"SHOW /a\n" if number % 3 else b"X /%d\n" % number for number in range(count))
    received = talk.ask(script)
    for number in range(count):
        first = re.match(NO_ACTION % number if number % 3 == 0 else re.escape(A), received)
        assert first is not None, number
        received = received[first.end() :]
    assert received == b""


@pytest.mark.parametrize("size", [1, 2, 7])
def test_chunks_cut_anywhere(talk: Talk, size: int) -> None:
    script = b"SHOW /a\r\nUPDATE /b x y\nSHOW /b\nLIST /\nSHOW /a\n"
    received = b"".join(talk.ask(script[at : at + size]) for at in range(0, len(script), size))
    assert received == A + b"200 /b OK\nx y\n" * 2 + b"200 / OK\na, b\n" + A


# -- Effects in order --


def test_a_read_waits_for_the_writes_before_it(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before commit")
    talk.send(b"UPDATE /b x\nUPDATE /a new\nSHOW /a\nLIST /\n")
    bench.turn()
    gate.wait_until_reached()
    assert bench.store.shown == []
    gate.open()
    bench.rest()
    assert talk.received() == b"200 /b OK\nx\n" + NEW + NEW + b"200 / OK\na, b\n"
    assert [len(batch) for batch in bench.store.committed] == [2], "writes in a row are one batch"


def test_a_write_waits_for_the_reads_before_it(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nUPDATE /a new\nSHOW /a\n")
    bench.turn()
    gate.wait_until_reached()
    assert bench.store.committed == []
    gate.open()
    bench.rest()
    assert talk.received() == A + NEW + NEW


@pytest.mark.parametrize("cut", [False, True], ids=["one chunk", "two chunks"])
def test_not_even_a_cached_reply_overtakes_a_write_of_its_own_connection(bench: Bench, talk: Talk, cut: bool) -> None:
    warm(talk)
    gate = bench.store.gate("before commit")
    if cut:
        talk.send(b"UPDATE /a new\n")
        bench.turn()
        gate.wait_until_reached()
        talk.send(b"SHOW /a\n")
    else:
        talk.send(b"UPDATE /a new\nSHOW /a\n")
    bench.turn()
    gate.wait_until_reached()
    assert talk.received() == b""
    gate.open()
    bench.rest()
    assert talk.received() == NEW + NEW


def test_every_kind_of_write_is_seen_by_what_follows_it(talk: Talk) -> None:
    warm(talk)
    script = b"DELETE /a\nSHOW /a\nCREATE /a one\nSHOW /a\nUPDATE /a two\nSHOW /a\nCREATE /a x\nSHOW /a\nLIST /\n"
    received = talk.ask(script)
    assert re.sub(rb'"[^"]*"', b'""', received) == (
        b"600 /a DELETED\n400 /a NOT FOUND\n100 /a CREATED\n200 /a OK\none\n200 /a OK\ntwo\n200 /a OK\ntwo\n"
        b'300 /a CLIENT ERROR ""\n200 /a OK\ntwo\n200 / OK\na, b\n'
    )


@pytest.mark.parametrize("is_cached", [True, False])
def test_another_connection_sees_a_write_from_the_moment_it_is_acknowledged(
    bench: Bench, talk: Talk, is_cached: bool
) -> None:
    other = Talk(bench)
    if is_cached:
        warm(other)
    else:
        assert other.ask(b"SHOW /b\n") == B
    gate = bench.store.gate("after commit")
    talk.send(b"UPDATE /a new\n")
    bench.turn()
    gate.wait_until_reached()
    gate.open()
    bench.until(lambda: bool(talk.transport.sent))
    assert other.ask(b"SHOW /a\n") == NEW


# -- Bounds --


def shows(count: int) -> bytes:
    return b"".join(b"SHOW /%d\n" % number for number in range(count))


def test_one_connection_has_so_many_requests_in_flight_and_is_not_read_meanwhile(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /0")
    talk.send(shows(REQUESTS_IN_FLIGHT + 50))
    bench.turn()
    gate.wait_until_reached()
    bench.wake_another_reader()
    bench.until(lambda: bench.service.under_way == 1)
    assert len(bench.store.shown) == REQUESTS_IN_FLIGHT - 1, "all but the first, and none beyond the bound"
    assert not talk.transport.is_reading
    assert talk.received() == b""
    gate.open()
    bench.rest()
    expected = b"".join(b"400 /%d NOT FOUND\n" % number for number in range(REQUESTS_IN_FLIGHT + 50))
    assert talk.received() == expected
    assert talk.transport.is_reading


def test_a_full_queue_stops_parsing_and_room_resumes_it(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /a")
    bench.start(b"SHOW /a")
    gate.wait_until_reached()
    others = bench.fill_queue()
    talk.send(b"SHOW /b\nX /0\nUPDATE /a new\nSHOW /a\n")
    bench.turn()
    assert bench.service.under_way == QUEUED_JOBS
    assert not talk.transport.is_reading
    assert talk.received() == b""
    gate.open()
    bench.until(lambda: len(others) == QUEUED_JOBS - 1)
    bench.rest()
    assert re.fullmatch(re.escape(B) + NO_ACTION % 0 + re.escape(NEW + NEW), talk.received())
    assert talk.transport.is_reading


def test_a_list_is_under_way_alone(bench: Bench, talk: Talk) -> None:
    gates = [bench.store.gate("before show /a"), bench.store.gate("before list")]
    talk.send(b"SHOW /a\nLIST /\nLIST /\nSHOW /b\n")
    bench.turn()
    gates[0].wait_until_reached()
    assert bench.service.under_way == 1
    gates[0].open()
    bench.until(lambda: talk.transport.sent.endswith(b"\n"))
    bench.turn()
    gates[1].wait_until_reached()
    assert bench.service.under_way == 1, "the second LIST and the SHOW wait for the first"
    gates[1].open()
    bench.rest()
    assert talk.received() == A + LISTED + LISTED + B


def test_lists_of_a_client_that_has_gone_are_not_read(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before list")
    talk.send(b"LIST /\n" * REQUESTS_IN_FLIGHT)
    bench.turn()
    gate.wait_until_reached()
    talk.lose()
    gate.open()
    bench.rest()
    assert bench.store.listed == 1


def test_many_sessions_wait_for_room_and_one_of_them_is_lost(bench: Bench) -> None:
    gate = bench.store.gate("before show /a")
    bench.start(b"SHOW /a")
    gate.wait_until_reached()
    bench.fill_queue()
    talks = [Talk(bench) for _ in range(5)]
    for talk in talks:
        talk.send(b"SHOW /b\n")
    talks[2].lose()
    gate.open()
    bench.rest()
    assert [talk.received() for talk in talks] == [B, B, b"", B, B]


def test_one_turn_takes_so_many_requests_and_the_others_come_between(bench: Bench, talk: Talk) -> None:
    total = 3 * REQUESTS_PER_TURN + 10
    bench.reactor.call_soon(lambda: talk.send(junk(total)))  # from within a turn, as a socket's handler does
    bench.turn()
    assert is_answer_to_junk(talk.received(), REQUESTS_PER_TURN), "one share, not two"
    assert not talk.transport.is_reading
    other = Talk(bench)
    counts = []
    while not talk.transport.is_reading:
        other.send(b"X /0\n")
        assert is_answer_to_junk(other.received(), 1)
        bench.turn()
        counts.append(talk.transport.sent.count(b"\n"))
    assert is_answer_to_junk(talk.received(), total - REQUESTS_PER_TURN, REQUESTS_PER_TURN)
    assert counts == [REQUESTS_PER_TURN, 2 * REQUESTS_PER_TURN, 2 * REQUESTS_PER_TURN + 10]


def test_the_budget_counts_cached_replies_too(bench: Bench, talk: Talk) -> None:
    warm(talk)
    talk.send(b"SHOW /a\n" * CHUNK_LINES)
    assert talk.received() == A * CHUNK_LINES, "one chunk of hits is one look-up"
    talk.send(b"SHOW /a\n" * (CHUNK_LINES + 1))
    assert talk.received() == A * REQUESTS_PER_TURN
    bench.rest()
    assert talk.received() == A * (CHUNK_LINES + 1 - REQUESTS_PER_TURN)


def test_who_shares_a_turn_with_many_is_given_less_of_it(bench: Bench, talk: Talk) -> None:
    bench.reactor.busy = 10_000
    talk.send(junk(REQUESTS_PER_TURN))
    assert is_answer_to_junk(talk.received(), LEAST_REQUESTS_PER_TURN)
    bench.rest()
    rest = REQUESTS_PER_TURN - LEAST_REQUESTS_PER_TURN
    assert is_answer_to_junk(talk.received(), rest, LEAST_REQUESTS_PER_TURN)


def test_pipelining_without_end_takes_the_fast_way_though_every_chunk_is_cut_in_a_line(
    bench: Bench, talk: Talk
) -> None:
    warm(talk)
    assert bench.cache is not None
    misses = bench.cache.statistics().misses
    stream = b"SHOW /a\n" * 1000
    sizes = itertools.cycle([100 * 8 + 3, 200 * 8 - 1, 5, 150 * 8, 1])
    at = whole = 0
    while at < len(stream):
        at += (size := next(sizes))
        talk.send(stream[at - size : at])
        before, whole = whole, min(at, len(stream)) // 8
        assert talk.received() == A * (whole - before), "more than a turn's budget of parsed ones, and all of them"
    assert bench.cache.statistics().misses == misses
    talk.send(b"SHOW /b\nSHOW /a")
    bench.rest()
    assert talk.received() == B
    talk.half_close()
    assert talk.received().startswith(b"300 - CLIENT ERROR")


def test_a_budget_that_is_spent_with_requests_open(bench: Bench, talk: Talk) -> None:
    """Both a later turn and the disk's answer want to go on; each reply is sent once all the same."""
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\n" + junk(10) + b"UPDATE /a new\n" + junk(600))
    bench.turn()
    gate.wait_until_reached()
    bench.turn()
    gate.open()
    bench.rest()
    head, found, tail = talk.received().partition(NEW)
    assert (head[: len(A)], found) == (A, NEW)
    assert is_answer_to_junk(head[len(A) :], 10)
    assert is_answer_to_junk(tail, 600)


def test_nothing_is_parsed_while_nobody_reads_the_replies(bench: Bench, talk: Talk) -> None:
    warm(talk)
    talk.session.pause_writing()
    # What the connection had read already; from now on it reads no more.
    talk.session.data_received(b"SHOW /a\nUPDATE /a new\nSHOW /a\n")
    bench.rest()
    assert talk.received() == b""
    assert bench.store.committed == []
    assert not talk.transport.is_reading
    talk.session.resume_writing()
    bench.rest()
    assert talk.received() == A + NEW + NEW
    assert talk.transport.is_reading


def test_an_answer_that_comes_while_nobody_reads(bench: Bench, talk: Talk) -> None:
    warm(talk)
    gate = bench.store.gate("before show /b")
    talk.send(b"SHOW /b\n")
    bench.turn()
    gate.wait_until_reached()
    talk.session.pause_writing()
    gate.open()
    bench.rest()
    assert talk.received() == B, "it was asked for, and is written behind the others"
    talk.session.data_received(b"SHOW /a\n")
    bench.rest()
    assert talk.received() == b""
    talk.session.resume_writing()
    assert talk.received() == A


# -- What the fast way must not take --


def test_a_hit_behind_the_beginning_of_a_line(talk: Talk) -> None:
    warm(talk)
    talk.send(b"UPDATE /b ")
    assert talk.ask(b"SHOW /a\n") == b"200 /b OK\nSHOW /a\n"
    assert talk.ask(b"SHOW /a\n") == A


def test_a_hit_as_the_first_request(bench: Bench, talk: Talk) -> None:
    """It is a request like any other: the empty line after it ends the session, the one before it does not."""
    warm(talk)
    other = Talk(bench)
    assert other.ask(b"\n") == b""
    assert other.ask(b"SHOW /a\n") == A
    assert not other.transport.is_closed
    assert other.ask(b"\n") == b""
    assert other.transport.is_closed


# -- The end of a session --


def test_an_empty_line_ends_the_session_when_all_before_it_is_answered(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\n\nCREATE /x 1\n")
    bench.turn()
    gate.wait_until_reached()
    assert not talk.transport.is_closed
    gate.open()
    bench.rest()
    assert talk.received() == A
    assert talk.transport.is_closed
    assert bench.store.committed == [], "nothing after it is carried out"


@pytest.mark.parametrize(
    ("script", "replies"),
    [
        (b"SHOW /a\n\n", A),
        (b"SHOW /a\r\n\r\n", A),
        (b"SHOW /a\n\r\n", A),
        (b"\nSHOW /a\n\n", A),
        (b"\r\n\n\r\nSHOW /a\n\n", A),
        (b"SHOW /a\nSHOW /b\n\nSHOW /a\n\n", A + B),
        (b"\n\nUPDATE /a new\n\n", NEW),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_empty_lines_before_and_after(talk: Talk, script: bytes, replies: bytes, size: int) -> None:
    received = b""
    for at in range(0, len(script), size):
        if not talk.transport.is_closed:
            received += talk.ask(script[at : at + size])
    assert received == replies
    assert talk.transport.is_closed


def test_an_empty_line_after_a_refused_request_ends_the_session(talk: Talk) -> None:
    assert is_answer_to_junk(talk.ask(b"X /0\n\nSHOW /a\n"), 1)
    assert talk.transport.is_closed


def test_empty_lines_alone_do_nothing(talk: Talk) -> None:
    assert talk.ask(b"\n\r\n\n") == b""
    assert not talk.transport.is_closed
    assert talk.ask(b"SHOW /a\n") == A


def test_an_empty_line_on_the_fast_way(talk: Talk) -> None:
    warm(talk)
    assert talk.ask(b"SHOW /a\nSHOW /a\n\nSHOW /a\n") == A + A
    assert talk.transport.is_closed


def test_an_empty_line_alone_on_the_fast_way(talk: Talk) -> None:
    warm(talk)
    assert talk.ask(b"\n") == b""
    assert talk.transport.is_closed


def test_a_half_close_answers_everything_received(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nUPDATE /a new\nSHOW /a\n")
    talk.half_close()
    bench.turn()
    gate.wait_until_reached()
    assert not talk.transport.is_closed
    gate.open()
    bench.rest()
    assert talk.received() == A + NEW + NEW
    assert talk.transport.is_closed


def test_a_half_close_with_nothing_asked(talk: Talk) -> None:
    talk.half_close()
    assert talk.received() == b""
    assert talk.transport.is_closed


def test_a_half_close_on_the_fast_way(talk: Talk) -> None:
    warm(talk)
    talk.half_close()
    assert talk.received() == b""
    assert talk.transport.is_closed


@pytest.mark.parametrize("cut", [b"CREATE /x 1", b"DELETE /a", b"D", b"\r", b"UPDATE /a x\r"])
@pytest.mark.parametrize("before", [b"", b"SHOW /a\n"])
def test_a_last_line_without_an_end_is_answered_300_and_not_carried_out(
    bench: Bench, talk: Talk, before: bytes, cut: bytes
) -> None:
    talk.send(before + cut)
    talk.half_close()
    bench.rest()
    received = talk.received()
    assert re.fullmatch((re.escape(A) if before else b"") + rb'300 - CLIENT ERROR "[^"]+"\n', received)
    assert talk.transport.is_closed
    assert bench.store.committed == []


def test_what_follows_the_end_of_a_session_is_no_line_that_was_cut_short(talk: Talk) -> None:
    talk.send(b"SHOW /a\n\nSHO")
    talk.half_close()
    talk.bench.rest()
    assert talk.received() == A
    assert talk.transport.is_closed


@pytest.mark.parametrize("is_warm", [False, True])
def test_an_over_long_line_is_answered_300_and_the_session_ends(bench: Bench, is_warm: bool) -> None:
    talk = Talk(bench, SessionLimits(max_line=40))
    if is_warm:
        warm(talk)
    received = talk.ask(b"SHOW /a\nCREATE /x " + b"x" * 40)
    assert re.fullmatch(re.escape(A) + rb'300 - CLIENT ERROR "[^"]*at most 40 bytes[^"]*"\n', received)
    assert talk.transport.is_closed
    assert bench.store.committed == []


def test_an_over_long_line_is_refused_before_it_ends(bench: Bench) -> None:
    talk = Talk(bench, SessionLimits(max_line=40))
    sent = 0
    while not talk.transport.is_closed:
        assert talk.received() == b""
        talk.send(b"x")
        sent += 1
        assert sent <= 40
    assert sent == 40, "with its line end it would have 41 bytes"
    assert talk.received().startswith(b"300 - CLIENT ERROR ")


def test_the_longest_line_is_carried_out(bench: Bench) -> None:
    talk = Talk(bench, SessionLimits(max_line=40))
    line = b"CREATE /x " + b"x" * 29 + b"\n"
    assert len(line) == 40
    assert talk.ask(line) == b"100 /x CREATED\n"
    assert talk.ask(b"UPDATE /x " + b"y" * 30 + b"\n").startswith(b"300 - CLIENT ERROR ")
    assert talk.transport.is_closed
    assert bench.store.files[b"/x"] == b"x" * 29


def test_an_over_long_line_behind_open_requests(bench: Bench) -> None:
    talk = Talk(bench, SessionLimits(max_line=40))
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nUPDATE /a new\n" + b"x" * 50)
    bench.turn()
    gate.wait_until_reached()
    gate.open()
    bench.rest()
    assert re.fullmatch(re.escape(A + NEW) + rb'300 - CLIENT ERROR "[^"]+"\n', talk.received())
    assert talk.transport.is_closed


# -- Connections that are gone --


def test_a_late_result_of_a_closed_connection_is_dropped(
    bench: Bench, talk: Talk, caplog: pytest.LogCaptureFixture
) -> None:
    read, write = bench.store.gate("before show /a"), bench.store.gate("before commit")
    other = Talk(bench)
    talk.send(b"SHOW /a\nSHOW /b\nUPDATE /b not any more\n")
    other.send(b"UPDATE /a new\n")
    bench.turn()
    read.wait_until_reached()
    write.wait_until_reached()
    talk.lose()
    other.lose()
    assert talk.lost == [talk.session]
    read.open()
    write.open()
    bench.rest()
    assert talk.received() == other.received() == b""
    assert bench.service.under_way == 0
    assert bench.store.files == {b"/a": b"new", b"/b": b"text of b"}, "what had begun is done, the rest is not begun"
    assert caplog.records == []
    assert Talk(bench).ask(b"SHOW /a\n") == NEW


def test_a_lost_connection_leaves_no_timer_behind(bench: Bench) -> None:
    for _ in range(3):
        talk = Talk(bench)
        talk.ask(b"SHOW /none\nSH")
        talk.lose()
    bench.advance(1)  # the pool's own
    assert " 0 timers" in repr(bench.reactor)


def test_a_session_that_is_lost_in_the_middle_of_its_budget(bench: Bench, talk: Talk) -> None:
    talk.send(junk(2 * REQUESTS_PER_TURN))
    talk.received()
    talk.lose()
    bench.rest()
    assert talk.received() == b""


# -- Shutdown --


def test_an_idle_session_is_gone_at_once(bench: Bench, talk: Talk) -> None:
    warm(talk)
    bench.advance(5)
    talk.session.drain()
    assert talk.transport.is_aborted or talk.transport.is_closed
    assert talk.received() == b""


def test_a_fresh_session_is_gone_at_once(talk: Talk) -> None:
    talk.session.drain()
    assert talk.transport.is_aborted or talk.transport.is_closed
    assert talk.received() == b""


def test_draining_answers_what_is_open_held_and_buffered(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nUPDATE /a new\nSHOW /a\n" + junk(2 * REQUESTS_PER_TURN))
    bench.turn()
    gate.wait_until_reached()
    talk.session.drain()
    bench.turn()
    assert not talk.transport.is_closed
    gate.open()
    bench.rest()
    head, found, tail = talk.received().partition(A + NEW + NEW)
    assert (head, found) == (b"", A + NEW + NEW)
    assert is_answer_to_junk(tail, 2 * REQUESTS_PER_TURN)
    assert talk.transport.is_closed


@pytest.mark.parametrize("is_warm", [False, True])
@pytest.mark.parametrize("size", [1, 5, 8, 1000])
def test_draining_answers_what_lies_in_the_kernels_buffer(bench: Bench, talk: Talk, is_warm: bool, size: int) -> None:
    if is_warm:
        warm(talk)
        talk.ask(b"SHOW /b\n")
    unread = b"SHOW /a\nSHOW /b\n"
    talk.transport.unread = len(unread)
    talk.session.drain()
    bench.turn()
    received = b""
    for at in range(0, len(unread), size):
        assert not talk.transport.is_closed
        received += talk.ask(unread[at : at + size])
    assert received == A + B
    assert talk.transport.is_closed


def test_draining_does_not_wait_for_the_end_of_a_line(bench: Bench, talk: Talk) -> None:
    talk.send(b"SHOW /a\nDELETE /a")
    bench.rest()
    talk.session.drain()
    bench.rest()
    assert talk.received() == A
    assert talk.transport.is_closed
    assert bench.store.committed == []


def test_draining_reads_no_more_than_had_arrived(bench: Bench, talk: Talk) -> None:
    """A client that never stops asking cannot hold the shutdown up."""
    talk.transport.unread = 8
    talk.session.drain()
    assert talk.ask(b"SHOW /a\n") == A
    assert talk.transport.is_closed


def test_draining_a_half_closed_session(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nSHOW /b\n")
    talk.half_close()
    bench.turn()
    gate.wait_until_reached()
    talk.session.drain()
    assert not talk.transport.is_closed
    gate.open()
    bench.rest()
    assert talk.received() == A + B
    assert talk.transport.is_closed


def test_draining_loses_nothing_that_the_peer_has_not_read_yet(bench: Bench) -> None:
    """A real connection this time: its peer has been silent for long, because it is slow to read."""
    bench.store.files[b"/a"] = b"x" * 160
    reply = b"200 /a OK\n%b\n" % bench.store.files[b"/a"]
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    with theirs:
        theirs.settimeout(10)
        session = Session(bench.reactor, bench.service, SessionLimits(), lambda _: None)
        connection = Connection(bench.reactor, ours, lambda: session)
        asked = 0
        while not connection.bytes_unsent():  # until the kernel takes no more
            theirs.sendall(b"SHOW /a\n")
            asked += 1
            bench.rest()
        bench.advance(5)
        session.drain()
        received = b""
        while len(received) < asked * len(reply):
            bench.turn()
            piece = theirs.recv(65536)
            assert piece, f"{len(received)} bytes came of {asked * len(reply)}"
            received += piece
        assert received == reply * asked
        theirs.shutdown(socket.SHUT_WR)
        bench.until(lambda: "CLOSED" in repr(connection))


# -- The access log --


class Log(list[Access]):
    record = list.append


def test_every_answered_request_is_logged_in_order(bench: Bench) -> None:
    log = Log()
    talk = Talk(bench, access_log=log)
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nSHOW /none\n")
    bench.turn()
    gate.wait_until_reached()
    bench.clock.advance(0.25)
    gate.open()
    bench.rest()
    received = talk.received() + talk.ask(b"SHOW /a\nUPDATE /a new\nX /0\n\xff\nLIST /\n\n")
    assert [(entry.action, entry.path, entry.status) for entry in log] == [
        (b"SHOW", b"/a", 200),
        (b"SHOW", b"/none", 400),
        (b"SHOW", b"/a", 200),
        (b"UPDATE", b"/a", 200),
        (b"-", b"/0", 300),
        (b"-", b"-", 300),
        (b"LIST", b"/", 200),
    ]
    assert {entry.peer for entry in log} == {talk.transport.peer}
    assert sum(entry.reply_bytes for entry in log) == len(received)
    assert log[0].seconds == 0.25
    assert log[2].seconds == 0


def test_what_was_never_answered_is_not_logged(bench: Bench) -> None:
    log = Log()
    talk = Talk(bench, access_log=log)
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nX /0\n")
    bench.turn()
    gate.wait_until_reached()
    talk.lose()
    gate.open()
    bench.rest()
    assert log == []
