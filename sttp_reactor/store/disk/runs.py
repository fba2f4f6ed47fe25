"""How many writes make one record of the journal, which is carried out in one go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.disk.records import CHANGE_BYTES, MAX_FOUND_BYTES


def in_runs(writes: Sequence[Write], most_bytes: int) -> Iterator[list[Write]]:
    """`writes` in runs that make one record of the journal each.

    Room is kept for the longest contents that each file could turn out to have. A run also ends before a CREATE below a
    path that the run itself creates or deletes. The reason is that a CREATE's directories are made while the run is
    planned, before any of its files is touched: a file that an earlier write of the run creates would not be in the
    way yet, and one that it deletes would still be.
    """
    run: list[Write] = []
    names: set[bytes] = set()
    size = 0
    for write in writes:
        more = CHANGE_BYTES + MAX_FOUND_BYTES + len(write.path) + len(write.contents or b"")
        if run and (size + more > most_bytes or (write.operation is Operation.CREATE and _is_below(write, names))):
            yield run
            run, names, size = [], set(), 0
        run.append(write)
        size += more
        if write.operation is not Operation.UPDATE:
            names.add(write.path)
    if run:
        yield run


def _is_below(write: Write, names: set[bytes]) -> bool:
    directory = write.path
    while directory:
        directory = directory[: directory.rfind(b"/")]
        if directory in names:
            return True
    return False
