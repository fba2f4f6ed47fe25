"""The pid file: there while the server runs, and a lock against a second one with the same file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sttp_reactor.errors import StartError

# A pid has seven digits at most; a file with more in it was written by somebody else.
LARGEST_PID_FILE_BYTES = 32
# Two starters may take turns in finding the other's file gone; neither needs many.
ATTEMPTS = 100


@contextlib.contextmanager
def pid_file(path: Path) -> Iterator[None]:
    """Hold the file at `path`, with our pid and a line end in it, and remove it at the end.

    A live server holds a lock on its file (flock), and that, not the number in it, tells a live file from a stale one:
    after a crash the number may by now be some other program's. The file appears whole, by link or rename, so no
    reader meets it empty. A file that holds anything but a pid is left alone: somebody meant another file.

    Raises `StartError` where a live server holds the file, or where it cannot be written.
    """
    path, owner = path.absolute(), os.getpid()
    try:
        descriptor = _publish(path)
    except OSError as error:
        raise StartError(f"cannot write the pid file {path}: {error.strerror}") from None
    try:
        yield
    finally:
        # Ours only as long as nobody replaced it; and not a forked child's.
        if os.getpid() == owner and _is_same_file(descriptor, path):
            with contextlib.suppress(OSError):
                path.unlink()
        os.close(descriptor)


def _publish(path: Path) -> int:
    """Put our file at `path`; return its descriptor, which holds the lock."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        os.fchmod(descriptor, 0o644)
        os.write(descriptor, b"%d\n" % os.getpid())
        _lock(descriptor)
        for _ in range(ATTEMPTS):
            if _take_place(name, path):
                return descriptor
        raise StartError(f"cannot write the pid file {path}: others keep replacing it")
    except BaseException:
        os.close(descriptor)
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _take_place(name: str, path: Path) -> bool:
    """Link or rename the file `name` to `path`; False where somebody else was quicker."""
    try:
        os.link(name, path)
        return True
    except FileExistsError:
        pass
    try:
        # Not blocking: the name may be a pipe's. Not following: what a link leads to is not ours to lock or judge.
        earlier = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        pid = _read_pid(earlier, path)
        if not _lock(earlier):
            raise StartError(f"another sttpd is running, with pid {pid}, says {path}")
        if not _is_same_file(earlier, path):
            return False
        # Whoever comes now meets the earlier file, locked by us, or ours, locked too.
        os.rename(name, path)
        return True
    finally:
        os.close(earlier)


def _read_pid(descriptor: int, path: Path) -> str:
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise StartError(f"the pid file {path} exists and is no regular file")
    content = os.read(descriptor, LARGEST_PID_FILE_BYTES + 1)
    if content.strip() and (len(content) > LARGEST_PID_FILE_BYTES or not content.strip().isdigit()):
        raise StartError(f"the file {path} exists and holds no pid; it was not replaced")
    return content.strip().decode()


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except OSError:
        return False
