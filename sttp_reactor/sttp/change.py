"""Other settings for a server that runs: prepared in any thread, then taken by the server in its own, or dropped.

What may take its time or fail is done in preparing: certificates are read, the access log is opened, beside what is in
use. Taking cannot fail. Connections that are there stay, and so does what is cached.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from sttp_reactor.config import differences
from sttp_reactor.net.endpoints import Endpoint, Sockets
from sttp_reactor.sttp.access_log import AccessLog
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.listening import tls_context_of
from sttp_reactor.sttp.settings import Settings

if TYPE_CHECKING:
    from sttp_reactor.sttp.server import Server


class Change:
    """`settings`, and what they take: `tls` (None: as it was), `access_log`, what the backend has prepared, and all
    `endpoints` to listen on."""

    def __init__(self, server: Server, settings: Settings, endpoints: Collection[Endpoint]) -> None:
        """In any thread. Raises StartError, with nothing left open."""
        self._server = server
        self.settings = settings
        self.endpoints = endpoints
        self.tls = tls_context_of(settings, endpoints)
        self.of_backend = server.backend.prepare(settings)
        self.access_log = server.access_log
        self._opened: AccessLog | None = None
        if differences(TABLE, server.settings, settings, ("log.access", "log.format")):
            self.access_log = self._opened = server.open_access_log(settings)

    def complete(self) -> None:
        """Make what only the reactor's thread may make; before `apply`. Raises StartError."""
        self._server.prepare_door(self.endpoints)

    def apply(self, sockets: Sockets) -> None:
        """`sockets` are those of the endpoints that are new; the server takes them over."""
        self._server.take(self, sockets)

    def cancel(self) -> None:
        if self._opened is not None:
            self._opened.close(0)
