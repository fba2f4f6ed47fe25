"""Another way in to the same service: what a server needs of a protocol that is not STTP, and knows nothing else of."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol as Interface

from sttp_reactor.net.protocol import Protocol, Transport


class Talk(Interface):
    """A session of the door's."""

    transport: Transport


class Door(Interface):
    """Its connections count as the server's own, are told when the server stops, and hold it until they are gone:
    then the door calls `Server.connection_lost`. Belongs to the reactor's thread."""

    full: bytes
    """What a connection is sent that is one too many, before it is closed; `crowded` is the same where only its own
    address has too many, and `speak_tls` answers what is no TLS where TLS is spoken."""
    crowded: bytes
    speak_tls: bytes
    no_header: bytes
    """What a listed proxy is sent that begins with no header of the PROXY protocol."""

    @property
    def sessions(self) -> Collection[Talk]:
        """Those of its connections that are open. Where a time limit ends one, the door calls
        `Server.connection_timed_out`."""

    @property
    def connections(self) -> int: ...
    def make_protocol(self) -> Protocol: ...

    def reconfigure(self) -> None:
        """The server's settings have changed, or its cache, its rules or its access log."""

    def drain(self) -> None:
        """Answer what has been asked, and close."""

    def abort(self) -> None:
        """Close all connections, now."""
