"""CREATE, UPDATE and DELETE on the disk, many at a time (PROTOCOL.md sections 2 and 4).

A commit has four steps: `Plan.add` decides for each write, in order, whether it can be done; `prepare` writes new
files under temporary names, because that is where a full disk shows; the journal makes the changes durable; `apply`
makes them in the files. Until the third step nothing has changed but directories made for a CREATE; after it, nothing
can be lost.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

from sttp_reactor.errors import FileMissing, Refused, StoreError, StoreFailed
from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.disk.attributes import copy_attributes, mode_for
from sttp_reactor.store.disk.files import READ, Temporaries, close_quietly, open_file, overwrite
from sttp_reactor.store.disk.records import MAX_FOUND_BYTES, MAX_PATH_BYTES, UNKNOWN, Change, Found, found_in
from sttp_reactor.store.disk.tree import NO_FILE, Tree, elsewhere, failed, split

# For reading too, because what is overwritten must be put back where that fails half-way.
_REWRITE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

_OUT_OF_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})

_EXISTS: Final = "it exists already; use UPDATE"
_IS_DIRECTORY: Final = "this is a directory"


class _Target:
    """One file of a commit: what is there, and what is to be there."""

    __slots__ = ("contents", "descriptor", "error", "existed", "found", "mode", "temporary")

    def __init__(self, *, found: Found, contents: bytes | None, descriptor: int = -1, mode: int = 0) -> None:
        self.existed = found is not None
        self.found = found
        self.contents = contents
        self.descriptor = descriptor  # open for writing in place, or -1
        self.mode = mode
        self.temporary: bytes | None = None  # where the contents of a new file wait
        self.error: StoreError | None = None


class Plan:
    """What one commit does. Writes to one path see each other, and only the last one's result is made."""

    def __init__(self, tree: Tree, temporaries: Temporaries) -> None:
        """`close` lets go of what it holds, and undoes what was prepared and not applied."""
        self._tree = tree
        self._temporaries = temporaries
        self._targets: dict[bytes, _Target] = {}

    def add(self, write: Write) -> None:
        """Decide about one write. Raises StoreError where it cannot be done; then it is not part of the plan."""
        target = self._targets.get(write.path)
        if target is None:
            if len(write.path) > MAX_PATH_BYTES:
                raise StoreFailed("the path is too long for this store")
            target = self._look(write)
            self._targets[write.path] = target
        elif write.operation is Operation.CREATE:
            if target.contents is not None:
                raise Refused(_EXISTS)
        elif target.contents is None:
            raise FileMissing
        target.contents = write.contents

    def prepare(self) -> None:
        """Write what is to be new. What fails is remembered for `outcome`, and is no part of the plan any more."""
        for path, target in self._targets.items():
            if target.contents is not None and not target.existed:
                try:
                    target.temporary = self._write_new(split(path)[0], target.contents)
                except OSError as error:
                    target.error = failed(error)
                except StoreError as error:
                    target.error = error

    def changes(self) -> list[Change]:
        """What the journal is to hold. Nothing for a file that was made and deleted within the plan."""
        return [
            Change(path, target.contents, target.found)
            for path, target in self._targets.items()
            if target.error is None and (target.existed or target.contents is not None)
        ]

    def apply(self) -> bool:
        """Make the changes. False where one failed: that is remembered for `outcome`, its file is what it was, and
        the others are made all the same."""
        failures = 0
        for path, target in self._targets.items():
            if target.error is not None:
                continue
            try:
                self._make(path, target)
            except StoreError as error:
                target.error = error
                failures += 1
            except OSError as error:
                target.error = failed(error)
                failures += 1
        return not failures

    def outcome(self, write: Write) -> StoreError | None:
        return self._targets[write.path].error

    def close(self) -> None:
        for target in self._targets.values():
            if target.temporary is not None:
                self._temporaries.remove(target.temporary)
                target.temporary = None
        self._close_files()

    # -- What is there --

    def _look(self, write: Write) -> _Target:
        directory, name = split(write.path)
        try:
            if write.operation is Operation.CREATE:
                return self._look_for_nothing(directory, name)
            self._tree.check_is_here(directory)
            if write.operation is Operation.DELETE:
                return self._look_for_file(directory, name)
            return self._open_file(self._tree.directory(directory), name)
        except OSError as error:
            if error.errno in NO_FILE:
                raise FileMissing from error
            if error.errno == errno.EISDIR:
                raise Refused(f"{_IS_DIRECTORY}; UPDATE takes a file") from error
            raise failed(error) from error

    def _look_for_nothing(self, directory: bytes, name: bytes) -> _Target:
        try:
            status = os.lstat(name, dir_fd=self._tree.make_directory(directory))
        except FileNotFoundError:
            self._tree.check_is_here(directory)
            self._tree.check_may_change(directory)
            return _Target(found=None, contents=None)
        raise Refused(_IS_DIRECTORY if stat.S_ISDIR(status.st_mode) else _EXISTS)

    def _look_for_file(self, directory: bytes, name: bytes) -> _Target:
        status = os.lstat(name, dir_fd=self._tree.directory(directory))
        if stat.S_ISDIR(status.st_mode):
            raise Refused(f"{_IS_DIRECTORY}; DELETE takes a file")
        if not stat.S_ISREG(status.st_mode):
            raise FileMissing
        self._tree.check_may_change(directory)
        return _Target(found=self._read(self._tree.directory(directory), name), contents=b"", mode=status.st_mode)

    def _read(self, parent: int, name: bytes) -> Found:
        try:
            descriptor = open_file(parent, name, READ)
        except PermissionError:
            return UNKNOWN  # who may not read a file may delete it all the same
        try:
            return found_in(os.pread(descriptor, MAX_FOUND_BYTES + 1, 0), os.fstat(descriptor).st_size)
        finally:
            close_quietly(descriptor)

    def _open_file(self, parent: int, name: bytes) -> _Target:
        try:
            descriptor = open_file(parent, name, _REWRITE)
        except OSError as error:
            if error.errno not in _OUT_OF_DESCRIPTORS:
                raise
            self._close_files()  # those are replaced by rename then, which takes one descriptor at a time
            descriptor = open_file(parent, name, _REWRITE)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileMissing
            if status.st_dev != self._tree.device and not self._tree.is_here(descriptor):
                raise elsewhere()
            found = found_in(os.pread(descriptor, MAX_FOUND_BYTES + 1, 0), status.st_size)
        except (OSError, StoreError):
            close_quietly(descriptor)
            raise
        return _Target(found=found, contents=b"", descriptor=descriptor, mode=status.st_mode)

    def _close_files(self) -> None:
        for target in self._targets.values():
            if target.descriptor >= 0:
                close_quietly(target.descriptor)
                target.descriptor = -1

    # -- What is to be there --

    def _make(self, path: bytes, target: _Target) -> None:
        contents, descriptor = target.contents, target.descriptor
        if contents is not None and descriptor >= 0:
            target.descriptor = -1
            if overwrite(descriptor, contents):
                return
        directory, name = split(path)
        if not target.existed:
            if contents is not None:
                self._link(self._tree.make_directory(directory), name, target)
        elif contents is None:
            self._unlink(self._tree.directory(directory), name)
        else:
            self._replace(self._tree.directory(directory), name, contents, target.mode)

    def _write_new(self, directory: bytes, contents: bytes) -> bytes:
        if self._tree.bequeaths(directory):
            return self._temporaries.write_heir(contents, self._tree.directory(directory))
        return self._temporaries.write(contents)

    def _link(self, parent: int, name: bytes, target: _Target) -> None:
        if target.temporary is None:
            raise StoreFailed("the file was not prepared")
        try:
            self._temporaries.link(target.temporary, parent, name)
        except FileExistsError as error:
            raise Refused(_EXISTS) from error

    def _unlink(self, parent: int, name: bytes) -> None:
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError as error:
            raise FileMissing from error  # another program was quicker

    def _replace(self, parent: int, name: bytes, contents: bytes, mode: int) -> None:
        temporary = self._temporaries.write(contents, equip=lambda descriptor: _equip(descriptor, parent, name, mode))
        try:
            self._temporaries.rename(temporary, parent, name)
        except OSError:
            self._temporaries.remove(temporary)
            raise


def _equip(descriptor: int, parent: int, name: bytes, mode: int) -> None:
    """Give a new file what the one has that it will replace; `mode` where that one is gone by now."""
    try:
        old = open_file(parent, name, READ)
    except FileNotFoundError:
        os.fchmod(descriptor, mode_for(mode, has_owner=False, has_group=False))
        return
    try:
        copy_attributes(old, descriptor)
    finally:
        close_quietly(old)
