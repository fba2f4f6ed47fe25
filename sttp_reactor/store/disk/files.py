"""One file at a time: how a text gets under its name without anybody ever seeing half of it.

- A new file is written under a temporary name and linked to its own. `link` never replaces, so a name that another
  program takes in the same instant is left alone.
- A file that is there is overwritten in place, under a lease. The kernel grants a write lease only while nobody else
  has the file open, and lets nobody open it until the lease is given up; so nobody, in this server or outside, can
  ever read half of it. That takes some 10 us, where a rename takes 90 us on ext4, which writes a replacing file out
  at once.
- A file that another program has open or linked, one that is larger than any of ours, or a system without leases: a
  temporary file replaces it by rename, with its owner, group, rights and attributes (`store.attributes`).

A process can be killed between any two system calls. What it has written in one page is written in one piece, but a
text that becomes shorter takes two: the write and the cut. Between them the old text's end is covered with NULs,
which no text of ours holds, so a reader knows such a file from a whole one, and has the journal mend it.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import logging
import os
import signal
import time
from collections.abc import Callable
from typing import Final

from sttp_reactor.errors import StoreFailed
from sttp_reactor.limits import MAX_CONTENTS_CHARACTERS
from sttp_reactor.store.disk.attributes import inherit, make_plain

log = logging.getLogger(__name__)

# What covers the end of a longer text until the file is cut to its size.
COVER: Final = b"\0"

# To read one. O_NONBLOCK, because opening a FIFO would wait for its writer; O_NOCTTY, in case it is a terminal.
READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

# A file without a name; ENOENT, EISDIR: of a system that does not know of them.
_NAMELESS: Final = os.O_WRONLY | getattr(os, "O_TMPFILE", os.O_DIRECTORY | os.O_CREAT) | os.O_CLOEXEC
_NOT_NAMELESS: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL})
_TEMPORARY: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

# The largest file that is overwritten in place: one that may hold a text of ours. The kernel copies a write page by
# page, and looks for a fatal signal between two of them, not within one, so this must be less than a page; and what a
# power cut makes of it must be known for a mixture by who has read it whole (`store.recovery`).
_ONE_PIECE_BYTES: Final = 4 * MAX_CONTENTS_CHARACTERS + 1

# A file that is being rewritten in place refuses a non-blocking open for the few microseconds that takes.
_BUSY_PAUSE_SECONDS: Final = 0.0002
_BUSY_TRIES: Final = 10_000

_QUIET_SIGNAL: Final = int(signal.SIGURG)

_serial = itertools.count()


class Temporaries:
    """The directory for files that have no name of their own yet. Whoever has the turn is alone in it, so whatever
    it holds at the turn's beginning is a killed process's."""

    def __init__(self, folder: int) -> None:
        """`folder` is a descriptor, on the docroot's file system; it stays the caller's."""
        self._folder = folder

    def write(self, contents: bytes, *, equip: Callable[[int], None] | None = None) -> bytes:
        """Make a file, with the mode the umask leaves, and with what `equip` gives to its descriptor; return its name.
        Raises OSError, and then has left nothing."""
        name, descriptor = self._create()
        try:
            try:
                if equip is not None:
                    equip(descriptor)
                write_at(descriptor, contents, 0)
            finally:
                os.close(descriptor)
        except OSError:
            self.remove(name)
            raise
        return name

    def write_heir(self, contents: bytes, directory: int) -> bytes:
        """Make a file that has what one made in `directory` has: its group, its access control list. Otherwise as
        `write`."""
        try:
            descriptor = os.open(b".", _NAMELESS, 0o666, dir_fd=directory)
        except OSError as error:
            if error.errno not in _NOT_NAMELESS:
                raise
            return self.write(contents, equip=lambda descriptor: inherit(descriptor, directory))
        try:
            write_at(descriptor, contents, 0)
            return self._name(descriptor)
        finally:
            os.close(descriptor)

    def link(self, temporary: bytes, parent: int, name: bytes) -> None:
        """Give the file a name that is free. Raises FileExistsError where it is not, OSError."""
        os.link(temporary, name, src_dir_fd=self._folder, dst_dir_fd=parent, follow_symlinks=False)

    def rename(self, temporary: bytes, parent: int, name: bytes) -> None:
        """Put the file in another one's place. Raises OSError."""
        os.rename(temporary, name, src_dir_fd=self._folder, dst_dir_fd=parent)

    def remove(self, temporary: bytes) -> None:
        """Never raises: the change this file was for has succeeded or failed already, and `sweep` comes later."""
        try:
            os.unlink(temporary, dir_fd=self._folder)
        except OSError as error:
            log.warning("a temporary file is left until the next start: %s", error.strerror)

    def sweep(self) -> None:
        """Remove what is left of killed processes. Raises OSError."""
        make_plain(self._folder)
        for name in os.listdir(self._folder):
            self.remove(os.fsencode(name))

    def _create(self) -> tuple[bytes, int]:
        while True:
            name = _fresh_name()
            try:
                return name, os.open(name, _TEMPORARY, 0o666, dir_fd=self._folder)
            except FileExistsError:
                continue  # of a killed process that had our number; it may be a link to somebody's file by now

    def _name(self, descriptor: int) -> bytes:
        while True:
            name = _fresh_name()
            try:
                os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=self._folder, follow_symlinks=True)
            except FileExistsError:
                continue  # as above
            return name


def _fresh_name() -> bytes:
    return b"%d-%d" % (os.getpid(), next(_serial))


def open_file(parent: int, name: bytes, flags: int) -> int:
    """os.open, for as long as somebody keeps the file by a lease. Raises OSError, StoreFailed after some seconds."""
    try:
        return os.open(name, flags, dir_fd=parent)
    except BlockingIOError:
        pass
    for _ in range(_BUSY_TRIES):
        time.sleep(_BUSY_PAUSE_SECONDS)
        try:
            return os.open(name, flags, dir_fd=parent)
        except BlockingIOError:
            continue
    raise StoreFailed("the file is in use")


def overwrite(descriptor: int, contents: bytes) -> bool:
    """Give a file that is open for reading and writing new contents, seen by nobody before they are whole; close it.
    False where that cannot be done; then the file is what it was.

    Whoever opens the file meanwhile waits for the end of the lease (or is told EAGAIN if it opens without blocking),
    and the kernel tells us by a signal; its default, SIGIO, would end the process, so it is told to use SIGURG, which
    is ignored unless somebody asks for it.
    """
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, _QUIET_SIGNAL)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        is_done = _rewrite(descriptor, contents)
        # Not by closing alone: a child forked at this moment has the descriptor, too, and would keep the lease.
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return is_done
    except (OSError, AttributeError):
        return False  # no leases, or not on this file, or not now
    finally:
        close_quietly(descriptor)


def _rewrite(descriptor: int, contents: bytes) -> bool:
    # A file with another name, a backup perhaps, must not change with this one; one without a name would be nowhere.
    # Either can have come about since the file was opened, but no more now that nobody else can open it.
    status = os.fstat(descriptor)
    size = status.st_size
    if status.st_nlink != 1 or size > _ONE_PIECE_BYTES:
        return False
    if size <= len(contents):
        write_at(descriptor, contents, 0)  # within one page: made, or not
        return True
    old = os.pread(descriptor, size, 0)
    try:
        write_at(descriptor, contents.ljust(size, COVER), 0)
        os.ftruncate(descriptor, len(contents))
    except OSError:
        write_at(descriptor, old, 0)
        raise
    return True


def write_at(descriptor: int, data: bytes, offset: int) -> None:
    """os.pwrite, all of it. Raises OSError."""
    written = os.pwrite(descriptor, data, offset)
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], offset + written)


def close_quietly(descriptor: int) -> None:
    """os.close where an error changes nothing: the descriptor is gone all the same."""
    try:
        os.close(descriptor)
    except OSError as error:
        log.warning("closing a file: %s", error.strerror)
