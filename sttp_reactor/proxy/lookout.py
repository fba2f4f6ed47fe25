"""A connection on which nothing is ever asked: that a server closes it, tells that the server is about to stop.

Between a server that closes a connection and a proxy that sends a write on it at that moment nobody can say afterwards
whether the write was carried out. sttpd avoids that: when it is told to stop, it closes first the connections that
nobody has used, and goes on answering on all others for a moment (`sttp.last_requests`). So whoever holds an unused one
knows in time, asks elsewhere, and gets every reply to what it has asked already.
"""

from __future__ import annotations

from collections.abc import Callable

from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.serving import connect
from sttp_reactor.proxy.target import Target


class Lookout:
    """`on_end` is called, once, when the server closes the connection without a word. Whatever else happens to it has
    another meaning (the server is full, or gone), and nobody is told. Belongs to the reactor's thread."""

    def __init__(
        self, reactor: Reactor, target: Target, timeout: float, on_end: Callable[[], None], greeting: bytes
    ) -> None:
        """`timeout`, in seconds, is for the connection to be made; `greeting` is sent, and nothing after it."""
        self.is_over = False
        self.made_at = reactor.now
        self._on_end = on_end
        self._transport: Transport | None = None
        self._connecting = connect(
            reactor,
            lambda: self,
            target.host,
            target.port,
            on_failure=self._not_connected,
            timeout=timeout,
            tls=target.tls,
            greeting=greeting,
        )

    def close(self) -> None:
        self.is_over = True
        self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort()

    # -- From the connection --

    def connection_made(self, transport: Transport) -> None:
        self._transport = transport
        if self.is_over:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self.close()  # a refusal

    def eof_received(self) -> None:
        if not self.is_over:
            self.close()
            self._on_end()

    def connection_lost(self, error: Exception | None) -> None:
        self.eof_received()

    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    # -- Within --

    def _not_connected(self, error: Exception) -> None:
        self.is_over = True
