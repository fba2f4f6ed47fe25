"""What kind of server a daemon runs: one of files, or another that has the same connections, limits and logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sttp_reactor.config import Table
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.stores import Claim, check_store, name_of_store, take_store

if TYPE_CHECKING:
    from sttp_reactor.sttp.backend import Backend
    from sttp_reactor.sttp.server import Server


@dataclass(frozen=True)
class ServerKind:
    """`table` is that of its settings. `describe` says in the line that says it is ready what is served. `check` finds
    what of its own would keep it from starting, and makes and takes nothing. `take` is called once, before processes
    are forked, with the claim that all of them will have. Both raise StartError. `make_backend` is for `Server`, and
    None for the files."""

    name: str
    table: Table[Any]
    describe: Callable[[Any], str]
    check: Callable[[Any], object]
    take: Callable[[Any, Claim], object]
    make_backend: Callable[[Server], Backend] | None = None


FILES: Final = ServerKind("sttpd", TABLE, name_of_store, check_store, take_store)
