"""Where the load goes: a server, and the directory that the keys live in."""

from __future__ import annotations

from dataclasses import dataclass

from sttp_reactor.client import Endpoint, parse_url
from sttp_reactor.errors import LocalError
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.texts import directory_of, name_of
from sttp_reactor.wire.grammar import fault_of_path

DEFAULT_DIRECTORY = "/sttpbench/"
_UNIX = "unix:"
_THIS_MACHINE = Endpoint("127.0.0.1")


@dataclass(frozen=True, slots=True)
class Trust:
    """Whom to trust and who we are, by TLS: what `client.tls.ClientTls` is made of, for it goes to no other process."""

    cacert: str | None = None
    cert: str | None = None
    key: str | None = None
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """`trust` is None where the endpoint is not for TLS; where it is, None is what `Trust()` is."""

    endpoint: Endpoint = _THIS_MACHINE
    directory: str = DEFAULT_DIRECTORY
    trust: Trust | None = None

    def __str__(self) -> str:
        return f"{_UNIX}{self.endpoint}" if self.endpoint.is_unix else str(self.endpoint)


def parse_target(text: str) -> Target:
    """`sttp://host[:port]/directory/`, `sttps://` for TLS, `host[:port]/directory/`, `unix:/path/of/socket`, or
    `/directory/` on this machine.

    Raises LoadError with a sentence for the user.
    """
    try:
        url = parse_url(text)
    except LocalError as error:
        raise LoadError(str(error)) from error
    return Target(
        url.endpoint or _THIS_MACHINE, check_directory(url.path) if url.path.strip("/") else DEFAULT_DIRECTORY
    )


def check_directory(path: str) -> str:
    """The directory's path with its trailing `/`; LoadError where PROTOCOL.md section 1 forbids the paths of its keys.

    The keys are what is asked for: a directory that is just not too deep would hold none.
    """
    path = path.rstrip("/") + "/"
    key = directory_of(path, 0, 0) + name_of(0)
    fault = fault_of_path(key.encode("utf-8", "surrogatepass"))
    if fault:
        raise LoadError(f"{path}: {fault}")
    return path
