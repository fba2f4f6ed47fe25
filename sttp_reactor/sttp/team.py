"""What the processes of one server share: who has how many connections, and which files have changed.

Each process has its own cache. What keeps them coherent is one ring of announcements per process, in memory that all
of them map: whoever has changed a file puts the hash of its cache key into its own ring, before the change is
acknowledged. Everybody looks at the rings' positions before an answer from the cache: when none has moved, which is
nearly always and takes 0.1 us for a whole chunk of requests, everything cached is true. When one has, its new entries
say what to forget; who has fallen behind by more than a ring forgets everything.

A ring is written by its owner alone, entry first and position after, so that nothing needs a lock. A request that was
sent after a change was acknowledged arrives after the position was written: PROTOCOL.md section 2 holds across
processes as it does within one. Hashes of bytes agree because the processes are forked from one parent.

Layout, in signed 64-bit words, which is what `hash` gives: positions of all rings, connection counts, signs of life
(in milliseconds), then the rings.
"""

from __future__ import annotations

import mmap
from typing import Final

from sttp_reactor.limits import TEAM_RING_ENTRIES

_WORD_BYTES: Final = 8


class Team:
    """Made before forking; each process then takes its own `member`. One ring more than processes: the parent's."""

    def __init__(self, processes: int) -> None:
        self.size = processes + 1
        words = self.size * (3 + TEAM_RING_ENTRIES)
        self._memory = mmap.mmap(-1, words * _WORD_BYTES)
        self.words = memoryview(self._memory).cast("q")

    def member(self, index: int) -> Member:
        """The view of process `index`; the parent's is -1."""
        return Member(self, index % self.size)

    def close(self) -> None:
        self.words.release()
        self._memory.close()


class Member:
    """One process's view. It belongs to that process's reactor thread."""

    def __init__(self, team: Team, index: int) -> None:
        self._words = team.words
        self._size = team.size
        self._index = index
        self._positions = team.words[: team.size]
        self._seen = self._positions.tolist()

    # -- Connections --

    def set_connections(self, count: int) -> None:
        self._words[self._size + self._index] = count

    def forget_connections_of(self, index: int) -> None:
        """The parent's: process `index` has died, and its connections with it."""
        self._words[self._size + index] = 0

    @property
    def connections(self) -> int:
        """Of all processes together. Each counts its own, so a burst may overshoot a limit by one for each process."""
        return sum(self._words[self._size : 2 * self._size])

    # -- Signs of life --

    def beat(self, now: float) -> None:
        """We are alive at `now`, in seconds on the clock that all processes share (monotonic)."""
        self._words[2 * self._size + self._index] = int(now * 1000)

    @property
    def last_beat(self) -> float:
        """When this member last was; 0 before it has ever been."""
        return self._words[2 * self._size + self._index] / 1000

    # -- Changes --

    def announce(self, key: bytes) -> None:
        """What is cached under `key` is no longer true, for anybody. Called before the change is acknowledged."""
        position = self._positions[self._index]
        self._words[self._ring(self._index) + position % TEAM_RING_ENTRIES] = hash(key)
        self._positions[self._index] = self._seen[self._index] = position + 1

    def announce_everything(self) -> None:
        """Nobody knows what has changed: a process has died."""
        self._positions[self._index] += TEAM_RING_ENTRIES + 1

    @property
    def has_news(self) -> bool:
        return self._positions.tolist() != self._seen

    def news(self) -> set[int] | None:
        """The hashes of the keys announced by the others since the last call; None for "everything"."""
        announced: set[int] = set()
        complete = True
        for index, position in enumerate(self._positions.tolist()):
            ring = self._ring(index)
            for entry in range(max(self._seen[index], position - TEAM_RING_ENTRIES), position):
                announced.add(self._words[ring + entry % TEAM_RING_ENTRIES])
            # Looked at again after reading: what the owner has written over meanwhile was not what it seemed. A full
            # ring is one too many, because the owner writes an entry before it says so.
            if self._positions[index] - self._seen[index] >= TEAM_RING_ENTRIES:
                complete = False
            self._seen[index] = position
        return announced if complete else None

    def _ring(self, index: int) -> int:
        return 3 * self._size + index * TEAM_RING_ENTRIES
