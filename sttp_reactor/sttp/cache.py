"""The cache: ready-made replies by request line, least recently used first to go, none older than `expiration`.

A key is a whole request line, line end included (`SHOW /a` LF), and an entry is the whole reply: so a request that
hits is answered by looking up the very bytes that arrived, and a chunk of pipelined ones by looking up its lines.
Nothing is parsed, and nothing is encoded.

Two orders are kept: `_replies` by last use, for eviction, and `_deadlines` by deadline, for expiry; both drop from
the front. The earliest deadline guards every quick answer: while the clock is short of it nothing at all has expired,
and no entry needs a look of its own.

One lock guards every change; it is held for a few lookups at a time and no callback is called under it. The hot path
takes none: it is made of single steps of the dictionaries, each of them atomic, and in their order no other thread's
change between two of them does harm.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sttp_reactor.limits import (
    CACHE_BYTES,
    CACHE_EXPIRATION,
    CACHE_FILES,
    CHUNK_LINES,
    LONGEST_MAX_LINE,
    SWEEP_GLANCE,
)


class CacheStatistics(NamedTuple):
    files: int
    bytes: int
    hits: int
    misses: int
    evicted: int
    expired: int


class Cache:
    """Thread-safe. `expiration` and the clock are in seconds; the sizes counted are those of the replies."""

    def __init__(
        self,
        max_files: int = CACHE_FILES,
        max_bytes: int = CACHE_BYTES,
        expiration: float = CACHE_EXPIRATION,
        clock: Callable[[], float] = time.monotonic,
        *,
        longest_key: int = LONGEST_MAX_LINE,
    ) -> None:
        """What is under a key longer than `longest_key` bytes is not kept: a hit is answered before anybody looks how
        long the line may be."""
        self._longest_key = longest_key
        self._max_files = max_files
        self._max_bytes = max_bytes
        self._expiration = expiration
        self._clock = clock
        self._lock = threading.Lock()
        self._replies: OrderedDict[bytes, bytes] = OrderedDict()
        self._deadlines: OrderedDict[bytes, float] = OrderedDict()
        self._keys: dict[int, bytes] = {}  # by their hash: how another process names what is to be dropped
        self._earliest = math.inf  # no entry's deadline comes before this
        self._bytes = 0
        self._hits = self._misses = self._evicted = self._expired = 0

    def replies_to(self, chunk: bytes, now: float) -> bytes | None:
        """The joined replies to a chunk of whole request lines, or None unless every line of it is a hit.

        This is the hot path: two lookups a line, at the speed of C. Not even the clock is read, which would cost
        0.15 us a request, nor the lock taken, 0.2 us: `now`, on this cache's clock, may be as old as the loop's turn.
        None promises nothing about the single lines; `get` looks at each.
        """
        if now >= self._earliest and self.sweep(SWEEP_GLANCE) <= now:
            return None  # more has expired than can be dropped in passing
        replies = self._replies
        try:
            reply = replies.get(chunk)
            if reply is not None:
                replies.move_to_end(chunk)
                self._hits += 1  # may miss one where threads meet here
                return reply
            lines = chunk.splitlines(True)  # also cuts at a CR; such pieces are no keys, and a miss is always safe
            if not 1 < len(lines) <= CHUNK_LINES:
                return None
            joined = b"".join(map(replies.__getitem__, lines))
            any(map(replies.move_to_end, lines))  # each gives None, so `any` runs them all; a loop costs twice it
        except KeyError:
            return None  # not there, or gone since it was looked up
        self._hits += len(lines)
        return joined

    def has(self, chunk: bytes) -> bool:
        """Whether replies to all lines of a chunk are there, be they too old or not. It counts as no use of them."""
        replies = self._replies
        if chunk in replies:
            return True
        lines = chunk.splitlines(True)
        return 1 < len(lines) <= CHUNK_LINES and all(line in replies for line in lines)

    def get(self, key: bytes) -> bytes | None:
        """The reply to one request line, or None."""
        with self._lock:
            reply = self._replies.get(key)
            if reply is None or self._clock() >= self._deadlines[key]:
                self._misses += 1
                return None
            self._replies.move_to_end(key)
            self._hits += 1
            return reply

    def put(self, key: bytes, reply: bytes, read_at: float) -> None:
        """Keep `reply`, which the store gave to a read begun at `read_at` (this cache's clock)."""
        with self._lock:
            # At most one of these is in the cache. A key of the same hash has to go, too: `_keys` holds one key for
            # each hash, so `drop_hashed` would no longer find the other one, and it could grow untrue.
            for previous in {key, self._keys.get(hash(key), key)}:
                if previous in self._replies:
                    self._remove(previous)
            if len(reply) > self._max_bytes or len(key) > self._longest_key:
                return
            deadline = read_at + self._expiration
            self._replies[key] = reply
            self._keys[hash(key)] = key
            self._bytes += len(reply)
            self._insert_deadline(key, deadline)
            self._evict()

    def drop(self, key: bytes) -> None:
        """Forget one entry, if it is there: its file has changed."""
        with self._lock:
            if key in self._replies:
                self._remove(key)

    def drop_hashed(self, hashes: Iterable[int]) -> None:
        """Forget the entries whose keys have these hashes, as `hash` gives them."""
        with self._lock:
            for key in [self._keys[each] for each in hashes if each in self._keys]:
                self._remove(key)

    def clear(self) -> None:
        with self._lock:
            self._replies.clear()
            self._keys.clear()
            self._deadlines.clear()
            self._earliest = math.inf
            self._bytes = 0

    def set_limits(
        self, max_files: int, max_bytes: int, expiration: float, *, longest_key: int = LONGEST_MAX_LINE
    ) -> None:
        """Go on with other limits. What exceeds them goes at once, and what is here is as old as it was: each deadline
        moves by as much as `expiration` does. That takes a fraction of a microsecond for each entry, under the lock."""
        with self._lock:
            later = expiration - self._expiration
            self._max_files, self._max_bytes, self._expiration = max_files, max_bytes, expiration
            if longest_key < self._longest_key:
                for key in [key for key in self._replies if len(key) > longest_key]:
                    self._remove(key)
            self._longest_key = longest_key
            if later:
                for key in self._deadlines:
                    self._deadlines[key] += later
                self._earliest += later
            self._evict()

    def sweep(self, most: int) -> float:
        """Drop expired entries, `most` at a time. Returns when to sweep next, on this cache's clock: a time already
        past when some are left, infinity when the cache is empty."""
        with self._lock:
            return self._expire(most, self._clock())

    def statistics(self) -> CacheStatistics:
        with self._lock:
            return CacheStatistics(
                len(self._replies), self._bytes, self._hits, self._misses, self._evicted, self._expired
            )

    # -- Under the lock --

    def _evict(self) -> None:
        while len(self._replies) > self._max_files or self._bytes > self._max_bytes:
            self._remove(next(iter(self._replies)))
            self._evicted += 1

    def _expire(self, most: int, now: float) -> float:
        for _ in range(most):
            key, deadline = next(iter(self._deadlines.items()), (b"", math.inf))
            if deadline > now:
                break
            self._remove(key)
            self._expired += 1
        self._earliest = next(iter(self._deadlines.values()), math.inf)
        return self._earliest

    def _insert_deadline(self, key: bytes, deadline: float) -> None:
        if not self._deadlines:
            self._deadlines[key] = self._earliest = deadline
        elif deadline >= self._deadlines[next(reversed(self._deadlines))]:
            self._deadlines[key] = deadline
        else:
            # A slow read, begun before one that is already here. There is no cheap way into the middle, so it goes to
            # the front and takes the front's deadline where its own is later: expiring early is always allowed.
            self._earliest = min(deadline, next(iter(self._deadlines.values())))
            self._deadlines[key] = self._earliest
            self._deadlines.move_to_end(key, last=False)

    def _remove(self, key: bytes) -> None:
        self._bytes -= len(self._replies.pop(key))
        del self._keys[hash(key)]
        # `_earliest` may now be earlier than need be. That is safe, and the next sweep puts it right.
        del self._deadlines[key]
