"""The doors of a server: what is spoken besides STTP. Loaded when one is opened, because most servers open none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sttp_reactor.errors import StartError

if TYPE_CHECKING:
    from sttp_reactor.sttp.door import Door
    from sttp_reactor.sttp.server import Server


def open_gateway(server: Server) -> Door:
    """HTTP. Raises StartError where what it needs is not installed."""
    try:
        from sttp_reactor.gateway.gateway import Gateway
    except ImportError as error:
        missing = f"http.enabled needs the package {error.name}: pip install 'sttp_reactor[http]'"
        raise StartError(missing) from error
    return Gateway(server)
