"""Whether a server could start as it is configured, found out without binding, making or taking anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from sttp_reactor.errors import StartError
from sttp_reactor.sttp.access_log import check_access_log
from sttp_reactor.sttp.listening import endpoints_of, tls_context_of
from sttp_reactor.sttp.settings import Settings

_Check = Callable[[Any], object]

_CHECKS: Final[tuple[_Check, ...]] = (
    lambda settings: tls_context_of(settings),
    lambda settings: check_access_log(settings.log.access),
    endpoints_of,
)


def obstacles(settings: Settings, checks: Iterable[_Check]) -> Iterator[StartError]:
    """All that would keep a server from starting, of what can be known before it binds: `checks` are those of its kind.
    Blocks on name resolution."""
    for check in (*checks, *_CHECKS):
        try:
            check(settings)
        except StartError as error:
            yield error
