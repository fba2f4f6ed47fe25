"""What a load balancer asks: does the process turn, and should it be given requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sttp_reactor.gateway.replies import parse_reply, problem
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response, sentence
from sttp_reactor.http.router import Router
from sttp_reactor.wire.messages import Action
from sttp_reactor.wire.messages import Request as SttpRequest

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Gateway, Route
    from sttp_reactor.sttp.server import Server

# A file that hardly anybody has; that it is not there says that the store can be read.
_PROBE: Final = SttpRequest(Action.SHOW, b"/-")
_NEVER_CACHED: Final = ("Cache-Control", "no-store")


class Health:
    def __init__(self, server: Server, gateway: Gateway) -> None:
        self._server = server
        self._gateway = gateway

    def add_to(self, router: Router[Route]) -> None:
        router.add("GET", "/healthz", self._healthz)
        router.add("GET", "/readyz", self._readyz)

    def _healthz(self, _request: Request, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
        return sentence(200, "The server is alive.", _NEVER_CACHED)

    def _readyz(self, request: Request, exchange: Exchange, _parameters: dict[str, str]) -> Response | None:
        if self._gateway.is_draining:
            return problem(request, 503, "The server is stopping.", _NEVER_CACHED)

        def told(data: bytes) -> None:
            if exchange.is_gone:
                return
            reply = parse_reply(data)
            if reply.status in (200, 400):
                exchange.answer(sentence(200, "The server is ready.", _NEVER_CACHED))
            else:
                detail = reply.message or "the docroot is missing"
                exchange.answer(problem(request, 503, f"The store cannot be read: {detail}.", _NEVER_CACHED))

        if not self._server.answerer.start(_PROBE, told, exchange.connection):
            return problem(request, 503, "The store has too much to do.", _NEVER_CACHED)
        return None
