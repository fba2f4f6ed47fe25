"""Limits that are hit: all of it counted, little of it logged, nothing lost."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from sttp_reactor.net.throttle import Throttle
from sttp_reactor.net.timers import Timer, Timers

log = logging.getLogger("sttp_reactor.test_throttle")


class Clockwork:
    """Timers on a clock by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers = Timers()

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        return self.timers.call_at(self.now + delay, callback)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        for timer in self.timers.pop_due(self.now):
            due = timer.take()
            if due is not None:
                due()


@pytest.fixture
def clock() -> Clockwork:
    return Clockwork()


@pytest.fixture
def throttle(clock: Clockwork) -> Throttle:
    return Throttle(clock, log, seconds=60)


def test_the_first_time_is_logged_at_once_and_the_rest_with_a_count(
    throttle: Throttle, clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        throttle.warn("full", "no room for %d of %d", number, 5)
    assert caplog.messages == ["no room for 0 of 5"]
    clock.pass_time(60)
    assert caplog.messages[1:] == ["no room for 999 of 5 (999 more times within 60 s)"]
    clock.pass_time(60)
    assert len(caplog.messages) == 2, "nothing more has happened"
    throttle.warn("full", "no room for %d of %d", 1, 5)
    assert caplog.messages[2:] == ["no room for 1 of 5"]
    assert throttle.totals == {"full": 1001}
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_an_hour_of_it_is_a_line_a_minute(
    throttle: Throttle, clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3600):
        throttle.warn("full", "no room")
        clock.pass_time(1)
    assert len(caplog.messages) == 61
    assert set(caplog.messages[1:]) <= {"no room (59 more times within 60 s)", "no room (60 more times within 60 s)"}


def test_kinds_do_not_hide_each_other(throttle: Throttle, caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("full", "slow", "full", "slow"):
        throttle.warn(kind, "too %s", kind)
    assert caplog.messages == ["too full", "too slow"]


def test_causes_of_one_kind_do_not_hide_each_other(
    throttle: Throttle, clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    for cause in ("full", "denied", "full", "denied", "full"):
        throttle.warn("500", "the disk: %s", cause, cause=("/", cause))
    assert caplog.messages == ["the disk: full", "the disk: denied"]
    assert throttle.totals == {"500": 5}
    clock.pass_time(60)
    assert caplog.messages[2:] == [
        "the disk: full (2 more times within 60 s)",
        "the disk: denied (1 more times within 60 s)",
    ]


def test_a_client_that_makes_up_causes_makes_up_few_lines(
    throttle: Throttle, clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1000):
        throttle.warn("500", "no room in %d", number, cause=number)
    throttle.warn("other", "something else")
    assert caplog.messages[:-1] == [f"no room in {number}" for number in range(17)]
    assert caplog.messages[-1] == "something else", "another kind has lines of its own"
    before = len(caplog.messages)
    clock.pass_time(60)
    assert caplog.messages[before:] == ["no room in 999 (983 more like it, of several causes, within 60 s)"]
    for _ in range(2):
        clock.pass_time(60)
    throttle.warn("500", "no room in %d", 999, cause=999)
    assert caplog.messages[before + 1 :] == ["no room in 999"], "after a quiet minute it is as at the beginning"
    assert throttle.totals == {"500": 1001, "other": 1}


def test_counting_alone_logs_nothing(throttle: Throttle, clock: Clockwork, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(5):
        throttle.count("idle")
    clock.pass_time(60)
    assert (throttle.totals, caplog.messages) == ({"idle": 5}, [])


def test_what_is_untold_at_the_end_is_told(
    throttle: Throttle, clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in ("full", "slow", "full"):
        throttle.warn(kind, "too " + kind)
    throttle.close()
    assert caplog.messages == ["too full", "too slow", "too full (1 more times within 60 s)"]
    assert len(clock.timers) == 0
    throttle.close()
    throttle.warn("full", "again")
    assert caplog.messages[3:] == ["again"]


def test_a_message_without_arguments_may_hold_anything(
    throttle: Throttle, clock: Clockwork, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        throttle.warn("full", "100% full")
    clock.pass_time(60)
    assert caplog.messages == ["100% full", "100% full (1 more times within 60 s)"]
