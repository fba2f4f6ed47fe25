"""How long each phase of a reactor's turn takes, for somebody who watches it: see `Reactor.observer`."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

log = logging.getLogger(__name__)

# What an observer is told of, in the order of a turn.
PHASES: Final = ("lull", "wait", "sockets", "inbox", "timers", "ready", "turn end", "flush")

Observer = Callable[[str, float], None]


class Stopwatch:
    """Times one turn."""

    __slots__ = ("_clock", "_forget", "_mark", "_observer")

    def __init__(self, clock: Callable[[], float], observer: Observer, forget: Callable[[], None]) -> None:
        """Starts. An observer that raises is logged and told no more, and `forget` is called: one that fails would
        otherwise fail eight times a turn, and fill the log."""
        self._clock = clock
        self._observer: Observer | None = observer
        self._forget = forget
        self._mark = clock()

    def lap(self, phase: str) -> None:
        """`phase` has ended, and the next one begins."""
        if self._observer is None:
            return
        before, self._mark = self._mark, self._clock()
        try:
            self._observer(phase, self._mark - before)
        except Exception:
            log.exception("the observer failed, and is told no more")
            self._observer = None
            self._forget()
