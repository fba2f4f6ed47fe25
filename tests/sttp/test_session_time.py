"""A session's time limits (PROTOCOL.md section 2), on a clock wound by hand."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from scripted import Bench, ScriptedStore, Talk

from sttp_reactor.sttp.session import SessionLimits

IDLE = 60.0
REQUEST = 10.0
LIMITS = SessionLimits(idle_timeout=IDLE, request_timeout=REQUEST)
MOMENT = 0.001

A = b"200 /a OK\ntext\n"
TIMED_OUT = rb'300 - CLIENT ERROR "[^"]*10 s[^"]*"\n'


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(ScriptedStore({b"/a": b"text"}), expiration=10 * IDLE) as bench:
        yield bench


@pytest.fixture
def talk(bench: Bench) -> Talk:
    return Talk(bench, LIMITS)


# -- Idle --


def test_a_client_that_never_speaks_is_closed_and_told_nothing(bench: Bench, talk: Talk) -> None:
    bench.advance(IDLE - MOMENT)
    assert not talk.transport.is_closed
    bench.advance(MOMENT)
    assert talk.transport.is_closed
    assert talk.received() == b""


@pytest.mark.parametrize("way", ["fast", "slow", "refused", "empty line"])
def test_idleness_counts_from_the_last_byte(bench: Bench, talk: Talk, way: str) -> None:
    if way == "fast":
        talk.ask(b"SHOW /a\n")
    line = {"fast": b"SHOW /a\n", "slow": b"LIST /\n", "refused": b"X /0\n", "empty line": b"\r\n"}[way]
    for _ in range(3):
        bench.advance(IDLE - 1)
        talk.ask(line)
    bench.advance(IDLE - MOMENT)
    assert not talk.transport.is_closed
    bench.advance(MOMENT)
    assert talk.transport.is_closed


def test_a_client_that_waits_for_the_disk_is_not_idle(bench: Bench, talk: Talk) -> None:
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\n")
    bench.turn()
    gate.wait_until_reached()
    for _ in range(5):
        bench.advance(IDLE)
    bench.advance(IDLE / 2)
    assert not talk.transport.is_closed
    gate.open()
    bench.rest()
    assert talk.received() == A
    bench.advance(IDLE - MOMENT)
    assert not talk.transport.is_closed, "idleness counts from the reply"
    bench.advance(2 * IDLE)
    assert talk.transport.is_closed


def test_a_client_that_is_still_reading_its_replies_is_not_idle(bench: Bench, talk: Talk) -> None:
    """It may take longer than that to read a long one; what it asks next must not be dropped."""
    talk.ask(b"SHOW /a\n")
    talk.session.pause_writing()
    for _ in range(3):
        bench.advance(IDLE)
    assert not talk.transport.is_closed, "whether it reads at all is the write timeout's business"
    talk.session.resume_writing()
    bench.advance(MOMENT)
    assert not talk.transport.is_closed
    talk.received()
    assert talk.ask(b"SHOW /a\n") == A
    bench.advance(IDLE)
    assert talk.transport.is_closed


def test_after_it_was_closed_nothing_more_happens(bench: Bench, talk: Talk) -> None:
    bench.advance(IDLE)
    assert talk.transport.is_closed
    for _ in range(3):
        bench.advance(IDLE)
    talk.lose()
    bench.advance(IDLE)
    assert talk.received() == b""


# -- The time for a request's line --


def test_a_line_that_does_not_end_is_answered_300_and_closed(bench: Bench, talk: Talk) -> None:
    talk.send(b"CREATE /x 1")
    bench.advance(REQUEST - MOMENT)
    assert not talk.transport.is_closed
    bench.advance(MOMENT)
    assert talk.transport.is_closed
    assert re.fullmatch(TIMED_OUT, talk.received())
    assert bench.store.committed == []


def test_drips_do_not_extend_it(bench: Bench, talk: Talk) -> None:
    for byte in b"SHOW /a /b":
        talk.send(bytes([byte]))
        bench.advance(0.99)
    assert not talk.transport.is_closed
    bench.advance(0.1)
    assert talk.transport.is_closed
    assert re.fullmatch(TIMED_OUT, talk.received())


def test_a_line_that_ends_in_time_is_carried_out(bench: Bench, talk: Talk) -> None:
    talk.send(b"SHOW /")
    bench.advance(REQUEST - MOMENT)
    assert talk.ask(b"a\n") == A
    bench.advance(IDLE - MOMENT)
    assert not talk.transport.is_closed
    assert talk.received() == b""


@pytest.mark.parametrize("is_warm", [False, True])
def test_every_line_has_a_time_of_its_own(bench: Bench, talk: Talk, is_warm: bool) -> None:
    if is_warm:
        talk.ask(b"SHOW /a\n")
    for _ in range(4):
        talk.send(b"SHO")
        bench.advance(REQUEST - 1)
        assert talk.ask(b"W /a\n") == A
    talk.send(b"SHO")
    bench.advance(REQUEST - 1)
    assert talk.ask(b"W /a\nSHO") == A, "the second line begins here"
    bench.advance(REQUEST - MOMENT)
    assert not talk.transport.is_closed
    bench.advance(MOMENT)
    assert talk.transport.is_closed
    assert re.fullmatch(TIMED_OUT, talk.received())


def test_a_long_silence_before_a_line_is_no_part_of_it(bench: Bench, talk: Talk) -> None:
    bench.advance(IDLE - 1)
    talk.send(b"S")
    bench.advance(REQUEST - MOMENT)
    assert not talk.transport.is_closed
    bench.advance(MOMENT)
    assert talk.transport.is_closed


@pytest.mark.parametrize("answered_after", [REQUEST / 2, REQUEST - MOMENT, 3 * REQUEST])
def test_an_unfinished_line_behind_an_open_request_has_no_more_time_than_another(
    bench: Bench, talk: Talk, answered_after: float
) -> None:
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nSHO")
    bench.turn()
    gate.wait_until_reached()
    bench.advance(answered_after)
    gate.open()
    bench.rest()
    bench.advance(max(0.0, REQUEST - answered_after))
    assert re.fullmatch(re.escape(A) + TIMED_OUT, talk.received()), "in this order"
    assert talk.transport.is_closed


def test_a_line_that_came_too_late_is_not_carried_out(bench: Bench, talk: Talk) -> None:
    """Its end arrives in the very turn in which its time is up, or while an earlier request is still open."""
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nDELETE ")
    bench.turn()
    gate.wait_until_reached()
    bench.advance(REQUEST)
    if talk.transport.is_reading and not talk.transport.is_closed:
        talk.send(b"/a\n")
    gate.open()
    bench.rest()
    assert bench.store.committed == []
    assert talk.transport.is_closed


def test_the_time_for_a_line_may_be_longer_than_that_for_silence(bench: Bench) -> None:
    talk = Talk(bench, SessionLimits(idle_timeout=5, request_timeout=20))
    talk.send(b"SHO")
    bench.advance(19)
    assert not talk.transport.is_closed
    assert talk.ask(b"W /a\n") == A
    bench.advance(5)
    assert talk.transport.is_closed


def test_a_line_that_follows_cached_ones_has_its_own_time(bench: Bench, talk: Talk) -> None:
    for _ in range(2):
        talk.ask(b"SHOW /a\n")
    talk.send(b"SHOW /a\nSH")
    bench.advance(REQUEST - 1)
    talk.send(b"OW /a\nSHOW /a\nS")
    bench.advance(REQUEST - 1)
    assert not talk.transport.is_closed
    bench.advance(1)
    assert talk.transport.is_closed
    assert talk.received().endswith(b' s"\n')
