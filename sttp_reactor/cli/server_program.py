"""What `sttpd` and `sttp-proxy` have in common: flags, and how a server is checked and run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from sttp_reactor.cli.program import Program
from sttp_reactor.config import Loaded, Table
from sttp_reactor.errors import StartError

if TYPE_CHECKING:
    from sttp_reactor.daemon.kind import ServerKind

Flags = tuple[tuple[str, str, str | None], ...]
"""For each flag the key that it stands for, and the value where it stands for one."""

LISTENING_FLAGS: Final[Flags] = (
    ("--listen-address", "listen_address", None),
    ("--port", "port", None),
)
LOG_FLAGS: Final[Flags] = (
    ("--log-level", "log.level", None),
    ("--log-format", "log.format", None),
    ("--access-log", "log.access", None),
    ("-v", "log.level", "debug"),
    ("-q", "log.level", "warning"),
)


def server_program(
    name: str, usage: str, example: str, table: Table[Any], flags: Flags, load_kind: Callable[[], ServerKind]
) -> Program[Any]:
    """`load_kind` imports what makes the server. It is called late: printing a configuration needs no server."""

    def serve(loaded: Loaded[Any], read_again: Callable[[], Loaded[Any]]) -> int:
        from sttp_reactor.daemon.run import run

        return run(load_kind(), loaded.settings, origin=loaded.source, read_again=read_again)

    def obstacles(settings: Any) -> Iterator[StartError]:
        from sttp_reactor.daemon.doors import check_doors
        from sttp_reactor.sttp.check import obstacles

        yield from obstacles(settings, (load_kind().check, check_doors))

    def log_style(settings: Any) -> tuple[str, str]:
        return settings.log.level, settings.log.format

    return Program(name, usage, example, table, serve, flags, obstacles, log_style)
