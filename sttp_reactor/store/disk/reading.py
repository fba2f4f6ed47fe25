"""SHOW and LIST on the disk (PROTOCOL.md sections 3 and 4)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator

from sttp_reactor.errors import FileMissing, Refused, StoreError, StoreFailed
from sttp_reactor.store.base import AnyRead, Found
from sttp_reactor.store.disk.files import COVER, READ, close_quietly, open_file
from sttp_reactor.store.disk.records import MAX_FOUND_BYTES
from sttp_reactor.store.disk.tree import NO_FILE, Tree, failed, is_kind, split
from sttp_reactor.text import RESERVED_PREFIX, is_contents, is_file_name, is_segment


def read_batch(reads: Iterator[AnyRead], docroot: str, mend: Callable[[], None]) -> Iterator[tuple[AnyRead, Found]]:
    """See `store.base.Store.read`. Takes a read when it has answered the one before; all share directory descriptors.

    `mend` finishes what a killed process may have left half done, or lets it be."""
    tree: Tree | None = None
    try:
        for read in reads:
            found: Found
            try:
                if tree is None:
                    tree = Tree(docroot)  # by the first read: a missing docroot is the 500 of each, not the batch's
                found = _names_in(tree, read.path) if read.is_list else _contents_of(tree, read.path, mend)
            except StoreError as error:
                found = error
            yield read, found
    finally:
        if tree is not None:
            tree.close()


def _contents_of(tree: Tree, path: bytes, mend: Callable[[], None]) -> bytes:
    data = _read(tree, path)
    if data.endswith(COVER):
        mend()  # with several processes, one may serve what another was writing when it was killed
        data = _read(tree, path)
    contents = data[:-1] if data.endswith(b"\n") else data
    if len(data) > MAX_FOUND_BYTES or not is_contents(contents):
        raise StoreFailed("the stored file is not one line of at most 160 characters of UTF-8 text")
    return contents


def _read(tree: Tree, path: bytes) -> bytes:
    cut = path.rfind(b"/") + 1
    parent = tree.directory(path[:cut])
    try:
        descriptor = open_file(parent, path[cut:], READ)
    except OSError as error:
        if error.errno in NO_FILE:
            raise FileMissing from error
        raise failed(error) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            if stat.S_ISDIR(mode):
                raise Refused("this is a directory; use LIST")
            raise FileMissing
        return os.read(descriptor, MAX_FOUND_BYTES + 1)
    except OSError as error:
        raise failed(error) from error
    finally:
        close_quietly(descriptor)


def _names_in(tree: Tree, path: bytes) -> list[bytes]:
    directory, name = split(path[:-1] if path.endswith(b"/") and path != b"/" else path)
    parent = tree.directory(directory)
    try:
        descriptor = tree.open_listing(parent, name)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP):
            if is_kind(parent, name, stat.S_IFREG):
                raise Refused("this is a file; use SHOW") from error
            raise FileMissing from error  # a link or a special file
        if error.errno in (errno.ENOENT, errno.ENAMETOOLONG):
            raise FileMissing from error
        raise failed(error) from error
    try:
        return _names(descriptor, at_top=path == b"/")
    except OSError as error:
        raise failed(error) from error
    finally:
        close_quietly(descriptor)


def _names(descriptor: int, *, at_top: bool) -> list[bytes]:
    """What LIST shows of an open directory: sorted by the bytes of the name, a directory's `/` not counted."""
    found: list[tuple[bytes, bytes]] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            if at_top and name.startswith(RESERVED_PREFIX):
                continue
            if entry.is_dir(follow_symlinks=False):
                if is_segment(name):
                    found.append((name, name + b"/"))
            elif entry.is_file(follow_symlinks=False) and is_file_name(name):
                found.append((name, name))
    found.sort()
    return [shown for _, shown in found]
