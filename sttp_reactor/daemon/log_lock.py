"""Records of several processes that log to one pipe or terminal: one after the other, each whole.

What is written at once is never mixed with what others write, but a pipe takes only some kilobytes so, and a report is
longer. A line of another process in its middle would cut it in two, and what follows would seem to belong to that line.
So whoever writes a record holds a lock. It is one of the kernel's on a file that has no name (POSIX record locks), for
three reasons: each process has its own, though they have inherited one descriptor; it falls to the next when its
holder is killed; and who waits for it can give up. A stopped holder must not keep the others from logging.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Final

# Between two tries. There is no wait with a bound.
_TRY_AGAIN_SECONDS: Final = 0.005


class LogLock:
    """Made before forking. Where the system gives no file for it there is none, and nobody waits."""

    def __init__(self) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = _nameless_file()

    @contextlib.contextmanager
    def held(self, patience: float) -> Iterator[None]:
        """Within, no other process writes, unless it has lost its patience; nor do we wait longer than `patience`
        seconds. One thread of each process at a time."""
        is_held = self._descriptor is not None and self._take(self._descriptor, patience)
        try:
            yield
        finally:
            if is_held and self._descriptor is not None:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _take(self, descriptor: int, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(_TRY_AGAIN_SECONDS)
            except OSError:  # out of locks, or a file system without
                return False
            else:
                return True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sttp-log-lock", os.MFD_CLOEXEC)
    descriptor, name = tempfile.mkstemp()
    os.unlink(name)
    return descriptor
