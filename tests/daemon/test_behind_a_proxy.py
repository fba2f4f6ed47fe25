"""Behind a proxy that says for whom it comes: access rules, limits and logs see the client, and nobody else may say."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from certificates import certificate, client_context, key
from operating import Operated, operated
from ports import free_port
from running import PATIENCE_SECONDS, Wire, freeze

from sttp_reactor.net.proxy_protocol import encode_v2

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
SERVER = ("203.0.113.1", 8080)
# Clients come from 127.0.0.1 too; listed is 127.0.0.2.
SETTINGS = "proxy_protocol: {from: 127.0.0.2}\nlog: {access: access.log}\nlimits: {handshake_timeout: 300ms}\n"
FOREIGN = rb'300 (\S+) CLIENT ERROR "no PROXY protocol is taken from you; speak STTP"\n'
NO_HEADER = b'300 - CLIENT ERROR "a header of the PROXY protocol was expected of this proxy"\n'
LIST = b"200 / OK\n\n"


def v1(host: str, port: int = 51234) -> bytes:
    return f"PROXY TCP{6 if ':' in host else 4} {host} {'::1' if ':' in host else SERVER[0]} {port} 8080\r\n".encode()


def v2(host: str, port: int = 51234) -> bytes:
    return encode_v2((host, port), SERVER)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("behind"), SETTINGS) as server:
        yield server


def proxied(server: Operated, address: str | None = None) -> Wire:
    return server.connect(address, source="127.0.0.2")


def logged(server: Operated, pattern: str) -> str:
    """The first line of the access log in which it is found, once it is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = [line for line in (server.folder / "access.log").read_text().splitlines() if re.search(pattern, line)]
        if found:
            return found[0]
        time.sleep(0.01)
    raise AssertionError(f"{pattern} is not in the access log")


@pytest.mark.parametrize("header", [v1("192.0.2.7"), v2("192.0.2.7")], ids=["1", "2"])
def test_a_header_may_come_in_pieces_and_the_client_is_logged(server: Operated, header: bytes) -> None:
    for at in range(1, len(header) + 1):
        with proxied(server) as wire:
            wire.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            wire.send(header[:at])
            wire.send(header[at:] + f"SHOW /{at}.{len(header)}\n".encode())
            assert wire.reply().startswith(b"400 /")
    assert "192.0.2.7:51234" in logged(server, f" /{len(header)}.{len(header)} ")


def test_a_proxy_may_speak_for_itself(server: Operated) -> None:
    for header in (encode_v2(), b"PROXY UNKNOWN\r\n"):
        with proxied(server) as wire:
            wire.send(header + b"LIST /itself\n")
            assert wire.reply() == b"400 /itself NOT FOUND\n"
    assert "127.0.0.2:" in logged(server, " /itself ")


@pytest.mark.parametrize(
    "header", [v1("192.0.2.7"), v2("192.0.2.7"), encode_v2(), b"PROXY UNKNOWN\r\n", b"PROXY \r\n"], ids=lambda _: ""
)
def test_a_header_of_anybody_else_is_refused_and_nothing_after_it_is_done(server: Operated, header: bytes) -> None:
    for before in (b"", b"LIST /\n") if header.startswith(b"PROXY") else (b"",):
        with server.connect() as wire:
            wire.send(before + header + b"CREATE /stolen x\n")
            said = wire.rest()
            assert re.fullmatch(re.escape(LIST if before else b"") + FOREIGN, said), said
    with server.connect() as wire:
        assert wire.ask(b"SHOW /stolen").startswith(b"400")


def test_a_listed_proxy_must_begin_with_a_header(server: Operated) -> None:
    for data in (b"LIST /\n", b"PROXY TCP4 192.0.2.7 nobody 1 2\r\nLIST /\n", v2("192.0.2.7")[:12] + b"\x51"):
        with proxied(server) as wire:
            wire.send(data)
            assert wire.rest() == NO_HEADER
    with proxied(server) as cut_short:
        cut_short.send(b"PROXY TCP4")
        cut_short.half_close()
        assert cut_short.rest() == NO_HEADER
    with proxied(server) as silent:
        assert silent.rest() == NO_HEADER
    with proxied(server) as checks_the_port:
        checks_the_port.half_close()
        assert checks_the_port.rest() == b""


def test_limits_and_rules_see_the_client_and_a_reload_changes_who_is_listed(tmp_path: Path) -> None:
    rules = "limits: {max_connections_per_address: 2}\naccess: {who: 192.0.2.7, may: read}\n"
    path = tmp_path / "socket"
    listen = f"listen_address: [127.0.0.1, {path}]\n"
    with operated(tmp_path, listen + rules) as server, ExitStack() as stack:
        with proxied(server) as wire:
            wire.send(v1("192.0.2.7"))
            assert re.fullmatch(FOREIGN, wire.rest())
        server.reload(listen + rules + "proxy_protocol: {from: [127.0.0.0/30, unix]}\n")

        def come_for(host: str, address: str | None = None, *, header: bytes = b"") -> Wire:
            wire = stack.enter_context(server.connect(address, None if address else "127.0.0.2"))
            wire.send((header or v2(host)) + b"LIST /\n")
            return wire

        there = [come_for("192.0.2.7"), come_for("192.0.2.7", str(path))]
        assert [wire.reply() for wire in there] == [LIST] * 2
        assert b"too many connections from your address" in come_for("192.0.2.7", header=v1("192.0.2.7")).rest()
        assert there[0].ask(b"CREATE /x x").startswith(b'300 /x CLIENT ERROR "you may only read')
        assert b"you may neither read nor write here" in come_for("192.0.2.8").reply()
        assert b"you may neither read nor write here" in come_for("2001:db8::1", header=v1("2001:db8::1")).reply()
        there.pop().close()
        # The server learns of the close when its turn comes, a moment later.
        assert any(come_for("192.0.2.7").reply() == LIST for _ in range(400)), "a place is not given to anybody again"
        server.reload(listen)
        with proxied(server) as wire:
            assert wire.ask(b"LIST /") == LIST


def test_the_header_comes_before_tls_and_before_http(tmp_path: Path) -> None:
    settings = (
        f"{SETTINGS}tls: {{certificate: {certificate('server')}, key: {key('server')}, port: 0}}\n"
        "http: {enabled: true, port: 0}\n"
    )
    with operated(tmp_path, settings) as server:
        http = next(each for each in server.addresses if each.startswith("http:")).removeprefix("http://")
        tls = next(each for each in server.addresses if each.startswith("sttps:")).removeprefix("sttps://")
        with proxied(server, tls) as wire:
            wire.send(v2("192.0.2.9"))
            with client_context().wrap_socket(wire.socket, server_hostname="localhost") as secure:
                secure.sendall(b"SHOW /tls\n")
                assert secure.recv(100) == b"400 /tls NOT FOUND\n"
        assert "192.0.2.9:51234" in logged(server, " /tls ")
        with proxied(server, tls) as wire, pytest.raises((ssl.SSLError, ConnectionError)):
            client_context().wrap_socket(wire.socket, server_hostname="localhost")
        with proxied(server, http) as wire:
            wire.send(v1("192.0.2.10") + b"GET /files/http HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert wire.rest().startswith(b"HTTP/1.1 404 ")
        assert "192.0.2.10:51234" in logged(server, "/files/http ")
        for source, header in (("127.0.0.1", v1("192.0.2.7")), ("127.0.0.1", v2("192.0.2.7")), ("127.0.0.2", b"")):
            with server.connect(http, source) as wire:
                wire.send(header + b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert re.match(rb"HTTP/1\.1 (400|501) [^{]+\r\nConnection: close\r\n", wire.rest())


def test_what_has_come_when_the_server_stops_is_still_done(tmp_path: Path) -> None:
    with (
        operated(tmp_path, SETTINGS.replace("300ms", "60s")) as server,
        proxied(server) as wire,
        proxied(server) as dumb,
    ):
        freeze(server.pid)  # so that the bytes and the signal come together
        try:
            wire.send(v2("192.0.2.7") + b"CREATE /last x\n")
            server.process.send_signal(signal.SIGTERM)
        finally:
            server.process.send_signal(signal.SIGCONT)
        assert wire.rest() == b"100 /last CREATED\n"
        assert dumb.rest() == b""
        server.ends(0)


# -- HAProxy itself --


@contextmanager
def haproxy(folder: Path, server: Operated, how: str) -> Iterator[int]:
    port = free_port()
    (folder / "haproxy.cfg").write_text(
        "global\n  maxconn 100\n"
        "defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n"
        f"frontend f\n  bind 127.0.0.1:{port}\n  default_backend b\n"
        "backend b\n  source 127.0.0.2\n  option tcp-check\n"
        '  tcp-check send "LIST /\\n"\n  tcp-check expect string "200 / OK"\n'
        f"  server s 127.0.0.1:{server.port} {how} check check-send-proxy inter 100ms rise 1 fall 1\n"
    )
    assert HAPROXY is not None
    process = subprocess.Popen([HAPROXY, "-db", "-f", "haproxy.cfg"], cwd=folder, stderr=subprocess.DEVNULL)
    try:
        yield port
    finally:
        process.kill()
        process.wait()


def ask_through(port: int, line: bytes) -> tuple[bytes, str]:
    """The reply, and who we were; HAProxy may be starting."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with Wire(f"127.0.0.1:{port}") as wire:
                host, number = wire.socket.getsockname()
                wire.send(line + b"\n\n")
                said = wire.rest()
            if said:
                return said, f"{host}:{number}"
        except ConnectionError:
            pass
        assert time.monotonic() < deadline, "HAProxy passes nothing on"
        time.sleep(0.02)


@pytest.mark.skipif(HAPROXY is None, reason="needs haproxy")
@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2"])
def test_haproxy_tells_who_asks(server: Operated, tmp_path: Path, how: str) -> None:
    with haproxy(tmp_path, server, how) as port:
        said, peer = ask_through(port, f"SHOW /{how}".encode())
        assert said == f"400 /{how} NOT FOUND\n".encode()
        assert peer in logged(server, f" /{how} ")
        # Its checks come for itself, and pass, or the next request would find no server.
        logged(server, r" 127\.0\.0\.2:\d+ LIST / 200 ")
        assert ask_through(port, b"SHOW /again")[0] == b"400 /again NOT FOUND\n"
