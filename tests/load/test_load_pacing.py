"""Pacers with a clock turned by hand: when requests go out, and what latency they are charged with."""

from __future__ import annotations

import pytest

from sttp_reactor.load.latency import Recorder, split, together
from sttp_reactor.load.link import Link
from sttp_reactor.load.outcomes import SHOW_200, UNSENT
from sttp_reactor.load.pacing import ClosedPacer, PausingPacer, SchedulePacer

MS = 1_000_000  # ns


class Wire:
    """Remembers what was sent on which link; a list that ends after `most` requests."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.sent: list[tuple[int, int]] = []
        self._most = most

    def send(self, link: Link, count: int) -> int:
        count = min(count, self._most - self.total)
        link.pending.extend([None] * count)
        if count:
            self.sent.append((link.number, count))
        return count

    @property
    def total(self) -> int:
        return sum(count for _, count in self.sent)


def _answer(pacer: ClosedPacer | PausingPacer | SchedulePacer, link: Link, count: int, now: int) -> None:
    for _ in range(count):
        link.pending.popleft()
    pacer.answered(link, [SHOW_200] * count, now)


def _latencies(recorder: Recorder) -> dict[int, int]:
    return together(split(recorder.response).values())


def test_a_closed_loop_keeps_its_pipelines_full() -> None:
    recorder, wire, links = Recorder(), Wire(), [Link(0), Link(1)]
    pacer = ClosedPacer(recorder, 4)
    pacer.start(links, wire.send, 0)
    assert wire.sent == [(0, 4), (1, 4)]
    _answer(pacer, links[0], 1, 5 * MS)
    assert len(wire.sent) == 2, "not for one reply of four: that would end the joining of requests"
    _answer(pacer, links[0], 1, 7 * MS)
    assert wire.sent[2:] == [(0, 2)]
    assert _latencies(recorder) == {5000: 1, 7000: 1}
    _answer(pacer, links[0], 4, 9 * MS)
    assert _latencies(recorder) == {5000: 1, 7000: 1, 9000: 2, 2000: 2}
    assert pacer.due(10 * MS) is None


def test_a_closed_loop_stops_at_its_limit() -> None:
    wire, link = Wire(), Link(0)
    pacer = ClosedPacer(Recorder(), 4)
    pacer.start([link], wire.send, 0)
    pacer.limit(3)
    _answer(pacer, link, 4, 1)
    assert (wire.total, pacer.finished) == (7, False)
    _answer(pacer, link, 3, 2)
    assert (wire.total, pacer.finished) == (7, True)


def test_a_closed_loop_ends_with_its_list() -> None:
    wire, link = Wire(most=1), Link(0)
    pacer = ClosedPacer(Recorder(), 1)
    pacer.start([link], wire.send, 0)
    _answer(pacer, link, 1, 1)
    assert pacer.finished


def test_pauses_begin_with_the_reply_and_starts_are_spread() -> None:
    recorder, wire, links = Recorder(), Wire(), [Link(0), Link(1)]
    pacer = PausingPacer(recorder, 10 * MS)
    pacer.start(links, wire.send, 0)
    assert pacer.due(0) == pytest.approx(0.005)
    assert wire.sent == [(0, 1)]
    assert pacer.due(5 * MS) is None
    _answer(pacer, links[0], 1, 6 * MS)
    assert pacer.due(7 * MS) == pytest.approx(0.009)
    assert pacer.due(16 * MS) is None
    assert wire.sent == [(0, 1), (1, 1), (0, 1)]
    assert _latencies(recorder) == {6000: 1}


class Open:
    """A schedule of one request a millisecond, and `count` connections."""

    def __init__(self, count: int, pipeline: int = 1) -> None:
        self.recorder, self.wire = Recorder(), Wire()
        self.links = [Link(number) for number in range(count)]
        self.pacer = SchedulePacer(self.recorder, pipeline, 1 * MS)
        self.pacer.start(self.links, self.wire.send, 0)


def test_a_schedule_sends_what_is_due() -> None:
    run = Open(3)
    assert run.pacer.due(0) == pytest.approx(0.001)
    assert run.pacer.due(MS // 2) == pytest.approx(0.0005)
    assert run.pacer.due(2 * MS) is not None
    assert run.wire.sent == [(0, 1), (1, 1), (2, 1)]
    assert dict(run.recorder.lag) == {0: 2, 1000: 1}


def test_what_waits_for_a_connection_is_charged_from_when_it_was_due() -> None:
    run = Open(1)
    run.pacer.due(0)
    assert run.pacer.due(5 * MS) is None, "only a reply can help"
    _answer(run.pacer, run.links[0], 1, 6 * MS)
    assert run.wire.total == 2
    _answer(run.pacer, run.links[0], 1, 7 * MS)
    assert _latencies(run.recorder) == {6000: 2}, "the second was due at 1 ms, sent at 6 ms, answered at 7 ms"
    assert together(split(run.recorder.service).values()) == {6000: 1, 1000: 1}


def test_waiting_for_the_server_is_not_the_tools_own_lag() -> None:
    run = Open(1)
    run.pacer.due(0)
    run.pacer.due(1 * MS)
    run.pacer.due(100 * MS)
    assert set(run.recorder.lag) == {0}


def test_a_wait_for_the_server_is_no_lag_when_it_ends_either() -> None:
    run = Open(2)
    run.pacer.due(1 * MS)
    run.pacer.due(2 * MS)
    for moment in range(500, 520):
        for link in run.links:
            if link.pending:
                _answer(run.pacer, link, 1, moment * MS)
        run.pacer.due(moment * MS)
    assert run.recorder.lag[0] == sum(run.recorder.lag.values()) - 1
    assert max(run.recorder.lag) == 1000, "the first was due at 0 and seen at 1 ms"


def test_a_backlog_is_shared_out_among_free_connections() -> None:
    run = Open(2, pipeline=4)
    run.pacer.due(5 * MS)
    assert sorted(run.wire.sent) == [(0, 3), (1, 3)]


def test_the_end_of_a_schedule_leaves_what_was_due() -> None:
    run = Open(1)
    run.pacer.due(0)
    run.pacer.due(3 * MS)
    run.pacer.end_schedule(3 * MS)
    for moment in range(10, 13):
        assert not run.pacer.finished
        _answer(run.pacer, run.links[0], 1, moment * MS)
        run.pacer.due(moment * MS)
    assert (run.wire.total, run.pacer.finished) == (4, True)


def test_what_is_never_sent_counts_with_the_time_it_waited() -> None:
    run = Open(1)
    run.pacer.due(0)
    run.pacer.due(3 * MS)
    run.pacer.end_schedule(3 * MS)
    assert run.pacer.give_up(50 * MS) == 3
    assert split(run.recorder.response)[UNSENT] == {49000: 1, 48000: 1, 47000: 1}
    assert run.pacer.give_up(60 * MS) == 0


def test_two_processes_share_one_even_schedule() -> None:
    wire = Wire()
    pacer = SchedulePacer(Recorder(), 1, 2 * MS, 1 * MS)
    pacer.start([Link(n) for n in range(9)], wire.send, 0)
    due_at = []
    for moment in range(10):
        before = wire.total
        pacer.due(moment * MS)
        if wire.total > before:
            due_at.append(moment)
    assert due_at == [1, 3, 5, 7, 9]


def test_a_server_that_stops_for_a_tenth_of_the_time() -> None:
    """The whole calculation, a millisecond at a time: 1,000 a second for 10 s, no reply between 4 s and 5 s."""
    run, answered = Open(50), 0
    for moment in range(10_000):
        now = moment * MS
        run.pacer.due(now)
        while answered < len(run.wire.sent) and not 4000 <= moment < 5000:
            _answer(run.pacer, run.links[run.wire.sent[answered][0]], 1, now + MS // 10)
            answered += 1
    counts = sorted((value, count) for value, count in _latencies(run.recorder).items())
    values = [value for value, count in counts for _ in range(count)]
    assert len(values) > 9990
    assert values[len(values) * 95 // 100] == pytest.approx(500_000, rel=0.1)
    assert values[len(values) * 99 // 100] == pytest.approx(900_000, rel=0.05)
    assert values[len(values) * 89 // 100] < 1000
