"""Who may connect to a Unix socket: unix_socket_mode, from the first instant, and after a reload."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from operating import operated

from sttp_reactor.net.address import Address, resolve
from sttp_reactor.net.listener import bind


def mode_of(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


@pytest.mark.parametrize("processes", [1, 2])
def test_it_is_what_the_setting_says_whatever_the_umask(tmp_path: Path, processes: int) -> None:
    one, two = tmp_path / "one.sock", tmp_path / "two.sock"
    common = f"processes: {processes}\n"
    mask = os.umask(0o077)
    try:
        with operated(tmp_path, common + f"listen_address: {one}") as server:
            assert mode_of(one) == "0660", "by default its group may connect"
            server.reload(common + f"listen_address: [{one}, {two}]\nunix_socket_mode: '0600'")
            assert (mode_of(one), mode_of(two)) == ("0600", "0600")
            assert server.converse(b"LIST /\n").startswith(b"200"), "its owner, of course"
            server.reload(common + f"listen_address: [{one}, {two}]\nunix_socket_mode: 777")
            assert (mode_of(one), mode_of(two)) == ("0777", "0777")
    finally:
        os.umask(mask)


def test_nobody_connects_by_what_the_umask_allows_before_it_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not listen yet when its mode is set."""
    path = tmp_path / "s"
    (address,) = resolve(str(path), 0)
    seen: list[bool] = []
    chmod = os.chmod

    def looking_chmod(name: str, mode: int) -> None:
        with pytest.raises(ConnectionRefusedError):
            connect(address)
        seen.append(True)
        chmod(name, mode)

    monkeypatch.setattr(os, "chmod", looking_chmod)
    bind(address, unix_mode=0o600).close()
    assert seen
    assert mode_of(path) == "0600"


def connect(address: Address) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(address.sockaddr)
