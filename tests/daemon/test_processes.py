"""Several processes behind one address answer like one (PROTOCOL.md section 2)."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Start, Sttpd, Wire

PROCESSES = 3
MANY = 24  # connections: that all of them end in one process has a chance of one in 3**23


@pytest.fixture(scope="module")
def team(start_for_all: Start) -> Sttpd:
    return start_for_all("-o", f"processes={PROCESSES}")


@pytest.fixture
def wires(team: Sttpd) -> Iterator[list[Wire]]:
    wires = [team.connect() for _ in range(MANY)]
    yield wires
    for wire in wires:
        wire.close()


def children(server: Sttpd) -> list[int]:
    file = Path(f"/proc/{server.pid}/task/{server.pid}/children")
    if not file.exists():
        pytest.skip("this system does not tell a process's children")
    return [int(pid) for pid in file.read_text().split()]


def test_what_one_has_written_all_show(team: Sttpd, wires: list[Wire]) -> None:
    assert wires[0].ask(b"CREATE /x start") == b"100 /x CREATED\n"
    for number in range(30):
        expected = b"200 /x OK\n%d\n" % number
        assert wires[number % MANY].ask(b"UPDATE /x %d" % number) == expected
        for wire in wires:
            assert wire.ask(b"SHOW /x") == expected
    assert wires[1].ask(b"DELETE /x") == b"600 /x DELETED\n"
    assert {wire.ask(b"SHOW /x") for wire in wires} == {b"400 /x NOT FOUND\n"}


def test_of_many_that_create_one_file_one_succeeds(wires: list[Wire]) -> None:
    for number in range(10):
        for wire in wires:
            wire.send(b"CREATE /race/%d x\n" % number)
        assert sorted(wire.reply()[:3] for wire in wires) == [b"100"] + [b"300"] * (MANY - 1)


def test_the_limit_of_connections_is_one_for_all(start: Start) -> None:
    server = start("-o", f"processes={PROCESSES}", "-o", "limits.max_connections=5")
    wires = []
    for _ in range(5):
        wires.append(server.connect())
        assert wires[-1].ask(b"LIST /") == b"200 / OK\n\n"
    for _ in range(5):
        with server.connect() as wire:
            assert re.fullmatch(rb'500 - SERVER ERROR "[^"]+"\n', wire.rest())
    for wire in wires:
        wire.close()


def test_a_process_that_dies_is_replaced_and_no_acknowledged_write_with_it(team: Sttpd, wires: list[Wire]) -> None:
    for number, wire in enumerate(wires):
        assert wire.ask(b"CREATE /kept/%d x" % number) == b"100 /kept/%d CREATED\n" % number
    victim, *others = children(team)
    assert len(others) == PROCESSES - 1
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while victim in children(team) or len(children(team)) < PROCESSES:
        assert time.monotonic() < deadline, "nobody has taken its place"
        time.sleep(0.02)
    expected = b"".join(b"200 /kept/%d OK\nx\n" % number for number in range(MANY))
    for _ in range(5):
        assert team.converse(b"".join(b"SHOW /kept/%d\n" % number for number in range(MANY))) == expected


def test_they_all_stop(start: Start) -> None:
    server = start("-o", f"processes={PROCESSES}")
    pids = children(server)
    with server.connect() as wire:
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"
        server.send_signal(signal.SIGTERM)
        assert wire.rest() == b""
    server.ends()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
