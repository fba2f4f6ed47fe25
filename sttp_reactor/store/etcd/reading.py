"""A batch of reads as one transaction that only reads: what the cluster holds at one moment, after all of them came.

What is usual, a SHOW of a file and a LIST of a directory, takes one round trip. Where something is not there a second
one looks for the reason, at everything that has to do with it, again at one moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from sttp_reactor.errors import FileMissing, PathMissing, Refused, StoreError, StoreFailed
from sttp_reactor.store.base import AnyRead, Found, Read
from sttp_reactor.store.etcd.answers import Compacted
from sttp_reactor.store.etcd.cluster import Cluster
from sttp_reactor.store.etcd.keys import KeyRange, Keys, parent_of
from sttp_reactor.store.etcd.wording import (
    Json,
    count_of,
    keys_in,
    names,
    newest_in,
    one,
    presence,
    ranges_of,
    revision_of,
    value_in,
)
from sttp_reactor.text import RESERVED_PREFIX, is_contents, is_file_name, is_segment

# Ranges of one transaction; etcd takes 128 by default.
_RANGES: Final = 120
# Ranges that one read may need.
_MOST: Final = 4
# Names of a directory in one answer: 1,000 take 10 ms.
_PAGE: Final = 1000


class Reader:
    """For any number of threads."""

    def __init__(self, cluster: Cluster, keys: Keys, settle: Callable[[int], None] | None = None) -> None:
        """`settle`, where there is one, is called with the revision of the last write that can have been seen, before
        anything of it is given back."""
        self._cluster = cluster
        self._keys = keys
        self._settle = settle

    def read(self, reads: Sequence[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        """See `store.base.Store.read`."""
        unclear: list[AnyRead] = []
        for some in _slices(reads, _RANGES // 2):
            for read, found in self._ask(some, in_full=False):
                if found is None:
                    unclear.append(read)
                else:
                    yield read, found
        for some in _slices(unclear, _RANGES // _MOST):
            for read, found in self._ask(some, in_full=True):
                yield read, StoreFailed("it changes too quickly to be read") if found is None else found

    def _ask(self, reads: Sequence[AnyRead], *, in_full: bool) -> list[tuple[AnyRead, Found | None]]:
        """None for those of which only a look in full will tell."""
        wanted = [self._ranges(read, in_full=in_full) for read in reads]
        try:
            asked = [each for some in wanted for each in some]
            if self._settle is not None:
                asked.append(presence(self._keys.last_write))
            answer = self._cluster.read(asked)
        except StoreFailed as error:
            return [(read, error) for read in reads]
        found = ranges_of(answer)
        if self._settle is not None:
            self._settle(newest_in(found[-1]))
        ranges = iter(found)
        revision = revision_of(answer)
        return [
            (read, self._found(read, [next(ranges) for _ in some], revision))
            for read, some in zip(reads, wanted, strict=True)
        ]

    def _ranges(self, read: Read, *, in_full: bool) -> list[Json]:
        path = read.path.rstrip(b"/")
        file = self._keys.file(path)
        if not path:
            return [names(self._keys.children(path), _PAGE)]
        parent = parent_of(path)
        reasons = [presence(self._keys.directory(parent))] if parent and in_full else []
        if not read.is_list:
            return [one(file)] + ([presence(self._keys.directory(path)), *reasons] if in_full else [])
        directory = [names(self._keys.children(path), _PAGE), presence(self._keys.directory(path))]
        return directory + ([presence(file), *reasons] if in_full else [])

    def _found(self, read: Read, ranges: list[Json], revision: int) -> Found | None:
        if read.is_list:
            return self._found_of_directory(read.path.rstrip(b"/"), ranges, revision)
        value = value_in(ranges[0])
        if value is not None:
            return _contents_of(value)
        if len(ranges) == 1:
            return None
        return Refused("this is a directory; use LIST") if count_of(ranges[1]) else _missing(ranges[2:])

    def _found_of_directory(self, path: bytes, ranges: list[Json], revision: int) -> Found | None:
        if not path or count_of(ranges[1]):
            try:
                return self._names_in(path, ranges[0], revision)
            except Compacted:
                return None
            except StoreFailed as error:
                return error
        if len(ranges) == 2:
            return None
        return Refused("this is a file; use SHOW") if count_of(ranges[2]) else _missing(ranges[3:])

    def _names_in(self, path: bytes, first: Json, revision: int) -> list[bytes]:
        """What LIST shows: the first page is there already, the others are asked for as they were at that moment."""
        children = self._keys.children(path)
        found = keys_in(first)
        page = first
        while page.get("more"):
            rest = KeyRange(found[-1] + b"\0", children.end)
            page = ranges_of(self._cluster.read([names(rest, _PAGE, revision)]))[0]
            found += keys_in(page)
        return _shown([key.removeprefix(children.first) for key in found], at_top=not path)


def _shown(names: list[bytes], *, at_top: bool) -> list[bytes]:
    """Those that a request could name, sorted by their bytes, a directory's `/` not counted. Others may have put keys
    that none could."""
    found = [
        (name.removesuffix(b"/"), name)
        for name in names
        if (is_segment(name[:-1]) if name.endswith(b"/") else is_file_name(name))
        and not (at_top and name.startswith(RESERVED_PREFIX))
    ]
    return [shown for _, shown in sorted(found)]


def _contents_of(value: bytes) -> Found:
    contents = value.removesuffix(b"\n")
    if is_contents(contents):
        return contents
    return StoreFailed("the stored file is not one line of at most 160 characters of UTF-8 text")


def _missing(parent: list[Json]) -> StoreError:
    """Why it is not there; `parent` is what was found of the directory above, nothing for the root."""
    return PathMissing() if parent and not count_of(parent[0]) else FileMissing()


def _slices(reads: Sequence[AnyRead], most: int) -> Iterator[Sequence[AnyRead]]:
    return (reads[at : at + most] for at in range(0, len(reads), most))
