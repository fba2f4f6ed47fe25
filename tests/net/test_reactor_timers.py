"""Timers alone, then on the reactor. The clock is moved by hand."""

from __future__ import annotations

import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from net_support import Net, fail

from sttp_reactor.net.timers import Timer, Timers


def fire(timers: Timers, now: float) -> None:
    while due := timers.pop_due(now):
        for timer in due:
            if (callback := timer.take()) is not None:
                callback()


# -- The heap --


def test_earliest_first_and_equal_deadlines_in_the_order_they_were_set() -> None:
    timers, fired = Timers(), list[str]()
    for deadline, name in ((3.0, "c"), (1.0, "a1"), (2.0, "b"), (1.0, "a2"), (1.0, "a3")):
        timers.call_at(deadline, partial(fired.append, name))
    fire(timers, 2.0)
    assert fired == ["a1", "a2", "a3", "b"]
    assert (len(timers), timers.next_deadline()) == (1, 3.0)


def test_a_timer_is_due_at_its_deadline_and_not_before() -> None:
    timers, fired = Timers(), list[int]()
    timers.call_at(5.0, lambda: fired.append(1))
    fire(timers, math.nextafter(5.0, 0.0))
    assert fired == []
    fire(timers, 5.0)
    fire(timers, 6.0)
    assert fired == [1]


def test_cancelling_is_harmless_twice_and_after_firing() -> None:
    timers, fired = Timers(), list[int]()
    cancelled = timers.call_at(1.0, lambda: fired.append(1))
    cancelled.cancel()
    cancelled.cancel()
    assert (len(timers), timers.next_deadline()) == (0, None)
    done = timers.call_at(1.0, lambda: fired.append(2))
    fire(timers, 1.0)
    done.cancel()
    timers.call_at(2.0, lambda: fired.append(3))
    assert (fired, len(timers), timers.next_deadline()) == ([2], 1, 2.0)


def test_a_cancelled_timer_lets_go_of_what_it_would_have_called() -> None:
    timer = Timers().call_at(1.0, lambda: None)
    timer.cancel()
    assert timer.callback is None


def test_a_timer_may_cancel_another_that_is_due_with_it() -> None:
    timers, fired = Timers(), list[str]()
    others: list[Timer] = []
    timers.call_at(1.0, lambda: others[0].cancel())
    others.append(timers.call_at(1.0, lambda: fired.append("cancelled")))
    timers.call_at(1.0, lambda: fired.append("kept"))
    fire(timers, 1.0)
    assert (fired, len(timers)) == (["kept"], 0)
    timers.call_at(2.0, lambda: None)
    assert (len(timers), timers.next_deadline()) == (1, 2.0)


@pytest.mark.parametrize("kept_every", [2, 3, 1000])
def test_mass_cancellation_frees_the_heap_and_keeps_the_order(kept_every: int) -> None:
    timers, fired = Timers(), list[int]()
    made = [timers.call_at(float(n), partial(fired.append, n)) for n in range(10_000)]
    kept = [n for n in range(10_000) if n % kept_every == 0]
    for n in range(10_000):
        if n % kept_every:
            made[n].cancel()
    assert len(timers) == len(kept)
    # What is cancelled may stay until it is as much as what is not; no longer, or idle connections would pile it up.
    assert len(timers._heap) <= 2 * len(kept) + 65
    fire(timers, 10_000.0)
    assert (fired, len(timers)) == (kept, 0)


# One step each: set a timer so many seconds ahead, cancel the so-manieth one set so far, move the clock.
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(-2, 12)),
        st.tuples(st.just("cancel"), st.integers(0, 200)),
        st.tuples(st.just("cancel all"), st.just(0)),
        st.tuples(st.just("pass"), st.integers(0, 5)),
    ),
    max_size=120,
)


@given(STEPS, st.integers(0, 300))
def test_any_sequence_fires_as_a_plain_list_would(steps: list[tuple[str, int]], crowd: int) -> None:
    """The model: a list of live timers, searched from end to end. The crowd makes compaction happen early."""
    timers, now = Timers(), 0.0
    fired: list[int] = []
    live: dict[int, float] = {}
    made: list[Timer] = []

    def set_timer(delay: float) -> None:
        number = len(made)
        live[number] = now + delay
        made.append(timers.call_at(now + delay, lambda: fired.append(number)))

    for _ in range(crowd):
        set_timer(7.0)
    for step, value in steps:
        if step == "set":
            set_timer(value)
        elif step == "pass":
            now += value
            due = sorted((number for number in live if live[number] <= now), key=lambda number: (live[number], number))
            fired.clear()
            fire(timers, now)
            assert fired == due
            for number in due:
                del live[number]
        else:
            for number in range(len(made)) if step == "cancel all" else [value] if value < len(made) else []:
                made[number].cancel()
                live.pop(number, None)
        assert len(timers) == len(live)
        assert timers.next_deadline() == min(live.values(), default=None)


# -- On the reactor --


def test_the_reactor_waits_until_the_earliest_deadline_and_no_longer(net: Net) -> None:
    fired: list[str] = []
    net.reactor.call_later(5.0, lambda: fired.append("later"))
    net.reactor.call_at(net.clock.now + 2.0, lambda: fired.append("at"))
    net.turns()
    assert (net.selector.waits, fired) == ([2.0], [])
    net.pass_time(2.0)
    net.turns()
    assert (net.selector.waits[1:], fired) == ([0.0, 3.0], ["at"])
    net.pass_time(100.0)
    assert fired == ["at", "later"]


def test_without_timers_the_reactor_waits_for_sockets_alone(net: Net) -> None:
    net.reactor.call_later(1.0, lambda: None).cancel()
    net.turns()
    assert net.selector.waits == [None]


@pytest.mark.parametrize("delay", [1e7, 1e12, math.inf])
def test_a_deadline_that_the_system_cannot_express_is_only_far_away(any_net: Net, delay: float) -> None:
    end = any_net.connect()
    any_net.reactor.call_later(delay, lambda: None)
    end.peer.send(b"x")
    any_net.selector.patience = math.inf  # whatever the reactor asks for, the system is asked for
    any_net.turns()
    assert end.protocol.received == b"x"
    assert any_net.selector.waits[-1] is not None
    assert any_net.selector.waits[-1] > 60


def test_a_callback_that_is_cancelled_by_the_one_before_is_not_called(net: Net) -> None:
    fired: list[str] = []
    net.reactor.call_later(1.0, lambda: second.cancel())
    second = net.reactor.call_later(1.0, lambda: fired.append("second"))
    net.reactor.call_later(1.0, lambda: fired.append("third"))
    net.pass_time(1.0)
    assert fired == ["third"]


def test_a_great_many_that_are_due_together_take_several_turns_and_keep_their_order(net: Net) -> None:
    fired: list[int] = []
    for number in range(2000):
        net.reactor.call_later(1.0, partial(fired.append, number))
    net.pass_time(1.0)
    assert 0 < len(fired) < 1000
    net.turns(3)
    assert fired == list(range(2000))
    assert set(net.selector.waits[1:]) == {0}


def test_a_timer_that_fails_costs_the_others_nothing(net: Net) -> None:
    fired: list[int] = []
    net.failures_expected = 1
    net.reactor.call_later(1.0, fail)
    net.reactor.call_later(1.0, lambda: fired.append(1))
    net.pass_time(1.0)
    assert fired == [1]


def test_timers_that_set_the_next_one_at_once_do_not_hold_the_turn(net: Net) -> None:
    fired: list[int] = []

    def again() -> None:
        fired.append(net.reactor.turns)
        if len(fired) < 500:  # an end, for a reactor that would not get out of it
            net.reactor.call_later(0.0, again)

    again()
    net.turns(5)
    assert fired == [0, 1, 2, 3, 4, 5]


def test_a_timer_set_in_the_past_by_a_timer_waits_a_turn_and_holds_no_other_up(net: Net) -> None:
    fired: list[str] = []

    def set_one_in_the_past() -> None:
        net.reactor.call_at(0.0, lambda: fired.append("set by the first"))

    net.reactor.call_later(1.0, set_one_in_the_past)
    net.reactor.call_later(1.5, lambda: fired.append("second"))
    net.pass_time(2.0)
    assert fired == ["second"]
    net.turns()
    assert fired == ["second", "set by the first"]
    assert net.selector.waits[-1] == 0
