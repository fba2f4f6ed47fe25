"""Which processes hang: stopped, or stuck in a call that does not return.

Each process shows in shared memory, by a timer of its reactor, that it turns. The parent looks every WATCH_SECONDS and
adds up for how long it has seen no change. It does not compare clocks: whoever stops all of us together, for a night
or in a debugger, has stopped the parent too, and one look never counts for more than two.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from sttp_reactor.daemon.children import Child
from sttp_reactor.limits import HANG_SECONDS, WATCH_SECONDS
from sttp_reactor.sttp.team import Team

log = logging.getLogger(__name__)


class Watch:
    def __init__(self, team: Team, now: float) -> None:
        """`now` is monotonic, in seconds."""
        self._team = team
        self._looked_at = now
        self._silent: dict[int, tuple[float, float]] = {}  # by pid: the last sign, and for how long there was no other
        self._told: set[int] = set()  # those that a debugger holds

    @property
    def due(self) -> float:
        return self._looked_at + WATCH_SECONDS

    def hung(self, children: Iterable[Child], now: float) -> Iterator[Child]:
        """Those that have not turned for HANG_SECONDS, but for those that a debugger holds."""
        elapsed, self._looked_at = min(now - self._looked_at, 2 * WATCH_SECONDS), now
        before, self._silent = self._silent, {}
        for child in children:
            sign = self._team.last_beat_of(child.index)
            last, silent = before.get(child.pid, (None, 0.0))
            silent = silent + elapsed if sign == last else 0.0
            self._silent[child.pid] = (sign, silent)
            if silent < HANG_SECONDS:
                self._told.discard(child.pid)
            elif not _is_traced(child.pid):
                yield child
            elif child.pid not in self._told:
                self._told.add(child.pid)
                log.warning("process %d has not turned for %.0f s; a debugger holds it", child.index, silent)


def _is_traced(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            return any(line.startswith(b"TracerPid:") and line.split()[1] != b"0" for line in file)
    except OSError:  # not Linux, or just gone
        return False
