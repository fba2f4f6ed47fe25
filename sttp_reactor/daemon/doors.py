"""The doors of a server: what is spoken besides STTP. Loaded when one is opened, because most servers open none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sttp_reactor.errors import UnfitError

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Gateway
    from sttp_reactor.sttp.door import Door
    from sttp_reactor.sttp.server import Server
    from sttp_reactor.sttp.settings import Settings


def open_gateway(server: Server) -> Door:
    """HTTP. Raises UnfitError where what it needs is not installed."""
    return _gateway()(server)


def check_doors(settings: Settings) -> None:
    """Whether those that the settings name could be opened. Raises UnfitError."""
    if settings.http.enabled:
        _gateway()


def _gateway() -> type[Gateway]:
    try:
        from sttp_reactor.gateway.gateway import Gateway
    except ImportError as error:
        missing = f"http.enabled needs the package {error.name}: pip install 'sttp_reactor[http]'"
        raise UnfitError(missing) from error
    return Gateway
