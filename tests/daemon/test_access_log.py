"""The access log: what a line holds, that none is lost, and going on in a new file."""

from __future__ import annotations

import json
import logging
import os
import re
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from running import Start, Sttpd

from sttp_reactor.errors import StartError
from sttp_reactor.net.log_lines import pieces
from sttp_reactor.sttp.access_log import Access, AccessLog

NASTY = "/tab\u2028\u00e9\U0001f600".encode()
SCRIPT = b"CREATE /a x\nSHOW /a\nSHOW /a\nnonsense\nUPDATE %b x\nDELETE /a\n\n" % NASTY
EXPECTED = [
    ("CREATE", "/a", 100),
    ("SHOW", "/a", 200),
    ("SHOW", "/a", 200),
    ("-", "-", 300),
    ("UPDATE", NASTY.decode(), 400),
    ("DELETE", "/a", 600),
]


def run_script(server: Sttpd) -> int:
    """Gives the number of bytes answered."""
    with server.connect() as wire:
        wire.send(SCRIPT)
        return len(wire.rest())


def test_text(start: Start, tmp_path: Path) -> None:
    server = start("--access-log", "log")
    answered = run_script(server)
    server.stop()
    lines = (tmp_path / "log").read_text().splitlines()
    fields = [line.split(" ") for line in lines]
    assert {len(each) for each in fields} == {7}
    assert [(action, int(status)) for _, _, action, _, status, _, _ in fields] == [
        (action, status) for action, _, status in EXPECTED
    ]
    assert [fields[0][3], fields[3][3]] == ["/a", "-"]
    assert sum(int(each[5]) for each in fields) == answered
    for moment, peer, *_, seconds in fields:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", moment)
        assert re.fullmatch(r"127\.0\.0\.1:\d+", peer)
        assert 0 <= float(seconds) < 10


def test_json(start: Start, tmp_path: Path) -> None:
    server = start("--access-log", "log", "--log-format", "json")
    answered = run_script(server)
    server.stop()
    raw = (tmp_path / "log").read_bytes()
    assert raw.isascii()
    entries = [json.loads(line) for line in raw.splitlines()]
    assert [(entry["action"], entry["path"], entry["status"]) for entry in entries] == EXPECTED
    assert sum(entry["bytes"] for entry in entries) == answered
    for entry in entries:
        moment = datetime.fromisoformat(entry["time"])
        assert abs(datetime.now(UTC) - moment) < timedelta(minutes=5)
        assert 0 <= entry["seconds"] < 10
        assert entry["peer"].startswith("127.0.0.1:")


def test_standard_output(start: Start) -> None:
    server = start("--access-log", "-")
    run_script(server)
    server.send_signal(15)
    out = server.ends()
    assert [line.split(" ")[2] for line in out.splitlines()] == [action for action, _, _ in EXPECTED]


# -- In this process --


class Turns:
    """The part of a reactor that a log needs."""

    def __init__(self) -> None:
        self.turn_end: list[Callable[[], None]] = []

    def call_at_turn_end(self, callback: Callable[[], None]) -> None:
        self.turn_end.append(callback)

    def end(self) -> None:
        callbacks, self.turn_end = self.turn_end, []
        for callback in callbacks:
            callback()


@pytest.fixture
def turns() -> Turns:
    return Turns()


@pytest.fixture
def log(turns: Turns, tmp_path: Path) -> Iterator[AccessLog]:
    log = AccessLog(turns, tmp_path / "log")
    yield log
    log.close()


def access(path: bytes) -> Access:
    return Access("192.0.2.7:1", b"SHOW", path, 200, 10, 0.5)


def paths_in(file: Path) -> list[str]:
    return [line.split(" ")[3] for line in file.read_text().splitlines()]


def test_a_turn_is_one_write(turns: Turns, log: AccessLog, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    write = os.write

    def measured(descriptor: int, data: bytes) -> int:
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", measured)
    for number in range(10):
        log.record(access(b"/%d" % number))
    assert len(turns.turn_end) == 1
    turns.end()
    log.close()
    assert len(sizes) == 1


def test_reopened_it_goes_on_in_a_new_file_and_says_so(
    turns: Turns, log: AccessLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    file, old = tmp_path / "log", tmp_path / "log.1"
    log.record(access(b"/1"))
    turns.end()
    log.record(access(b"/2"))  # in the turn in which it is reopened: it belongs to the old file
    file.rename(old)
    log.reopen()
    log.record(access(b"/3"))
    turns.end()
    log.close()
    assert (paths_in(old), paths_in(file)) == (["/1", "/2"], ["/3"])
    assert caplog.messages == [f"access log {file}: opened anew"]


def test_it_appends_to_what_is_there(turns: Turns, tmp_path: Path) -> None:
    for path in (b"/1", b"/2"):
        log = AccessLog(turns, tmp_path / "log")
        log.record(access(path))
        log.close()
    assert paths_in(tmp_path / "log") == ["/1", "/2"]


def test_reopening_where_that_fails_keeps_the_old_file(
    turns: Turns, log: AccessLog, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    folder = tmp_path / "folder"
    (tmp_path / "log").rename(tmp_path / "log.1")
    (tmp_path / "log").mkdir()
    log.reopen()
    log.record(access(b"/1"))
    turns.end()
    log.close()
    assert paths_in(tmp_path / "log.1") == ["/1"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING], "and nobody says that it was opened"
    assert caplog.messages == [f"access log {tmp_path}/log: Is a directory; going on in the old file"]
    assert not folder.exists()


def test_a_target_that_cannot_be_opened(turns: Turns, tmp_path: Path) -> None:
    before = threading.active_count()
    with pytest.raises(StartError, match=r"access log .*none/log: No such file or directory"):
        AccessLog(turns, tmp_path / "none" / "log")
    assert threading.active_count() == before


def test_a_pipe_that_nobody_reads_is_not_waited_for(turns: Turns, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StartError, match=r"access log .*/pipe: it is a pipe that nobody reads"):
        AccessLog(turns, tmp_path / "pipe")


def test_a_pipe_gets_more_than_it_holds(turns: Turns, tmp_path: Path) -> None:
    """The log waits for its reader, and nobody else does."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open(reader, "rb") as pipe:
        log = AccessLog(turns, tmp_path / "pipe")
        os.set_blocking(reader, True)
        for number in range(5000):
            log.record(access(b"/%d" % number))
        turns.end()
        assert [int(pipe.readline().split(b" ")[3][1:]) for _ in range(5000)] == list(range(5000))
        log.close()
    assert log.dropped == 0


def test_lines_of_two_writers_stay_whole_in_a_pipe_that_is_read_slowly(turns: Turns, tmp_path: Path) -> None:
    """As those of two processes do: the kernel does not know the difference."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open(reader, "rb", buffering=0) as pipe:
        logs = [AccessLog(turns, tmp_path / "pipe") for _ in range(2)]
        os.set_blocking(reader, True)
        for log, letter in zip(logs, (b"a", b"b"), strict=True):
            for number in range(3000):
                log.record(access(b"/" + letter * (number % 97 + 1)))
        turns.end()
        received = b""
        while received.count(b"\n") < 6000:
            received += pipe.read(1000)
        for log in logs:
            log.close()
    paths = [line.split(b" ")[3] for line in received.splitlines()]
    assert sorted(paths) == sorted(b"/" + c * (n % 97 + 1) for c in (b"a", b"b") for n in range(3000))


@pytest.mark.parametrize("most", [8, 16, 4096])
def test_pieces_are_log_lines_and_no_larger_than_they_may_be(most: int) -> None:
    data = b"1\n22\n\n333\n" + b"4" * 30 + b"\n55\n"
    cut = list(pieces(data, most))
    assert b"".join(cut) == data
    assert all(piece.endswith(b"\n") for piece in cut)
    assert all(len(piece) <= most or piece == b"4" * 30 + b"\n" for piece in cut)
    assert cut[0] == {8: b"1\n22\n\n", 16: b"1\n22\n\n333\n", 4096: data}[most], "as much as fits"


def test_a_pipe_that_somebody_else_has_made_non_blocking(turns: Turns, tmp_path: Path) -> None:
    """A program that shares our standard output, for one: it is so for all who share it."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open(reader, "rb") as pipe:
        log = AccessLog(turns, tmp_path / "pipe")
        os.set_blocking(log._file.descriptor, False)
        os.set_blocking(reader, True)
        for number in range(5000):
            log.record(access(b"/%d" % number))
        turns.end()
        assert [int(pipe.readline().split(b" ")[3][1:]) for _ in range(5000)] == list(range(5000))
        log.close()
    assert log.dropped == 0


def test_a_socket_cannot_be_opened_and_what_can_be_done_is_said(turns: Turns, tmp_path: Path) -> None:
    """`/dev/stdout` where standard output is a service manager's socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs, pytest.raises(StartError) as refused:
        AccessLog(turns, Path(f"/dev/fd/{ours.fileno()}"))
    said = "it is a socket, which cannot be opened as a file; '-' is standard output"
    assert re.fullmatch(rf"access log /dev/fd/\d+: {said}", str(refused.value))


def test_the_same_error_for_hours_does_not_hide_another(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    errors = [28, 28, 5, 28]

    def fail(_descriptor: int, _data: bytes) -> int:
        code = errors.pop(0)
        raise OSError(code, os.strerror(code))

    log = AccessLog(turns, tmp_path / "log")
    monkeypatch.setattr(os, "write", fail)
    for _ in range(4):
        log.record(access(b"/lost"))
        turns.end()
    log.close()
    assert [message.partition("log: ")[2] for message in caplog.messages] == [
        "No space left on device; 1 lines lost so far",
        "Input/output error; 3 lines lost so far",
        "4 lines lost so far",
    ]


def test_a_standard_output_that_is_closed(turns: Turns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    with pytest.raises(StartError, match="access log: standard output is closed"):
        AccessLog(turns, "-")


@pytest.mark.parametrize("room", [0, 1, 40, 70])
def test_a_line_that_a_full_disk_has_cut_spoils_no_other(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    log = AccessLog(turns, tmp_path / "log", "json")
    write, left = os.write, [room]

    def write_what_fits(descriptor: int, data: bytes) -> int:
        if left and not left[0]:
            raise OSError(28, "No space left on device")
        written = write(descriptor, data[: left[0]] if left else data)
        if left:
            left[0] -= written
        return written

    monkeypatch.setattr(os, "write", write_what_fits)
    failed = threading.Semaphore(0)
    monkeypatch.setattr(log, "_tell_lost", lambda _: failed.release())
    for path in (b"/lost/1", b"/lost/2"):
        log.record(access(path))
    turns.end()
    assert failed.acquire(timeout=10)
    left.clear()
    for path in (b"/kept/1", b"/kept/2"):
        log.record(access(path))
        turns.end()
    log.close()
    *cut, one, two = (tmp_path / "log").read_text().splitlines()
    assert [json.loads(line)["path"] for line in (one, two)] == ["/kept/1", "/kept/2"]
    assert [len(line) for line in cut] == [room] * bool(room)
    assert log.dropped == 2


def test_a_file_that_was_emptied_begins_with_a_line(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way out of a full disk, for some."""
    log = AccessLog(turns, tmp_path / "log")
    write, cuts = os.write, [True]

    def cut_short(descriptor: int, data: bytes) -> int:
        if not cuts:
            raise OSError(28, "No space left on device")
        cuts.pop()
        return write(descriptor, data[:10])

    with monkeypatch.context() as patched:
        failed = threading.Semaphore(0)
        patched.setattr(log, "_tell_lost", lambda _: failed.release())
        patched.setattr(os, "write", cut_short)
        log.record(access(b"/lost"))
        turns.end()
        assert failed.acquire(timeout=10)
    os.truncate(tmp_path / "log", 0)
    log.record(access(b"/kept"))
    turns.end()
    log.close()
    assert paths_in(tmp_path / "log") == ["/kept"]


def test_a_disk_that_hangs_costs_lines_and_no_memory(
    turns: Turns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    reached, opened = threading.Event(), threading.Event()
    write = os.write

    def hang(descriptor: int, data: bytes) -> int:
        reached.set()
        assert opened.wait(10)
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", hang)
    log = AccessLog(turns, tmp_path / "log")
    try:
        log.record(access(b"/0"))
        turns.end()
        assert reached.wait(10)
        path = b"/" + b"x" * 8000
        turns_taken = 2000  # 16 MB of lines
        for _ in range(turns_taken):
            log.record(access(path))
            turns.end()
        assert 0 < log.dropped < turns_taken
        assert len(caplog.records) == 1, "said once, not once a line"
    finally:
        opened.set()
        log.close()
    written = paths_in(tmp_path / "log")
    assert len(written) + log.dropped == turns_taken + 1
    assert (tmp_path / "log").stat().st_size < 8 << 20


def test_when_the_disk_is_back_lines_are_kept_again(
    turns: Turns, log: AccessLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, failing = os.write, [True]

    def fail(descriptor: int, data: bytes) -> int:
        if failing:
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", fail)
    tried = threading.Event()
    monkeypatch.setattr(logging.getLogger("sttp_reactor.sttp.access_log"), "warning", lambda *_: tried.set())
    log.record(access(b"/lost"))
    turns.end()
    assert tried.wait(10)
    failing.clear()
    log.record(access(b"/kept"))
    log.close()
    assert paths_in(tmp_path / "log") == ["/kept"]
