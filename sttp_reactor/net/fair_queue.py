"""Jobs in the order in which workers take them: in turns between those who wait for them, not first come first served.

A connection that pipelines a hundred dear requests would otherwise have everybody else wait for all of them. Here the
next one of another connection comes after one of them.

Two levels, so that taking a job costs one step of a deque, which is atomic, and no lock. `_next` has the next few jobs
in their final order. Behind it, under the lock, stand the lines: one for each waiter, with its jobs in the order they
came. Whoever takes the last job of `_next` fills it again with one job of each line, the lines that have waited longest
first. While workers keep up, which is nearly always, jobs go straight to `_next` and there are no lines at all.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from sttp_reactor.limits import NEXT_JOBS

Job = TypeVar("Job")


class FairQueue(Generic[Job]):
    """Thread-safe. The jobs of one waiter come out in the order they went in."""

    def __init__(self, waiter_of: Callable[[Job], object]) -> None:
        """`waiter_of(job)` says whose turn the job uses up: anything that can be hashed."""
        self._waiter_of = waiter_of
        self._next: deque[Job] = deque()
        self._lines: OrderedDict[object, deque[Job]] = OrderedDict()  # none is empty
        self._lock = threading.Lock()  # guards _lines, and whether _next may be added to

    def __len__(self) -> int:
        with self._lock:
            return len(self._next) + sum(map(len, self._lines.values()))

    def __bool__(self) -> bool:
        return bool(self._next or self._lines)

    def extend(self, jobs: Sequence[Job]) -> None:
        """Add `jobs`, in the order they came."""
        with self._lock:
            if not self and (len(jobs) == 1 or len(set(map(self._waiter_of, jobs))) == len(jobs)):
                self._next.extend(jobs)  # one of each: they are a fair round as they stand
                return
            for job in jobs:
                self._lines.setdefault(self._waiter_of(job), deque()).append(job)
            if not self._next:
                self._fill()

    def first(self) -> Job | None:
        """The job that is taken next; None where there is none, or where it is being taken in this very moment."""
        try:
            return self._next[0]
        except IndexError:
            return None

    def take(self) -> Job:
        """The next job. Raises IndexError where there is none."""
        job = self._next.popleft()
        if not self._next and self._lines:
            with self._lock:
                if not self._next:  # another worker may have been quicker
                    self._fill()
        return job

    def _fill(self) -> None:
        for _ in range(NEXT_JOBS):
            if not self._lines:
                return
            waiter, line = self._lines.popitem(last=False)
            self._next.append(line.popleft())
            if line:
                self._lines[waiter] = line  # at the end: everybody else comes before its next job
