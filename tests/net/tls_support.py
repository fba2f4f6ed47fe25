"""TLS connections to test, and the client at their other end, driven by hand."""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import NamedTuple

from certificates import client_context, server_files
from net_support import Net, Recorder

from sttp_reactor.net.connection import Connection
from sttp_reactor.net.protocol import Protocol, Transport
from sttp_reactor.net.tls import TlsFactory, TlsLayer
from sttp_reactor.net.tls_context import TlsContext
from sttp_reactor.net.tls_handshakes import Handshakes

BOTH_VERSIONS = ("TLSv1_2", "TLSv1_3")


class TlsPeer:
    """A TLS client on a non-blocking socket. A test may also move its records itself."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext | None = None,
        session: ssl.SSLSession | None = None,
    ) -> None:
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = client_context() if context is None else context
        self.ssl = context.wrap_bio(self._incoming, self._outgoing, server_hostname="localhost", session=session)
        self.received = bytearray()
        self.has_ended = False  # by close_notify
        self.is_established = False

    # -- Records --

    def take(self) -> bytes:
        """The records to be sent."""
        return self._outgoing.read()

    def feed(self, records: bytes) -> None:
        """Take in what the server has sent. Raises ssl.SSLError."""
        self._incoming.write(records)
        if not self.is_established:
            self.step()
        if self.is_established:
            self._read()

    def _read(self) -> None:
        try:
            while piece := self.ssl.read(65536):
                self.received += piece
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:
            pass  # what `b""` means where we have ended our own side before
        self.has_ended = True

    def step(self) -> None:
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.do_handshake()
            self.is_established = True

    def encrypt(self, data: bytes) -> bytes:
        self.ssl.write(data)
        return self.take()

    def end(self) -> bytes:
        """A close_notify."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.ssl.unwrap()
        return self.take()

    # -- The same on the socket --

    def send(self, data: bytes) -> None:
        self.sock.send(self.encrypt(data))

    def receive(self) -> bytes:
        """What the server has said by now, and is not told again. Raises ssl.SSLError."""
        with contextlib.suppress(BlockingIOError):
            while records := self.sock.recv(1 << 20):
                self.feed(records)
        received, self.received = bytes(self.received), bytearray()
        return received

    def shake_hands(self, net: Net) -> None:
        """Raises ssl.SSLError, or AssertionError where the handshake does not come to its end."""
        self.step()
        for _ in range(6):
            self.sock.send(self.take())
            net.turns(2)
            self.receive()
            if self.is_established:
                break
        assert self.is_established
        self.sock.send(self.take())
        net.turns(2)
        self.receive()  # the session tickets


class TlsEnd(NamedTuple):
    """A TLS connection under test, its handshake done: the layer, its protocol, and the client."""

    layer: TlsLayer
    protocol: Recorder
    peer: TlsPeer


class RawEnd(NamedTuple):
    """A TLS connection under test that has heard nothing yet, and the socket at the other end."""

    layer: TlsLayer
    sock: socket.socket


class TlsNet:
    """What `Net.connect` does, with TLS on it: one factory for all connections of a test.

    `made` holds the protocols, in the order in which their handshakes came to an end.
    """

    def __init__(
        self, net: Net, context: TlsContext | None = None, *, timeout: float = 10.0, to_plain: bytes = b""
    ) -> None:
        self.net = net
        self.context = TlsContext(server_files()) if context is None else context
        self.handshakes = Handshakes(net.reactor, timeout)
        self.made: list[Recorder] = []
        self._reactions: dict[str, Callable[[Transport], object]] = {}
        self.factory = TlsFactory(
            net.reactor, lambda: self.context.context, self._make_protocol, self.handshakes, to_plain=to_plain
        )

    def connect_raw(self, *, tcp: bool = False, **reactions: Callable[[Transport], object]) -> RawEnd:
        """`reactions` are those of the protocol whose handshake is over next."""
        self._reactions = reactions
        layer = self.factory()
        assert isinstance(layer, TlsLayer)
        near, far = self.net.tcp_pair() if tcp else self.net.socketpair()
        Connection(self.net.reactor, near, lambda: layer, "peer", 30.0)
        return RawEnd(layer, far)

    def connect(
        self,
        context: ssl.SSLContext | None = None,
        *,
        session: ssl.SSLSession | None = None,
        tcp: bool = False,
        **reactions: Callable[[Transport], object],
    ) -> TlsEnd:
        """Raises ssl.SSLError where the client finds something wrong. `reactions` are the protocol's."""
        layer, sock = self.connect_raw(tcp=tcp, **reactions)
        peer = TlsPeer(sock, context, session)
        peer.shake_hands(self.net)
        return TlsEnd(layer, self.made[-1], peer)

    def _make_protocol(self) -> Protocol:
        self.made.append(self.net.recorder(**self._reactions))
        return self.made[-1]


def record_lengths(stream: bytes) -> list[int]:
    """The payload of each record in what was sent."""
    lengths, at = [], 0
    while at < len(stream):
        lengths.append(int.from_bytes(stream[at + 3 : at + 5], "big"))
        at += 5 + lengths[-1]
    return lengths
