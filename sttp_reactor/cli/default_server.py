"""The server that a command line need not name: what -a and -p say, else STTPC_ADDRESS and STTPC_PORT."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from sttp_reactor.client import Endpoint, default_port, parse_host, parse_port, split_tls
from sttp_reactor.errors import LocalError

_DEFAULT_ADDRESS: Final = "127.0.0.1"
_T = TypeVar("_T")


class DefaultServer:
    """Both parts are read when they are asked for: a variable that is wrong is no mistake where nothing needs it.

    Reading either raises LocalError, which names the flag or the variable.
    """

    def __init__(self, address: str | None, port: str | None, environ: Mapping[str, str]) -> None:
        self._address = address
        self._port = port
        self._environ = environ

    @property
    def port(self) -> int | None:
        """The port of every server that is named without one; None: the default of its kind."""
        if self._port is not None:
            return explained("--port", parse_port, self._port)
        given = self._environ.get("STTPC_PORT")
        return explained("STTPC_PORT", parse_port, given) if given else None

    @property
    def endpoint(self) -> Endpoint:
        """The server of what names none. It is spoken to by TLS where its address begins with `sttps://`."""
        if self._address is not None:
            is_tls, host = explained("--address", _parse_address, self._address)
        else:
            given = self._environ.get("STTPC_ADDRESS") or _DEFAULT_ADDRESS
            is_tls, host = explained("STTPC_ADDRESS", _parse_address, given)
        if host.startswith("/"):
            return Endpoint(host)
        return Endpoint(host, self.port or default_port(is_tls=is_tls), is_tls)


def explained(name: str, read: Callable[[str], _T], text: str) -> _T:
    """`read(text)`, whose LocalError says that it is about `name`."""
    try:
        return read(text)
    except LocalError as error:
        raise LocalError(f"{name}: {error}") from None


def _parse_address(text: str) -> tuple[bool, str]:
    is_tls, rest = split_tls(text)
    host = parse_host(rest)
    if is_tls and host.startswith("/"):
        raise LocalError("there is no TLS on a Unix socket")
    return is_tls, host
