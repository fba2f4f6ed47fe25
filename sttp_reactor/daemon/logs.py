"""The daemon's log: `logging` to standard error, as lines to read or as one JSON object per line.

Whatever a client can bring into a message or into an exception's text is escaped here, in one place: no record
becomes two, and no terminal that shows the log is steered by it.

Before and after a server serves, a record is written at once. While it serves, within `waiting_for_nobody`, records
pass through a queue.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any, Final, TextIO

from sttp_reactor.daemon.log_lock import LogLock
from sttp_reactor.daemon.log_queue import LogQueue
from sttp_reactor.limits import LOG_CLOSE_SECONDS
from sttp_reactor.net.log_lines import timestamp
from sttp_reactor.printable import printable

ROOT: Final = "sttp_reactor"

log = logging.getLogger(__name__)


class TextFormatter(logging.Formatter):
    """`2026-11-21T02:03:04.123Z info sttp_reactor.sttp.server: message`, the time as in the access log.

    The lines of a block or of a traceback follow, each behind four blanks, so that a line break in an exception's text
    cannot begin what looks like a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        head = f"{timestamp(record.created)} {record.levelname.lower()} {record.name}: "
        lines = [head + printable(record.getMessage())]
        lines += [f"    {printable(line)}" for line in [*_details(record), *_traceback(self, record)]]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One object per line: `time` (as in the access log), `level`, `logger`, `message`, and, as lists of lines,
    `details` and `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        details = _details(record)
        if details:
            entry["details"] = details
        traceback = _traceback(self, record)
        if traceback:
            entry["traceback"] = traceback
        # Escapes all but printable ASCII (JSON itself would let DEL and all beyond ASCII stand).
        return json.dumps(entry)


class StandardErrorHandler(logging.StreamHandler[TextIO]):
    """Silent where standard error is gone: a log that nobody can read any more is no reason to fail."""

    queue: LogQueue | None = None
    """What records go to instead of the stream."""

    def emit(self, record: logging.LogRecord) -> None:
        if self.queue is None:
            super().emit(record)
            return
        try:
            data = self.encoded(record)
        except Exception:
            self.handleError(record)
        else:
            self.queue.put(data)

    def encoded(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + self.terminator).encode(self.stream.encoding or "utf-8", "backslashreplace")

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def set_up(level: str, style: str, stream: TextIO | None = None) -> logging.Handler:
    """Log `level` and above in `style` ("text" or "json") to `stream` (None: standard error); return the handler.

    A further call, such as at a reload, replaces what the call before set up. Only the loggers of this package are
    touched, so that a program that embeds it keeps its own.
    """
    logger = logging.getLogger(ROOT)
    handler = StandardErrorHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    for earlier in _handlers():
        if earlier.stream is handler.stream:
            handler.queue = earlier.queue
        logger.removeHandler(earlier)
        earlier.close()
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    return handler


@contextlib.contextmanager
def waiting_for_nobody(*, has_thread: bool = True) -> Iterator[None]:
    """Within, no record keeps anybody waiting, however slowly standard error takes them; see `log_queue`.

    `has_thread` says that this process may have one; for one that forks it is False. A child enters its own, and
    shares a lock with its parent, so that the records of all of them stay whole. What is left at the end gets
    LOG_CLOSE_SECONDS, and if they are not enough nothing is written any more.
    """
    handler = next(iter(_handlers()), None)
    descriptor = None if handler is None else _descriptor_of(handler.stream)
    if handler is None or descriptor is None:
        yield  # nobody has set up a log, or it goes nowhere, or to memory, which takes what it gets
        return
    # A child's copy of its parent's queue may hold records, which are the parent's to write.
    previous = None if has_thread else handler.queue
    inherited = None if handler.queue is None else handler.queue.lock
    lock = inherited if has_thread else LogLock()
    queue = handler.queue = LogQueue(descriptor, _tell_dropped, has_thread=has_thread, lock=lock)
    try:
        yield
    finally:
        is_written = queue.close(LOG_CLOSE_SECONDS)
        if lock is not None and lock is not inherited:
            lock.close()
        if is_written:
            for each in _handlers():
                if each.queue is queue:
                    each.queue = previous


def dropped() -> int:
    """Lines of the log that nobody will read, because standard error did not take them."""
    return sum(handler.queue.dropped for handler in _handlers() if handler.queue is not None)


def _handlers() -> list[StandardErrorHandler]:
    return [each for each in logging.getLogger(ROOT).handlers if isinstance(each, StandardErrorHandler)]


def _descriptor_of(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):  # in memory (io.UnsupportedOperation is both), or closed
        return None


def _tell_dropped(lines: int) -> bytes:
    text = "%d lines of this log are missing here: standard error did not take them in time"
    record = log.makeRecord(log.name, logging.WARNING, __file__, 0, text, (lines,), None)
    return b"".join(handler.encoded(record) for handler in _handlers())


def block(logger: logging.Logger, message: str, details: Iterable[str]) -> None:
    """Log `message` with lines below it as one record: something that was asked for, so it shows at every level."""
    record = logger.makeRecord(logger.name, logging.INFO, __file__, 0, message, (), None)
    record.details = list(details)
    logger.handle(record)


@contextlib.contextmanager
def uncaught(logger: logging.Logger) -> Iterator[None]:
    """Within, what nobody catches is logged, in the log's format, and not printed: for a program, not for a library."""

    def log_thread(failed: threading.ExceptHookArgs) -> None:
        name = failed.thread.name if failed.thread is not None else "?"
        error = failed.exc_value or failed.exc_type()
        logger.critical("thread %s failed", name, exc_info=(failed.exc_type, error, failed.exc_traceback))

    def log_unraisable(failed: sys.UnraisableHookArgs) -> None:
        error = failed.exc_value or failed.exc_type()
        what = failed.err_msg or "exception ignored"
        logger.error("%s: %r", what, failed.object, exc_info=(failed.exc_type, error, failed.exc_traceback))

    previous = threading.excepthook, sys.unraisablehook
    threading.excepthook, sys.unraisablehook = log_thread, log_unraisable
    try:
        yield
    finally:
        threading.excepthook, sys.unraisablehook = previous


def _details(record: logging.LogRecord) -> list[str]:
    """The lines of a block."""
    return getattr(record, "details", [])


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The lines of the record's exception and stack, where it has one."""
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return [line for part in parts for line in part.split("\n")]
