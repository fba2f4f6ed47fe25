"""The daemon's log: `logging` to standard error, as lines to read or as one JSON object per line.

Whatever a client can bring into a message or into an exception's text is escaped here, in one place: no record
becomes two, and no terminal that shows the log is steered by it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, TextIO

from sttp_reactor.printable import printable

ROOT = "sttp_reactor"


class TextFormatter(logging.Formatter):
    """`2026-11-21T02:03:04.123 info sttp_reactor.sttp.server: message`, in local time.

    The lines of a block or of a traceback follow, each behind four blanks, so that a line break in an exception's text
    cannot begin what looks like a record.
    """

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(record.created))
        head = f"{moment}.{_milliseconds(record):03d} {record.levelname.lower()} {record.name}: "
        lines = [head + printable(record.getMessage())]
        lines += [f"    {printable(line)}" for line in [*_details(record), *_traceback(self, record)]]
        return "\n".join(lines)


class JsonFormatter(logging.Formatter):
    """One object per line: `time` (with its offset from UTC), `level`, `logger`, `message`, and, as lists of lines,
    `details` and `traceback`."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(int(record.created)).astimezone()
        entry: dict[str, Any] = {
            "time": moment.replace(microsecond=1000 * _milliseconds(record)).isoformat(timespec="milliseconds"),
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

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def set_up(level: str, style: str, stream: TextIO | None = None) -> logging.Handler:
    """Log `level` and above in `style` ("text" or "json") to `stream` (None: standard error); return the handler.

    A further call, such as at a reload, replaces what the call before set up. Only the loggers of this package are
    touched, so that a program that embeds it keeps its own.
    """
    logger = logging.getLogger(ROOT)
    for earlier in [each for each in logger.handlers if isinstance(each, StandardErrorHandler)]:
        logger.removeHandler(earlier)
        earlier.close()
    handler = StandardErrorHandler(stream if stream is not None else sys.stderr)
    handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    logger.addHandler(handler)
    logger.setLevel(level.upper())
    return handler


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


def _milliseconds(record: logging.LogRecord) -> int:
    # Not record.msecs: newer Pythons round it, and 999.9 would become 1000.
    return int(record.created % 1 * 1000)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> list[str]:
    """The lines of the record's exception and stack, where it has one."""
    parts = []
    if record.exc_info:
        parts.append(formatter.formatException(record.exc_info))
    if record.stack_info:
        parts.append(formatter.formatStack(record.stack_info))
    return [line for part in parts for line in part.split("\n")]
