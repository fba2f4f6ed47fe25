"""TLS handshakes that come to nothing, at the dearest place for the server, while others use the plain port."""

from __future__ import annotations

import socket
import ssl
import time
from collections import deque
from collections.abc import Callable

import pytest
from attacker import Target, play, reset
from certificates import certificate, key
from honest import Ordeal, endure
from running import Sttpd

HANDSHAKE_TIMEOUT = 0.5
# Held at a time.
CONNECTIONS = 200


def client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("there is nobody to shake hands with")


def attack(target: Target) -> None:
    hello = client_hello()
    said = {"silence": b"", "half a hello": hello[: len(hello) // 2], "a hello": hello}[target.variant]
    held: deque[tuple[float, socket.socket]] = deque()
    while target.is_on:
        if len(held) < CONNECTIONS:
            sock = target.connect()
            sock.send(said)
            held.append((time.monotonic(), sock))
        elif target.variant == "a hello":  # the server has signed, which is what costs: once more
            reset(held.popleft()[1])
        else:
            time.sleep(0.01)
            while held and held[0][0] + 1.5 * HANDSHAKE_TIMEOUT < time.monotonic():
                target.counts["cut"] += is_cut(held[0][1])
                reset(held.popleft()[1])
    for _, sock in held:
        reset(sock)


def is_cut(sock: socket.socket) -> bool:
    try:
        return sock.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.long
@pytest.mark.parametrize("variant", ["silence", "half a hello", "a hello"])
def test_tls_handshakes_that_stall(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None], variant: str) -> None:
    server = start(
        f"tls.certificate={certificate('server')}",
        f"tls.key={key('server')}",
        "tls.port=0",
        f"limits.handshake_timeout={HANDSHAKE_TIMEOUT}",
    )
    (address,) = (each for each in server.addresses if each.startswith("sttps://"))
    ordeal = endure(server, __file__, 2.0, variant, address.removeprefix("sttps://"))
    tell(ordeal)
    if variant == "a hello":
        assert ordeal.counts["connections"] > 2 * CONNECTIONS
    else:
        assert ordeal.counts["cut"] >= CONNECTIONS
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
