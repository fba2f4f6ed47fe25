"""The contract of a store: what a worker asks, and how it is answered.

Reads come in batches so that one batch can share what it has looked up; writes come in batches so that one batch can
share one sync. A batch's operations are from different requests: each succeeds or fails alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

from sttp_reactor.errors import StoreError


class Operation(enum.Enum):
    CREATE = b"C"
    UPDATE = b"U"
    DELETE = b"D"


class Write(NamedTuple):
    """One change. `path` names a file and has passed the grammar; `contents` is None for DELETE."""

    operation: Operation
    path: bytes
    contents: bytes | None = None


# Told of files that change by nobody's request, as a recovery does: once before they are touched and once after.
# None: any file may. Any thread may call it.
OnChange = Callable[[Collection[bytes] | None], None]


class Reader(Protocol):
    """One batch of reads. Both calls raise StoreError, of the kind the reply needs."""

    def show(self, path: bytes) -> bytes:
        """The contents of a file, checked to be valid contents; an editor's line end at their end is gone."""

    def list(self, path: bytes) -> list[bytes]:
        """The names in a directory (with or without its trailing `/`), as section 3 wants them: sorted, directories
        with a trailing `/`, what no request could name left out."""


class Store(Protocol):
    """A place for files. `reader` may be called from many threads at once, `commit` from one at a time."""

    def open(self, on_change: OnChange | None = None) -> None:
        """Make ready: recover what a crash has left, remove left-overs. Raises StartError. `on_change` is called
        from now on, here too."""

    def reader(self) -> AbstractContextManager[Reader]:
        """A batch of reads. Nothing it has looked up outlives it."""

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        """Carry out `writes` as if one after another, in this order. For each: None once it is done for good, as
        section 2 promises it, or why it was not done."""

    def checkpoint(self) -> None:
        """Leave as little as possible to recover. For a quiet moment; raises StoreError."""

    def close(self) -> None:
        """Leave everything as `open` likes to find it."""
