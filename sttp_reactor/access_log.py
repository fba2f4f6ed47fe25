"""The access log: one line for each answered request, written once a turn.

The reactor's thread only formats and collects; a thread of the log's own writes, so a slow disk costs the requests
nothing. What it cannot write in time is dropped and counted: a log must not take the server's memory.
"""

from __future__ import annotations

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
        self.dropped = 0
        self._complain_at = 0.0
        self._thread = threading.Thread(target=self._write_batches, name="sttp-access-log", daemon=True)
        self._thread.start()

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
            return sys.stdout.fileno()
        try:
            return os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StartError(f"access log {self._target}: {error.strerror}") from error

    def _hand_over(self) -> None:
        if not self._lines:
            return
        batch = "".join(self._lines).encode()
        count = len(self._lines)
        self._lines.clear()
        if self._handed_over_bytes - self._written_bytes + len(batch) > _MAX_WAITING_BYTES:
            self.dropped += count
            if time.monotonic() >= self._complain_at:
                self._complain_at = time.monotonic() + LOG_AGAIN_SECONDS
                log.warning("access log: it cannot be written fast enough; %d lines dropped so far", self.dropped)
            return
        self._handed_over_bytes += len(batch)
        self._batches.put(batch)

    def _write_batches(self) -> None:
        complain_at = 0.0
        while (batch := self._batches.get()) is not None:
            try:
                if not batch:
                    fresh = self._open()
                    os.close(self._descriptor)
                    self._descriptor = fresh
                at = 0
                while at < len(batch):
                    at += os.write(self._descriptor, batch[at:])
            except (OSError, StartError) as error:
                if not batch or time.monotonic() >= complain_at:
                    complain_at = time.monotonic() + LOG_AGAIN_SECONDS
                    log.warning("access log: %s", error)
            self._written_bytes += len(batch)
        if self._target != "-":
            os.close(self._descriptor)


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
