"""What one process has answered so far, as samples: plain integers that the loop's thread adds to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Final

from sttp_reactor.limits import DURATION_BOUNDS
from sttp_reactor.metrics import COUNTER, GAUGE, Histogram, Sample
from sttp_reactor.sttp.cache import Cache, CacheStatistics
from sttp_reactor.wire.messages import Action, Status

REQUESTS: Final = "sttp_requests_total"
DURATION: Final = "sttp_request_duration_seconds"
# What the values of the label `status` mean.
STATUS_TEXTS: Final = {str(int(status)): status.text for status in Status}

_WRITES: Final = frozenset(action.word for action in Action if action.is_write)
_STORE_FAILED: Final = (b"500", b"510")

Answers = Counter[tuple[bytes, bytes]]
"""By the action's word and the status's three digits."""


class Counts:
    """Those of the cache are not here: it counts its hits itself, a whole chunk of pipelined requests with one
    addition, and each is a SHOW that was answered 200."""

    def __init__(self) -> None:
        self.of_store: Answers = Counter()
        self.of_sessions: Answers = Counter()
        """Those that never got as far as the store, or the cache; the action is `-` where the line was no request."""
        self.durations = Histogram(DURATION, DURATION_BOUNDS)
        """Seconds, of those that the store has answered: from when it was asked to when the answer was there."""
        self.failed_checkpoints = 0  # the writer's thread adds to it, and nobody else
        self._of_former_caches: list[CacheStatistics] = []

    @property
    def reads(self) -> int:
        """SHOWs and LISTs that the store has answered."""
        return sum(count for (action, _), count in self.of_store.items() if action not in _WRITES)

    @property
    def writes(self) -> int:
        return sum(count for (action, _), count in self.of_store.items() if action in _WRITES)

    def keep_those_of(self, cache: Cache) -> None:
        """It goes; what it has counted must not."""
        former = [*self._of_former_caches, cache.statistics()]
        self._of_former_caches = [CacheStatistics(*map(sum, zip(*former, strict=True)))]

    def samples(self, cache: Cache | None) -> Iterator[Sample]:
        """`cache` is the one in use."""
        statistics = [*self._of_former_caches, *([] if cache is None else [cache.statistics()])]
        hits = sum(each.hits for each in statistics)
        answers = self.of_store + self.of_sessions
        if hits:
            answers[b"SHOW", b"200"] += hits
        for (action, status), count in sorted(answers.items()):
            yield Sample(REQUESTS, COUNTER, (("action", action.decode()), ("status", status.decode())), count)
        # A hit is answered in the turn in which it came.
        yield from self.durations.samples(at_once=hits)
        yield Sample("sttp_cache_hits_total", COUNTER, (), hits)
        for name in ("misses", "evicted", "expired"):
            yield Sample(f"sttp_cache_{name}_total", COUNTER, (), sum(getattr(each, name) for each in statistics))
        files, size = (0, 0) if cache is None else cache.statistics()[:2]
        yield Sample("sttp_cache_files", GAUGE, (), files)
        yield Sample("sttp_cache_bytes", GAUGE, (), size)
        yield from self._failures()

    def _failures(self) -> Iterator[Sample]:
        failed = {"read": 0, "write": 0, "checkpoint": self.failed_checkpoints}
        for (action, status), count in self.of_store.items():
            if status in _STORE_FAILED:
                failed["write" if action in _WRITES else "read"] += count
        for operation, count in failed.items():
            yield Sample("sttp_store_errors_total", COUNTER, (("operation", operation),), count)
