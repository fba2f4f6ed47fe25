"""A connection that has ended leaves nothing for the garbage collector, whose full collections everybody waits for."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certificate, key
from sttpd_settings import load

from sttp_reactor.sttp.server import Server

CONNECTIONS = 20


@contextlib.contextmanager
def serving(folder: Path, *, tls: bool) -> Iterator[Server]:
    overrides = {"docroot": str(folder / "files"), "port": "0"}
    if tls:
        overrides |= {"tls.certificate": str(certificate("server")), "tls.key": str(key("server")), "tls.port": "0"}
    server = Server(load(None, [("--set", name, text) for name, text in overrides.items()]).settings)
    server.start()
    try:
        yield server
    finally:
        server.close()


def converse(port: int, *, tls: bool) -> None:
    for number in range(CONNECTIONS):
        with contextlib.closing(socket.create_connection(("127.0.0.1", port))) as sock:
            if tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                sock = context.wrap_socket(sock)
            with sock:
                sock.sendall(b"CREATE /%d text\nSHOW /%d\nSHOW /%d\nLIST /\nX /\n\n" % (number, number, number))
                with contextlib.suppress(ssl.SSLError):
                    while sock.recv(4096):
                        pass


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_connections_leave_no_garbage(tmp_path: Path, tls: bool) -> None:
    with serving(tmp_path, tls=tls) as server:
        port = list(server.listeners.values())[-1].sock.getsockname()[1]
        clients = threading.Thread(target=converse, args=(port,), kwargs={"tls": tls})
        gc.collect()
        gc.disable()
        try:
            clients.start()
            while clients.is_alive() or server.sessions:
                server.reactor.call_later(0.01, lambda: None)
                server.reactor.turn()
            clients.join()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = [thing for thing in gc.garbage if type(thing).__module__.startswith("sttp_reactor")]
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert left == []
    assert server.backend.counts.writes == CONNECTIONS
