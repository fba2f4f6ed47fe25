"""Where a server listens: its endpoints, and the sockets bound for them.

Whoever binds is the owner and removes a Unix socket's file: a server on its own, or the parent of several. A reload
binds what is missing before it lets go of anything, so that nothing is lost when it fails, and nobody who connects
meanwhile is turned away.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple

from sttp_reactor.errors import StartError
from sttp_reactor.net.address import Address, format_sockaddr
from sttp_reactor.net.listener import bind
from sttp_reactor.net.unix_files import remove_file, set_mode

# FileDescriptorName= of a socket unit whose connections speak TLS, and of those that speak HTTP. Any other name is as
# good as none.
TLS_NAME: Final = "sttps"
HTTP_NAME: Final = "http"
HTTPS_NAME: Final = "https"


class Endpoint(NamedTuple):
    """One place to listen. `address` is the one configured: its port may be 0, which any free one will do for. `kind`
    names another protocol than the server's own that is spoken there, such as `http`."""

    address: Address
    tls: bool = False
    kind: str = ""

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


def bind_here(endpoint: Endpoint, unix_mode: int | None = None) -> socket.socket:
    return bind(endpoint.address, unix_mode=unix_mode)


def bind_beside(endpoint: Endpoint, leaving: Collection[socket.socket], unix_mode: int | None = None) -> socket.socket:
    """Bind an address that sockets of our own still hold, which are about to go: 0.0.0.0:8080 after 127.0.0.1:8080, or
    the same port, with TLS from now on. Raises StartError where it is somebody else who holds it.

    Both sides say that they would share, by SO_REUSEPORT, which Linux heeds in a socket that is bound already. A second
    server does not slip in by that: it asks for the port alone.
    """
    try:
        return bind(endpoint.address, unix_mode=unix_mode)
    except StartError:
        rivals = [sock for sock in leaving if is_rival(sock, endpoint.address)]
        if not rivals:
            raise
    for sock in rivals:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    return bind(endpoint.address, reuse_port=True)


def hold_port(address: Address, held: Iterable[socket.socket]) -> socket.socket:
    """A socket that keeps a TCP port for others of our own, who share it by SO_REUSEPORT and listen; this one does not.
    Raises StartError where another server has the port, unless it is one of ours, `held`, that is in the way."""
    try:
        trial = bind(address)  # alone and listening, so that it fails where anybody else listens
    except StartError:
        if not any(is_rival(each, address) for each in held):
            raise
        return bind(address, reuse_port=True, listen=False)
    # The trial stays until its successor holds the port: were it closed before, another server that does the same in
    # that instant would find the port free, and share it. Linux heeds these options in sockets that are bound already.
    with trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock = bind(Address(address.family, trial.getsockname()), reuse_port=True, listen=False)
        # With this option another program that asks for the port alone would get it, because nobody listens on this
        # socket. It was only needed to bind beside connections in TIME_WAIT.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return sock


def is_rival(sock: socket.socket, address: Address) -> bool:
    """Whether `sock` may be what keeps `address` from being bound: it has the same port."""
    return sock.family == address.family and not address.is_unix and sock.getsockname()[1] == address.sockaddr[1]


def release(sockets: Mapping[Endpoint, socket.socket]) -> None:
    """Close them, and remove the files of Unix sockets."""
    remove_files(sockets)
    for sock in sockets.values():
        sock.close()


def remove_files(sockets: Mapping[Endpoint, socket.socket]) -> None:
    """From here on nobody can connect to the Unix sockets among these; who has been quicker is still to be accepted.
    Their files are removed only where they are still those that were bound."""
    for endpoint, sock in sockets.items():
        if endpoint.address.is_unix:
            remove_file(sock, endpoint.address.sockaddr)


def set_modes(sockets: Mapping[Endpoint, socket.socket], unix_mode: int) -> None:
    """Of the files of Unix sockets among these, where it is we who have bound them."""
    for endpoint, sock in sockets.items():
        if endpoint.address.is_unix:
            set_mode(sock, endpoint.address.sockaddr, unix_mode)


def names_of(sockets: Mapping[Endpoint, socket.socket]) -> list[str]:
    """The addresses really bound, as text."""
    return [_named(format_sockaddr(sock.family, sock.getsockname()), endpoint) for endpoint, sock in sockets.items()]


def _named(address: str, endpoint: Endpoint) -> str:
    if endpoint.kind and endpoint.address.is_unix:
        return f"{endpoint.kind}+unix:{address}"
    if endpoint.kind:
        return f"{endpoint.kind}{'s' if endpoint.tls else ''}://{address}"
    return f"sttps://{address}" if endpoint.tls else address
