"""Limits that are hit: each is counted always, and logged once a minute at the most, with its count.

A server that is too full, or whose peers are too slow, must not fill its disk with saying so. What happens for the
first time is logged at once; what of the same kind follows is summed up when the minute is over, and then the next
minute begins; a minute in which nothing happened ends the matter.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import Protocol

from sttp_reactor.limits import LOG_AGAIN_SECONDS


class _Timer(Protocol):
    def cancel(self) -> None: ...


class _Loop(Protocol):
    def call_later(self, delay: float, callback: Callable[[], None]) -> _Timer: ...


class _Untold:
    """What has happened in the minute that is running, and has not been logged."""

    __slots__ = ("message", "timer", "times")

    def __init__(self, timer: _Timer) -> None:
        self.timer = timer
        self.times = 0
        self.message = ""  # the latest


class Throttle:
    """Belongs to the loop's thread. A kind is a name from a small set, never what a client has chosen: each is kept.

    `totals` tells how often each kind has happened so far, logged or not.
    """

    def __init__(self, loop: _Loop, log: logging.Logger, seconds: float = LOG_AGAIN_SECONDS) -> None:
        self.totals: Counter[str] = Counter()
        self._loop = loop
        self._log = log
        self._seconds = seconds
        self._untold: dict[str, _Untold] = {}

    def count(self, kind: str) -> None:
        """It has happened, and is not worth a line."""
        self.totals[kind] += 1

    def warn(self, kind: str, message: str, *arguments: object) -> None:
        """Count it, and log it as a warning; `message` and `arguments` are those of `logging`."""
        self.totals[kind] += 1
        untold = self._untold.get(kind)
        if untold is None:
            self._log.warning(message, *arguments)
            self._begin_minute(kind)
        else:
            untold.times += 1
            untold.message = message % arguments if arguments else message

    def close(self) -> None:
        """Log what has been counted and not told: this minute will not be over. It may be used again."""
        for kind, untold in list(self._untold.items()):
            untold.timer.cancel()
            self._tell(kind)

    def _begin_minute(self, kind: str) -> None:
        self._untold[kind] = _Untold(self._loop.call_later(self._seconds, lambda: self._end_minute(kind)))

    def _end_minute(self, kind: str) -> None:
        if self._tell(kind):
            self._begin_minute(kind)

    def _tell(self, kind: str) -> bool:
        untold = self._untold.pop(kind)
        if untold.times:
            self._log.warning("%s (%d more times within %g s)", untold.message, untold.times, self._seconds)
        return untold.times > 0
