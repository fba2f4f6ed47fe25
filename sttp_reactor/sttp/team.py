"""What the processes of one server share: who has how many connections, who is alive, and which files are changing.

Each process has its own cache. What keeps them coherent is one ring of announcements per process, in memory that all
of them map. Everybody looks at the rings' positions before an answer from the cache: when none has moved, which is
nearly always and takes 0.1 us for a whole chunk of requests, everything cached is true.

PROTOCOL.md section 2 asks for more than that a change is known everywhere once it is acknowledged: what one client has
been shown, every later request sees, in whatever process. A change can be shown as soon as it is in the file, which
is before it is acknowledged. So it is announced twice:

1. `begin`: before the store is asked, whoever changes files puts the hashes of their cache keys into its ring. From
   then on these files are *unsettled*, and everybody who looks at the rings forgets what is cached of them, lets
   nobody join a read of them that may have looked at the file already, and keeps what such reads bring out of the
   cache. All go to the file, which is either old or new for all of them.
2. `settle`: once the store is done with them, and before they are acknowledged, its word `settled` is set to the
   position of its ring. Only reads that begin after that are cached again.

So a cached text has been read while its file was settled, and no change of it has begun since: it is what the file
holds. There is no moment in which one process shows the new text and another the old one from its cache. A read that
began before `begin` and ends after it is caught by the position, which has moved by then.

A process that is killed in between leaves its files unsettled, which is right: what its change has come to is only
known when somebody takes the journal's next turn and recovers. Its successor, which has the same ring, does so and
settles them (`settle_inherited`). What a recovery changes beyond that is announced by `announce`.

A ring is written under a lock of its process, by nobody else. An entry is two words, the hash and a check of it that
depends on its place in the sequence: whoever sees a position before the entry that belongs to it, as processors with
weak ordering (ARM) allow, or an entry that is being written over, sees that the two do not fit; then everything is
forgotten, and nothing is cached until that ring is settled. The same holds for who has fallen behind by more than a
ring. Hashes of bytes agree because the processes are forked from one parent.

Layout, in signed 64-bit words, which is what `hash` gives: positions of all rings, what of them is settled, connection
counts, signs of life (in milliseconds), then the rings.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Collection
from typing import Final

from sttp_reactor.limits import TEAM_RING_ENTRIES
from sttp_reactor.metrics import Board

_WORD_BYTES: Final = 8
_ENTRY_WORDS: Final = 2
_RING_WORDS: Final = _ENTRY_WORDS * TEAM_RING_ENTRIES


class Team:
    """Made before forking; each process then takes its own `member`. One ring more than processes: the parent's."""

    def __init__(self, processes: int) -> None:
        self.size = processes + 1
        words = self.size * (4 + _RING_WORDS)
        self._memory = mmap.mmap(-1, words * _WORD_BYTES)
        self.words = memoryview(self._memory).cast("q")
        self.board = Board(self.size)

    def member(self, index: int) -> Member:
        """The view of process `index`; the parent's is -1."""
        return Member(self, index % self.size)

    def last_beat_of(self, index: int) -> float:
        """When process `index` last showed a sign of life, as `Member.beat` was told; 0 where none ever has."""
        return self.words[3 * self.size + index] / 1000

    def close(self) -> None:
        self.words.release()
        self._memory.close()
        self.board.close()


class Member:
    """One process's view. It belongs to that process's reactor thread, but for what says that any thread may call."""

    def __init__(self, team: Team, index: int) -> None:
        self.board = team.board
        self.place = team.board.place(index)
        self._words = team.words
        self._size = team.size
        self._index = index
        self._positions = team.words[: team.size]
        self._settled = team.words[team.size : 2 * team.size]
        self._seen = self._positions.tolist()
        self._lock = threading.Lock()
        self._changes_under_way = 0
        # Whoever was killed in this place may have begun what only a recovery will end.
        self._has_inherited = self._settled[index] != self._positions[index]
        # By ring: the position up to which its entries were seen, and the hashes of those that were not settled then;
        # None for "all there are".
        self.unsettled: dict[int, tuple[int, frozenset[int] | None]] = {}
        for ring, position in enumerate(self._seen):
            self._note_unsettled(ring, position)

    # -- Connections --

    def set_connections(self, count: int) -> None:
        self._words[2 * self._size + self._index] = count

    def forget_connections_of(self, index: int) -> None:
        """The parent's: process `index` has died, and its connections with it. What it has counted stays counted."""
        self.board.place(index).retire()
        self._words[2 * self._size + index] = 0

    @property
    def connections(self) -> int:
        """Of all processes together. Each counts its own, so a burst may overshoot a limit by one for each process."""
        return sum(self._words[2 * self._size : 3 * self._size])

    # -- Signs of life --

    def beat(self, now: float) -> None:
        """We are alive at `now`, in seconds on the clock that all processes share (monotonic)."""
        self._words[3 * self._size + self._index] = int(now * 1000)

    # -- Changes --

    def begin(self, keys: Collection[bytes]) -> None:
        """What is cached under these keys, by anybody, is no longer to be shown, and not to be cached again before
        `settle`. Called before the files are touched; any thread may call it."""
        with self._lock:
            self._changes_under_way += 1
            self._append(keys)

    def settle(self) -> None:
        """The store is done with what `begin` announced, whatever came of it. Called before anything of it is
        acknowledged; any thread may call it."""
        with self._lock:
            self._changes_under_way -= 1
            self._maybe_settle()

    def announce(self, keys: Collection[bytes] | None) -> None:
        """These have changed, nobody knows when; None for "anything may have". Any thread may call it."""
        with self._lock:
            if keys is None or len(keys) >= TEAM_RING_ENTRIES:
                self._positions[self._index] += TEAM_RING_ENTRIES + 1
            else:
                self._append(keys)
            self._maybe_settle()

    @property
    def has_inherited(self) -> bool:
        """Whether whoever had this place before us was killed amid changes. They stay unsettled until somebody has
        recovered the store and calls `settle_inherited`."""
        return self._has_inherited

    def settle_inherited(self) -> None:
        """The store has been recovered. Any thread may call it."""
        with self._lock:
            self._has_inherited = False
            self._maybe_settle()

    @property
    def has_news(self) -> bool:
        return self._positions.tolist() != self._seen

    def news(self) -> set[int] | None:
        """The hashes of the keys announced since the last call, by ourselves too; None for "everything"."""
        announced: set[int] = set()
        complete = True
        for ring, position in enumerate(self._positions.tolist()):
            seen = self._seen[ring]
            if position != seen:
                entries = self._entries(ring, seen, position)
                if entries is None:
                    complete = False
                else:
                    announced |= entries
                self._seen[ring] = position
                self._note_unsettled(ring, position)
        return announced if complete else None

    def is_settled(self, key: bytes) -> bool:
        """Whether no change of it that `news` has told of is under way. Always so where `unsettled` is empty."""
        name = hash(key)
        for ring, (position, names) in list(self.unsettled.items()):
            if self._settled[ring] >= position:
                del self.unsettled[ring]
            elif names is None or name in names:
                return False
        return True

    # -- Within --

    def _append(self, keys: Collection[bytes]) -> None:
        before = self._positions[self._index]
        ring = self._ring(self._index)
        for position, key in enumerate(keys, before + 1):
            at = ring + _ENTRY_WORDS * (position % TEAM_RING_ENTRIES)
            name = hash(key)
            self._words[at] = name
            self._words[at + 1] = name ^ position
        # After the entries, all at once: who sees it looks for them.
        self._positions[self._index] = before + len(keys)

    def _maybe_settle(self) -> None:
        if not self._changes_under_way and not self._has_inherited:
            self._settled[self._index] = self._positions[self._index]

    def _note_unsettled(self, ring: int, position: int) -> None:
        # What is settled may have moved since `position` was read; then it is only later that this is found out.
        settled = self._settled[ring]
        if settled < position:
            entries = self._entries(ring, settled, position)
            self.unsettled[ring] = (position, None if entries is None else frozenset(entries))
        else:
            self.unsettled.pop(ring, None)

    def _entries(self, ring: int, begin: int, end: int) -> set[int] | None:
        """The hashes announced there behind position `begin`, up to `end`; None where they are not all to be had."""
        if end - begin > TEAM_RING_ENTRIES:
            return None
        first = self._ring(ring)
        names: set[int] = set()
        for position in range(begin + 1, end + 1):
            at = first + _ENTRY_WORDS * (position % TEAM_RING_ENTRIES)
            name = self._words[at]
            # Not there yet, or written over already: by a later one, which has another number.
            if self._words[at + 1] != name ^ position:
                return None
            names.add(name)
        return names

    def _ring(self, index: int) -> int:
        return 4 * self._size + index * _RING_WORDS
