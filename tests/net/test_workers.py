"""A worker pool as users of the library have it: functions in other threads, and what comes of them on the loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from net_support import Net, fail

from sttp_reactor.net import Reactor, WorkerPool


@pytest.fixture
def pool(net: Net) -> Iterator[WorkerPool]:
    pool = WorkerPool(net.reactor, 2, name="test", capacity=10)
    yield pool
    assert pool.close(10)


def test_it_runs_elsewhere_and_tells_here(net: Net, pool: WorkerPool) -> None:
    ran: list[str] = []
    told: list[tuple[str, int]] = []

    def work() -> int:
        ran.append(threading.current_thread().name)
        return 42

    assert pool.run(work, lambda result: told.append((threading.current_thread().name, result)))
    assert pool.under_way == 1
    net.until(lambda: told)
    assert told == [(threading.current_thread().name, 42)]
    assert ran[0].startswith("test-")
    assert pool.under_way == 0


def test_what_it_raises_is_told_or_logged(net: Net, pool: WorkerPool) -> None:
    """And costs the one behind it nothing."""
    told: list[object] = []
    pool.run(fail, told.append, lambda error: told.append(type(error)))
    pool.run(fail, told.append)
    pool.run(lambda: "fine", told.append)
    net.until(lambda: len(told) == 2)
    assert told == [ZeroDivisionError, "fine"]
    net.failures_expected = 1


def test_a_callback_that_fails_costs_nobody_else_anything(net: Net, pool: WorkerPool) -> None:
    told: list[str] = []
    pool.run(lambda: "x", fail)
    pool.run(lambda: "fine", told.append)
    net.until(lambda: told)
    net.failures_expected = 1


def test_one_that_hangs_holds_up_no_other_thread(net: Net, pool: WorkerPool) -> None:
    net.reactor.clock = time.monotonic  # how long one hangs is the workers' matter
    may_end = threading.Event()
    told: list[str] = []
    pool.run(lambda: may_end.wait(20) and "slow", lambda _: told.append("slow"))
    for number in range(3):
        pool.run(lambda number=number: str(number), told.append)  # type: ignore[misc]
    net.until(lambda: len(told) == 3)
    assert told == ["0", "1", "2"]
    may_end.set()
    net.until(lambda: len(told) == 4)


def test_beyond_its_capacity_it_takes_nothing(net: Net, pool: WorkerPool) -> None:
    told: list[int] = []
    may_run = threading.Event()
    for number in range(10):
        assert pool.run(lambda number=number: may_run.wait(20) and number, told.append)  # type: ignore[misc, arg-type]
    assert not pool.run(lambda: 10, told.append)
    has_room: list[bool] = []
    pool.when_room(lambda: has_room.append(pool.run(lambda: 11, told.append)))
    may_run.set()
    net.until(lambda: len(told) == 11)
    assert sorted(told) == [*range(10), 11]
    assert has_room == [True]


def test_those_who_wait_take_turns(net: Net) -> None:
    pool = WorkerPool(net.reactor, 1)
    told: list[str] = []
    for number in range(50):
        pool.run(lambda number=number: f"a{number}", told.append, waiter="a")  # type: ignore[misc]
    pool.run(lambda: "b", told.append, waiter="b")
    net.until(lambda: len(told) == 51)
    assert told.index("b") < 3
    assert [each for each in told if each != "b"] == [f"a{number}" for number in range(50)]
    assert pool.close(10)


def test_closing_runs_what_waits(net: Net) -> None:
    pool = WorkerPool(net.reactor, 2)
    told: list[int] = []
    for number in range(5):
        pool.run(lambda number=number: number, told.append)  # type: ignore[misc]
    assert pool.close(10)
    net.turns(2)
    assert sorted(told) == [0, 1, 2, 3, 4]


def test_a_pool_of_another_threads_reactor() -> None:
    reactor = Reactor()
    told: list[str] = []

    def in_the_thread() -> None:
        pool = WorkerPool(reactor, 1)

        def end(name: str) -> None:
            told.extend([name, threading.current_thread().name])
            pool.close(10)
            reactor.stop()

        pool.run(lambda: threading.current_thread().name, end)
        reactor.run()

    thread = threading.Thread(target=in_the_thread, name="the other")
    thread.start()
    thread.join(20)
    assert told == ["worker-0", "the other"]
    reactor.close()
