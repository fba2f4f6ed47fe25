"""With `send_proxy_protocol` servers see the clients of a proxy: in their log, their rules and their limits."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest
from operating import Operated
from proxied import House, until

from sttp_reactor.net.proxy_protocol import parse_header
from sttp_reactor.proxy.client_links import header_for

LISTED = "proxy_protocol: {from: 127.0.0.1}\nlog: {access: access.log}\n"


def test_headers_are_made_of_addresses_as_transports_have_them() -> None:
    for client, local, source in (
        ("192.0.2.7:51234", "203.0.113.1:8080", "192.0.2.7:51234"),
        ("[2001:db8::7]:51234", "[2001:db8::1]:8080", "[2001:db8::7]:51234"),
        ("[fe80::7%lo]:51234", "[fe80::1%lo]:8080", "[fe80::7]:51234"),
        ("192.0.2.7:51234", "[2001:db8::1]:8080", "[::ffff:192.0.2.7]:51234"),
        ("unix:pid=7", "/run/sttp.sock", ""),
        ("", "", ""),
    ):
        header = parse_header(header_for(client, local))
        assert header is not None
        assert header.source == source


@pytest.fixture
def server(tmp_path: Path) -> Operated:
    folder = tmp_path / "server"
    folder.mkdir()
    return Operated(
        folder,
        LISTED
        + "access:\n  - {who: 127.0.0.3, may: none, below: /}\n  - {who: anybody, may: [read, write], below: /}\n",
    )


def peers_in(log: Path) -> set[str]:
    """The addresses of those who have asked anything but what the proxy asks for itself."""
    lines = [line for line in log.read_text().splitlines() if " /f" in line]
    return {found[0] for line in lines if (found := re.search(r"127\.0\.0\.\d+:\d+", line))}


def test_each_client_is_seen_by_the_server(house: House, server: Operated) -> None:
    with ExitStack() as stack:
        stack.callback(server.finish)
        proxy = house.proxy([server.addresses[0]], "send_proxy_protocol=true")
        clients = [stack.enter_context(proxy.connect(source=f"127.0.0.{host}")) for host in (2, 4, 4, 5)]
        for number, client in enumerate(clients):
            assert client.ask(b"CREATE /f%d x" % number) == b"100 /f%d CREATED\n" % number
            client.send(b"SHOW /f%d\n" % number * 20)
            assert [client.reply() for _ in range(20)] == [b"200 /f%d OK\nx\n" % number] * 20
        names = {f"{host}:{port}" for host, port in (client.socket.getsockname() for client in clients)}
        log = server.folder / "access.log"
        until(lambda: peers_in(log) == names, f"the log has others than {names}")
        with proxy.connect(source="127.0.0.3") as forbidden:
            assert forbidden.ask(b"SHOW /f0").startswith(b"300 /f0 CLIENT ERROR"), "a rule of the server"


def test_a_client_that_has_gone_leaves_its_connection_for_a_while_only(house: House, server: Operated) -> None:
    """And many short ones do not hold the server's places."""
    with ExitStack() as stack:
        stack.callback(server.finish)
        proxy = house.proxy([server.addresses[0]], "send_proxy_protocol=true", "health.interval=0.1")
        for _ in range(50):
            with proxy.connect() as client:
                assert client.ask(b"SHOW /f").startswith(b"400")

        def connections() -> int:
            port = int(server.addresses[0].rpartition(":")[2])
            table = Path("/proc/net/tcp").read_text()
            return len(re.findall(rf" [0-9A-F]{{8}}:{port:04X} [0-9A-F]{{8}}:[0-9A-F]{{4}} 01", table))

        until(lambda: connections() <= 4, "they stay")


def test_it_is_turned_on_and_off_by_a_reload(house: House, server: Operated) -> None:
    with ExitStack() as stack:
        stack.callback(server.finish)
        settings = f"servers: [{server.addresses[0]}]\nsend_proxy_protocol: "
        proxy = house.operated_proxy(settings + "true")
        with proxy.connect() as client:
            assert client.ask(b"CREATE /f x") == b"100 /f CREATED\n"
            proxy.reload(settings + "false")
            # The server wants a header of this address.
            until(lambda: client.ask(b"SHOW /f").startswith(b"500"), "it still sends headers")
            proxy.reload(settings + "true")
            until(lambda: client.ask(b"SHOW /f") == b"200 /f OK\nx\n", "it sends no headers")
