"""Where a server listens: its endpoints, and the sockets bound for them.

Whoever binds is the owner and removes a Unix socket's file: a server on its own, or the parent of several. A reload
binds what is missing before it lets go of anything, so that nothing is lost when it fails, and nobody who connects
meanwhile is turned away.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from sttp_reactor.errors import StartError
from sttp_reactor.net.address import Address, format_sockaddr
from sttp_reactor.net.listener import bind

# FileDescriptorName= of a socket unit whose connections speak TLS. Any other name is as good as none.
TLS_NAME: Final = "sttps"


class Endpoint(NamedTuple):
    """One place to listen. `address` is the one configured: its port may be 0, which any free one will do for."""

    address: Address
    tls: bool = False

    def __str__(self) -> str:
        return _named(str(self.address), self)


Sockets = dict[Endpoint, socket.socket]


def bind_all(endpoints: Iterable[Endpoint], bind_one: Callable[[Endpoint], socket.socket]) -> Sockets:
    """All of them, or none: raises StartError with everything released that had been bound for it."""
    bound: Sockets = {}
    try:
        for endpoint in endpoints:
            bound[endpoint] = bind_one(endpoint)
    except BaseException:
        release(bound)
        raise
    return bound


def bind_here(endpoint: Endpoint) -> socket.socket:
    return bind(endpoint.address)


def bind_beside(endpoint: Endpoint, leaving: Collection[socket.socket]) -> socket.socket:
    """Bind an address that sockets of our own still hold, which are about to go: 0.0.0.0:8080 after 127.0.0.1:8080, or
    the same port, with TLS from now on. Raises StartError where it is somebody else who holds it.

    Both sides say that they would share, by SO_REUSEPORT, which Linux heeds in a socket that is bound already. A second
    server does not slip in by that: it asks for the port alone.
    """
    try:
        return bind(endpoint.address)
    except StartError:
        rivals = [sock for sock in leaving if is_rival(sock, endpoint.address)]
        if not rivals:
            raise
    for sock in rivals:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return bind(endpoint.address, reuse_port=True)


def is_rival(sock: socket.socket, address: Address) -> bool:
    """Whether `sock` may be what keeps `address` from being bound: it has the same port."""
    return sock.family == address.family and not address.is_unix and sock.getsockname()[1] == address.sockaddr[1]


def release(sockets: Mapping[Endpoint, socket.socket]) -> None:
    """Close them, and remove the files of Unix sockets."""
    remove_files(sockets)
    for sock in sockets.values():
        sock.close()


def remove_files(endpoints: Iterable[Endpoint]) -> None:
    """From here on nobody can connect to these Unix sockets; who has been quicker is still to be accepted."""
    for endpoint in endpoints:
        if endpoint.address.is_unix:
            with contextlib.suppress(OSError):
                os.unlink(endpoint.address.sockaddr)


def names_of(sockets: Mapping[Endpoint, socket.socket]) -> list[str]:
    """The addresses really bound, as text."""
    return [_named(format_sockaddr(sock.family, sock.getsockname()), endpoint) for endpoint, sock in sockets.items()]


def _named(address: str, endpoint: Endpoint) -> str:
    return f"sttps://{address}" if endpoint.tls else address
