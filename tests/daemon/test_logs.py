"""The log's two formats, and that nothing a client sends can forge a record in either."""

from __future__ import annotations

import io
import json
import logging
import sys
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any

import pytest

from sttp_reactor.daemon import logs
from sttp_reactor.printable import printable

# What a client could send to make one record look like two, or to steer a terminal.
HOSTILE = 'a\nb\r\x1b[31m\x00\x7f\x85\u2028\u202e\udcffé"\\'
ESCAPED = 'a\\nb\\r\\x1b[31m\\x00\\x7f\\x85\\u2028\\u202e\\udcffé"\\'

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


@pytest.fixture(autouse=True)
def _untouched_logger() -> Iterator[None]:
    logger = logging.getLogger(logs.ROOT)
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def caught(message: str) -> ExcInfo:
    try:
        raise ValueError(message)
    except ValueError as error:
        return type(error), error, error.__traceback__


def record(message: str, *, created: float = 1_000.0, exc_info: ExcInfo | None = None) -> logging.LogRecord:
    made = logging.LogRecord("sttp_reactor.sttp.server", logging.INFO, __file__, 1, message, None, exc_info)
    made.created = created
    return made


def as_json(made: logging.LogRecord) -> dict[str, Any]:
    line = logs.JsonFormatter().format(made)
    assert "\n" not in line
    assert line.isascii()
    assert line.isprintable()
    parsed: dict[str, Any] = json.loads(line)
    return parsed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("plain ünï \U0001f600 \\n", "plain ünï \U0001f600 \\n"),
        (HOSTILE, ESCAPED),
        ("\t", "\\t"),
        ("\u2066\U000e0001", "\\u2066\\U000e0001"),
    ],
)
def test_printable(text: str, expected: str) -> None:
    assert printable(text) == expected
    assert printable(text).isprintable()


@pytest.fixture
def _elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A time zone that is neither UTC nor whole hours from it."""
    monkeypatch.setenv("TZ", "XXX-05:45")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_elsewhere")
def test_a_line_of_text() -> None:
    line = logs.TextFormatter().format(record("ready", created=1_000.1239))
    assert line == "1970-01-01T00:16:40.123Z info sttp_reactor.sttp.server: ready"


@pytest.mark.parametrize(("fraction", "milliseconds"), [(0.0, "000"), (0.0009, "000"), (0.5, "500"), (0.9999, "999")])
def test_milliseconds_never_reach_a_thousand(fraction: float, milliseconds: str) -> None:
    made = record("x", created=1_000 + fraction)
    assert f":40.{milliseconds}Z " in logs.TextFormatter().format(made)
    assert f":40.{milliseconds}" in as_json(made)["time"]


@pytest.mark.usefixtures("_elsewhere")
def test_a_json_object() -> None:
    entry = as_json(record("ready", created=1_000.1239))
    assert entry == {
        "time": "1970-01-01T00:16:40.123Z",
        "level": "info",
        "logger": "sttp_reactor.sttp.server",
        "message": "ready",
    }


def test_what_a_client_sends_is_escaped() -> None:
    assert logs.TextFormatter().format(record(HOSTILE)).endswith(f" info sttp_reactor.sttp.server: {ESCAPED}")
    assert as_json(record(HOSTILE))["message"] == HOSTILE


def test_what_a_client_sends_is_escaped_in_a_traceback() -> None:
    made = record("it failed", exc_info=caught(HOSTILE))
    first, *rest = logs.TextFormatter().format(made).split("\n")
    assert first.endswith(": it failed")
    assert rest[0] == "    Traceback (most recent call last):"
    assert rest[-2] == "    ValueError: a"
    assert rest[-1] == f"    {ESCAPED[3:]}"
    assert all(line.startswith("    ") and line.isprintable() for line in rest)
    entry = as_json(made)
    assert entry["traceback"][0] == "Traceback (most recent call last):"
    assert "\n".join(entry["traceback"]).endswith(f"ValueError: {HOSTILE}")


def test_a_stack_is_logged_like_a_traceback() -> None:
    made = record("where")
    made.stack_info = "Stack (most recent call last):\n  x\x1b"
    assert logs.TextFormatter().format(made).endswith("where\n    Stack (most recent call last):\n      x\\x1b")
    assert as_json(made)["traceback"] == ["Stack (most recent call last):", "  x\x1b"]


@pytest.mark.parametrize(
    ("level", "logged"),
    [
        ("debug", ["d", "i", "w", "e"]),
        ("info", ["i", "w", "e"]),
        ("warning", ["w", "e"]),
        ("error", ["e"]),
        ("critical", []),
    ],
)
def test_levels(level: str, logged: list[str]) -> None:
    stream = io.StringIO()
    logs.set_up(level, "json", stream)
    logger = logging.getLogger("sttp_reactor.anything")
    logger.debug("d")
    logger.info("i")
    logger.warning("w")
    logger.error("e")
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == logged


def test_setting_up_again_replaces() -> None:
    first, second = io.StringIO(), io.StringIO()
    logs.set_up("info", "json", first)
    logs.set_up("warning", "text", second)
    logging.getLogger("sttp_reactor.x").warning("once")
    assert first.getvalue() == ""
    assert second.getvalue().endswith(" warning sttp_reactor.x: once\n")
    assert second.getvalue().count("\n") == 1


def test_the_handlers_of_others_stay() -> None:
    other = logging.NullHandler()
    logging.getLogger(logs.ROOT).addHandler(other)
    logs.set_up("info", "text", io.StringIO())
    assert other in logging.getLogger(logs.ROOT).handlers


class Broken(io.StringIO):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self._error = error

    def write(self, _: str) -> int:
        raise self._error


def test_a_standard_error_that_is_gone_is_no_reason_to_fail(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.set_up("info", "text", Broken(BrokenPipeError()))
    logging.getLogger("sttp_reactor.x").info("lost")
    assert capsys.readouterr() == ("", "")
    # A mistake of ours is told all the same.
    logs.set_up("info", "text", Broken(ValueError("ours")))
    logging.getLogger("sttp_reactor.x").info("lost")
    assert "ValueError: ours" in capsys.readouterr().err


def test_it_goes_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", "text")
    logging.getLogger("sttp_reactor.x").info("here")
    assert capsys.readouterr().out == ""
    logs.set_up("info", "text", sys.stderr)
    logging.getLogger("sttp_reactor.x").info("here")
    assert capsys.readouterr().err.endswith("sttp_reactor.x: here\n")
