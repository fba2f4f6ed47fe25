"""GET of /files/…: a text, or the names in a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sttp_reactor.gateway.asking import Asking, Call
from sttp_reactor.gateway.listing import answer_listing
from sttp_reactor.gateway.replies import FileResponse, Reply, etag_of, failure, is_named
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response
from sttp_reactor.http.router import Router

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Route
    from sttp_reactor.sttp.server import Server

# A client asks anew each time, and mostly hears that nothing has changed.
_REVALIDATE: Final = ("Cache-Control", "no-cache")


class Files:
    def __init__(self, server: Server, asking: Asking) -> None:
        self._server = server
        self._asking = asking

    def add_to(self, router: Router[Route]) -> None:
        router.add("GET", "/files/{path...}", self._get)

    def _get(self, request: Request, exchange: Exchange, _parameters: dict[str, str]) -> Response | None:
        call = self._asking.call(request, exchange)
        if isinstance(call, Response):
            return call
        if call.path.endswith(b"/"):
            self._list(call)
        else:
            self._asking.ask(call, b"SHOW " + call.path, lambda reply, data: _shown(call, reply, data), exchange.answer)
        return None

    def _list(self, call: Call) -> None:
        unsent = self._server.unsent
        if call.exchange.is_gone:
            return
        if not unsent.has_room:  # what others have asked for and do not read
            unsent.when_room(lambda: self._list(call))
            return
        self._asking.ask(call, b"LIST " + call.path, lambda reply, _: self._listed(call, reply), call.exchange.answer)

    def _listed(self, call: Call, reply: Reply) -> None:
        if reply.status != 200:
            call.exchange.answer(failure(call.request, reply))
        elif not call.exchange.is_gone:
            answer_listing(call.exchange, call.path, reply.contents, self._server.unsent)


def _shown(call: Call, reply: Reply, data: bytes) -> None:
    if reply.status != 200:
        call.exchange.answer(failure(call.request, reply))
        return
    etag = etag_of(reply.contents)
    named = call.request.headers.get("if-none-match")
    is_old = named is not None and is_named(etag, named)
    response = FileResponse(
        304 if is_old else 200,
        b"" if is_old else reply.contents,
        headers=[("ETag", etag), _REVALIDATE],
        reusable=True,
        line=b"SHOW %b\n" % call.path,
        reply=data,
    )
    call.exchange.answer(response)
