"""Making again what the journal holds and a crash may have undone, and nothing that somebody else has done since.

Each record says what it found. So of a file that the journal speaks of all texts are known that it has had since the
journal's beginning, and whether it was not there for a while. After a kill it holds one of them, perhaps covered (see
`store.files`); after a power cut it holds one of them, or a mixture: the disk writes sectors, and of each it may have
any text's part or none, and the size may be any text's. Whatever else a file holds was written by another program.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable
from stat import S_IFREG, S_ISREG
from typing import Final

from sttp_reactor.errors import CannotCreatePath, FileMissing, PathMissing, Refused, StoreError
from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.disk.files import COVER, READ, Temporaries, close_quietly, open_file
from sttp_reactor.store.disk.records import MAX_FOUND_BYTES, UNKNOWN, Change, Digest, Found, found_in
from sttp_reactor.store.disk.tree import Tree, failed, is_kind, split
from sttp_reactor.store.disk.writing import Plan

log = logging.getLogger(__name__)

# Why a directory cannot be made, where trying again later would not help: something else is in its place.
_IN_THE_WAY: Final = frozenset({errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


# A disk writes one whole, or not at all.
_SECTOR_BYTES: Final = 512


class History:
    """What the journal knows of one file."""

    def __init__(self) -> None:
        self.contents: bytes | None = None  # at the end
        self._texts: set[bytes] = set()
        self._digests: set[Digest] = set()
        self._was_missing = False
        self._is_known = True

    def add(self, change: Change) -> None:
        self.contents = change.contents
        for state in (change.found, change.contents):
            if state is None:
                self._was_missing = True
            elif isinstance(state, bytes):
                self._texts.add(state)
            elif isinstance(state, Digest):
                self._digests.add(state)
            else:
                self._is_known = False

    def explains(self, state: Found) -> bool:
        """Whether the server and a crash alone can have left a file like this."""
        if not self._is_known or state is UNKNOWN:
            return True
        if state is None:
            return self._was_missing
        if isinstance(state, Digest):
            return state in self._digests
        return state in self._texts or self._is_mixture(state)

    def _is_mixture(self, data: bytes) -> bool:
        # A new file can have its name and no text on the disk; one that is replaced by rename can have the new one's.
        if data and len(data) not in {len(text) for text in self._texts}:
            return False
        return all(self._knows_sector(data, at) for at in range(0, len(data), _SECTOR_BYTES))

    def _knows_sector(self, data: bytes, at: int) -> bool:
        sector = data[at : at + _SECTOR_BYTES]
        size = len(sector)
        return not sector.strip(b"\0") or any(text[at : at + size].ljust(size, COVER) == sector for text in self._texts)


def redo(tree: Tree, temporaries: Temporaries, changes: Iterable[Change]) -> None:
    """Make the changes, but of files that another program has changed since. Raises StoreError where that fails for a
    reason that may pass (a full disk, a lost permission): what has been acknowledged then stays in the journal until
    it has passed.

    What has become a directory or a link since is left alone, too: not ours to undo.
    """
    histories: dict[bytes, History] = {}
    for change in changes:
        # In the order of each path's last change: a file may have had to go before a directory of its name was made.
        history = histories.pop(change.path, None) or History()
        history.add(change)
        histories[change.path] = history
    for path, history in histories.items():
        try:
            if not history.explains(_state_of(tree, path)):
                log.warning("%r is left as it is: another program has changed it since", path)
                continue
            _redo_one(tree, temporaries, path, history.contents)
        except (FileMissing, PathMissing, Refused):
            continue
        except StoreError as error:
            if isinstance(error, CannotCreatePath) and _is_in_the_way(error):
                log.warning("%r cannot be restored: something else has taken its directory's place", path)
                continue
            log.error("%r cannot be restored yet, and nothing can be written before it is: %s", path, error.message)
            raise


def _state_of(tree: Tree, path: bytes) -> Found:
    """UNKNOWN where there is something else than a file, or nobody may look. Raises StoreError."""
    directory, name = split(path)
    try:
        descriptor = open_file(tree.directory(directory), name, READ)
    except PathMissing:
        return None
    except OSError as error:
        return None if error.errno == errno.ENOENT else UNKNOWN
    try:
        status = os.fstat(descriptor)
        if not S_ISREG(status.st_mode):
            return UNKNOWN
        return found_in(os.pread(descriptor, MAX_FOUND_BYTES + 1, 0), status.st_size)
    except OSError as error:
        raise failed(error) from error
    finally:
        close_quietly(descriptor)


def _redo_one(tree: Tree, temporaries: Temporaries, path: bytes, contents: bytes | None) -> None:
    plan = Plan(tree, temporaries)
    try:
        write = _write(tree, path, contents)
        plan.add(write)
        plan.prepare()
        plan.apply()
        error = plan.outcome(write)
        if error is not None:
            raise error
    finally:
        plan.close()


def _write(tree: Tree, path: bytes, contents: bytes | None) -> Write:
    if contents is None:
        return Write(Operation.DELETE, path)
    directory, name = split(path)
    exists = is_kind(tree.make_directory(directory), name, S_IFREG)
    return Write(Operation.UPDATE if exists else Operation.CREATE, path, contents)


def _is_in_the_way(error: CannotCreatePath) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno in _IN_THE_WAY
