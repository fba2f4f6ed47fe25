"""A reactor as its users see it who have no sockets: workers, logs, the cache's sweeping. Tests give them a loop that
is turned by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    def cancel(self) -> None: ...


class Loop(Protocol):
    """See `net.reactor.Reactor`. All but `clock` and `call_soon_threadsafe` belong to the thread that turns it."""

    now: float
    """The time of this turn, in seconds on `clock`."""

    def clock(self) -> float: ...
    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None: ...
    def call_at_turn_end(self, callback: Callable[[], None]) -> None: ...
    def call_in_lull(self, callback: Callable[[], None]) -> None: ...
    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer: ...
