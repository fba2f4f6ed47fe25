"""What an operator reads in the log: which signal stops the server, and with `-v` who comes, who goes and why."""

from __future__ import annotations

import re
import signal
import socket
import struct
from pathlib import Path

import pytest
from operating import operated


@pytest.fixture(params=[1, 2], ids=["alone", "two processes"])
def processes(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_which_signal_stops_it(tmp_path: Path, processes: int, number: signal.Signals) -> None:
    with operated(tmp_path, f"processes: {processes}") as server:
        server.send_signal(number)
        server.ends()
        told = re.findall(r"stopping on (\w+): (\d+) (connections open|processes)\n", server.log)
        assert {name for name, _, _ in told} == {number.name}
        assert len(told) == (1 if processes == 1 else 3)


def test_a_second_signal_is_told_apart_from_the_first(tmp_path: Path, processes: int) -> None:
    with operated(tmp_path, f"processes: {processes}\nshutdown_timeout: 30") as server, server.connect() as wire:
        wire.ask(b"CREATE /a " + "\N{DROMEDARY CAMEL}".encode() * 160)
        wire.send(b"SHOW /a\n" * 30_000)  # 20 MB of replies, which nobody reads: they keep a drain waiting
        server.send_signal(signal.SIGTERM)
        server.wait_for("stopping on SIGTERM: 1 connections open")
        server.send_signal(signal.SIGINT)
        server.wait_for("SIGINT while stopping: closing 1 connections that are not done")
        server.ends()


def test_a_timeout_of_the_shutdown_is_told_by_name(tmp_path: Path) -> None:
    with operated(tmp_path, "shutdown_timeout: 100ms") as server, server.connect() as wire:
        wire.ask(b"CREATE /a " + "\N{DROMEDARY CAMEL}".encode() * 160)
        wire.send(b"SHOW /a\n" * 30_000)
        server.send_signal(signal.SIGTERM)
        server.wait_for(r"shutdown_timeout \(0.1 s\) has passed: closing 1 connections that are not done")
        server.ends()


def test_debug_tells_who_comes_who_goes_and_what_is_refused(tmp_path: Path) -> None:
    with operated(tmp_path, "limits: {max_connections: 1}", "-v") as server:
        with server.connect() as wire:
            name = f"127.0.0.1:{wire.socket.getsockname()[1]}"
            wire.ask(b"show /a")
            with server.connect() as other:
                other.rest()
                refused = f"127.0.0.1:{other.socket.getsockname()[1]}"
            server.reload("limits: {idle_timeout: 100ms}")
            wire.rest()
        server.stop()
        lines = [line.partition(": ")[2] for line in server.log.splitlines() if " debug " in line]
        assert f"{name}: connected" in lines
        assert f'{refused}: refused: 500 - SERVER ERROR "too many connections; try again later"' in lines
        assert any(line.startswith(f'{name}: answered 300 /a CLIENT ERROR "') for line in lines)
        assert f"{name}: closing: limits.idle_timeout has passed" in lines
        assert f"{name}: closed" in lines


def test_debug_tells_of_a_peer_that_resets(tmp_path: Path) -> None:
    with operated(tmp_path, "", "-v") as server:
        with server.connect() as wire:
            wire.ask(b"LIST /")
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close resets
        server.wait_for("closed: .*Connection reset by peer")


def test_nothing_of_that_is_told_at_the_level_info(tmp_path: Path) -> None:
    with operated(tmp_path, "") as server:
        with server.connect() as wire:
            wire.ask(b"show /a")
        server.stop()
        assert "127.0.0.1" not in re.sub("ready: .*", "", server.log)
