"""Deadlines on a clock that is not ours: a heap, and timers that are cheap to cancel.

Most timeouts never fire: they are there for the peer that stalls. So cancelling only marks a timer, and the heap
forgets it when it comes up; when marked ones outnumber live ones, the heap is rebuilt without them. A timeout that
is merely put off (an idle connection that spoke) is not moved at all: its owner looks, when it fires, at how long
there has really been silence, and sets the rest.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

# With fewer cancelled timers than this, rebuilding the heap would cost more than it saves.
_MIN_CANCELLED = 64
# Fired in one turn. Thousands of connections that fell idle together time out together; closing 5,000 of them in one
# go held the loop for 50 ms.
_MOST_DUE = 512


class Timer:
    """One call to come. `deadline` is on the reactor's clock, in seconds."""

    __slots__ = ("_timers", "callback", "deadline")

    def __init__(self, deadline: float, callback: Callable[[], None], timers: Timers) -> None:
        self.deadline = deadline
        self.callback: Callable[[], None] | None = callback
        self._timers: Timers | None = timers  # None once it is due

    def cancel(self) -> None:
        """Never call back. Harmless when it has fired, or twice."""
        if self.callback is not None:
            self.callback = None  # let go of the owner now, not when the deadline comes
            if self._timers is not None:
                self._timers.forget_one()

    def take(self) -> Callable[[], None] | None:
        """What to call, once; None if it was cancelled."""
        callback, self.callback = self.callback, None
        return callback

    def leave_heap(self) -> None:
        self._timers = None


class Timers:
    """All timers of one reactor. Not thread-safe."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()  # equal deadlines fire in the order they were set
        self._cancelled = 0

    def __len__(self) -> int:
        """Timers that will still fire."""
        return len(self._heap) - self._cancelled

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        timer = Timer(deadline, callback, self)
        heapq.heappush(self._heap, (deadline, next(self._order), timer))
        return timer

    def forget_one(self) -> None:
        self._cancelled += 1
        if self._cancelled > _MIN_CANCELLED and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def next_deadline(self) -> float | None:
        """When the earliest live timer is due, or None."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
            self._cancelled -= 1
        return heap[0][0] if heap else None

    def pop_due(self, now: float) -> list[Timer]:
        """The timers due at `now`, earliest first; of a great many, the first ones. All at once: one that the first
        of them sets is not among them, however early, so none can keep the others waiting by setting itself again.
        One may still cancel another.
        """
        due: list[Timer] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(due) < _MOST_DUE:
            timer = heapq.heappop(heap)[2]
            if timer.callback is None:
                self._cancelled -= 1
            else:
                timer.leave_heap()
                due.append(timer)
        return due
