"""Socket addresses as text, both ways. Names are resolved here and nowhere else in the package's server side."""

from __future__ import annotations

import errno
import logging
import os
import socket
from typing import Any, Final, NamedTuple

from sttp_reactor.errors import StartError, UnfitError

log = logging.getLogger(__name__)

# The system does not have the family, or none of its interfaces has the address.
_LACKING: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class Address(NamedTuple):
    """One address to bind or to connect to. `sockaddr` is what the socket module wants for `family`."""

    family: socket.AddressFamily
    sockaddr: Any

    @property
    def is_unix(self) -> bool:
        return self.family == socket.AF_UNIX

    def __str__(self) -> str:
        return format_sockaddr(self.family, self.sockaddr)


def resolve(host: str, port: int) -> list[Address]:
    """All stream addresses of `host`: a name, an IPv4 or IPv6 address, or a Unix socket's path (begins with `/`).

    Blocks on name resolution, so it is for start-up. Raises UnfitError for a name that means nothing, StartError where
    that cannot be known for now.
    """
    if host.startswith("/"):
        return [Address(socket.AF_UNIX, host)]
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        kind = StartError if getattr(error, "errno", None) == socket.EAI_AGAIN else UnfitError
        raise kind(f"{host}: {reason}") from error
    return list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))


def resolve_here(host: str, port: int) -> list[Address]:
    """The same for somebody who listens. Of a name with several addresses those that this system lacks, such as
    `::1` where IPv6 is off, are left out with a warning, unless they are all there are."""
    addresses = resolve(host, port)
    lacking = {address: why for address in addresses if len(addresses) > 1 and (why := _why_lacking(address))}
    if len(lacking) == len(addresses):
        return addresses
    for address, why in lacking.items():
        log.warning("%s: %s is left out: %s", host, address, why)
    return [address for address in addresses if address not in lacking]


def _why_lacking(address: Address) -> str:
    """Why nobody here could listen on it, whatever the port; "" where somebody could."""
    try:
        with socket.socket(address.family, socket.SOCK_STREAM) as trial:
            trial.bind((address.sockaddr[0], 0, *address.sockaddr[2:]))
    except OSError as error:
        return (error.strerror or str(error)) if error.errno in _LACKING else ""
    return ""


def format_sockaddr(family: int, sockaddr: Any) -> str:
    """`192.0.2.7:8080`, `[2001:db8::7]:8080`, `[fe80::7%eth0]:8080`, or the path of a Unix socket."""
    if family == socket.AF_UNIX:
        return os.fsdecode(sockaddr) or "unix:"
    host, port = sockaddr[0], sockaddr[1]
    if family == socket.AF_INET6:
        # The address of a link means something on one of our interfaces only.
        return f"[{host}%{_interface(sockaddr[3])}]:{port}" if sockaddr[3] else f"[{host}]:{port}"
    return f"{host}:{port}"


def _interface(index: int) -> str:
    """Its name; its number where it has gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)
