"""The pool of workers, on a loop that a test turns by hand: batches, order, the bound, failures, a stuck worker."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_loop import FakeLoop
from scripted import PATIENCE_SECONDS, Gate

from sttp_reactor.limits import NEXT_JOBS, STUCK_MOST_SECONDS, STUCK_SECONDS
from sttp_reactor.net.pool import Pool

Work = Callable[[Iterator[Any]], list[tuple[Any, Any]]]
Made = Callable[..., "Workshop"]


def waiter_of(job: Any) -> object:
    """Numbers from 1,000 on are jobs of one waiter a thousand; the others, each its own."""
    return job // 1000 if isinstance(job, int) and job >= 1000 else job


class Workshop:
    """A pool of workers that double numbers. A number with a gate waits there; `faults` are raised instead."""

    def __init__(self, *, work: Work | None = None, threads: int = 1, most: int = 64, capacity: int = 100) -> None:
        self.loop = FakeLoop()
        self.delivered: list[list[tuple[Any, Any]]] = []
        self.failed: list[tuple[Any, Exception]] = []
        self.workers: list[str] = []  # who took each job
        self.gates: dict[Any, Gate] = {}
        self.faults: dict[Any, BaseException] = {}
        self.pool: Pool[Any, Any] = Pool(
            self.loop,
            "test",
            threads,
            work or self.double,
            self.delivered.append,
            self.fail,
            waiter_of,
            most=most,
            capacity=capacity,
        )

    def double(self, jobs: Iterator[int]) -> Iterator[tuple[int, int]]:
        for job in jobs:
            yield job, self._double(job)

    def _double(self, job: int) -> int:
        self.workers.append(threading.current_thread().name)
        if job in self.gates:
            self.gates[job].stop_here()
        if job in self.faults:
            raise self.faults[job]
        return 2 * job

    def fail(self, job: int, error: Exception) -> str:
        self.failed.append((job, error))
        return "failed"

    def gate(self, job: int) -> Gate:
        self.gates[job] = Gate(str(job))
        return self.gates[job]

    def submit(self, *jobs: Any) -> None:
        """A turn in which these jobs are submitted."""
        for job in jobs:
            self.pool.submit(job)
        self.loop.end_turn()

    def receive_all(self) -> None:
        while self.pool.under_way:
            self.loop.receive()

    @property
    def results(self) -> list[tuple[Any, Any]]:
        return [result for batch in self.delivered for result in batch]


@pytest.fixture
def make() -> Iterator[Made]:
    made: list[Workshop] = []

    def make(**options: Any) -> Workshop:
        made.append(Workshop(**options))
        return made[-1]

    yield make
    for workshop in made:
        for gate in workshop.gates.values():
            gate.open()
        assert workshop.pool.close(PATIENCE_SECONDS)


# -- Batches and order --


def test_the_jobs_of_a_turn_are_handed_over_together_and_come_back_together(make: Made) -> None:
    shop = make()
    for job in (1, 2, 3):
        shop.pool.submit(job)
    assert len(shop.loop.turn_end) == 1
    assert shop.pool.under_way == 3
    shop.loop.end_turn()
    shop.loop.receive()
    assert shop.delivered == [[(1, 2), (2, 4), (3, 6)]]
    assert shop.pool.under_way == 0


def test_nothing_is_handed_over_before_the_turn_ends(make: Made) -> None:
    shop = make()
    shop.pool.submit(1)
    assert shop.pool.under_way == 1
    # Another turn's job, which goes first although it came second: the first is still collected.
    other = make()
    other.submit(2)
    other.loop.receive()
    assert shop.workers == []
    shop.loop.end_turn()
    shop.loop.receive()
    assert shop.results == [(1, 2)]


def test_a_batch_has_its_bound(make: Made) -> None:
    shop = make(most=4)
    gate = shop.gate(4)
    shop.submit(*range(10))
    gate.wait_until_reached()
    shop.loop.receive()
    assert [len(batch) for batch in shop.delivered] == [4], "the next batch has begun, so the first is back"
    gate.open()
    shop.receive_all()
    assert shop.results == [(job, 2 * job) for job in range(10)]


def test_one_worker_is_enough_as_long_as_it_gets_on(make: Made) -> None:
    shop = make(threads=4, most=2)
    shop.submit(*range(20))
    shop.receive_all()
    assert len(set(shop.workers)) == 1


def test_one_thread_keeps_the_order_over_many_turns(make: Made) -> None:
    shop = make(most=3, capacity=1000)
    expected: list[int] = []
    for turn in range(30):
        jobs = [1000 + len(expected) + number for number in range(turn)]
        expected += jobs
        shop.submit(*jobs)
    shop.receive_all()
    assert [job for job, _ in shop.results] == expected


def test_what_comes_while_a_worker_is_busy_is_taken_when_it_is_done(make: Made) -> None:
    shop = make(most=1)
    gate = shop.gate(1)
    shop.submit(1)
    gate.wait_until_reached()
    shop.submit(2, 3)
    gate.open()
    shop.receive_all()
    assert shop.results == [(1, 2), (2, 4), (3, 6)]


def test_a_worker_takes_what_arrives_while_its_batch_is_still_short(make: Made) -> None:
    shop = make()
    gate = shop.gate(1)
    shop.submit(1)
    gate.wait_until_reached()
    shop.submit(2)
    gate.open()
    shop.loop.receive()
    assert shop.delivered == [[(1, 2), (2, 4)]]


def test_every_job_is_done_once_however_the_turns_fall(make: Made) -> None:
    """Hand-overs race with a worker that is about to sleep: no job may be left lying."""
    shop = make(threads=3, most=2)
    total = 0
    for turn in range(400):
        count = turn % 3
        shop.submit(*range(total, total + count))
        total += count
        if turn % 7 == 0:
            shop.receive_all()
    shop.receive_all()
    assert sorted(job for job, _ in shop.results) == list(range(total))


# -- Turns --


def test_waiters_take_turns(make: Made) -> None:
    """Who has a hundred jobs does not hold up who has one or two, though these came last."""
    shop = make(most=1, capacity=1000)
    gate = shop.gate(1)
    shop.submit(1)
    gate.wait_until_reached()
    shop.submit(*range(1000, 1100))
    shop.submit(2000, 2001, 2002)
    shop.submit(3000)
    gate.open()
    shop.receive_all()
    order = [job for job, _ in shop.results]
    assert order.index(3000) <= NEXT_JOBS + 3
    assert order.index(2002) <= NEXT_JOBS + 7
    assert [job for job in order if job < 2000] == [1, *range(1000, 1100)], "each waiter's own stay in order"


def test_whoever_comes_new_takes_a_turn_before_everybody_has_had_two(make: Made) -> None:
    shop = make(most=1, capacity=1000)
    gate = shop.gate(1)
    shop.submit(1)
    gate.wait_until_reached()
    shop.submit(*(1000 * waiter + number for waiter in range(1, 41) for number in range(3)))
    gate.open()
    shop.receive_all()
    order = [job for job, _ in shop.results][1:]
    assert sorted(job // 1000 for job in order[:40]) == list(range(1, 41))


def test_the_order_of_a_waiter_outlasts_any_mixture(make: Made) -> None:
    """One worker, hand-overs that race with it: what is taken is each waiter's own, in its order, all of it once."""
    shop = make(most=5, capacity=5000)
    given: dict[int, list[int]] = {waiter: [] for waiter in range(1, 8)}
    chance = random.Random(7)
    for _ in range(300):
        jobs = []
        for waiter in chance.sample(sorted(given), chance.randrange(0, 7)):
            for _ in range(chance.randrange(1, 4)):
                given[waiter].append(1000 * waiter + len(given[waiter]))
                jobs.append(given[waiter][-1])
        shop.submit(*jobs)
    shop.receive_all()
    order = [job for job, _ in shop.results]
    assert {waiter: [job for job in order if job // 1000 == waiter] for waiter in given} == given


# -- The bound --


def test_a_full_pool_says_so_until_results_have_come_back(make: Made) -> None:
    shop = make(capacity=2)
    gate = shop.gate(1)
    assert [shop.pool.submit(job) for job in (1, 2, 3)] == [True, True, False], (
        "they count from when they are submitted"
    )
    shop.loop.end_turn()
    gate.wait_until_reached()
    assert not shop.pool.submit(3)
    assert shop.pool.under_way == 2
    gate.open()
    shop.loop.receive()
    assert shop.pool.submit(3)
    shop.loop.end_turn()
    shop.receive_all()
    assert shop.results == [(1, 2), (2, 4), (3, 6)]


def test_those_who_wait_for_room_are_called_once_and_in_order(make: Made) -> None:
    shop = make(capacity=1)
    called: list[str] = []
    shop.submit(1)
    shop.pool.when_room(lambda: called.append("first"))
    shop.pool.when_room(lambda: called.append("second"))
    assert called == []
    shop.loop.receive()
    assert called == ["first", "second"]
    shop.submit(2)
    shop.receive_all()
    assert called == ["first", "second"]


def test_nobody_is_called_for_room_that_the_one_before_has_taken(make: Made) -> None:
    shop = make(capacity=1)
    called: list[str] = []

    def take_the_room(name: str) -> None:
        called.append(name)
        shop.pool.submit(name)

    shop.submit(1)
    shop.pool.when_room(lambda: take_the_room("a"))
    shop.pool.when_room(lambda: take_the_room("b"))
    shop.loop.receive()
    assert called == ["a"]
    shop.loop.end_turn()
    shop.loop.receive()
    assert called == ["a", "b"]
    shop.loop.end_turn()
    shop.receive_all()


def test_results_are_delivered_before_anybody_is_called_for_room(make: Made) -> None:
    shop = make(capacity=1)
    seen: list[int] = []
    shop.submit(1)
    shop.pool.when_room(lambda: seen.append(len(shop.delivered)))
    shop.loop.receive()
    assert seen == [1]


# -- Failures --


def test_a_batch_that_fails_costs_nobody_else_anything(make: Made, caplog: pytest.LogCaptureFixture) -> None:
    shop = make(most=2)
    error = shop.faults[3] = OSError("no such luck")
    shop.submit(*range(1, 7))
    shop.receive_all()
    outcomes = dict(shop.results)
    assert outcomes.pop(3) == "failed"
    assert outcomes == {1: 2, 2: 4, 4: 8, 5: 10, 6: 12}
    assert shop.failed == [(3, error)]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[1] is error


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit(), MemoryError()])
def test_no_error_ends_a_worker(make: Made, error: BaseException, caplog: pytest.LogCaptureFixture) -> None:
    shop = make()
    shop.faults[1] = error
    shop.submit(1)
    shop.loop.receive()
    assert shop.results == [(1, "failed")]
    ((_, reason),) = shop.failed
    assert isinstance(reason, Exception)
    assert type(error).__name__ in repr(reason)
    assert "a job failed" in caplog.text
    shop.submit(2)
    shop.loop.receive()
    assert shop.results[1:] == [(2, 4)]


def test_work_that_fails_before_it_has_taken_anything(make: Made, caplog: pytest.LogCaptureFixture) -> None:
    """As when a store cannot even begin a batch. The jobs are answered, and the worker does not try for ever."""
    attempts = []

    def work(jobs: Iterator[int]) -> list[tuple[int, int]]:
        attempts.append(1)
        if len(attempts) > 5:
            list(jobs)  # so that a pool that spins here ends, and the test can say so
        raise OSError("cannot begin")

    shop = make(work=work)
    shop.submit(1, 2)
    shop.receive_all()
    assert shop.results == [(1, "failed"), (2, "failed")]
    assert len(attempts) == 1
    assert len(caplog.records) == 1


# -- A stuck worker --


def test_a_stuck_worker_wakes_the_others(make: Made) -> None:
    shop = make(threads=3)
    gate = shop.gate(1)
    shop.submit(1)
    gate.wait_until_reached()
    shop.loop.fire_timers()  # for job 1 itself, which nobody waits behind
    shop.submit(2, 3)
    assert "1 awake" in repr(shop.pool)
    ((delay, _),) = shop.loop.timers
    assert delay == STUCK_SECONDS
    shop.loop.fire_timers()  # from now on 2 is watched
    shop.loop.fire_timers()
    while len(shop.results) < 2:
        shop.loop.receive()
    assert sorted(shop.results) == [(2, 4), (3, 6)]
    assert shop.pool.under_way == 1
    gate.open()
    shop.receive_all()
    assert (1, 2) in shop.results


def test_a_worker_that_gets_on_wakes_nobody(make: Made) -> None:
    shop = make(threads=2, most=64)
    gates = [shop.gate(job) for job in (1, 2)]
    shop.submit(1)
    gates[0].wait_until_reached()
    shop.loop.fire_timers()
    shop.submit(2, 3, 4)  # behind 1; the watch looks at 2
    gates[0].open()
    gates[1].wait_until_reached()  # now 3 is the first in the queue: slow, but moving
    shop.loop.fire_timers()
    assert "1 awake" in repr(shop.pool)
    assert len(shop.loop.timers) == 1, "and it is watched further"
    shop.loop.fire_timers()  # 3 has not moved since
    while len(shop.results) < 2:
        shop.loop.receive()
    assert {job for job, _ in shop.results} >= {3, 4}
    gates[1].open()
    shop.receive_all()


def test_when_all_are_stuck_the_rest_waits(make: Made) -> None:
    shop = make(threads=2, most=1)
    gates = [shop.gate(job) for job in (1, 2)]
    shop.submit(1)
    gates[0].wait_until_reached()
    shop.submit(2, 3)
    shop.loop.fire_timers()
    shop.loop.fire_timers()
    gates[1].wait_until_reached()
    for _ in range(3):
        shop.loop.fire_timers()
        assert "2 awake" in repr(shop.pool)
    assert shop.delivered == []
    gates[1].open()
    while len(shop.results) < 2:
        shop.loop.receive()
    assert sorted(shop.results) == [(2, 4), (3, 6)]
    gates[0].open()
    shop.receive_all()


def test_a_job_that_hangs_is_looked_at_less_and_less_often(make: Made) -> None:
    """Each look is a turn of the loop: 470 a second for as long as it hangs would be a busy loop."""
    shop = make(threads=2)
    gate = shop.gate(1)
    shop.submit(1)
    gate.wait_until_reached()
    waited = []
    while not waited or waited[-1] < STUCK_MOST_SECONDS:
        ((delay, _),) = shop.loop.timers
        waited.append(delay)
        shop.loop.fire_timers()
    assert waited[0] == STUCK_SECONDS
    assert len(waited) < 12
    shop.submit(2, 3)
    ((delay, _),) = shop.loop.timers
    assert delay == STUCK_SECONDS, "somebody new may have to wait behind it, and is looked after at once"
    shop.loop.fire_timers()
    while len(shop.results) < 2:
        shop.loop.receive()
    gate.open()
    shop.receive_all()
    shop.loop.fire_timers()
    assert shop.loop.timers == []


def test_one_thread_alone_is_not_watched(make: Made) -> None:
    shop = make(threads=1)
    gate = shop.gate(1)
    shop.submit(1, 2)
    assert shop.loop.timers == []
    gate.open()
    shop.receive_all()


def test_a_slow_job_ends_its_batch(make: Made) -> None:
    """On a slow disk the first result would otherwise come when the last of the batch does."""
    shop = make()
    gate, next_gate = shop.gate(2), shop.gate(3)
    shop.submit(1, 2, 3, 4)
    gate.wait_until_reached()
    shop.loop.clock.advance(STUCK_SECONDS)
    gate.open()
    next_gate.wait_until_reached()
    shop.loop.receive()
    assert shop.delivered == [[(1, 2), (2, 4)]]
    next_gate.open()
    shop.receive_all()
    assert shop.results == [(1, 2), (2, 4), (3, 6), (4, 8)]


def test_a_job_that_hangs_does_not_hold_up_what_was_done_before_it(make: Made) -> None:
    shop = make(threads=2)
    gate = shop.gate(2)
    shop.submit(1, 2)
    gate.wait_until_reached()
    for _ in range(3):
        shop.loop.clock.advance(STUCK_SECONDS)
        shop.loop.fire_timers()
    if shop.loop.has_posted:
        shop.loop.receive()
    assert shop.results == [(1, 2)]


# -- The end --


def test_closing_does_first_what_was_submitted(make: Made) -> None:
    shop = make(threads=2)
    shop.submit(1, 2)
    shop.pool.submit(3)  # collected, and its turn never ends
    assert shop.pool.close(PATIENCE_SECONDS)
    shop.receive_all()
    assert [job for job, _ in shop.results] == [1, 2, 3]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test-")]


def test_closing_an_idle_pool(make: Made) -> None:
    shop = make(threads=4)
    assert shop.pool.close(PATIENCE_SECONDS)
    assert shop.pool.close(PATIENCE_SECONDS), "twice is harmless"


def test_closing_does_not_wait_for_a_stuck_worker(make: Made) -> None:
    shop = make(threads=2)
    gate = shop.gate(1)
    shop.submit(1)
    gate.wait_until_reached()
    assert not shop.pool.close(0.0)
    assert shop.pool.under_way == 1
    gate.open()


def test_the_threads_have_names(make: Made) -> None:
    make(threads=3)
    names = {thread.name for thread in threading.enumerate()}
    assert {"test-0", "test-1", "test-2"} <= names
