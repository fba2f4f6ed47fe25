"""What the URL arguments mean: a server and a path for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from sttp_reactor.client import Endpoint, default_port, parse_endpoint, parse_host, parse_port, parse_url, split_tls
from sttp_reactor.errors import LocalError

_DEFAULT_ADDRESS = "127.0.0.1"
_T = TypeVar("_T")


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
    path_needed: bool = True,
) -> list[Target]:
    """The targets of `arguments`; `/` on the default server where there is none.

    The default server is made of `address` and `port`, else of STTPC_ADDRESS and STTPC_PORT; it is spoken to by TLS
    where its address begins with `sttps://`. Raises LocalError, also
    for an `address` or `port` that no argument has a use for.
    """
    targets = []
    default: Endpoint | None = None
    for argument in arguments or ["/"]:
        endpoint, path = _read_url(argument, path_needed)
        if endpoint is None:
            endpoint = default = default or _default_server(address, port, environ)
        targets.append(Target(argument, endpoint, path or "/"))
    if default is None and (address is not None or port is not None):
        flag = "--address" if address is not None else "--port"
        raise LocalError(f"{flag} is for plain paths, and {arguments[0]} names its server itself")
    return targets


def fetch_target(host: str, path: str) -> Target:
    _, scheme_mark, authority = host.rpartition("://")
    if scheme_mark and "/" in authority:
        raise LocalError(f"fetch takes HOST[:PORT] and PATH; for a URL use: sttpc show {host}")
    if "/" in authority.lstrip("/") and not authority.startswith("/"):
        raise LocalError(f"fetch takes HOST[:PORT] and PATH as two arguments, and {host} holds a '/'")
    endpoint = _explained(host, parse_endpoint, host)
    return Target(path if endpoint.is_unix else f"{endpoint}{path}", endpoint, path)


def _read_url(argument: str, path_needed: bool) -> tuple[Endpoint | None, str]:
    if not path_needed and "/" not in argument:
        # Only a server can be meant by `sttpc ping localhost`.
        return _explained(argument, parse_endpoint, argument), ""
    return _explained(argument, parse_url, argument)


def _default_server(address: str | None, port: str | None, environ: Mapping[str, str]) -> Endpoint:
    if address is not None:
        is_tls, host = _explained("--address", _parse_address, address)
    else:
        is_tls, host = _explained("STTPC_ADDRESS", _parse_address, environ.get("STTPC_ADDRESS") or _DEFAULT_ADDRESS)
    if port is not None:
        return Endpoint(host, _explained("--port", parse_port, port), is_tls)
    given = environ.get("STTPC_PORT")
    number = _explained("STTPC_PORT", parse_port, given) if given else default_port(is_tls=is_tls)
    return Endpoint(host, number, is_tls)


def _parse_address(text: str) -> tuple[bool, str]:
    is_tls, host = split_tls(text)
    if is_tls and host.startswith("/"):
        raise LocalError("there is no TLS on a Unix socket")
    return is_tls, parse_host(host)


def _explained(name: str, read: Callable[[str], _T], text: str) -> _T:
    try:
        return read(text)
    except LocalError as error:
        raise LocalError(f"{name}: {error}") from None
