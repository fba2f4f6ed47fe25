"""Whether a server could start as it is configured, found out without binding, making or taking anything."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from sttp_reactor.errors import StartError
from sttp_reactor.sttp.access_log import check_access_log
from sttp_reactor.sttp.listening import endpoints_of, tls_context_of
from sttp_reactor.sttp.settings import Settings
from sttp_reactor.sttp.stores import check_store

_CHECKS: Final[tuple[Callable[[Settings], object], ...]] = (
    lambda settings: tls_context_of(settings),
    check_store,
    lambda settings: check_access_log(settings.log.access),
    endpoints_of,
)


def obstacles(settings: Settings) -> Iterator[StartError]:
    """All that would keep a server from starting, of what can be known before it binds. Blocks on name resolution."""
    for check in _CHECKS:
        try:
            check(settings)
        except StartError as error:
            yield error
