"""Where a server is, and how it is spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sttp_reactor.client.url import parse_endpoint
from sttp_reactor.errors import LocalError, UnfitError
from sttp_reactor.proxy.settings import ServerSettings

if TYPE_CHECKING:
    import ssl


class Target(NamedTuple):
    """`host` is a name, which is looked up again for each connection, an address, or a Unix socket's path. `tls` is
    None where the connection is plain."""

    name: str
    host: str
    port: int
    tls: ssl.SSLContext | None

    def __str__(self) -> str:
        return self.name


def target_of(server: ServerSettings) -> Target:
    """Reads the certificates of authorities. Raises UnfitError."""
    endpoint = parse_endpoint(server.address)
    tls = None
    if endpoint.is_tls:
        from sttp_reactor.client.tls import make_context  # late: OpenSSL takes 5 ms, and most servers need none of it

        try:
            tls = make_context(None if server.ca is None else str(server.ca))
        except LocalError as error:
            raise UnfitError(f"the authorities of {endpoint}: {error}") from error
    return Target(str(endpoint), endpoint.host, 0 if endpoint.is_unix else endpoint.port, tls)
