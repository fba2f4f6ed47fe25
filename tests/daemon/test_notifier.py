"""The datagrams of sd_notify and the descriptors of sd_listen_fds, without a process of their own."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sttp_reactor.daemon import systemd
from sttp_reactor.daemon.systemd import Notifier, activated_sockets
from sttp_reactor.errors import StartError


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def notifier(manager: socket.socket) -> Iterator[Notifier]:
    notifier = Notifier({"NOTIFY_SOCKET": manager.getsockname()})
    yield notifier
    notifier.close()


def test_what_is_told(notifier: Notifier, manager: socket.socket) -> None:
    notifier.ready("fine")
    notifier.stopping("soon\nREADY=1\x1b[31m")
    notifier.alive()
    told = [manager.recv(1000) for _ in range(3)]
    assert told == [
        b"READY=1\nSTATUS=fine",
        b"STOPPING=1\nSTATUS=soon\\nREADY=1\\x1b[31m",
        b"WATCHDOG=1",
    ]


def test_without_a_manager_nothing_is_told() -> None:
    notifier = Notifier({})
    notifier.ready("fine")
    notifier.close()
    assert notifier.watchdog_seconds is None


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative", "\udcff"])
def test_an_address_of_another_kind(address: str, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    notifier.ready("fine")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_an_address_where_nobody_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    notifier.ready("fine")
    notifier.close()
    notifier.ready("closed")
    assert len(caplog.messages) == 1
    assert "cannot be told READY=1: [Errno 2]" in caplog.messages[0]


def test_a_manager_that_does_not_read_holds_up_no_sign_of_life(
    notifier: Notifier, manager: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(systemd, "_PATIENCE_SECONDS", 0.01)
    for _ in range(100_000):
        notifier.alive()
        if caplog.messages:
            break
    else:
        pytest.fail("its queue has no end")
    assert "cannot be told WATCHDOG=1" in caplog.messages[-1]
    notifier.ready("fine")
    assert "cannot be told READY=1: timed out" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "³"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_watchdog(environ: dict[str, str], seconds: float | None) -> None:
    assert Notifier(environ, pid=7).watchdog_seconds == seconds


# -- Socket activation --


def given(monkeypatch: pytest.MonkeyPatch, *descriptors: int, names: str | None = None) -> list[systemd.Activated]:
    """Where systemd would have put them from 3 on, they start at the first one's own number."""
    monkeypatch.setattr(systemd, "FIRST_DESCRIPTOR", descriptors[0])
    environ = {"LISTEN_FDS": str(len(descriptors)), "LISTEN_PID": str(os.getpid())}
    return activated_sockets(environ if names is None else {**environ, "LISTEN_FDNAMES": names})


def next_to_each_other(*files: socket.socket | int) -> list[int]:
    """Duplicates with numbers in a row, which are the callee's to close."""
    numbers = [file if isinstance(file, int) else file.fileno() for file in files]
    return [os.dup2(number, max(numbers) + 100 + place) for place, number in enumerate(numbers)]


def test_listening_sockets_are_taken_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "socket"))
        unix.listen()
        taken = given(monkeypatch, *next_to_each_other(tcp, unix), names="web:")
        assert [(each.name, each.sock.getsockname()) for each in taken] == [
            ("web", tcp.getsockname()),
            ("", unix.getsockname()),
        ]
        for each in taken:
            assert not each.sock.getblocking()
            assert not each.sock.get_inheritable()
            each.sock.close()


def datagram(_: socket.socket) -> int:
    return socket.socket(type=socket.SOCK_DGRAM).detach()


def connected(listening: socket.socket) -> int:
    return socket.create_connection(listening.getsockname()).detach()


def not_listening(_: socket.socket) -> int:
    return socket.socket().detach()


def no_socket(_: socket.socket) -> int:
    return os.open(os.devnull, os.O_RDONLY)


@pytest.mark.parametrize("make", [datagram, connected, not_listening, no_socket])
def test_anything_else_is_refused(monkeypatch: pytest.MonkeyPatch, make: Callable[[socket.socket], int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as good:
        bad = make(good)
        numbers = next_to_each_other(good, bad)
        os.close(bad)
        with pytest.raises(StartError, match=f"socket activation: descriptor {numbers[1]} is no "):
            given(monkeypatch, *numbers)
        if make is no_socket:
            os.close(numbers[1])  # not ours, so it was left


def test_a_descriptor_that_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StartError, match="descriptor 999 is no socket: Bad file descriptor"):
        given(monkeypatch, 999)


@pytest.mark.parametrize(
    "environ",
    [{}, {"LISTEN_FDS": "1"}, {"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {"LISTEN_FDS": "x", "LISTEN_PID": "7"}],
)
def test_sockets_that_are_not_for_us_are_left_alone(environ: dict[str, str]) -> None:
    assert activated_sockets(environ, pid=7) == []
