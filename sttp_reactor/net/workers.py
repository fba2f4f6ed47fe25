"""Functions that may take their time, in other threads: what comes of them is told on the loop.

    pool = WorkerPool(reactor, threads=4)
    pool.run(lambda: Path(name).read_bytes(), on_result=transport.write)

For what blocks (files, names, other people's libraries) or computes for longer than the other connections should wait.
It is a face of `net.pool`, which hands work over in batches and lets those who wait take turns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from sttp_reactor.limits import QUEUED_JOBS
from sttp_reactor.net.loop import Loop
from sttp_reactor.net.pool import Pool

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class _Job(NamedTuple):
    function: Callable[[], Any]
    on_result: Callable[[Any], object]
    on_error: Callable[[Exception], object]
    waiter: object


class _Outcome(NamedTuple):
    result: Any
    error: Exception | None


class WorkerPool:
    """All methods belong to the loop's thread. Several pools may share a loop, each with threads of its own."""

    def __init__(self, loop: Loop, threads: int = 4, *, name: str = "worker", capacity: int = QUEUED_JOBS) -> None:
        """Starts `threads` threads, named `name-0` and so on. `capacity`: functions that may wait or run at a time."""
        self._pool: Pool[_Job, _Outcome] = Pool(
            loop, name, threads, _work, _deliver, _fail, lambda job: job.waiter, capacity=capacity
        )

    @property
    def under_way(self) -> int:
        """Functions that wait, run, or have ended and are not told yet."""
        return self._pool.under_way

    def run(
        self,
        function: Callable[[], Result],
        on_result: Callable[[Result], object],
        on_error: Callable[[Exception], object] | None = None,
        *,
        waiter: object = None,
    ) -> bool:
        """Call `function` in a worker, then on the loop `on_result` with what it returns, or `on_error` with what it
        raises; without `on_error` that is logged. False, and nothing is called, where there is no room.

        `waiter`, anything that can be hashed, says for whom it is, such as a connection: the functions of one waiter
        are begun in their order, and those of several waiters take turns, however many each has.
        """
        return self._pool.submit(_Job(function, on_result, on_error or _log_error, waiter))

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call once, when `run` has room again."""
        self._pool.when_room(callback)

    def close(self, patience: float) -> bool:
        """Run what waits, and end the threads. Waits for at most `patience` seconds; False where one was still busy
        then, which does not keep the process from ending. What has come of it is told if the loop turns once more."""
        return self._pool.close(patience)

    def __repr__(self) -> str:
        return f"<WorkerPool on {self._pool!r}>"


def _work(jobs: Iterator[_Job]) -> Iterable[tuple[_Job, _Outcome]]:
    """In a worker. One that raises must not cost the others of its batch their results."""
    for job in jobs:
        try:
            outcome = _Outcome(job.function(), None)
        except Exception as error:
            outcome = _Outcome(None, error)
        yield job, outcome


def _fail(_job: _Job, error: Exception) -> _Outcome:
    return _Outcome(None, error)


def _deliver(outcomes: list[tuple[_Job, _Outcome]]) -> None:
    """On the loop. A callback that fails is logged and costs nobody else anything."""
    for job, (result, error) in outcomes:
        try:
            if error is None:
                job.on_result(result)
            else:
                job.on_error(error)
        except Exception:
            log.exception("a callback failed on what a worker has brought")


def _log_error(error: Exception) -> None:
    log.error("a function failed in a worker", exc_info=error)
