"""TLS for the connections of a load: `client.tls`, in the shape that the engine wants its sockets in.

Only a load by TLS imports this: OpenSSL is a third of what there is to load.
"""

from __future__ import annotations

import errno
import socket
from functools import cache
from typing import Final

from sttp_reactor.client.tls import ClientTls, TlsSocket
from sttp_reactor.errors import CannotConnect, HostUnknown, LocalError, TimedOut, TlsFailed
from sttp_reactor.load.faults import LoadError, Unreachable
from sttp_reactor.load.target import Target, Trust

# What one record holds at the most. Of a larger one than was asked for the rest would lie in OpenSSL's buffer, where no
# poller sees it; the next record is still in the kernel's.
_RECORD_BYTES: Final = 16384


class SecureSocket:
    """A `client.exchange.Socket` on which nothing is left that the poller does not know of."""

    def __init__(self, sock: TlsSocket) -> None:
        self._sock = sock
        self.fileno = sock.fileno
        self.send = sock.send
        self.close = sock.close

    def recv(self, size: int) -> bytes:
        """Raises Unreachable for a server that has not said anything yet and does not like our certificate: by TLS 1.3
        it says so only when the handshake is over for us."""
        try:
            return self._sock.recv(max(size, _RECORD_BYTES))
        except TlsFailed as error:
            raise Unreachable(str(error)) from error
        except CannotConnect as error:
            raise OSError(errno.ECONNRESET, str(error)) from error


def shake_hands(target: Target, sock: socket.socket, deadline: float) -> SecureSocket:
    """TLS on a connected, non-blocking socket, which is closed where that fails. Raises Unreachable, LoadError."""
    tls = _tls(target.trust or Trust())
    try:
        return SecureSocket(tls.shake_hands(sock, target.endpoint, deadline, lambda _: None))
    except (CannotConnect, HostUnknown, TimedOut) as error:
        raise Unreachable(str(error)) from error


@cache
def _tls(trust: Trust) -> ClientTls:
    try:
        return ClientTls(cacert=trust.cacert, cert=trust.cert, key=trust.key, insecure=trust.insecure)
    except LocalError as error:
        raise LoadError(str(error)) from error
