"""The docroot as directory descriptors: how a path becomes a file without a link ever being followed.

Every segment is opened relative to its parent's descriptor and with O_NOFOLLOW. A name is never resolved twice, and
what is open cannot be swapped for something else, so a link put in place while a request runs is refused like one
that was there all along. O_PATH, where the system has it, asks for no permission to read a directory that is only
passed through.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from types import TracebackType
from typing import Final

from sttp_reactor.errors import CannotCreatePath, PathMissing, StoreError, StoreFailed
from sttp_reactor.store.disk.attributes import bequeaths
from sttp_reactor.store.disk.files import close_quietly

_PASS: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ROOT: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_LIST: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# What "there is no such directory" looks like: missing, a file in the way, a link, or a name no directory can have.
_NO_DIRECTORY: Final = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
# What "there is no such file" looks like. ELOOP: a link in the last segment. ENXIO, ENODEV: a socket, or a FIFO or a
# device of no use. None is a file to us (PROTOCOL.md section 3).
NO_FILE: Final = frozenset({errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.ENODEV})
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})

# Directories one batch keeps open. Neighbours in a batch tend to be neighbours on the disk.
_KEPT_OPEN: Final = 32

_EFFECTIVE: Final = os.access in os.supports_effective_ids


def failed(error: OSError) -> StoreFailed:
    """The 500 for an error of the system's: its words, and never its path."""
    if error.errno in _NO_SPACE:
        return StoreFailed("the disk is full")
    if error.errno == errno.EFBIG:
        return StoreFailed("the server may not write files of that size (RLIMIT_FSIZE)")
    return StoreFailed(os.strerror(error.errno).lower() if error.errno else "input/output error")


def elsewhere() -> StoreFailed:
    return StoreFailed("this is on another file system than the docroot, where no change could be kept")


class Tree:
    """The docroot for the length of one batch. A context manager; what it opened it closes."""

    def __init__(self, docroot: str) -> None:
        """Opens the docroot, which may itself be a link. Raises StoreFailed when it is not there."""
        try:
            self.root = os.open(docroot, _ROOT)
        except OSError as error:
            if error.errno in _NO_DIRECTORY:
                raise StoreFailed("the docroot is missing") from error
            raise failed(error) from error
        self._open = {b"/": self.root}
        self._may_change: dict[bytes, bool] = {}
        self._statuses: dict[bytes, os.stat_result] = {}
        self._bequeathing: dict[bytes, bool] = {}

    def __enter__(self) -> Tree:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for descriptor in self._open.values():
            close_quietly(descriptor)
        self._open.clear()

    def directory(self, path: bytes) -> int:
        """A descriptor of the directory `path` (which ends in `/`), good until the next call.

        Raises PathMissing where there is no such directory, StoreFailed where it cannot be reached.
        """
        descriptor = self._open.get(path)
        return self._walk(path, make=False) if descriptor is None else descriptor

    def make_directory(self, path: bytes) -> int:
        """The same, with what is missing made. Raises CannotCreatePath where that cannot be done."""
        descriptor = self._open.get(path)
        return self._walk(path, make=True) if descriptor is None else descriptor

    def check_may_change(self, path: bytes) -> None:
        """Raises StoreFailed where we have no right to add or remove names in the directory `path`.

        It would be refused later, too, but by then the change would stand in the journal, and getting it out again
        costs a sync of everything: nothing to be had for the asking.
        """
        may = self._may_change.get(path)
        if may is None:
            may = os.access(b".", os.W_OK | os.X_OK, dir_fd=self.directory(path), effective_ids=_EFFECTIVE)
            self._may_change[path] = may
        if not may:
            raise StoreFailed(os.strerror(errno.EACCES).lower())

    def check_is_here(self, path: bytes) -> None:
        """Raises StoreFailed where the directory `path` is on another file system than the docroot: nothing that
        syncs the docroot's would bring a change there to the disk, and a new file cannot be linked in.

        Asked of directories, because on an overlay a file may name the device of a lower layer."""
        if path != b"/" and self._status(path).st_dev != self._status(b"/").st_dev:
            raise elsewhere()

    @property
    def device(self) -> int:
        return self._status(b"/").st_dev

    def is_here(self, descriptor: int) -> bool:
        """Whether this open file is on the docroot's file system. To be asked where its device is another one."""
        return os.fstatvfs(descriptor).f_fsid == os.fstatvfs(self.root).f_fsid

    def bequeaths(self, path: bytes) -> bool:
        """Whether the directory `path` gives what is made in it a group or an access control list of its own."""
        found = self._bequeathing.get(path)
        if found is None:
            found = self._bequeathing[path] = bequeaths(self.directory(path), self._status(path).st_mode)
        return found

    def _status(self, path: bytes) -> os.stat_result:
        status = self._statuses.get(path)
        if status is None:
            status = self._statuses[path] = os.fstat(self.directory(path))
        return status

    def open_listing(self, parent: int, name: bytes) -> int:
        """A descriptor to list the directory `name`, the caller's to close. Raises OSError."""
        return os.open(name or b".", _LIST, dir_fd=parent)

    def _walk(self, path: bytes, *, make: bool) -> int:
        at = self.root
        try:
            for segment in path[1:-1].split(b"/"):
                child = self._step(at, segment, make=make)
                if at != self.root:
                    close_quietly(at)
                at = child
        except StoreError:
            if at != self.root:
                close_quietly(at)
            raise
        if len(self._open) > _KEPT_OPEN:
            _, newest = self._open.popitem()  # not the oldest: that is the docroot
            close_quietly(newest)
        self._open[path] = at
        return at

    def _step(self, parent: int, segment: bytes, *, make: bool) -> int:
        try:
            return os.open(segment, _PASS, dir_fd=parent)
        except OSError as error:
            if error.errno not in _NO_DIRECTORY:
                raise failed(error) from error
            if not make:
                raise PathMissing from error
        try:
            with contextlib.suppress(FileExistsError):  # another request was quicker, or a file is in the way
                os.mkdir(segment, 0o777, dir_fd=parent)
        except OSError as error:
            raise CannotCreatePath from error
        try:
            return os.open(segment, _PASS, dir_fd=parent)
        except OSError as error:
            raise CannotCreatePath if error.errno in _NO_DIRECTORY else failed(error) from error


def split(path: bytes) -> tuple[bytes, bytes]:
    """(directory part with its trailing `/`, last segment) of an absolute path without a trailing `/`."""
    cut = path.rfind(b"/") + 1
    return path[:cut], path[cut:]


def is_kind(parent: int, name: bytes, test: int) -> bool:
    """Whether `name`, itself and not what it links to, is of the kind `test` (S_IFREG, S_IFDIR, ...)."""
    try:
        return stat.S_IFMT(os.lstat(name, dir_fd=parent).st_mode) == test
    except OSError:
        return False
