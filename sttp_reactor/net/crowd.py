"""How many connections there are, and of each address, so that no single one can take them all.

An address is an IPv4 address or an IPv6 network of 64 bits, which is what one host commonly has to itself: counted
singly, it would have more addresses than any limit. Peers of Unix sockets have none and are not counted.
"""

from __future__ import annotations

import socket
from typing import Final

_NETWORK_BYTES: Final = 8
_MAPPED: Final = "::ffff:"


class Crowd:
    """`limit` connections for each address, and `most` of all together; 0 for any number. Both may be changed: they
    hold for the next connection."""

    def __init__(self, limit: int = 0, most: int = 0) -> None:
        self.limit = limit
        self.most = most
        self._total = 0  # those of Unix sockets included
        self._connections: dict[str, int] = {}

    def enter(self, peer: str) -> bool:
        """Count a connection of `peer`, a transport's. False where there is no room for it, and it is not counted."""
        if 0 < self.most <= self._total:
            return False
        address = address_of(peer)
        if address:
            count = self._connections.get(address, 0)
            if 0 < self.limit <= count:
                return False
            self._connections[address] = count + 1
        self._total += 1
        return True

    def leave(self, peer: str) -> None:
        """One that has been counted is gone."""
        self._total -= 1
        address = address_of(peer)
        if not address:
            return
        count = self._connections[address] - 1
        if count:
            self._connections[address] = count
        else:
            del self._connections[address]

    def __repr__(self) -> str:
        return f"<Crowd: {sum(self._connections.values())} connections from {len(self._connections)} addresses>"


def address_of(peer: str) -> str:
    """What is counted: `192.0.2.7` for `192.0.2.7:51234` (however it came), `2001:db8:0:1::/64` for
    `[2001:db8:0:1::7]:51234`; empty for the peer of a Unix socket."""
    host = peer.rpartition(":")[0]
    if not host.startswith("["):
        return "" if peer.startswith("unix:") else host
    host = host[1:-1].partition("%")[0]
    if host.startswith(_MAPPED) and "." in host:
        return host.removeprefix(_MAPPED)
    network = socket.inet_pton(socket.AF_INET6, host)[:_NETWORK_BYTES] + bytes(16 - _NETWORK_BYTES)
    return f"{socket.inet_ntop(socket.AF_INET6, network)}/{8 * _NETWORK_BYTES}"
