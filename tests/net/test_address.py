"""What a name means to somebody who wants to listen on it."""

from __future__ import annotations

import logging
import socket
from typing import Any

import pytest

from sttp_reactor.errors import StartError, UnfitError
from sttp_reactor.net.address import resolve_here

# Documentation prefixes (RFC 5737, RFC 3849): no interface has them.
NOWHERE = "192.0.2.1"
NOWHERE_6 = "2001:db8::1"


def looked_up(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Have every name mean these addresses."""

    def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        found: list[Any] = []
        for each in hosts:
            if ":" in each:
                found.append((socket.AF_INET6, socket.SOCK_STREAM, 6, "", (each, port, 0, 0)))
            else:
                found.append((socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)))
        return found

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("lacking", [NOWHERE, NOWHERE_6])
def test_an_address_of_a_name_that_the_system_lacks_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, lacking: str
) -> None:
    looked_up(monkeypatch, lacking, "127.0.0.1")
    with caplog.at_level(logging.WARNING):
        assert [address.sockaddr[:2] for address in resolve_here("localhost", 8080)] == [("127.0.0.1", 8080)]
    assert lacking in caplog.text
    assert "is left out" in caplog.text


def test_a_family_that_the_system_lacks(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    looked_up(monkeypatch, "::1", "127.0.0.1")
    made = socket.socket

    def without_ipv6(family: int, *rest: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(97, "Address family not supported by protocol")
        return made(family, *rest)

    monkeypatch.setattr(socket, "socket", without_ipv6)
    assert [str(address) for address in resolve_here("localhost", 8080)] == ["127.0.0.1:8080"]
    assert "[::1]:8080 is left out: Address family not supported" in caplog.text


@pytest.mark.parametrize("hosts", [[NOWHERE], [NOWHERE, NOWHERE_6]])
def test_where_all_are_lacking_binding_says_so(monkeypatch: pytest.MonkeyPatch, hosts: list[str]) -> None:
    looked_up(monkeypatch, *hosts)
    assert [address.sockaddr[0] for address in resolve_here("elsewhere", 8080)] == hosts


def test_a_port_that_is_in_use_is_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up(monkeypatch, "127.0.0.1", "127.0.0.2")
    with socket.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        assert len(resolve_here("both", port)) == 2


@pytest.mark.parametrize(("code", "kind"), [(socket.EAI_NONAME, UnfitError), (socket.EAI_AGAIN, StartError)])
def test_a_name_that_means_nothing_and_one_that_may_mean_something_later(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[Exception]
) -> None:
    def getaddrinfo(*_: Any, **__: Any) -> None:
        raise socket.gaierror(code, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with pytest.raises(StartError) as caught:
        resolve_here("name", 1)
    assert type(caught.value) is kind
