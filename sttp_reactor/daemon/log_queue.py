"""What is between the log and its descriptor while a server serves: nobody waits for whoever reads the log.

Standard error may be a pipe to a pager that somebody has stopped, or a file on a disk that hangs. A write to it then
takes for ever, and the thread that logs is the one that answers requests and hears SIGTERM. So records wait in a
bounded queue; what does not fit is dropped and counted, and the log says how much is missing where it goes on.

A thread takes from the queue. A process that forks cannot have one, because a child has only the thread that forked:
there, whoever logs also writes, as much as can be written at once.

Where several processes log to one place, each record is written under a lock that they share (`log_lock`).
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Final

from sttp_reactor.daemon.log_lock import LogLock
from sttp_reactor.limits import LOG_WAITING_BYTES
from sttp_reactor.net.log_lines import LineWriter
from sttp_reactor.net.threads import start_deaf

# Who has no thread waits this long for a reader that is merely busy; and no longer at all once it has taken nothing.
_WAIT_SECONDS: Final = 0.05
# A thread waits this long for another process that writes a record; as a rule that takes a millisecond.
_LOCK_SECONDS: Final = 1.0


class LogQueue:
    """`put` may be called by one thread at a time, any."""

    def __init__(
        self,
        descriptor: int,
        tell_dropped: Callable[[int], bytes],
        *,
        has_thread: bool,
        most_waiting: int = LOG_WAITING_BYTES,
        lock: LogLock | None = None,
    ) -> None:
        """`tell_dropped(lines)` makes the line that says how many are missing; the thread calls it, or `put` does.
        `lock` is shared with other processes that write to the same place."""
        self._writer = LineWriter(descriptor)
        self._tell_dropped = tell_dropped
        self._most_waiting = most_waiting
        self.lock = lock
        self._waiting: queue.SimpleQueue[list[bytes] | None] = queue.SimpleQueue()  # records, each in its pieces
        self._unwritten: deque[bytes] = deque()  # pieces taken from the queue; only where there is no thread
        # What waits is the difference. Two counts, because each has one thread that adds to it.
        self._put_bytes = self._written_bytes = 0
        self._refused = 0
        self._told = 0
        self._is_stuck = False  # it took nothing the last time; only where there is no thread
        self._is_failing = False  # the last write failed: the disk is full, or the reader gone
        self._thread: threading.Thread | None = None
        if has_thread:
            self._thread = threading.Thread(target=self._write_for_ever, name="sttp-log", daemon=True)
            start_deaf(self._thread)

    @property
    def dropped(self) -> int:
        """Lines that have not been written and will not be."""
        return self._refused + self._writer.lost

    def put(self, data: bytes) -> None:
        """Have `data`, whole lines, written. Never waits for long, and never raises OSError."""
        if self._put_bytes - self._written_bytes + len(data) > self._most_waiting:
            self._refused += data.count(b"\n")
        else:
            self._put_bytes += len(data)
            self._waiting.put(list(self._writer.pieces(data)))
        if self._thread is None:
            self._write_without_thread(0.0 if self._is_stuck else _WAIT_SECONDS)

    def close(self, patience: float) -> bool:
        """Write what waits, within `patience` seconds. False where that was not enough: then it is lost."""
        if self._thread is None:
            self._write_without_thread(patience)
            return not self._is_stuck
        self._waiting.put(None)
        self._thread.join(patience)
        return not self._thread.is_alive()

    def _write_for_ever(self) -> None:
        while (record := self._waiting.get()) is not None:
            with self._turn(_LOCK_SECONDS):
                for piece in record:
                    self._write(piece)
                if self._waiting.empty():
                    self._maybe_tell()
        self._maybe_tell()

    def _turn(self, patience: float) -> AbstractContextManager[None]:
        return contextlib.nullcontext() if self.lock is None else self.lock.held(patience)

    def _write_without_thread(self, patience: float) -> None:
        """A pipe that can be written at all takes a piece, because those are small; so nobody waits in the write."""
        deadline = time.monotonic() + patience
        with self._turn(patience):
            while self._unwritten or not self._waiting.empty():
                if not self._unwritten:
                    self._unwritten.extend(self._waiting.get() or ())
                self._is_stuck = not self._writer.wait(max(0.0, deadline - time.monotonic()))
                if self._is_stuck:
                    return
                self._write(self._unwritten.popleft())
        if self.dropped > self._told and self._writer.wait(0.0):
            self._maybe_tell()

    def _write(self, piece: bytes) -> None:
        self._is_failing = self._writer.write(piece) is not None
        self._written_bytes += len(piece)

    def _maybe_tell(self) -> None:
        """Where the queue has run empty after lines were dropped, that is where they are missing."""
        dropped = self.dropped
        if dropped > self._told and not self._is_failing:
            self._writer.write(self._tell_dropped(dropped - self._told))
            self._told = dropped
