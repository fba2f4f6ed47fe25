"""A store without a disk: for tests, and for programs that embed the server and keep nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

from sttp_reactor.errors import CannotCreatePath, FileMissing, PathMissing, Refused, StoreError
from sttp_reactor.metrics import Sample
from sttp_reactor.store.base import AnyRead, Found, OnChange, Operation, Write
from sttp_reactor.store.disk.tree import split


class MemoryStore:
    """Implements `store.base.Store`, for any number of threads. What it holds lives as long as the object, whether
    opened and closed or not; there is nothing that could fail, so it never answers 500."""

    is_telling = True
    barrier = None

    def __init__(self) -> None:
        # Each directory's entries by name: a file's contents, or None for a directory, which is a key here itself.
        self._directories: dict[bytes, dict[bytes, bytes | None]] = {b"/": {}}
        self._lock = threading.Lock()

    def open(self, on_change: OnChange | None = None) -> None:
        pass

    def close(self) -> None:
        pass

    def samples(self) -> Iterable[Sample]:
        return ()

    def checkpoint(self) -> None:
        pass

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        for read in reads:
            found: Found
            try:
                with self._lock:
                    found = self._list(read.path) if read.is_list else self._show(read.path)
            except StoreError as error:
                found = error
            yield read, found

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        outcomes: list[StoreError | None] = []
        with self._lock:
            for write in writes:
                try:
                    self._carry_out(write)
                    outcomes.append(None)
                except StoreError as error:
                    outcomes.append(error)
        return outcomes

    def _carry_out(self, write: Write) -> None:
        directory, name = split(write.path)
        if write.operation is Operation.CREATE:
            entries = self._make_directory(directory)
            if name in entries:
                raise Refused("this is a directory" if entries[name] is None else "it exists already; use UPDATE")
        else:
            entries = _entries(self._directories, directory)
            if name not in entries:
                raise FileMissing
            if entries[name] is None:
                raise Refused(f"this is a directory; {write.operation.name} takes a file")
        if write.contents is None:
            del entries[name]
        else:
            entries[name] = write.contents

    def _make_directory(self, path: bytes) -> dict[bytes, bytes | None]:
        at = b"/"
        for segment in path.split(b"/")[1:-1]:
            entries = self._directories[at]
            if entries.setdefault(segment, None) is not None:
                raise CannotCreatePath  # a file is in the way
            at += segment + b"/"
            self._directories.setdefault(at, {})
        return self._directories[at]

    def _show(self, path: bytes) -> bytes:
        directory, name = split(path)
        entries = _entries(self._directories, directory)
        if name not in entries:
            raise FileMissing
        contents = entries[name]
        if contents is None:
            raise Refused("this is a directory; use LIST")
        return contents

    def _list(self, path: bytes) -> list[bytes]:
        path = path if path.endswith(b"/") else path + b"/"
        if path not in self._directories:
            directory, name = split(path[:-1])
            if name in _entries(self._directories, directory):
                raise Refused("this is a file; use SHOW")
            raise FileMissing
        entries = sorted(self._directories[path].items())
        return [name + b"/" if contents is None else name for name, contents in entries]


def _entries(directories: dict[bytes, dict[bytes, bytes | None]], path: bytes) -> dict[bytes, bytes | None]:
    try:
        return directories[path]
    except KeyError:
        raise PathMissing from None
