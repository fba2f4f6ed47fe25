"""What is counted, and adding it up over processes. Nothing here knows of a protocol, or of how it is shown.

Counting costs one addition: a counter is a plain integer with one owner, which only ever adds to it. A sample is made
of it when somebody asks. Where several processes serve together, each publishes its samples on a board in memory that
all of them map, and each can add them up: so any of them answers for all.

The kinds are those of Prometheus, with two that say how a gauge is added up where adding would be nonsense.
"""

from __future__ import annotations

import marshal
import mmap
import struct
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from sttp_reactor.limits import METRICS_BYTES

COUNTER: Final = "counter"
"""How often something has happened so far, or how much of it. It only grows."""
GAUGE: Final = "gauge"
"""How much there is now. The whole of it is the sum over the processes."""
HIGHEST: Final = "highest"
"""A gauge of which the highest of all processes tells, such as a delay."""
LOWEST: Final = "lowest"
"""A gauge of which the lowest of all processes tells, such as the time of a start."""
HISTOGRAM: Final = "histogram"
"""A part of one: `NAME_bucket` with the label `le`, `NAME_sum` or `NAME_count`. All parts only grow."""

_GROWING: Final = frozenset({COUNTER, HISTOGRAM})

Labels = tuple[tuple[str, str], ...]


class Sample(NamedTuple):
    """One value at one moment. Names and units are those of Prometheus: seconds, bytes, `_total` behind a counter.

    Labels have few values, fixed in advance: what a client has chosen, such as a path, is never one.
    """

    name: str
    kind: str
    labels: Labels
    value: float


class Histogram:
    """How many values have been at most as large as each of `bounds`, which are in rising order."""

    def __init__(self, name: str, bounds: Iterable[float], labels: Labels = ()) -> None:
        self.name = name
        self.bounds = tuple(bounds)
        self.labels = labels
        self.sum = 0.0
        self._counts = [0] * (len(self.bounds) + 1)  # by the first bound that is not exceeded; the last exceeds all

    def observe(self, values: Iterable[float]) -> None:
        counts, bounds = self._counts, self.bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
            self.sum += value

    @property
    def count(self) -> int:
        return sum(self._counts)

    def samples(self, at_once: int = 0) -> Iterator[Sample]:
        """`at_once` more have been 0, and were counted elsewhere."""
        so_far = at_once
        for bound, count in zip((*map(repr, self.bounds), "+Inf"), self._counts, strict=True):
            so_far += count
            yield Sample(f"{self.name}_bucket", HISTOGRAM, (*self.labels, ("le", bound)), so_far)
        yield Sample(f"{self.name}_sum", HISTOGRAM, self.labels, self.sum)
        yield Sample(f"{self.name}_count", HISTOGRAM, self.labels, so_far)


def total(samples: Iterable[Sample]) -> list[Sample]:
    """One sample for each name and labels, of all there are: added up, or as their kind wants it."""
    found: dict[tuple[str, Labels], Sample] = {}
    for sample in samples:
        key = sample.name, sample.labels
        other = found.get(key)
        found[key] = sample if other is None else sample._replace(value=_joined(sample.kind, other.value, sample.value))
    return list(found.values())


def _joined(kind: str, one: float, other: float) -> float:
    if kind == HIGHEST:
        return max(one, other)
    return min(one, other) if kind == LOWEST else one + other


class Board:
    """What all processes have published last. Made before forking; each process then takes a place of its own."""

    def __init__(self, places: int) -> None:
        self._memory = mmap.mmap(-1, places * _PLACE_BYTES)  # pages that nobody writes take no memory
        self._places = places

    def place(self, index: int) -> Place:
        return Place(self._memory, index)

    def samples(self) -> list[Sample]:
        """The totals over all processes, as of when each has published."""
        return total(sample for index in range(self._places) for sample in self.place(index).read())

    def close(self) -> None:
        self._memory.close()


# Each place has two pages, so that one can be read, or survives its process, while the other is written.
_PAGE_HEAD: Final = struct.Struct("=qq")  # bytes that follow, and their checksum
_PLACE_BYTES: Final = 8 + 2 * METRICS_BYTES
_ATTEMPTS: Final = 100


class Place:
    """One process's part of a board. `publish` is for that process alone, and for its parent once it is dead."""

    def __init__(self, memory: mmap.mmap, index: int) -> None:
        self._memory = memory
        self._start = index * _PLACE_BYTES
        self._inherited: list[Sample] | None = None  # what processes that had this place before have counted

    def publish(self, samples: Iterable[Sample]) -> None:
        """Everybody sees these from now on, and what former processes in this place have counted is added to them."""
        if self._inherited is None:
            self._inherited = [sample for sample in self.read() if sample.kind in _GROWING]
        self._write(total([*samples, *self._inherited]))

    def retire(self) -> None:
        """The process is dead: what it has counted stays, and what it had is gone."""
        self._write([sample for sample in self.read() if sample.kind in _GROWING])

    def read(self) -> list[Sample]:
        """What has been published last; nothing where nothing has been."""
        for _ in range(_ATTEMPTS):
            content = self._read_page()
            if content is not None:
                return [Sample(*fields) for fields in marshal.loads(content)] if content else []
        return []  # somebody publishes without end

    def _read_page(self) -> bytes | None:
        """None where it was being written over. The checksum tells: nothing else is ordered on every processor."""
        page = self._memory[self._start]
        if not page:
            return b""
        at = self._page_start(page)
        length, checksum = _PAGE_HEAD.unpack_from(self._memory, at)
        at += _PAGE_HEAD.size
        content = self._memory[at : at + max(0, min(length, METRICS_BYTES))]
        return content if content and zlib.crc32(content) == checksum else None

    def _write(self, samples: list[Sample]) -> None:
        content = marshal.dumps([tuple(sample) for sample in samples])
        if len(content) > METRICS_BYTES - _PAGE_HEAD.size:
            return  # far more than there are names for; better old values than none
        page = 1 if self._memory[self._start] == 2 else 2
        at = self._page_start(page)
        self._memory[at + _PAGE_HEAD.size : at + _PAGE_HEAD.size + len(content)] = content
        _PAGE_HEAD.pack_into(self._memory, at, len(content), zlib.crc32(content))
        self._memory[self._start] = page

    def _page_start(self, page: int) -> int:
        return self._start + 8 + (page - 1) * METRICS_BYTES


class Registry:
    """Everybody who counts something in this process; and so whom to ask for the whole, of all processes.

    It belongs to one thread, which is that of the counters' owners.
    """

    def __init__(self, board: Board | None = None, place: Place | None = None) -> None:
        """`board` is what the processes share, `place` this one's part of it; None where it is alone."""
        self._board = board
        self._place = place
        self._sources: list[Callable[[], Iterable[Sample]]] = []

    def add(self, source: Callable[[], Iterable[Sample]]) -> None:
        """`source()` tells what it has by then; it may be called again and again."""
        self._sources.append(source)

    def publish(self) -> None:
        """Let the other processes see what this one has by now."""
        if self._place is not None:
            self._place.publish(self._own())

    def samples(self) -> list[Sample]:
        """The totals over all processes: of this one by now, of the others as they have published them."""
        if self._board is None:
            return total(self._own())
        self.publish()
        return self._board.samples()

    def _own(self) -> list[Sample]:
        return [sample for source in self._sources for sample in source()]
