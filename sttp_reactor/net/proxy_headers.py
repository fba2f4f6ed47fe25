"""Connections of listed proxies, until each has said for whom it comes: then its client is its peer.

A listener asks `is_listed` for every connection, where there is anything to ask. A listed one gets an `AwaitedHeader`
for its protocol, which reads the header and then hands the connection over to the protocol that it would have had from
the beginning: a session, or the layer of TLS. Only then is it counted, under its client's address.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from sttp_reactor.limits import HANDSHAKE_TIMEOUT
from sttp_reactor.net.connection import Connection
from sttp_reactor.net.protocol import Protocol, Transport
from sttp_reactor.net.proxy_protocol import MalformedHeader, parse_header
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.throttle import Warn, unthrottled
from sttp_reactor.net.timers import Timer

log = logging.getLogger(__name__)

KIND: Final = "proxy_protocol"
"""Of the warnings, for counting them."""


class Admission(NamedTuple):
    """What a connection gets whose peer is known: its protocol (None: it is closed), and whom to tell when it has been
    closed (None: nobody)."""

    protocol: Protocol | None
    on_released: Callable[[str], None] | None = None


class ProxyHeaders:
    """Those awaited by the listeners of one server. `under_way` holds their protocols."""

    def __init__(
        self,
        reactor: Reactor,
        is_listed: Callable[[str], bool],
        timeout: float = HANDSHAKE_TIMEOUT,
        most: int = 0,
        on_change: Callable[[], None] | None = None,
        warn: Warn | None = None,
    ) -> None:
        """`is_listed(peer)`: whether this peer, a transport's, is a proxy of ours. A header has `timeout` seconds. At
        most `most` are awaited at a time, 0 for any number; a connection that is one too many is closed. `on_change`
        is called when there are more or fewer. All but the first may be changed: they hold for the next connection."""
        self.reactor = reactor
        self.is_listed = is_listed
        self.timeout = timeout
        self.most = most
        self.under_way: set[AwaitedHeader] = set()
        self.on_change = on_change or (lambda: None)
        self.warn = unthrottled(log) if warn is None else warn

    @property
    def has_room(self) -> bool:
        return not 0 < self.most <= len(self.under_way)

    def drain(self) -> None:
        """Take the headers that have come already, with what follows them, and let go of all others."""
        for header in list(self.under_way):
            header.transport.on_readable()
        self.abort()

    def abort(self) -> None:
        for header in list(self.under_way):
            header.transport.abort()

    def __repr__(self) -> str:
        return f"<ProxyHeaders: {len(self.under_way)} awaited>"


class AwaitedHeader:
    """The first protocol of a proxy's connection."""

    transport: Connection
    _deadline: Timer

    def __init__(self, headers: ProxyHeaders, admit: Callable[[str], Admission], to_malformed: bytes) -> None:
        """`admit(peer)` is asked once, with the client. `to_malformed` is sent to one whose header is none."""
        self._headers = headers
        self._admit = admit
        self._to_malformed = to_malformed
        self._buffer = b""
        self._on_released: Callable[[str], None] | None = None

    def released(self, peer: str) -> None:
        """The connection has been closed, whoever's it was by then."""
        if self._on_released is not None:
            self._on_released(peer)

    def connection_made(self, transport: Transport) -> None:
        assert isinstance(transport, Connection)  # nothing is below a header but the socket
        self.transport = transport
        self._headers.under_way.add(self)
        self._headers.on_change()
        self._deadline = self._headers.reactor.call_later(
            self._headers.timeout, lambda: self._refuse("it did not come in time")
        )

    def data_received(self, data: bytes) -> None:
        # A header is one packet, so there is as good as never anything to add to.
        self._buffer += data
        try:
            header = parse_header(self._buffer)
        except MalformedHeader as error:
            self._refuse(str(error))
            return
        if header is not None:
            self._hand_over(header.source or self.transport.peer, self._buffer[header.size :])

    def eof_received(self) -> None:
        if self._buffer:
            self._refuse("it is cut short")
        else:
            self.transport.close()  # somebody has looked whether the port is open

    def connection_lost(self, error: Exception | None) -> None:
        self._leave()

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    def _hand_over(self, peer: str, rest: bytes) -> None:
        # Before its successor is made: who counts connections would count this one twice.
        self._deadline.cancel()
        self._headers.under_way.discard(self)
        transport = self.transport
        log.debug("%s: comes for %s", transport.peer, peer)
        protocol, self._on_released = self._admit(peer)
        if protocol is None:
            transport.abort()
        else:
            transport.hand_over(protocol, peer, rest)
        self._headers.on_change()

    def _refuse(self, why: str) -> None:
        message = "%s: a connection without its PROXY protocol header: %s; closing it"
        peer = self.transport.peer
        self._headers.warn(KIND, message, peer, why, cause=peer.rpartition(":")[0])
        self.transport.write(self._to_malformed)
        self.transport.close()
        self._leave()  # no reply is owed to it

    def _leave(self) -> None:
        self._deadline.cancel()
        if self in self._headers.under_way:
            self._headers.under_way.discard(self)
            self._headers.on_change()
