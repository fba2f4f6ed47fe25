"""The servers of one run of sttpc: one client for each, shared by all that names it."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING

from sttp_reactor.client import Client, Endpoint, Trace
from sttp_reactor.errors import (
    CannotConnect,
    HostUnknown,
    LocalError,
    NoReply,
    NotTrusted,
    ReplyError,
    SttpError,
    TimedOut,
    TlsFailed,
)
from sttp_reactor.wire.messages import Request, Response

if TYPE_CHECKING:
    from sttp_reactor.client.tls import ClientTls

_EXITS: tuple[tuple[type[SttpError], int, str], ...] = (
    (LocalError, 2, "cannot be sent"),
    (HostUnknown, 6, "host unknown"),
    (TimedOut, 28, "timed out"),
    (NotTrusted, 7, "not trusted"),
    (TlsFailed, 7, "TLS failed"),
    (CannotConnect, 7, "cannot connect"),
    (NoReply, 8, "not an STTP reply"),
)


class Servers:
    """A server that could not be reached is not tried again: a hundred URLs should not wait for a hundred time-outs."""

    def __init__(self, timeout: float, retries: int, trace: Trace | None, tls: ClientTls | None = None) -> None:
        """`tls` is for the servers that are to be spoken to by it; None where there are none."""
        self._timeout = timeout
        self._retries = retries
        self._trace = trace
        self._tls = tls
        self._clients: dict[Endpoint, Client] = {}
        self._unreachable: dict[Endpoint, SttpError] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Servers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    def client(self, endpoint: Endpoint) -> Client:
        client = self._clients.get(endpoint)
        if client is None:
            client = Client(
                endpoint.host,
                endpoint.port,
                tls=self._tls if endpoint.is_tls else None,
                timeout=self._timeout,
                retries=self._retries,
                trace=self._trace,
            )
            self._clients[endpoint] = self._stack.enter_context(client)
        return client

    def pipeline(self, endpoint: Endpoint, requests: list[Request]) -> list[Response]:
        """The replies; raises SttpError, which is remembered where the server cannot be reached."""
        if endpoint in self._unreachable:
            raise self._unreachable[endpoint]
        try:
            return self.client(endpoint).pipeline(requests)
        except (CannotConnect, HostUnknown) as error:
            self._unreachable[endpoint] = error
            raise


def exit_code(error: SttpError) -> int:
    if isinstance(error, ReplyError):
        return error.status // 100
    return next((code for kind, code, _ in _EXITS if isinstance(error, kind)), 1)


def error_name(error: SttpError) -> str:
    """What the JSON objects call it."""
    return next((name for kind, _, name in _EXITS if isinstance(error, kind)), "other")
