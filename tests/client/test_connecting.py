"""From a name to a connection: every address gets its chance, and none more than its time."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted_server import PATIENCE_SECONDS, ScriptedServer, answers

from sttp_reactor.client import Client, connecting
from sttp_reactor.client.url import Endpoint
from sttp_reactor.errors import CannotConnect, ConnectTimedOut, HostUnknown

Serve = Callable[..., ScriptedServer]
SHORT = 0.1
HELLO = b"200 /a OK\nhello\n"


@pytest.fixture
def refusing() -> Iterator[tuple[str, int]]:
    """An address that is taken and refuses."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@pytest.fixture
def swallowing() -> Iterator[tuple[str, int]]:
    """An address that does not answer: its queue of connections is full, so the kernel drops what comes."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make the resolver know the one name `many.test`, by the addresses given."""

    def know(*addresses: tuple[str, int]) -> None:
        def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
            if host != "many.test" or options["flags"] & socket.AI_NUMERICHOST:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", address) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)

    return know


def test_the_second_address_answers_where_the_first_refuses(
    serve: Serve, names: Callable[..., None], refusing: tuple[str, int]
) -> None:
    server = serve(answers(HELLO))
    names(refusing, (server.host, server.port))
    with Client("many.test", 1) as client:
        assert client.show("/a") == "hello"


def test_an_address_that_swallows_does_not_use_up_the_time(
    serve: Serve, names: Callable[..., None], swallowing: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "STAGGER_SECONDS", 0.01)
    server = serve(answers(HELLO))
    names(swallowing, (server.host, server.port))
    with Client("many.test", 1) as client:
        assert client.show("/a") == "hello"
        assert client.timing.connect < 1  # the kernel tries the first again after 1 s


def test_where_all_refuse_each_reason_is_given(names: Callable[..., None], refusing: tuple[str, int]) -> None:
    names(refusing, ("127.0.0.1", 1))
    with Client("many.test", 7) as client, pytest.raises(CannotConnect) as caught:
        client.show("/a")
    assert str(caught.value) == (
        f"cannot connect to many.test:7: 127.0.0.1:{refusing[1]}: Connection refused; 127.0.0.1:1: Connection refused"
    )
    assert not isinstance(caught.value, ConnectTimedOut)


def test_connecting_counts_against_the_time(swallowing: tuple[str, int]) -> None:
    with Client(*swallowing, timeout=SHORT) as client, pytest.raises(ConnectTimedOut, match="connecting to"):
        client.show("/a")


def test_an_unknown_name(names: Callable[..., None]) -> None:
    names()
    with Client("other.test") as client, pytest.raises(HostUnknown, match=r"other\.test.*not known"):
        client.show("/a")


def test_a_name_that_is_none() -> None:
    with Client("x" * 64 + ".test") as client, pytest.raises(HostUnknown):
        client.show("/a")


def test_a_resolver_that_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        if not options["flags"] & socket.AI_NUMERICHOST:
            assert released.wait(PATIENCE_SECONDS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    try:
        with Client("slow.test", timeout=SHORT) as client, pytest.raises(ConnectTimedOut, match=r"slow\.test"):
            client.show("/a")
    finally:
        released.set()


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 here")
def test_ipv6(serve: Serve) -> None:
    server = serve(answers(HELLO), host="::1")
    with Client("::1", server.port) as client:
        assert client.show("/a") == "hello"
        assert str(client.endpoint) == f"[::1]:{server.port}"


@pytest.mark.parametrize("name", ["missing", "x" * 200])
def test_no_unix_socket(tmp_path: Path, name: str) -> None:
    path = str(tmp_path / name)
    with Client(path) as client, pytest.raises(CannotConnect, match=path):
        client.show("/a")


def test_a_unix_socket_with_a_full_queue_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(path)
        listener.listen(0)
        filler = stack.enter_context(socket.socket(socket.AF_UNIX))
        filler.connect(path)
        with Client(path, timeout=SHORT) as client, pytest.raises(ConnectTimedOut):
            client.show("/a")


# -- Trying again --


def test_retries_connect_again_with_growing_pauses(refusing: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with Client(*refusing, retries=7) as client, pytest.raises(CannotConnect):
        client.show("/a")
    assert pauses == [0.25, 0.5, 1, 2, 4, 4, 4]


def test_a_server_that_comes_up_late_is_reached(serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "s")

    def come_up(seconds: float) -> None:
        serve(answers(HELLO), path=path)

    monkeypatch.setattr(time, "sleep", come_up)
    with Client(path, retries=1) as client:
        assert client.show("/a") == "hello"


def test_an_unknown_host_is_not_tried_again(names: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    names()
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
    with Client("other.test", retries=3) as client, pytest.raises(HostUnknown):
        client.show("/a")


def test_the_interface_of_an_address_is_shown() -> None:
    """Without it nobody can tell which of several links a connection was tried on."""
    index, name = socket.if_nameindex()[0]
    assert str(connecting.Address(socket.AF_INET6, ("fe80::1", 8080, 0, index))) == f"[fe80::1%{name}]:8080"
    assert str(connecting.Address(socket.AF_INET6, ("fe80::1", 8080, 0, 98765))) == "[fe80::1%98765]:8080"
    assert str(connecting.Address(socket.AF_INET6, ("::1", 8080, 0, 0))) == "[::1]:8080"


# -- Many to one address --


def many(address: tuple[str, int] | str, count: int, timeout: float = PATIENCE_SECONDS) -> list[socket.socket]:
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    endpoint = Endpoint(address, 0) if isinstance(address, str) else Endpoint(*address)
    where = connecting.Address(family, address)
    return connecting.connect_many(endpoint, where, count, time.monotonic() + timeout)


def test_many_are_begun_together_and_all_connected() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listener, contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(sock) for sock in many(listener.getsockname(), 50)]
        assert len({sock.getsockname() for sock in sockets}) == 50
        assert {sock.getpeername() for sock in sockets} == {listener.getsockname()}
        assert not any(sock.getblocking() for sock in sockets)


def test_of_many_the_first_that_is_refused_ends_all(refusing: tuple[str, int]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(CannotConnect, match=f"cannot connect to .*:{refusing[1]}: Connection refused"):
        many(refusing, 50)
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_have_one_deadline(swallowing: tuple[str, int]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectTimedOut, match=r"timed out connecting to .*: 0 of 50 are"):
        many(swallowing, 50, SHORT)
    assert len(os.listdir("/proc/self/fd")) == before


def test_many_wait_for_a_unix_sockets_backlog(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(1)
        listener.settimeout(PATIENCE_SECONDS)
        accepting = threading.Thread(target=lambda: [stack.enter_context(listener.accept()[0]) for _ in range(20)])
        accepting.start()
        sockets = many(path, 20)
        accepting.join(PATIENCE_SECONDS)
        assert len(sockets) == 20
        for sock in sockets:
            sock.close()
