"""Where a server listens: several addresses at once, IPv6, and Unix sockets with their files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from ports import free_port, has_ipv6
from running import Start, Wire, fails


def test_several_addresses_are_one_server(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = start(address=f"127.0.0.1,::1,{path}" if has_ipv6() else f"127.0.0.1,{path}")
    four, *six, unix = server.addresses
    assert (four, unix) == (f"127.0.0.1:{server.port}", str(path))
    assert [address.rpartition(":")[0] for address in six] == ["[::1]"] * has_ipv6()
    with Wire(four) as one, Wire(six[0] if six else four) as another, Wire(unix) as other:
        assert one.ask(b"CREATE /a text") == b"100 /a CREATED\n"
        assert another.ask(b"SHOW /a") == b"200 /a OK\ntext\n"
        assert other.ask(b"UPDATE /a new") == b"200 /a OK\nnew\n"
        assert another.ask(b"SHOW /a") == one.ask(b"SHOW /a") == b"200 /a OK\nnew\n"
        other.send(b"LIST /\n\n")
        assert other.rest() == b"200 / OK\na\n"
    server.stop()
    assert not path.exists(), "removed at the end"


def test_both_wildcards_at_once(start: Start) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6")
    port = free_port()
    server = start(address="0.0.0.0,::", port=port)
    for address in (f"127.0.0.1:{port}", f"[::1]:{port}"):
        with Wire(address) as wire:
            assert wire.ask(b"LIST /") == b"200 / OK\n\n"
    assert len(server.addresses) == 2


def test_a_socket_that_a_crash_has_left_is_replaced(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    start(address=str(path)).kill()
    assert stat.S_ISSOCK(path.stat().st_mode)
    again = start(address=str(path))
    with again.connect() as wire:
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"
    said = fails(["-a", str(path), "-d", "other"], tmp_path, 1)
    assert "in use" in said, "but not one that a live server listens on"
    with again.connect() as wire:
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"


def test_a_file_in_the_way_of_a_socket_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("my notes")
    fails(["-a", str(path), "-d", "files"], tmp_path, 1)
    assert path.read_text() == "my notes"
