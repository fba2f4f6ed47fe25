"""What the settings say of listening: the endpoints they name, and the context their certificate makes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sttp_reactor.errors import StartError
from sttp_reactor.net.address import resolve_here
from sttp_reactor.net.endpoints import HTTP_NAME, TLS_NAME, Endpoint
from sttp_reactor.net.threads import wait_unless_told_to_stop
from sttp_reactor.sttp.settings import Settings

if TYPE_CHECKING:
    from sttp_reactor.net.tls_context import TlsContext


# The keys that say where.
LISTENING: Final = (
    "listen_address",
    "port",
    "tls.port",
    "http.enabled",
    "http.listen_address",
    "http.port",
    "http.tls",
)


def endpoints_of(settings: Settings) -> list[Endpoint]:
    """Every endpoint the settings name, resolved. Blocks on name resolution. Raises StartError."""
    hosts = settings.listen_address
    endpoints = [Endpoint(address) for host in hosts for address in resolve_here(host, settings.port)]
    if settings.tls.certificate is not None:
        found = [address for host in hosts for address in resolve_here(host, settings.tls.port)]
        endpoints += [Endpoint(address, tls=True) for address in found if not address.is_unix]
    if settings.http.enabled:
        found = [address for host in settings.http.listen_address for address in resolve_here(host, settings.http.port)]
        endpoints += [Endpoint(each, tls=settings.http.tls and not each.is_unix, kind=HTTP_NAME) for each in found]
    return list(dict.fromkeys(endpoints))


def endpoints_at_start(settings: Settings) -> list[Endpoint]:
    """The same, for a start: raises ToldToStop where a resolver hangs and a signal says so."""
    return wait_unless_told_to_stop(lambda: endpoints_of(settings), "the resolver")


def tls_context_at_start(settings: Settings, endpoints: Iterable[Endpoint] = ()) -> TlsContext | None:
    """As `tls_context_of`, for a start: raises ToldToStop where the files' disk hangs and a signal says so."""
    if settings.tls.certificate is None:
        return tls_context_of(settings, endpoints)
    return wait_unless_told_to_stop(lambda: tls_context_of(settings, endpoints), "the disk of the TLS files")


def unix_mode_of(settings: Settings) -> int:
    return int(settings.unix_socket_mode, 8)


def tls_context_of(settings: Settings, endpoints: Iterable[Endpoint] = ()) -> TlsContext | None:
    """The files of `tls`, read; None without. Raises StartError for whatever is wrong with them, and where they are
    missing for one of `endpoints`."""
    tls = settings.tls
    if tls.certificate is None or tls.key is None:
        if any(endpoint.tls for endpoint in endpoints):
            raise StartError(f"the socket named {TLS_NAME} that was handed over needs tls.certificate and tls.key")
        return None
    # Imported late: OpenSSL takes 5 ms to load and 3 MB to hold, and most servers have no use for it.
    from sttp_reactor.net.tls_context import TlsContext, TlsFiles

    return TlsContext(TlsFiles(tls.certificate, tls.key, tls.client_ca, tls.min_version))
