"""The lock that processes take turns by: waited for in the order of coming, but never for longer than one wants to."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading

from sttp_reactor.store.disk.files import close_quietly


class TurnLock:
    """An exclusive lock on an open file. `lock` and `unlock` belong to one thread at a time."""

    def __init__(self, descriptor: int) -> None:
        """`descriptor` stays the caller's, who closes it after `abandon`."""
        self._descriptor = descriptor
        self._guard = threading.Lock()  # guards the three below, which the waiting thread looks at as well
        self._is_waiting = False
        self._is_wanted = False
        self._error: OSError | None = None
        self._taken = threading.Event()

    def lock(self, seconds: float) -> bool:
        """False where somebody else has kept it for `seconds`. Raises OSError."""
        if not self._is_waiting:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:
                return True
        return self._wait(seconds)

    def unlock(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def abandon(self) -> None:
        """Nobody will wait for it any more."""
        with self._guard:
            self._is_wanted = False

    # -- Within --

    def _wait(self, seconds: float) -> bool:
        # The kernel's own queue is fair and wakes at once, where asking again and again would starve beside a busy
        # process; but nothing ends a `flock` that waits. So it waits in a thread that may be left behind.
        with self._guard:
            self._is_wanted = True
            if not self._is_waiting:
                self._is_waiting = True
                self._taken.clear()
                copy = os.dup(self._descriptor)  # of the same lock, and open for as long as the thread waits
                threading.Thread(target=self._wait_here, args=(copy,), name="turn", daemon=True).start()
        self._taken.wait(seconds)
        with self._guard:
            self._is_wanted = False
            if self._is_waiting:
                return False
            error, self._error = self._error, None
        if error is not None:
            raise error
        return True

    def _wait_here(self, descriptor: int) -> None:
        error: OSError | None = None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        except OSError as raised:
            error = raised
        with self._guard:
            self._is_waiting = False
            self._error = error if self._is_wanted else None
            if not self._is_wanted:
                with contextlib.suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)  # whoever waited has gone
            self._taken.set()
        close_quietly(descriptor)


def holder_of(descriptor: int) -> str:
    """Which process has the lock on an open file, in words."""
    status = os.fstat(descriptor)
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    try:
        with open("/proc/locks") as locks:
            lines = [line.split() for line in locks]
    except OSError:
        lines = []
    for _, kind, *rest in lines:
        if kind == "FLOCK" and rest[3] == device and rest[2].isdigit():
            return _described(int(rest[2]))
    return "another process"


def _described(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm", "rb") as file:
            name = file.read().strip().decode("ascii", "replace")
    except OSError:
        return f"process {pid}"
    return f"process {pid} ({name})"
