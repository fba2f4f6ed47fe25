"""SIGUSR2: one screen of sums over all processes, then details that stay short however much there is to tell."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from operating import Operated, operated
from running import PATIENCE_SECONDS, Wire


@pytest.fixture(params=[1, 2], ids=["alone", "two processes"])
def processes(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def children_of(server: Operated) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


@contextlib.contextmanager
def connected(server: Operated, count: int) -> Iterator[list[Wire]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(server.connect()) for _ in range(count)]


def reported(server: Operated, processes: int) -> str:
    """Everything that is logged for one SIGUSR2."""
    mark = len(server.log)
    server.send_signal(signal.SIGUSR2)
    server.wait_for("the state of the server:")
    for _ in range(processes if processes > 1 else 0):
        server.wait_for("the state of this process:")
    for _ in range(processes):
        server.wait_for(r"(?m)^    threads? .*sttp-write-0 of process \d+:\n(      .+\n)+")
    return server.log[mark:]


def number(told: str, pattern: str) -> int:
    """The one number that the pattern's group has; the pattern stands at the beginning of a line of the block."""
    found = re.findall(rf"(?m)^ +{pattern}", told)
    assert len(found) == 1, (pattern, told)
    return int(found[0])


def test_one_screen_adds_up_what_all_processes_have_done(tmp_path: Path, processes: int) -> None:
    with operated(tmp_path, f"processes: {processes}") as server, connected(server, 16) as wires:
        lines = (b"CREATE /a x", b"SHOW /a", b"SHOW /a", b"show /a", b"SHOW /none", b"nonsense")
        for wire in wires:
            for line in lines:
                wire.ask(line)
        told = reported(server, processes)
        assert number(told, r"connections: (\d+) open of at most 10000; 16 accepted, 0 refused, 0 closed by us$") == 16
        assert number(told, r"requests: (\d+) answered$") == 16 * 6
        assert number(told, r"  CREATE: 1 100 CREATED, (\d+) 300 CLIENT ERROR$") == 15
        assert number(told, r"  SHOW: (\d+) 200 OK, 16 400 NOT FOUND$") == 32
        assert number(told, r"  no request: (\d+) 300 CLIENT ERROR$") == 32
        hits, misses = (number(told, rf"cache: .*[ ;](\d+) {what}[, ]") for what in ("hits", "misses"))
        assert hits + misses == 16 * 3
        assert number(told, rf"cache: (\d+) files, {12 * processes} bytes;") == processes
        asked = 16 * sum(len(line) + 1 for line in lines)
        assert number(told, r"traffic: (\d+) bytes received, \d+ bytes sent, 0 bytes unread$") == asked
        assert number(told, r"disk: 0 requests wait for it; the (\d+) so far took \d+\.\d\d ms on average$") <= 64
        assert number(told, r"reactor: lag .* on average; (\d+) of \d+ looks found more than 0.1 s$") >= 0
        assert re.search(r"(?m)^    sttpd \S+, up \d+ s \(since .*Z\); memory \d+\.\d MB, CPU \d+\.\d s$", told)
        assert re.search(r"(?m)^    trouble: none$", told)
        records = [line for line in told.splitlines() if not line.startswith("    ")]
        assert len(records) == (1 if processes == 1 else 3), "one record each"


def test_many_connections_make_no_long_report(tmp_path: Path) -> None:
    with operated(tmp_path) as server, connected(server, 300) as wires:
        wires[-1].ask(b"LIST /")  # the last to be accepted
        told = reported(server, 1)
        assert number(told, r"connections: (\d+) open of") == 300
        assert len(told.splitlines()) < 150
        assert re.search(r"\n    20 of 300 connections: those with the most unread", told)
        assert told.count("    connection <Session 127.0.0.1:") == 20


def test_trouble_is_told_by_name(tmp_path: Path) -> None:
    settings = "limits: {max_connections: 2, idle_timeout: 100ms}\ndisk_threads: 1"
    with operated(tmp_path, settings) as server:
        with connected(server, 2) as wires:
            for wire in wires:
                wire.ask(b"LIST /")
            with server.connect() as refused:
                refused.rest()
            for wire in wires:
                wire.rest()
        server.reload("prot: 1")
        (tmp_path / "files" / "a").write_bytes(b"\xff")
        with server.connect() as wire:
            wire.ask(b"SHOW /a")
            told = reported(server, 1)
        assert "2 accepted" not in told
        assert number(told, r"connections: .*, (\d+) refused \(1 by limits.max_connections\), 2 closed by us") == 1
        assert "2 closed by us (2 by limits.idle_timeout)" in told
        assert re.search(r"\n    trouble: 1 requests answered 5xx, 1 reloads failed\n", told)


def test_what_a_killed_process_has_answered_stays_counted(tmp_path: Path) -> None:
    with operated(tmp_path, "processes: 2") as server:
        with connected(server, 16) as wires:
            for wire in wires:
                wire.ask(b"LIST /")
        before = reported(server, 2)  # which has everybody publish
        os.kill(children_of(server)[0], signal.SIGKILL)
        server.wait_for("serves again")
        with connected(server, 16) as wires:
            for wire in wires:
                wire.ask(b"LIST /")
            after = reported(server, 2)
        assert number(before, r"requests: (\d+) answered$") == 16
        assert number(after, r"requests: (\d+) answered$") == 32
        assert number(after, r"connections: (\d+) open of at most 10000; 32 accepted") == 16
        assert re.search(r"\n    trouble: 1 processes started again\n", after)


def test_threads_that_do_the_same_are_shown_once(tmp_path: Path) -> None:
    with operated(tmp_path, "disk_threads: 32") as server:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (told := reported(server, 1)).count("self._bell.get()") != 1:
            assert time.monotonic() < deadline, told  # some have only just been started, and stand elsewhere
        assert "sttp-read-31" in told
