"""Starting, stopping, and what the exit code says: 0 stopped, 1 failed, 2 command line, 78 configuration."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path

import pytest
from running import Start, Stopwatch, Sttpd, fails, stopped

# -- Starts --


def test_ready_says_what_there_is_to_know(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sttpd.yaml").write_text("docroot: from-file\nsync: false\n")
    server = Sttpd(["-c", "sttpd.yaml", "-p", "0"], tmp_path)
    try:
        assert server.addresses == [f"127.0.0.1:{server.port}"]
        assert server.docroot == tmp_path / "from-file"
        assert server.origin == "sttpd.yaml"
        assert server.docroot.is_dir(), "made at start if it is missing"
        assert server.log.count("\n") == 1
        assert server.converse(b"LIST /\n") == b"200 / OK\n\n"
        server.send_signal(signal.SIGTERM)
        assert server.ends() == "", "standard output is for an access log that goes there"
    finally:
        server.finish()
    assert "stopped" in server.log
    assert sorted(path.name for path in tmp_path.iterdir()) == ["from-file", "sttpd.yaml"]


def test_a_second_server_in_the_same_place(start: Start, tmp_path: Path) -> None:
    pid_file = tmp_path / "sttpd.pid"
    server = start("--pid-file", "sttpd.pid")
    assert int(pid_file.read_text()) == server.pid
    said = fails(["--pid-file", "sttpd.pid", "-p", "0", "-d", "other"], tmp_path, 1)
    assert f"pid {server.pid}" in said
    said = fails(["-a", "127.0.0.1", "-p", str(server.port), "-d", "other"], tmp_path, 1)
    assert re.fullmatch(rf"sttpd: cannot listen on 127\.0\.0\.1:{server.port}: .*in use\n", said)
    assert server.converse(b"LIST /\n") == b"200 / OK\n\n", "the first one has not noticed"
    assert int(pid_file.read_text()) == server.pid
    server.stop()
    assert not pid_file.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-d", "a-file"], 78, r"sttpd: docroot .*/a-file: .+\n"),
        (["-a", "192.0.2.77"], 1, r"sttpd: cannot listen on 192\.0\.2\.77:\d+: .+\n"),
        (["--access-log", "/nowhere/log"], 78, r"sttpd: access log /nowhere/log: .+\n"),
        (["--no-such-flag"], 2, r"sttpd: .*--no-such-flag.*\n"),
        (["-c", "bad.yaml"], 78, r"bad\.yaml:1:7: port: expected .+, got 'many'\n"),
    ],
)
def test_what_stops_the_start(arguments: list[str], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "a-file").write_text("not a folder")
    (tmp_path / "bad.yaml").write_text("port: many\n")
    docroot = [] if "-d" in arguments else ["-d", "files"]
    assert re.fullmatch(said, fails(["-p", "0", *docroot, *arguments], tmp_path, code))
    assert (tmp_path / "a-file").read_text() == "not a folder"


def test_when_one_of_several_addresses_cannot_be_had_none_is_kept(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        path = tmp_path / "socket"
        fails(["-a", f"{path},127.0.0.1", "-p", str(port), "-d", "files"], tmp_path, 1)
        assert not path.exists()


# -- Stops --


def test_interrupted_from_the_keyboard_it_stops_as_well(start: Start) -> None:
    server = start()
    with server.connect() as wire:
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"
        server.send_signal(signal.SIGINT)
        assert wire.rest() == b"", "closed, and not reset"
    server.ends()
    with pytest.raises(ConnectionRefusedError):
        server.connect()


def test_what_has_arrived_when_the_signal_does_is_answered(start: Start) -> None:
    """All of it lies in the kernel's buffers; the server has not even looked."""
    server = start()
    wires = [server.connect() for _ in range(5)]
    for wire in wires:
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"
    count = 300  # in bytes, more than the server reads at once
    with stopped(server):
        for number, wire in enumerate(wires):
            lines = (b"CREATE /%d/%d x\n" % (number, each) for each in range(count))
            wire.send(b"".join(lines) + b"CREATE /cut x")
        server.send_signal(signal.SIGTERM)
    for number, wire in enumerate(wires):
        assert wire.rest() == b"".join(b"100 /%d/%d CREATED\n" % (number, each) for each in range(count))
        wire.close()
    server.ends()
    found = sorted(path.relative_to(server.docroot).as_posix() for path in server.docroot.glob("[!.]*/*"))
    assert found == sorted(f"{number}/{each}" for number in range(5) for each in range(count))


def test_who_waits_to_be_accepted_when_the_signal_comes_is_answered(start: Start) -> None:
    server = start()
    with stopped(server):
        wires = [server.connect() for _ in range(200)]
        for wire in wires:
            wire.send(b"LIST /\n")
        server.send_signal(signal.SIGTERM)
    for wire in wires:
        assert wire.rest() == b"200 / OK\n\n"
        wire.close()
    server.ends()


def test_a_client_that_stays_silent_does_not_hold_the_shutdown_up(start: Start) -> None:
    server = start("-o", "shutdown_timeout=0.3")
    with server.connect() as wire:
        wire.send(b"LIST /")
        server.send_signal(signal.SIGTERM)
        with Stopwatch() as watch:
            server.ends()
        assert watch.seconds < 2


# -- Crashes --


def test_what_was_acknowledged_outlives_a_crash(start: Start) -> None:
    server = start()
    acknowledged = []
    with server.connect() as wire:
        wire.send(b"".join(b"CREATE /c/%d text of %d\n" % (number, number) for number in range(5000)))
        for number in range(1000):
            assert wire.reply() == b"100 /c/%d CREATED\n" % number
            acknowledged.append(number)
        server.kill()
    again = start(port=server.port)  # at once, though the kernel still remembers the old connections
    replies = again.converse(b"".join(b"SHOW /c/%d\n" % number for number in range(5000)))
    lines = iter(replies.splitlines(keepends=True))
    for number in range(5000):
        first = next(lines)
        if first == b"200 /c/%d OK\n" % number:
            assert next(lines) == b"text of %d\n" % number, "whole or not at all"
        else:
            assert first == b"400 /c/%d NOT FOUND\n" % number
            assert number not in acknowledged
    assert b".sttp" not in again.converse(b"LIST /\n")
