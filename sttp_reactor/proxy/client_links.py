"""The connections to one server where each client has one of its own, because the server is told who the client is.

The header of the PROXY protocol stands at the beginning of a connection and holds for all of it, so nobody else may ask
there. That costs what sharing saves; it is for servers whose rules, limits or logs go by addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sttp_reactor.net.proxy_protocol import encode_v2
from sttp_reactor.proxy.link import Link

# A client that asks again after this pays for a new connection; one that has gone holds the old one for so long.
IDLE_SECONDS: Final = 5.0
# Beyond these the one that has been used least recently ends, once it has answered.
_MOST: Final = 1024


class ClientLinks:
    """`make(greeting)` makes a link; `let_go(link)` ends one when it has answered what is under way there."""

    def __init__(self, make: Callable[[bytes], Link], let_go: Callable[[Link], None]) -> None:
        self._make = make
        self._let_go = let_go
        self._links: dict[tuple[str, str], Link] = {}  # the least recently used first; some may be over

    def link_for(self, addresses: tuple[str, str]) -> Link:
        """`addresses` are the client's, and the one that it has connected to."""
        link = self._links.pop(addresses, None)
        if link is None or link.is_over:
            link = self._make(header_for(*addresses))
        self._links[addresses] = link
        if len(self._links) > _MOST:
            self._let_go(self._links.pop(next(iter(self._links))))
        return link

    def take_all(self) -> list[Link]:
        links = list(self._links.values())
        self._links.clear()
        return links


def header_for(client: str, local: str) -> bytes:
    """Version 2, from addresses as a transport has them; LOCAL where they are none of IP."""
    source, destination = _parsed(client), _parsed(local)
    if source is None or destination is None:
        return encode_v2()
    return encode_v2(source, destination)


def _parsed(text: str) -> tuple[str, int] | None:
    host, _, port = text.rpartition(":")
    # The zone of an address, as in [fe80::7%eth0], has no place in the header, and no meaning elsewhere.
    host = host.strip("[]").partition("%")[0]
    return (host, int(port)) if host and host[0] != "/" and port.isdecimal() and host != "unix" else None
