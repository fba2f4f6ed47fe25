"""SHOW and LIST on the disk (PROTOCOL.md sections 3 and 4)."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from types import TracebackType

from sttp_reactor.errors import FileMissing, Refused, StoreFailed
from sttp_reactor.store.disk.files import COVER, READ, close_quietly, open_file
from sttp_reactor.store.disk.records import MAX_FOUND_BYTES
from sttp_reactor.store.disk.tree import NO_FILE, Tree, failed, is_kind, split
from sttp_reactor.text import RESERVED_PREFIX, is_contents, is_file_name, is_segment


class DiskReader:
    """A batch of reads that shares its directory descriptors."""

    def __init__(self, docroot: str, mend: Callable[[], None]) -> None:
        """`mend` finishes what a killed process may have left half done, or lets it be."""
        self._docroot = docroot
        self._mend = mend

    def __enter__(self) -> DiskReader:
        self._tree: Tree | None = None  # opened by the first read: a missing docroot is that read's own 500
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tree is not None:
            self._tree.__exit__(kind, error, trace)

    def show(self, path: bytes) -> bytes:
        data = self._read(path)
        if data.endswith(COVER):
            self._mend()  # with several processes, one may serve what another was writing when it was killed
            data = self._read(path)
        contents = data[:-1] if data.endswith(b"\n") else data
        if len(data) > MAX_FOUND_BYTES or not is_contents(contents):
            raise StoreFailed("the stored file is not one line of at most 160 characters of UTF-8 text")
        return contents

    def list(self, path: bytes) -> list[bytes]:
        directory, name = split(path[:-1] if path.endswith(b"/") and path != b"/" else path)
        tree = self._docroot_tree()
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

    def _docroot_tree(self) -> Tree:
        if self._tree is None:
            self._tree = Tree(self._docroot)
        return self._tree

    def _read(self, path: bytes) -> bytes:
        directory, name = split(path)
        parent = self._docroot_tree().directory(directory)
        try:
            descriptor = open_file(parent, name, READ)
        except OSError as error:
            if error.errno in NO_FILE:
                raise FileMissing from error
            raise failed(error) from error
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                if stat.S_ISDIR(status.st_mode):
                    raise Refused("this is a directory; use LIST")
                raise FileMissing
            return os.read(descriptor, MAX_FOUND_BYTES + 1)
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
