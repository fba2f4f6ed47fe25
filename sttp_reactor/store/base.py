"""The contract of a store: what a worker asks, and how it is answered.

Reads come in batches so that one batch can share what it has looked up, or make one round trip; writes come in batches
so that one batch can share one sync. A batch's operations are from different requests: each succeeds or fails alone.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from sttp_reactor.errors import StoreError
from sttp_reactor.metrics import Sample


class Operation(enum.Enum):
    CREATE = b"C"
    UPDATE = b"U"
    DELETE = b"D"


class Write(NamedTuple):
    """One change. `path` names a file and has passed the grammar; `contents` is None for DELETE."""

    operation: Operation
    path: bytes
    contents: bytes | None = None


class Read:
    """One look at a file or a directory. Callers derive their own from it: a store gives back the very object."""

    __slots__ = ("is_list", "path")

    def __init__(self, path: bytes, *, is_list: bool = False) -> None:
        """`path` has passed the grammar. With `is_list` it names a directory, with or without its trailing `/`."""
        self.path = path
        self.is_list = is_list


AnyRead = TypeVar("AnyRead", bound=Read)

# What a read comes to. Of a file: its contents, checked to be valid contents; an editor's line end at their end is
# gone. Of a directory: its names, as section 3 wants them: sorted, directories with a trailing `/`, what no request
# could name left out. Or why there is neither, of the kind the reply needs.
Found = bytes | list[bytes] | StoreError

# Told of files that change by nobody's request, such as by a recovery or by another server: where the store knows of it
# beforehand, once before they are touched and once after. None: any file may. Any thread may call it.
OnChange = Callable[[Collection[bytes] | None], None]


class Store(Protocol):
    """A place for files. `read` may be called from many threads at once, `commit` from one at a time."""

    @property
    def is_telling(self) -> bool:
        """Whether what has been read is true until `on_change`, or a commit here, says otherwise. While it is not, what
        is read for one is not to be shown to who asks later. It may change at any time; once it has become False
        `on_change` is called with None."""

    @property
    def barrier(self) -> Callable[[], bool] | None:
        """None where `is_telling` says all there is to know. Otherwise to be called before anything is shown that was
        read for somebody else, after the request for it has come: True, where everything that was acknowledged before
        this call has been told to `on_change`; False, where only a read will tell. It blocks; one thread at a time may
        call it."""

    def open(self, on_change: OnChange | None = None) -> None:
        """Make ready: recover what a crash has left, remove left-overs. Raises StartError. `on_change` is called
        from now on, here too."""

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        """Take what there is to read from `reads` and give each back with what was found, in any order.

        A store that looks at one file at a time best takes the next when it has answered the last: then whoever waits
        for the last has its reply early where the disk is slow. One that asks over a network takes all of them, for one
        round trip. Each is looked at after it has been taken, and nothing found in one batch is used in another."""

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        """Carry out `writes` as if one after another, in this order. For each: None once it is done for good, as
        section 2 promises it, or why it was not done."""

    def checkpoint(self) -> None:
        """Leave as little as possible to recover. For a quiet moment; raises StoreError."""

    def samples(self) -> Iterable[Sample]:
        """What it has to tell, for metrics. Any thread may ask."""

    def close(self) -> None:
        """Leave everything as `open` likes to find it."""
