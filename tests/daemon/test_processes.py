"""Several processes behind one address answer like one (PROTOCOL.md section 2)."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import STTPD, Start, Sttpd, Wire

from sttp_reactor.limits import RESTART_PAUSE_SECONDS

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


# -- Stopping --

REQUESTS = 10_000  # few enough that the kernel takes them all
TEXT = "\N{DROMEDARY CAMEL}".encode() * 160  # and whose replies, which nobody reads for a while, are more than it keeps


@contextlib.contextmanager
def unread(server: Sttpd, count: int) -> Iterator[list[Wire]]:
    """Connections that have asked for more than they have read, so that a drain takes as long as they like."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(server.connect()) for _ in range(count)]
        assert wires[0].ask(b"CREATE /x %b" % TEXT) == b"100 /x CREATED\n"
        for wire in wires:
            wire.send(b"SHOW /x\n" * REQUESTS)
        for wire in wires:
            wire.reply()  # it has begun, and what it was sent has come
        yield wires


@pytest.mark.parametrize("children_first", [False, True])
def test_a_signal_to_all_of_them_drops_nothing_that_was_received(start: Start, children_first: bool) -> None:
    """As a service manager sends it, or pkill."""
    server = start("-o", f"processes={PROCESSES}", preexec_fn=os.setsid)
    with unread(server, 6) as wires:
        if children_first:
            for pid in children(server):
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)
        os.killpg(server.pid, signal.SIGTERM)
        for wire in wires:
            assert len(wire.rest()) == (REQUESTS - 1) * len(b"200 /x OK\n%b\n" % TEXT)
    server.ends()


def test_children_stop_with_their_parent(start: Start) -> None:
    server = start("-o", f"processes={PROCESSES}")
    pids = children(server)
    server.kill()
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "they live on"
        time.sleep(0.02)


@pytest.mark.parametrize("processes", [1, 2])
def test_nobody_connects_during_a_drain_and_a_successor_can_bind(start: Start, tmp_path: Path, processes: int) -> None:
    path = str(tmp_path / "socket")
    server = start("-o", f"processes={processes}", address=path)
    with unread(server, 4):
        server.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 5
        while os.path.exists(path):
            assert time.monotonic() < deadline, "it accepts all through the drain"
            time.sleep(0.01)
        successor = Sttpd(["-a", path, "-d", "others", "-o", f"processes={processes}"], tmp_path)
        try:
            assert successor.converse(b"LIST /\n") == b"200 / OK\n\n"
            assert server.process.poll() is None, "it is still draining"
            server.send_signal(signal.SIGTERM)
            server.ends()
            assert successor.converse(b"LIST /\n") == b"200 / OK\n\n", "its file is not the first one's to remove"
        finally:
            successor.finish()


# -- A child that cannot start, because somebody else holds the lock --


@contextlib.contextmanager
def held(docroot: Path) -> Iterator[None]:
    """The lock that a process takes for its turn to write, and for recovering at its start."""
    (docroot / ".sttp").mkdir(parents=True, exist_ok=True)
    with open(docroot / ".sttp" / "turn", "a+b") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield


def test_a_parent_whose_children_cannot_start_hears_that_it_is_to_stop(tmp_path: Path) -> None:
    arguments = ["-a", "127.0.0.1", "-p", "0", "-d", "files", "-o", "processes=2", "--pid-file", "pid"]
    with held(tmp_path / "files"), subprocess.Popen([*STTPD, *arguments], cwd=tmp_path) as server:
        try:
            child_file = Path(f"/proc/{server.pid}/task/{server.pid}/children")
            deadline = time.monotonic() + 10
            while not (tmp_path / "pid").exists() or not child_file.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            server.terminate()
            assert server.wait(5) == 0
            assert not (tmp_path / "pid").exists()
        finally:
            server.kill()


def test_a_parent_that_replaces_a_child_hears_that_it_is_to_stop(start: Start, tmp_path: Path) -> None:
    server = start("-o", "processes=2", "-o", "shutdown_timeout=1s")
    victim, _ = children(server)
    time.sleep(RESTART_PAUSE_SECONDS)  # so that it is replaced at once
    with held(tmp_path / "files"):
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 10
        while victim in children(server) or len(children(server)) < 2:
            assert time.monotonic() < deadline, "nobody is started in its place"
            time.sleep(0.02)
        server.send_signal(signal.SIGTERM)
        server.ends(within=1 + 1 + 5)
