"""Where a text is: `sttp://host[:port]/path`, `host[:port]/path`, or `/path` (PROTOCOL.md section 6); with `sttps://`
the same by way of TLS, and `unix:/path` names a server by its Unix socket.

Everything here raises LocalError with one sentence that says what to write instead.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address
from typing import Final, NamedTuple
from urllib.parse import unquote_to_bytes

from sttp_reactor.errors import LocalError
from sttp_reactor.limits import DEFAULT_PORT, DEFAULT_TLS_PORT

_UNIX: Final = "unix:"
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_BRACKETED: Final = re.compile(r"\[([^][]*)\](.*)", re.DOTALL)
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
# What no name or address of a host holds. The resolver refuses most other nonsense itself.
_NOT_IN_HOSTS: Final = re.compile(r"[][\s/\\@?#%\"<>]")


class Endpoint(NamedTuple):
    """One server. `host` is a name, an address without brackets, or the path of a Unix socket (`port` is unused)."""

    host: str
    port: int = DEFAULT_PORT
    is_tls: bool = False

    @property
    def is_unix(self) -> bool:
        return self.host.startswith("/")

    def __str__(self) -> str:
        if self.is_unix:
            return self.host
        scheme = "sttps://" if self.is_tls else ""
        return f"{scheme}[{self.host}]:{self.port}" if ":" in self.host else f"{scheme}{self.host}:{self.port}"


class Url(NamedTuple):
    """`endpoint` is None where the text is a plain path, `path` is "" where the text names only a server."""

    endpoint: Endpoint | None
    path: str


def parse_url(text: str, port: int | None = None) -> Url:
    """Read a URL, with or without its scheme, or a plain path. `port` is for a text that names a server without one;
    None means the default port.

    A plain path is taken as it is. In the other two forms `%XX` is decoded, and `?` and `#` are refused: elsewhere
    they begin what STTP has not, so a URL that means one thing here should not mean another there.
    """
    if text.startswith("/"):
        return Url(None, text)
    if _is_unix(text):
        return Url(Endpoint(_strip_unix(text)), "")
    is_tls, rest = split_tls(text)
    authority, slash, path = rest.partition("/")
    return Url(_parse_authority(authority, is_tls, port), _decode(slash + path) if slash else "")


def parse_endpoint(text: str, port: int | None = None) -> Endpoint:
    """`host`, `host:port`, `[v6]`, `[v6]:port`, each with a scheme or without, or a Unix socket's path with `unix:`
    before it or without. `port` as for `parse_url`."""
    if _is_unix(text):
        return Endpoint(_strip_unix(text))
    is_tls, authority = split_tls(text)
    return _parse_authority(authority, is_tls, port)


def default_port(*, is_tls: bool) -> int:
    return DEFAULT_TLS_PORT if is_tls else DEFAULT_PORT


def split_tls(text: str) -> tuple[bool, str]:
    """Whether `text` begins with `sttps://`, and what follows the scheme, if it has one."""
    match = _SCHEME.match(text)
    if match is None:
        return False, text
    scheme = match[1].lower()
    if scheme not in ("sttp", "sttps"):
        raise LocalError(f"unknown scheme {match[1]}://; use sttp://host:port/path, or sttps:// for TLS")
    return scheme == "sttps", text[match.end() :]


def _strip_unix(text: str) -> str:
    """The path of the Unix socket that `text` names with `unix:` before it; any other text as it is."""
    return text.removeprefix(_UNIX) if _is_unix(text) else text


def _is_unix(text: str) -> bool:
    # A host may be called "unix" too: what follows it is then a port.
    return text.startswith(("/", f"{_UNIX}/"))


def _parse_authority(text: str, is_tls: bool, default: int | None) -> Endpoint:
    default = default or default_port(is_tls=is_tls)
    bracketed = _BRACKETED.fullmatch(text)
    if bracketed:
        host, rest = _check_v6(bracketed[1]), bracketed[2]
        if rest and not rest.startswith(":"):
            raise LocalError(f"expected a port after the bracket, as in [{host}]:{DEFAULT_PORT}")
        return Endpoint(host, parse_port(rest[1:]) if rest else default, is_tls)
    if text.count(":") > 1 and "@" not in text:
        raise LocalError(f"an IPv6 address stands in brackets, as in [::1]:{DEFAULT_PORT}")
    host, colon, port = text.rpartition(":") if ":" in text else (text, "", "")
    _check_name(host)
    return Endpoint(host, parse_port(port) if colon else default, is_tls)


def parse_host(text: str) -> str:
    """A host that comes without a port: a name, an address with or without brackets, or a Unix socket's path, with
    `unix:` before it or without."""
    if _is_unix(text):
        return _strip_unix(text)
    if text.startswith("[") and text.endswith("]"):
        return _check_v6(text[1:-1])
    if text.count(":") > 1:
        return _check_v6(text)
    _check_name(text)
    return text


def parse_port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535):
        raise LocalError(f"a port is a number from 1 to 65535, not {text!r}")
    return int(text)


def _check_name(host: str) -> None:
    if "@" in host:
        raise LocalError("STTP has no users; leave out what stands before the @")
    if not host:
        raise LocalError(f"the host is missing, as in localhost:{DEFAULT_PORT}")
    if ":" in host:
        raise LocalError("the port is given apart from the host")
    if _NOT_IN_HOSTS.search(host) or not host.isprintable():
        raise LocalError(f"{host!r} is not the name of a host")


def _check_v6(text: str) -> str:
    # RFC 6874 writes the zone of a link-local address as %25; the resolver wants the plain %.
    address = text.replace("%25", "%", 1)
    try:
        IPv6Address(address)
    except AddressValueError:
        raise LocalError(f"{text!r} is not an IPv6 address, as in [::1]:{DEFAULT_PORT}") from None
    return address


def _decode(path: str) -> str:
    for mark in "?#":
        if mark in path:
            raise LocalError(f"STTP has no queries and no fragments; write %{ord(mark):02X} for a {mark!r} in the path")
    if _BAD_PERCENT.search(path):
        raise LocalError("two hexadecimal digits follow a % in a URL; write %25 for the sign itself")
    try:
        return unquote_to_bytes(path).decode()
    except UnicodeError:
        raise LocalError("a path is UTF-8") from None
