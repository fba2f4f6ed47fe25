"""The file of a Unix socket: whose it is, and when it may go.

A name in a directory says nothing about who listens behind it. A file that a dead server has left may be replaced; one
that we have bound may be removed, but only that very file: somebody may have deleted it and bound the name anew.
Between looking and removing another server could put its own there, so both are done under a lock on the directory,
which every server of ours takes for the instant that it needs.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from typing import Final

# Our servers hold the lock for a fraction of a millisecond. A program that holds it for longer is not one of them, and
# we start without the lock then: that goes wrong only for two servers that start in the same instant.
_LOCK_SECONDS: Final = 1.0
_LOCK_AGAIN_SECONDS: Final = 0.002


class FileSocket(socket.socket):
    """A socket that knows the file it has been bound to. A duplicate does not: it is not its owner."""

    file: tuple[int, int] | None = None  # device and inode; as long as the socket is open nobody else can get them


def bind_file(sock: FileSocket, path: str, backlog: int, mode: int | None = None) -> None:
    """Bind and listen at `path`, in the place of what a dead server has left there. The file gets `mode`; None is what
    the umask leaves. Raises OSError where a live one, or no socket, is there. Of two who try at once one succeeds."""
    with _directory_locked(path):
        _remove_stale(path)
        sock.bind(path)
        sock.file = _identity(path)
        if mode is not None:
            os.chmod(path, mode)  # nobody can connect yet, so nobody has by what the umask allowed
        sock.listen(backlog)  # at once: another server takes a socket that nobody listens on for stale


def remove_file(sock: socket.socket, path: str) -> None:
    """Remove the file that `sock`, which is still open, was bound to, if it is still there."""
    file = getattr(sock, "file", None)
    with contextlib.suppress(OSError), _directory_locked(path):
        if file is not None and _identity(path) == file:
            os.unlink(path)


def set_mode(sock: socket.socket, path: str, mode: int) -> None:
    """Of the file that `sock` was bound to, if it is still there."""
    file = getattr(sock, "file", None)
    with contextlib.suppress(OSError), _directory_locked(path):
        if file is not None and _identity(path) == file:
            os.chmod(path, mode)


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def _directory_locked(path: str) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # one that may not be read cannot be locked either
            descriptor = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, descriptor)
            _lock(descriptor)
        yield


def _lock(descriptor: int) -> None:
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                return
            time.sleep(_LOCK_AGAIN_SECONDS)


def _remove_stale(path: str) -> None:
    """Remove the socket a dead server has left behind. Raises OSError where a live one, or no socket, is there."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(errno.EEXIST, "there is a file of that name that is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a live server whose backlog is full would keep us waiting
        code = probe.connect_ex(path)
    if code in (0, errno.EAGAIN, errno.EINPROGRESS):
        code = errno.EADDRINUSE
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise OSError(code, os.strerror(code))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
