"""Worker threads: the loop collects jobs, workers take them in batches, results come back in batches.

Handing one job to another thread costs more than reading a small file does: a lock, a wake-up, a byte to the waker,
and the interpreter's lock changing hands each time. So jobs are collected until no socket is ready any more, then
handed over together; one worker is woken for all of them, and its results come back in one call. Only when a job has
waited for STUCK_SECONDS, because the disk is slow, are more workers woken.

Who has many jobs there does not hold up who has one: workers take them in turns (`fair_queue`). The jobs of one waiter
are begun in the order they came; where there is one worker, as for writes, all jobs are done one after the other.

What the workers do is a function given at construction; this module knows nothing of files.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from sttp_reactor.limits import BATCH_JOBS, QUEUED_JOBS, STUCK_MOST_SECONDS, STUCK_SECONDS
from sttp_reactor.net.fair_queue import FairQueue
from sttp_reactor.net.loop import Loop, Timer
from sttp_reactor.net.threads import start_deaf

log = logging.getLogger(__name__)

Job = TypeVar("Job")
Result = TypeVar("Result")


class Pool(Generic[Job, Result]):
    """A bounded queue and the threads that empty it. All methods belong to the loop's thread."""

    def __init__(
        self,
        loop: Loop,
        name: str,
        threads: int,
        work: Callable[[Iterator[Job]], Iterable[tuple[Job, Result]]],
        deliver: Callable[[list[tuple[Job, Result]]], None],
        fail: Callable[[Job, Exception], Result],
        waiter_of: Callable[[Job], object],
        *,
        most: int = BATCH_JOBS,
        capacity: int = QUEUED_JOBS,
    ) -> None:
        """`work(jobs)` runs in a worker: it takes jobs from the iterator, `most` at the most, and gives each job's
        result, in any order, best as soon as it has it.

        `deliver(results)` runs in the loop, once a batch. Should `work` raise, or leave a job without a result, each
        job it had taken and not answered gets `fail(job, error)` as its result, and the traceback is logged: a batch
        that goes wrong costs nobody else anything, and the thread lives on. `waiter_of(job)` says who waits for it;
        workers take turns between them.
        """
        self._loop = loop
        self._work = work
        self._deliver = deliver
        self._fail = fail
        self._most = most
        self._capacity = capacity
        self._collected: list[Job] = []  # not handed over yet
        self._queue = FairQueue(waiter_of)
        self._finished: deque[tuple[Job, Result]] = deque()  # workers append, the loop takes
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()  # one item wakes one worker; False ends it
        self._lock = threading.Lock()  # guards _awake, and with it the decision whom to wake
        self._awake = 0
        self._watch_timer: Timer | None = None  # while jobs are under way, where another worker could be woken for them
        self._watch_seconds = STUCK_SECONDS
        self._waiting: deque[Callable[[], None]] = deque()
        self._under_way = 0
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}-{number}", daemon=True) for number in range(threads)
        ]
        for thread in self._threads:
            start_deaf(thread)

    @property
    def has_room(self) -> bool:
        return self._under_way < self._capacity

    @property
    def under_way(self) -> int:
        """Jobs submitted and not delivered yet."""
        return self._under_way

    def submit(self, job: Job) -> bool:
        """Have `job` done; it is handed over in the next lull. False, and nothing done, when there is no room."""
        if self._under_way >= self._capacity:
            return False
        if not self._collected:
            self._loop.call_in_lull(self._hand_over)
        self._collected.append(job)
        self._under_way += 1
        return True

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call once, when the queue has room again."""
        self._waiting.append(callback)

    def close(self, timeout: float) -> bool:
        """End the threads once the queue is empty. False if one was still busy after `timeout` seconds."""
        self._hand_over()
        for _ in self._threads:
            self._bell.put(False)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def __repr__(self) -> str:
        return f"<Pool {len(self._threads)} threads, {self._awake} awake, {self._under_way} jobs under way>"

    # -- In the loop --

    def _hand_over(self) -> None:
        self._queue.extend(self._collected)
        self._collected.clear()
        with self._lock:
            wake = bool(self._queue) and self._awake == 0
            self._awake += wake
        if wake:
            self._bell.put(True)
        if len(self._threads) > 1 and (self._watch_timer is None or self._watch_seconds > STUCK_SECONDS):
            self._watch(STUCK_SECONDS)

    def _watch(self, seconds: float) -> None:
        """Look after `seconds` whether a worker is stuck; sooner, where that was to be looked at later."""
        if self._watch_timer is not None:
            self._watch_timer.cancel()
            self._watch_timer = None
        self._watch_seconds = seconds
        if self._under_way:
            first = self._queue.first()
            self._watch_timer = self._loop.call_later(seconds, lambda: self._look_for_stuck(first))

    def _look_for_stuck(self, first: Job | None) -> None:
        """If the job that was first in the queue still is, the worker that should have taken it is stuck, and whoever
        sleeps is woken. What a worker has done before it got stuck is delivered without the rest of its batch."""
        self._watch_timer = None
        moved = bool(self._finished)
        if first is not None and self._queue.first() is first:
            with self._lock:
                wake = min(len(self._queue), len(self._threads) - self._awake)
                self._awake += wake
            for _ in range(wake):
                self._bell.put(True)
            moved = moved or wake > 0
        elif first is not None or self._queue.first() is not None:
            moved = True
        self._receive()
        if self._watch_timer is None:  # nothing has been handed over meanwhile
            self._watch(STUCK_SECONDS if moved else min(2 * self._watch_seconds, STUCK_MOST_SECONDS))

    def _receive(self) -> None:
        results = [self._finished.popleft() for _ in range(len(self._finished))]
        if not results:
            return
        self._under_way -= len(results)
        self._deliver(results)
        for _ in range(len(self._waiting)):
            if not self.has_room:
                break
            self._waiting.popleft()()

    # -- In a worker --

    def _run(self) -> None:
        while self._bell.get():
            while True:
                self._do_batch()
                with self._lock:
                    if not self._queue:
                        self._awake -= 1
                        break

    def _do_batch(self) -> None:
        taken: list[Job] = []
        answered: list[Job] = []
        try:
            for result in self._work(self._take(taken)):
                self._finished.append(result)
                answered.append(result[0])
            if len(answered) != len(taken):
                raise RuntimeError("some jobs were left without a result")
        except BaseException as error:  # whatever it is, these jobs must be answered and this thread must go on
            log.exception("a job failed")
            if not taken:
                taken += self._take([])  # it could not even begin; were they left in the queue, it would try for ever
            reason = error if isinstance(error, Exception) else RuntimeError(repr(error))
            done = set(map(id, answered))
            self._finished.extend((job, self._fail(job, reason)) for job in taken if id(job) not in done)
        self._loop.call_soon_threadsafe(self._receive)

    def _take(self, taken: list[Job]) -> Iterator[Job]:
        enough = self._loop.clock() + STUCK_SECONDS  # on a slow disk what is done does not wait for the whole batch
        for _ in range(self._most):
            if taken and self._loop.clock() >= enough:
                return
            try:
                job = self._queue.take()
            except IndexError:
                return
            taken.append(job)
            yield job
