"""TLS peers whose records cost much and bring little: KeyUpdates without end, and a request in records of one byte."""

from __future__ import annotations

import itertools
import socket
import ssl
from collections.abc import Callable, Iterator

import pytest
from attacker import PATIENCE_SECONDS, Target, flood_of, play
from certificates import certificate, client_context, key
from honest import Ordeal, endure
from key_update import IS_AVAILABLE, REQUESTED, key_update
from running import Sttpd

CONNECTIONS = 20


class Peer:
    """A client whose handshake is over, with the records to send next."""

    def __init__(self, sock: socket.socket) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = client_context().wrap_bio(self._incoming, self._outgoing, server_hostname="localhost")
        sock.settimeout(PATIENCE_SECONDS)
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(self._outgoing.read())
                self._incoming.write(sock.recv(65536))
        sock.sendall(self._outgoing.read())
        sock.setblocking(False)

    def key_updates(self) -> Iterator[bytes]:
        while True:
            for _ in range(300):
                key_update(self._tls, REQUESTED)
            yield self._outgoing.read()

    def tiny_records(self) -> Iterator[bytes]:
        for byte in itertools.cycle(b"SHOW /honest/hot/0\n"):
            self._tls.write(bytes([byte]))
            if self._outgoing.pending > 8000:
                yield self._outgoing.read()


def attack(target: Target) -> None:
    script = {"KeyUpdates": Peer.key_updates, "tiny records": Peer.tiny_records}[target.variant]
    flood_of(target, CONNECTIONS, lambda sock: script(Peer(sock)))


@pytest.mark.long
@pytest.mark.skipif(not IS_AVAILABLE, reason="this OpenSSL cannot be asked for a KeyUpdate")
@pytest.mark.parametrize("variant", ["KeyUpdates", "tiny records"])
def test_tls_records_without_end(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None], variant: str) -> None:
    server = start(f"tls.certificate={certificate('server')}", f"tls.key={key('server')}", "tls.port=0")
    (address,) = (each for each in server.addresses if each.startswith("sttps://"))
    ordeal = endure(server, __file__, 1.0, variant, address.removeprefix("sttps://"))
    tell(ordeal)
    assert ordeal.growth < 30e6
    if variant == "KeyUpdates":
        assert ordeal.counts["cut"] >= CONNECTIONS
    else:
        assert ordeal.counts["cut"] == 0
        assert ordeal.counts["bytes sent"] > 100_000
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
