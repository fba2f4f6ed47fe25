"""Where a server is, and how it is spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sttp_reactor.client.url import parse_endpoint
from sttp_reactor.errors import UnfitError
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
        import ssl  # late: OpenSSL takes 5 ms to load, and most servers are spoken to without it

        try:
            tls = ssl.create_default_context(cafile=None if server.ca is None else str(server.ca))
        except (OSError, ssl.SSLError) as error:
            raise UnfitError(f"the authorities of {endpoint}, {server.ca}: {error.strerror or error}") from error
        tls.minimum_version = ssl.TLSVersion.TLSv1_2
    return Target(str(endpoint), endpoint.host, 0 if endpoint.is_unix else endpoint.port, tls)
