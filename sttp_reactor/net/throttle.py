"""What happens again and again: it is counted always, and logged once a minute at the most, with its count.

A server that is too full, or whose peers are too slow, must not fill its disk with saying so. What happens for the
first time is logged at once; what of the same kind and cause follows is summed up when the minute is over, and then the
next minute begins; a minute in which nothing happened ends the matter.

A kind is what is counted, such as "a 500 was answered". Causes are what must not hide each other in the log: a disk
that is full and a directory that may not be read are both a 500, and an operator has to learn of either. There may be
many causes, and a client may have had a hand in them (a directory's name), so only the first few of each kind have a
line of their own; the others share one.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Hashable
from typing import Final, Protocol

from sttp_reactor.limits import LOG_AGAIN_CAUSES, LOG_AGAIN_SECONDS
from sttp_reactor.net.loop import Loop, Timer


class Warn(Protocol):
    """`Throttle.warn`, or what stands in for it."""

    def __call__(self, kind: str, message: str, *arguments: object, cause: Hashable = "") -> None: ...


# Stands for all causes of a kind that has too many for each to be counted by itself. No real cause is equal to it.
_OTHERS: Final = object()


class _Untold:
    """What has happened in the minute that is running, and has not been logged."""

    __slots__ = ("message", "timer", "times")

    def __init__(self, timer: Timer) -> None:
        self.timer = timer
        self.times = 0
        self.message = ""  # the latest


class Throttle:
    """Belongs to the loop's thread. A kind is a name from a small set, never what a client has chosen: each is kept.

    `totals` tells how often each kind has happened so far, logged or not.
    """

    def __init__(self, loop: Loop, log: logging.Logger, seconds: float = LOG_AGAIN_SECONDS) -> None:
        self.totals: Counter[str] = Counter()
        self._loop = loop
        self._log = log
        self._seconds = seconds
        self._untold: dict[tuple[str, Hashable], _Untold] = {}
        self._causes: Counter[str] = Counter()  # how many entries of `_untold` each kind has

    def count(self, kind: str) -> None:
        """It has happened, and is not worth a line."""
        self.totals[kind] += 1

    def warn(self, kind: str, message: str, *arguments: object, cause: Hashable = "") -> None:
        """Count it, and log it as a warning; `message` and `arguments` are those of `logging`.

        What differs in its `cause` has lines of its own, for as many causes as LOG_AGAIN_CAUSES.
        """
        self.totals[kind] += 1
        key = (kind, cause)
        if key not in self._untold and self._causes[kind] >= LOG_AGAIN_CAUSES:
            key = (kind, _OTHERS)
        untold = self._untold.get(key)
        if untold is None:
            self._log.warning(message, *arguments)
            self._begin_minute(key)
        else:
            untold.times += 1
            untold.message = message % arguments if arguments else message

    def close(self) -> None:
        """Log what has been counted and not told: this minute will not be over. It may be used again."""
        for key, untold in list(self._untold.items()):
            untold.timer.cancel()
            self._tell(key)

    def _begin_minute(self, key: tuple[str, Hashable]) -> None:
        self._untold[key] = _Untold(self._loop.call_later(self._seconds, lambda: self._end_minute(key)))
        self._causes[key[0]] += 1

    def _end_minute(self, key: tuple[str, Hashable]) -> None:
        if self._tell(key):
            self._begin_minute(key)

    def _tell(self, key: tuple[str, Hashable]) -> bool:
        untold = self._untold.pop(key)
        self._causes[key[0]] -= 1
        if untold.times:
            what = "more like it, of several causes," if key[1] is _OTHERS else "more times"
            self._log.warning("%s (%d %s within %g s)", untold.message, untold.times, what, self._seconds)
        return untold.times > 0


def unthrottled(log: logging.Logger) -> Warn:
    """For who has no throttle: each is logged."""

    def warn(kind: str, message: str, *arguments: object, cause: Hashable = "") -> None:
        log.warning(message, *arguments)

    return warn
