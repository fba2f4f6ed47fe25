"""The two sides of a connection as types: what a protocol is told, and what it may ask of its transport.

The words and their order are asyncio's: `connection_made` once, then any number of `data_received`, at most one
`eof_received`, `connection_lost` once. All calls come from the reactor's thread, and none from inside a call that the
protocol itself made on its transport, but `pause_writing`: the `write` that goes over the mark makes it.
"""

from __future__ import annotations

from typing import Protocol as Interface


class Transport(Interface):
    """What a protocol may ask for. Every call is harmless on a connection that is already closed."""

    peer: str
    """The other end, for logs: `192.0.2.7:51234`, `[2001:db8::7]:51234`, or `unix:` and the peer's process."""

    last_received: float
    """When bytes last came from the peer; the reactor's clock, in seconds."""

    @property
    def peer_names(self) -> tuple[str, ...]:
        """The names in the certificate that the peer has shown, verified; empty without one, and without TLS."""

    def local_address(self) -> str:
        """Our own end, in the form of `peer`; "" where the connection is gone."""

    def write(self, data: bytes) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...

    def bytes_unread(self) -> int:
        """Bytes that have arrived and have not been given to the protocol yet. Where they are encrypted, this is
        more than it will be given."""

    def bytes_unsent(self) -> int:
        """Bytes written that the kernel has not taken yet; in `connection_lost`, those that it never will."""

    def close(self) -> None:
        """Send what is buffered, then close; what still arrives is dropped."""

    def abort(self) -> None:
        """Close now; what is buffered is lost."""


class Protocol(Interface):
    def connection_made(self, transport: Transport) -> None: ...
    def data_received(self, data: bytes) -> None: ...

    def eof_received(self) -> None:
        """The peer has half-closed. Writing still works; the protocol closes when it has nothing more to say."""

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone; `error` is what broke it, None where either side closed it. The last call of all."""

    def pause_writing(self) -> None:
        """More than the high-water mark waits to be sent. Reading has stopped; produce no more."""

    def resume_writing(self) -> None:
        """The write buffer has drained below the low-water mark."""
