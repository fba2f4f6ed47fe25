"""The access log: one line for each answered request, written once a turn.

The reactor's thread only formats and collects; a thread of the log's own writes, so a slow disk costs the requests
nothing. What it cannot write, or not in time, is dropped and counted: a log must not take the server's memory.

Several processes may share the file, or the pipe: each writes whole lines.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import queue
import stat
import sys
import threading
import time
from pathlib import Path
from typing import Final, Literal, NamedTuple

from sttp_reactor.errors import StartError, UnfitError
from sttp_reactor.limits import LOG_AGAIN_SECONDS
from sttp_reactor.net.log_lines import LineWriter, timestamp
from sttp_reactor.net.loop import Loop
from sttp_reactor.net.threads import start_deaf
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


class AccessLog:
    """`record` belongs to the loop's thread."""

    def __init__(self, loop: Loop, target: Path | Literal["-"], form: str = "text") -> None:
        """Appends to the file `target`, or writes to standard output. Raises UnfitError when it cannot be opened."""
        self._loop = loop
        self._target = target
        self._format = _as_json if form == "json" else _as_text
        self._file = LineWriter(self._open())
        self._lines: list[str] = []
        # What waits is the difference. Two counts, because each has one thread that adds to it.
        self._handed_over_bytes = self._written_bytes = 0
        self._batches: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._refused = 0  # lines that the loop's thread has dropped; the writer's counts those that it has lost
        self._lost_and_told = 0
        self._refused_next_told = 0.0
        self._thread = threading.Thread(target=self._write_batches, name="sttp-access-log", daemon=True)
        start_deaf(self._thread)

    @property
    def dropped(self) -> int:
        """Lines that are in no file, and will not be."""
        return self._refused + self._file.lost

    def record(self, access: Access) -> None:
        if not self._lines:
            self._loop.call_at_turn_end(self._hand_over)
        self._lines.append(self._format(time.time(), access))

    def reopen(self) -> None:
        """Go on in a new file of the same name: the old one has been moved away. Whether that could be done is logged
        when it is, by the writer's thread."""
        if self._target == "-":
            log.info("access log: it goes to standard output, so there is no file to open anew")
            return
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
            return _standard_output()
        try:
            descriptor = _open_to_append(self._target, os.O_CREAT)
        except OSError as error:
            raise _unfit(self._target, error) from error
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
            if time.monotonic() >= self._refused_next_told:
                self._refused_next_told = time.monotonic() + LOG_AGAIN_SECONDS
                message = "access log %s: it takes lines more slowly than requests come; %d lines dropped so far"
                log.warning(message, self._target, self.dropped)
            return
        self._handed_over_bytes += len(batch)
        self._batches.put(batch)

    # -- The writer's thread --

    def _write_batches(self) -> None:
        next_told: dict[int | None, float] = {}  # by error: one that goes on for hours must not hide another
        while (batch := self._batches.get()) is not None:
            if not batch:
                self._open_anew()
                continue
            error = self._file.write(batch)
            self._written_bytes += len(batch)
            if error is not None and time.monotonic() >= next_told.get(error.errno, 0.0):
                next_told[error.errno] = time.monotonic() + LOG_AGAIN_SECONDS
                self._tell_lost(f"{error.strerror}; ")
        if self._file.lost > self._lost_and_told:
            self._tell_lost("")
        if self._target != "-":
            os.close(self._file.descriptor)

    def _open_anew(self) -> None:
        try:
            fresh = LineWriter(self._open())
        except StartError as error:
            log.warning("%s; going on in the old file", error)
            return
        with contextlib.suppress(OSError):  # what a network's disk has refused after all
            os.close(self._file.descriptor)
        fresh.lost = self._file.lost
        self._file = fresh
        log.info("access log %s: opened anew", self._target)

    def _tell_lost(self, reason: str) -> None:
        self._lost_and_told = self._file.lost
        log.warning("access log %s: %s%d lines lost so far", self._target, reason, self._file.lost)


def check_access_log(target: Path | Literal[False, "-"]) -> None:
    """Whether an AccessLog could be opened, without making its file. Raises UnfitError."""
    if target == "-":
        _standard_output()
    elif target:
        try:
            os.close(_open_to_append(target))
        except FileNotFoundError as error:
            if not target.parent.exists():
                raise _unfit(target, error) from error
            if not os.access(target.parent, os.W_OK | os.X_OK):
                raise _unfit(target, PermissionError(errno.EACCES, os.strerror(errno.EACCES))) from error
        except OSError as error:
            raise _unfit(target, error) from error


def _standard_output() -> int:
    try:
        return sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):
        raise UnfitError("access log: standard output is closed") from None


def _open_to_append(target: Path, flags: int = 0) -> int:
    # Not blocking: the name may be a pipe's, and everybody would wait with us until somebody reads it.
    return os.open(target, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | flags, 0o644)


def _unfit(target: Path, error: OSError) -> UnfitError:
    return UnfitError(f"access log {target}: {_why_not_opened(target, error)}")


def _why_not_opened(target: Path | Literal["-"], error: OSError) -> str | None:
    if error.errno == errno.ENXIO:
        with contextlib.suppress(OSError):
            mode = os.stat(target).st_mode
            if stat.S_ISSOCK(mode):
                # Such as /dev/stdout under a service manager, whose journal listens at a socket.
                return "it is a socket, which cannot be opened as a file; '-' is standard output"
            if stat.S_ISFIFO(mode):
                return "it is a pipe that nobody reads"
    return error.strerror


def _as_text(now: float, access: Access) -> str:
    path = printable(access.path.decode())
    return (
        f"{timestamp(now)} {access.peer} {access.action.decode()} {path} {access.status} "
        f"{access.reply_bytes} {access.seconds:.6f}\n"
    )


def _as_json(now: float, access: Access) -> str:
    record = {
        "time": timestamp(now),
        "peer": access.peer,
        "action": access.action.decode(),
        "path": access.path.decode(),
        "status": access.status,
        "bytes": access.reply_bytes,
        "seconds": round(access.seconds, 6),
    }
    return json.dumps(record) + "\n"  # ASCII only: every other character is escaped
