"""A loop that a test turns by hand, for what needs no sockets: see `net.loop.Loop`."""

from __future__ import annotations

import queue
from collections.abc import Callable

from scripted import PATIENCE_SECONDS, HandClock


class FakeTimer:
    def __init__(self, loop: FakeLoop, entry: tuple[float, Callable[[], None]]) -> None:
        self.entry = entry
        self._loop = loop

    def cancel(self) -> None:
        self._loop.timers = [entry for entry in self._loop.timers if entry is not self.entry]


class FakeLoop:
    """Keeps what it is asked to call, for the test to call."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.now = self.clock.now
        self.turn_end: list[Callable[[], None]] = []
        self.timers: list[tuple[float, Callable[[], None]]] = []
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        self._posted.put(callback)

    def call_in_lull(self, callback: Callable[[], None]) -> None:
        self.turn_end.append(callback)

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(self, (delay, callback))
        self.timers.append(timer.entry)
        return timer

    def end_turn(self) -> None:
        callbacks, self.turn_end = self.turn_end, []
        for callback in callbacks:
            callback()

    def receive(self) -> None:
        """Wait for one call from a worker, and make it."""
        self._posted.get(timeout=PATIENCE_SECONDS)()

    @property
    def has_posted(self) -> bool:
        return not self._posted.empty()

    def fire_timers(self) -> None:
        timers, self.timers = self.timers, []
        for _, callback in timers:
            callback()
