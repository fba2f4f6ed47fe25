"""Whose docroot it is: one server's, with all its processes, at a time (PROTOCOL.md section 4).

`.sttp/lock` is locked for as long as the server lives. The lock belongs to an open file description, which a forked
process shares: so the parent of several processes takes it before it forks, and it is given up when the last of them
ends, however they end. What stands in the file only tells others whom they have found.

Whoever takes a docroot draws a token. What `.sttp/turn` says of the journal is believed under the same token alone:
then whoever wrote it and whoever reads it are processes of one server, which has had the docroot ever since, and what
one of them has written the others see. Another server, even of the same boot, may have before it what a disk has kept
that was gone for a moment: of that only the journal's own records count.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import tempfile
import threading
from typing import Final, NamedTuple

from sttp_reactor.errors import StoreFailed
from sttp_reactor.store.disk.files import close_quietly

log = logging.getLogger(__name__)

LOCK: Final = b"lock"
TOKEN_BYTES: Final = 16

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
# What a file system says that has no locks, or a network one whose server of locks is away.
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL})
_LONGEST_NOTE: Final = 400


class Served(StoreFailed):
    """Another server has the docroot. `pid` is 0 where it does not say which process it is."""

    def __init__(self, pid: int, host: str) -> None:
        super().__init__("the docroot is served by another server")
        self.pid = pid
        self.host = host

    @property
    def by(self) -> str:
        who = f"process {self.pid}" if self.pid else "another process"
        if self.host and self.host != os.uname().nodename:
            return f"{who} of {self.host}"
        return f"{who}, this one" if self.pid == os.getpid() else who

    @property
    def is_over(self) -> bool:
        """Whether that process has ended, and only what it has forked has not yet."""
        if not self.pid or self.host != os.uname().nodename:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False
        return False


class _Note(NamedTuple):
    """What stands in the lock file: the process that took it, and what the processes of one server know it by."""

    pid: int
    server: str
    token: bytes
    host: str


def draw_token() -> bytes:
    return os.urandom(TOKEN_BYTES)


class Claim:
    """One server's right to a docroot. Made before forking, it is the children's as well. Any thread may call."""

    def __init__(self) -> None:
        self._server = os.urandom(16).hex()
        self._guard = threading.Lock()
        self._file = -1
        self._token = b""
        self._taken_by = 0
        self._substitute = -1  # what is locked in `turn`'s place, on a file system without locks

    def hold(self, folder: int) -> bytes:
        """Make sure that the docroot is ours whose `.sttp` is `folder`; returns the token. Raises Served, OSError."""
        with self._guard:
            if not self._is_at(folder):
                self._let_go()
                self._take(folder)
            return self._token

    def release(self) -> None:
        """Give it up, for the processes that share it too if this one has taken it."""
        with self._guard:
            self._let_go()

    def open_substitute(self) -> int:
        """A descriptor to lock instead of `turn`, the caller's to close; -1 where `turn` itself can be locked."""
        return -1 if self._substitute < 0 else os.open(f"/proc/self/fd/{self._substitute}", os.O_RDWR | os.O_CLOEXEC)

    # -- Within --

    def _is_at(self, folder: int) -> bool:
        if self._file < 0:
            return False
        return _is_named(self._file, folder)

    def _take(self, folder: int) -> None:
        while True:
            descriptor = os.open(LOCK, _FLAGS, 0o600, dir_fd=folder)
            try:
                if not self._lock(descriptor):
                    return  # a process of ours has it
                if _is_named(descriptor, folder):  # or it was removed meanwhile, and is nobody's lock any more
                    self._file, self._taken_by, descriptor = descriptor, os.getpid(), -1
                    self._token = draw_token()
                    self._sign()
                    return
            finally:
                if descriptor >= 0:
                    close_quietly(descriptor)

    def _lock(self, descriptor: int) -> bool:
        """False where another process of this server has the lock: in a docroot that has come while we were running."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            note = _read(descriptor)
            if note.server != self._server:
                raise Served(note.pid, note.host) from None
            self._token = note.token
            return False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            log.warning(
                "the docroot's file system has no locks (%s): nothing keeps a second server from it",
                os.strerror(error.errno).lower(),
            )
            if self._substitute < 0:
                self._substitute = _nameless_file()
        return True

    def _sign(self) -> None:
        note = f"{os.getpid()} {self._server} {self._token.hex()} {os.uname().nodename}\n"
        with contextlib.suppress(OSError):  # a full disk: the lock holds without it
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, note.encode(), 0)

    def _let_go(self) -> None:
        if self._file < 0:
            return
        if self._taken_by == os.getpid():
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)
        close_quietly(self._file)
        self._file = -1
        if self._substitute >= 0:
            close_quietly(self._substitute)
            self._substitute = -1


def _is_named(descriptor: int, folder: int) -> bool:
    try:
        return os.path.samestat(os.lstat(LOCK, dir_fd=folder), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _read(descriptor: int) -> _Note:
    try:
        pid, server, token, host = os.pread(descriptor, _LONGEST_NOTE, 0).decode().split()
        return _Note(int(pid), server, bytes.fromhex(token), host)
    except (OSError, ValueError):
        return _Note(0, "", b"", "")


def _nameless_file() -> int:
    """On a file system of the system's own, which has locks."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sttp-turn")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
