"""A proxy in front of healthy servers: nobody can tell it from one of them."""

from __future__ import annotations

import re
import signal
import socket

import pytest
from certificates import certificate, key
from corpus_files import all_cases
from proxied import House
from running import Sttpd


@pytest.fixture(scope="module")
def pair(shared_house: House) -> tuple[Sttpd, Sttpd]:
    """A server, and a proxy in front of another one; both are empty."""
    return shared_house.server(), shared_house.proxy([shared_house.server()])


def test_everything_in_the_corpus_is_answered_byte_for_byte_as_by_a_server(pair: tuple[Sttpd, Sttpd]) -> None:
    direct, proxied = pair
    for case in all_cases():
        assert proxied.converse(case.requests) == direct.converse(case.requests), case.name


def test_the_fast_way_and_the_slow_way_give_the_same_bytes(pair: tuple[Sttpd, Sttpd]) -> None:
    """A chunk of SHOWs takes the fast one; the same lines with one among them that is no SHOW take the slow one."""
    direct, proxied = pair
    texts = [b"plain", b"gr\xc3\xbc\xc3\x9fe", b'with "quotes" in it', b"", b"200 /w/0 OK", b"x" * 160]
    for server in pair:
        with server.connect() as wire:
            for number, text in enumerate(texts):
                assert wire.ask(b'CREATE /w/%d "%b"' % (number, text)).startswith(b"100")
    lines = [b"SHOW /w/%d\n" % (number % 8) for number in range(40)]  # two of which are not there
    fast, slow = b"".join(lines), b"".join([*lines[:20], b"LIST /w/\n", *lines[20:]])
    for chunk in (fast, slow, lines[0], lines[7], lines[1] + b"show /w/2\n"):
        assert proxied.converse(chunk) == direct.converse(chunk)


def test_requests_of_one_client_take_effect_in_their_order(house: House) -> None:
    """Whichever connection to the server each is sent on."""
    proxy = house.proxy([house.server()], "upstream.connections=4")
    with proxy.connect() as wire:
        for number in range(50):
            name = b"/o/%d" % number
            wire.send(b"CREATE %b one\nSHOW %b\nUPDATE %b two\nSHOW %b\nLIST /o/\nDELETE %b\nSHOW %b\n" % ((name,) * 6))
            assert wire.reply() == b"100 %b CREATED\n" % name
            assert wire.reply() == b"200 %b OK\none\n" % name
            assert wire.reply() == b"200 %b OK\ntwo\n" % name
            assert wire.reply() == b"200 %b OK\ntwo\n" % name
            assert wire.reply() == b"200 /o/ OK\n%d\n" % number
            assert wire.reply() == b"600 %b DELETED\n" % name
            assert wire.reply().startswith(b"400")


def test_many_clients_share_few_connections(house: House) -> None:
    server = house.server("http.enabled=false")
    proxy = house.proxy([server], "upstream.connections=2")
    with proxy.connect() as wire:
        wire.ask(b"CREATE /a text")
    wires = [proxy.connect() for _ in range(40)]
    try:
        for wire in wires:
            wire.send(b"SHOW /a\n" * 5)
        for wire in wires:
            assert [wire.reply() for _ in range(5)] == [b"200 /a OK\ntext\n"] * 5
    finally:
        for wire in wires:
            wire.close()
    server.send_signal(signal.SIGUSR2)
    proxy.stop()
    server.stop()
    accepted = re.search(r"connections: \d+ open .*; (\d+) accepted", server.log)
    assert accepted is not None
    assert int(accepted[1]) <= 4  # two for requests, one for checks, and one if the first of these was lost


def test_requests_are_spread_over_the_servers(house: House) -> None:
    servers = [house.server() for _ in range(3)]
    for place, server in enumerate(servers):
        with server.connect() as wire:
            wire.ask(b"CREATE /who %d" % place)
    for way in ("two_choices", "round_robin", "least_outstanding"):
        proxy = house.proxy(servers, f"balance={way}")
        with proxy.connect() as wire:
            seen = {wire.ask(b"SHOW /who") for _ in range(60)}
        assert len(seen) == 3, way


def test_with_hash_a_directory_belongs_to_one_server(house: House) -> None:
    servers = [house.server() for _ in range(3)]
    for place, server in enumerate(servers):
        with server.connect() as wire:
            for directory in range(12):
                wire.ask(b"CREATE /%d/who %d" % (directory, place))
                wire.ask(b"CREATE /%d/is-%d x" % (directory, place))
    proxy = house.proxy(servers, "balance=hash")
    owners = set()
    with proxy.connect() as wire:
        for directory in range(12):
            seen = {wire.ask(b"SHOW /%d/who" % directory) for _ in range(10)}
            assert len(seen) == 1
            owner = seen.pop()[-2:-1]
            assert b"is-" + owner in wire.ask(b"LIST /%d/" % directory)
            assert b"is-" + owner in wire.ask(b"LIST /%d" % directory)
            owners.add(owner)
    assert len(owners) > 1


@pytest.mark.parametrize("processes", [1, 2])
def test_stopping_answers_what_was_asked(house: House, processes: int) -> None:
    proxy = house.proxy([house.server()], f"processes={processes}")
    wires = [proxy.connect() for _ in range(8)]
    for wire in wires:
        assert wire.ask(b"SHOW /none").startswith(b"400")
        wire.send(b"SHOW /none\nCREATE /a/%d x\nSHOW /none\n" % id(wire))
    proxy.send_signal(signal.SIGTERM)
    for wire in wires:
        assert wire.rest().count(b"\n") == 3
        wire.close()
    proxy.ends()


def test_a_unix_socket_leads_to_a_server(house: House) -> None:
    path = str(house.folder / "sock")
    house.server(f"listen_address={path}")
    with house.proxy([path]).connect() as wire:
        assert wire.ask(b"CREATE /a text") == b"100 /a CREATED\n"
        assert wire.ask(b"SHOW /a") == b"200 /a OK\ntext\n"


def test_a_server_may_be_spoken_to_over_tls(house: House) -> None:
    server = house.server(f"tls.certificate={certificate('server')}", f"tls.key={key('server')}", "tls.port=0")
    port = next(each for each in server.addresses if each.startswith("sttps://")).rpartition(":")[2]
    known = f"servers: [{{address: 'sttps://localhost:{port}', ca: {certificate('ca')}}}]"
    with house.operated_proxy(known).connect() as wire:
        assert wire.ask(b"CREATE /b text") == b"100 /b CREATED\n"
        assert wire.ask(b"SHOW /b") == b"200 /b OK\ntext\n"
    with house.operated_proxy(f"servers: 'sttps://localhost:{port}'").connect() as wire:
        assert b"certificate verify failed" in wire.ask(b"SHOW /b")


def test_a_client_that_does_not_read_holds_nobody_up(house: House) -> None:
    proxy = house.proxy([house.server()], "upstream.connections=1")
    with proxy.connect() as wire:
        for number in range(60):
            wire.ask(b"CREATE /big/%b%d x" % (b"n" * 200, number))
    with proxy.connect() as slow, proxy.connect() as quick:
        slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.send(b"LIST /big/\n" * 400)
        for _ in range(50):
            assert quick.ask(b"SHOW /none").startswith(b"400")
