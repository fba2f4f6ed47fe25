"""Making again what the journal holds and a crash may have undone."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterable
from stat import S_IFREG
from typing import Final

from sttp_reactor.errors import CannotCreatePath, FileMissing, PathMissing, Refused, StoreError
from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.disk.files import Temporaries
from sttp_reactor.store.disk.records import Change
from sttp_reactor.store.disk.tree import Tree, is_kind, split
from sttp_reactor.store.disk.writing import Plan

log = logging.getLogger(__name__)

# Why a directory cannot be made, where trying again later would not help: something else is in its place.
_IN_THE_WAY: Final = frozenset({errno.EEXIST, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})


def redo(tree: Tree, temporaries: Temporaries, changes: Iterable[Change]) -> None:
    """Make the changes, whatever is there now. Raises StoreError where that fails for a reason that may pass (a full
    disk, a lost permission): what has been acknowledged then stays in the journal until it has passed.

    What has become a directory or a link since is left alone: another program's doing, and not ours to undo.
    """
    latest: dict[bytes, bytes | None] = {}
    for path, contents in changes:
        # In the order of each path's last change: a file may have had to go before a directory of its name was made.
        latest.pop(path, None)
        latest[path] = contents
    for path, contents in latest.items():
        try:
            _redo_one(tree, temporaries, path, contents)
        except (FileMissing, PathMissing, Refused):
            continue
        except StoreError as error:
            if isinstance(error, CannotCreatePath) and _is_in_the_way(error):
                log.warning("%r cannot be restored: something else has taken its directory's place", path)
                continue
            log.error("%r cannot be restored yet, and nothing can be written before it is: %s", path, error.message)
            raise


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
