"""Blocks of several lines in the log, and what nobody has caught."""

from __future__ import annotations

import gc
import io
import json
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sttp_reactor.daemon import logs
from sttp_reactor.sttp.access_log import Access, AccessLog

log = logging.getLogger("sttp_reactor.test_logs_operating")

HOSTILE = "a\nb\x1b[31m\u202e"
ESCAPED = "a\\nb\\x1b[31m\\u202e"


@pytest.fixture(autouse=True)
def _untouched_logger() -> Iterator[None]:
    logger = logging.getLogger(logs.ROOT)
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def test_a_block_in_text(out: io.StringIO) -> None:
    logs.set_up("critical", "text", out)
    logs.block(log, "the state:", iter(["one", HOSTILE]))
    first, *rest = out.getvalue().splitlines()
    assert first.endswith(" info sttp_reactor.test_logs_operating: the state:"), "at every level: it was asked for"
    assert rest == ["    one", f"    {ESCAPED}"]


def test_a_block_in_json(out: io.StringIO) -> None:
    logs.set_up("critical", "json", out)
    logs.block(log, "the state: 100%", ["one", HOSTILE])
    assert out.getvalue().count("\n") == 1
    assert out.getvalue().isascii()
    entry = json.loads(out.getvalue())
    assert (entry["message"], entry["details"]) == ("the state: 100%", ["one", HOSTILE])


def test_a_thread_that_dies_is_logged(out: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", "json", out)

    def fail() -> None:
        raise ValueError(HOSTILE)

    with logs.uncaught(log):
        thread = threading.Thread(target=fail, name="sttp-read-7")
        thread.start()
        thread.join()
    entry = json.loads(out.getvalue())
    assert (entry["level"], entry["message"]) == ("critical", "thread sttp-read-7 failed")
    assert "\n".join(entry["traceback"]).endswith(f"ValueError: {HOSTILE}")
    assert capfd.readouterr() == ("", "")


def test_what_a_destructor_raises_is_logged(out: io.StringIO, capfd: pytest.CaptureFixture[str]) -> None:
    logs.set_up("info", "text", out)

    class Broken:
        def __del__(self) -> None:
            raise ValueError("at the end")

    with logs.uncaught(log):
        Broken()
        gc.collect()
    assert "    ValueError: at the end\n" in out.getvalue()
    assert capfd.readouterr() == ("", "")


def test_afterwards_everything_is_as_it_was() -> None:
    before = threading.excepthook, sys.unraisablehook
    with logs.uncaught(log):
        assert threading.excepthook is not before[0]
    assert (threading.excepthook, sys.unraisablehook) == before


# -- The access log, when its disk fails --


class Turns:
    """The part of a reactor that a log needs."""

    def __init__(self) -> None:
        self.end: Callable[[], None] = lambda: None

    def call_at_turn_end(self, callback: Callable[[], None]) -> None:
        self.end = callback


def test_an_access_log_that_cannot_be_written_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_descriptor: int, _data: bytes) -> int:
        raise OSError(28, "No space left on device")

    turns = Turns()
    access_log = AccessLog(turns, tmp_path / "log")
    monkeypatch.setattr(os, "write", fail)
    for number in range(50):
        access_log.record(Access("192.0.2.7:1", b"SHOW", b"/%d" % number, 200, 10, 0.5))
        turns.end()
    access_log.close()
    log = f"access log {tmp_path}/log: "
    assert caplog.messages == [f"{log}No space left on device; 1 lines lost so far", f"{log}50 lines lost so far"]
    assert access_log.dropped == 50
