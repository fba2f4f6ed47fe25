"""The access log: one line for each answered request, written once a turn.

The reactor's thread only formats and collects; a thread of the log's own writes, so a slow disk costs the requests
nothing. What it cannot write, or not in time, is dropped and counted: a log must not take the server's memory.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

from sttp_reactor.errors import StartError
from sttp_reactor.limits import LOG_AGAIN_SECONDS
from sttp_reactor.printable import printable

log = logging.getLogger(__name__)

# Bytes waiting to be written beyond which lines are dropped.
_MAX_WAITING_BYTES: Final = 4 << 20


class Access(NamedTuple):
    """One answered request. `action` and `path` as bytes, `-` where the line had none; `seconds` from the parsed
    request to its reply; `reply_bytes` as sent."""

    peer: str
    action: bytes
    path: bytes
    status: int
    reply_bytes: int
    seconds: float


class _Loop(Protocol):
    def call_at_turn_end(self, callback: Callable[[], None]) -> None: ...


class AccessLog:
    """`record` belongs to the loop's thread."""

    def __init__(self, loop: _Loop, target: Path | Literal["-"], form: str = "text") -> None:
        """Appends to the file `target`, or writes to standard output. Raises StartError when it cannot be opened."""
        self._loop = loop
        self._target = target
        self._format = _as_json if form == "json" else _as_text
        self._descriptor = self._open()
        self._lines: list[str] = []
        # What waits is the difference. Two counts, because each has one thread that adds to it.
        self._handed_over_bytes = self._written_bytes = 0
        self._batches: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        # Lines dropped, by the loop's thread and by the writer's.
        self._refused = self._lost = 0
        self._lost_and_told = 0
        self._is_cut = False  # the file ends in the middle of a line
        self._complain_at = 0.0
        self._thread = threading.Thread(target=self._write_batches, name="sttp-access-log", daemon=True)
        self._thread.start()

    @property
    def dropped(self) -> int:
        """Lines that are in no file, and will not be."""
        return self._refused + self._lost

    def record(self, access: Access) -> None:
        if not self._lines:
            self._loop.call_at_turn_end(self._hand_over)
        self._lines.append(self._format(time.time(), access))

    def reopen(self) -> None:
        """Go on in a new file of the same name: the old one has been moved away. Harmless for standard output."""
        if self._target != "-":
            self._hand_over()
            self._batches.put(b"")  # the writer's thread owns the descriptor; an empty batch tells it to open anew

    def close(self, patience: float = 5.0) -> None:
        """Waits `patience` seconds for the last lines to be written; without any, they are written all the same, unless
        the process ends first. Harmless twice."""
        if not self._thread.is_alive():
            return
        self._hand_over()
        self._batches.put(None)
        self._thread.join(patience)

    def _open(self) -> int:
        if self._target == "-":
            try:
                return sys.stdout.fileno()
            except (AttributeError, OSError, ValueError):
                raise StartError("access log: standard output is closed") from None
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            # Not blocking: the name may be a pipe's, and everybody would wait with us until somebody reads it.
            descriptor = os.open(self._target, flags | os.O_NONBLOCK, 0o644)
        except OSError as error:
            what = "it is a pipe that nobody reads, or no file" if error.errno == errno.ENXIO else error.strerror
            raise StartError(f"access log {self._target}: {what}") from error
        os.set_blocking(descriptor, True)  # the writer has time
        return descriptor

    def _hand_over(self) -> None:
        if not self._lines:
            return
        batch = "".join(self._lines).encode()
        count = len(self._lines)
        self._lines.clear()
        if self._handed_over_bytes - self._written_bytes + len(batch) > _MAX_WAITING_BYTES:
            self._refused += count
            if time.monotonic() >= self._complain_at:
                self._complain_at = time.monotonic() + LOG_AGAIN_SECONDS
                log.warning("access log: it cannot be written fast enough; %d lines dropped so far", self.dropped)
            return
        self._handed_over_bytes += len(batch)
        self._batches.put(batch)

    # -- The writer's thread --

    def _write_batches(self) -> None:
        complain_at = 0.0
        while (batch := self._batches.get()) is not None:
            if not batch:
                self._open_anew()
                continue
            error = self._write(batch)
            self._written_bytes += len(batch)
            if error is not None and time.monotonic() >= complain_at:
                complain_at = time.monotonic() + LOG_AGAIN_SECONDS
                self._tell_lost(f"{error.strerror}; ")
        if self._lost > self._lost_and_told:
            self._tell_lost("")
        if self._target != "-":
            os.close(self._descriptor)

    def _open_anew(self) -> None:
        try:
            fresh = self._open()
        except StartError as error:
            log.warning("%s; going on in the old file", error)
            return
        with contextlib.suppress(OSError):  # what a network's disk has refused after all
            os.close(self._descriptor)
        self._descriptor = fresh
        self._is_cut = False

    def _write(self, batch: bytes) -> OSError | None:
        data = batch
        at = 0
        try:
            if self._is_cut and os.fstat(self._descriptor).st_size:
                data = b"\n" + batch  # what a full disk has cut stays a line of its own; unless the file was emptied
            while at < len(data):
                at += os.write(self._descriptor, data[at:])
        except OSError as error:
            self._lost += data.count(b"\n", max(at, len(data) - len(batch)))
            self._is_cut = data[at - 1 : at] != b"\n" if at else self._is_cut
            return error
        self._is_cut = False
        return None

    def _tell_lost(self, reason: str) -> None:
        self._lost_and_told = self._lost
        log.warning("access log %s: %s%d lines lost so far", self._target, reason, self._lost)


def _as_text(now: float, access: Access) -> str:
    path = printable(access.path.decode())
    return (
        f"{_timestamp(now)} {access.peer} {access.action.decode()} {path} {access.status} "
        f"{access.reply_bytes} {access.seconds:.6f}\n"
    )


def _as_json(now: float, access: Access) -> str:
    record = {
        "time": _timestamp(now),
        "peer": access.peer,
        "action": access.action.decode(),
        "path": access.path.decode(),
        "status": access.status,
        "bytes": access.reply_bytes,
        "seconds": round(access.seconds, 6),
    }
    return json.dumps(record) + "\n"  # ASCII only: every other character is escaped


def _timestamp(now: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
