"""What a reactor and those who use it are to each other, as types.

`Loop` is a reactor as its users see it who have no sockets: workers, logs, the cache's sweeping. Tests give them a loop
that is turned by hand. The others are what a reactor asks of those who have sockets.
"""

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


class Pollable(Protocol):
    """A socket, or the end of a pipe."""

    def fileno(self) -> int: ...


class Handler(Protocol):
    """What is registered with a socket. Called for a closed socket's last events too; then it does nothing."""

    def on_readable(self) -> None: ...
    def on_writable(self) -> None: ...


class Flushable(Protocol):
    """What may stand in `Reactor.unsent`."""

    def flush(self) -> None: ...
