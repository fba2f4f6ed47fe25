"""What the URL arguments mean: a server and a path for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

from sttp_reactor.cli.default_server import DefaultServer, explained
from sttp_reactor.client import Endpoint, Url, parse_endpoint, parse_url
from sttp_reactor.errors import LocalError

PathUse = Literal["needed", "optional", "unused"]

_T = TypeVar("_T")
# No text can name this port, so a server that has it has taken a default.
_NO_PORT: Final = -1


class Target(NamedTuple):
    """`label` is what messages call it: the argument as it was given, where there was one."""

    label: str
    endpoint: Endpoint
    path: str

    def at(self, path: str) -> Target:
        """Another path on the same server."""
        return Target(path if self.label.startswith("/") else f"{self.endpoint}{path}", self.endpoint, path)


def read_targets(
    arguments: Sequence[str],
    address: str | None,
    port: str | None,
    environ: Mapping[str, str],
    *,
    path: PathUse = "needed",
) -> list[Target]:
    """The targets of `arguments`; `/` on the default server where there is none.

    The default server is made of `address` and `port`, else of STTPC_ADDRESS and STTPC_PORT. Its port is also that of
    servers that are named without one. Raises LocalError, also for an `address` or `port` that no argument has a use
    for, and for a server without a path where one is needed.
    """
    default = DefaultServer(address, port, environ)
    targets = []
    is_used = {"--address": False, "--port": False}
    for argument in arguments or ["/"]:
        url, takes_port = _read_url(argument, default, is_server=path == "unused" and "/" not in argument)
        if url.endpoint is None:
            is_used = dict.fromkeys(is_used, True)
        elif path == "needed" and not url.path:
            raise LocalError(f"{argument} names a server and no path; a path begins with '/'{_as_in(argument)}")
        is_used["--port"] |= takes_port
        targets.append(Target(argument, url.endpoint or default.endpoint, url.path or "/"))
    for flag, given in (("--address", address), ("--port", port)):
        if given is not None and not is_used[flag]:
            raise LocalError(f"{flag} is for plain paths, and {arguments[0]} names its server itself")
    return targets


def fetch_target(host: str, path: str, port: str | None, environ: Mapping[str, str]) -> Target:
    """`port` and STTPC_PORT are for a `host` that names none."""
    _, scheme_mark, authority = host.rpartition("://")
    if scheme_mark and "/" in authority:
        raise LocalError(f"fetch takes HOST[:PORT] and PATH; for a URL use: sttpc show {host}")
    if "/" in authority and not authority.startswith(("/", "unix:/")):
        raise LocalError(f"fetch takes HOST[:PORT] and PATH as two arguments, and {host} holds a '/'")
    default = DefaultServer(None, port, environ)
    endpoint, takes_port = _with_default_port(host, default, parse_endpoint)
    if port is not None and not takes_port:
        raise LocalError(f"--port is for a HOST without a port, and {host} is not one")
    return Target(path if endpoint.is_unix else f"{endpoint}{path}", endpoint, path)


def _as_in(argument: str) -> str:
    """What was meant by "today" was perhaps /today."""
    return "" if ":" in argument else f", as in /{argument}"


def _read_url(argument: str, default: DefaultServer, *, is_server: bool) -> tuple[Url, bool]:
    """What the argument names, and whether it takes the default server's port. `is_server`: it can be nothing else."""
    if is_server:
        endpoint, takes_port = _with_default_port(argument, default, parse_endpoint)
        return Url(endpoint, ""), takes_port
    return _with_default_port(argument, default, parse_url)


def _with_default_port(text: str, default: DefaultServer, parse: Callable[[str, int | None], _T]) -> tuple[_T, bool]:
    """`text` parsed, and whether it names a server without a port, which is then the default server's."""
    plain = explained(text, lambda each: parse(each, None), text)
    # A port that `text` names is stronger than any default, and the result does not depend on one.
    if plain == parse(text, _NO_PORT):
        return plain, False
    port = default.port
    return (parse(text, port) if port is not None else plain), True
