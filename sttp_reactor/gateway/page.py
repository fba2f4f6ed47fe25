"""The page at `/`: one HTML, one style sheet, one script, all from here and none with anything inline."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

from sttp_reactor.gateway.replies import etag_of, is_named
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response
from sttp_reactor.http.router import Router

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Route
    from sttp_reactor.sttp.server import Server

# Nothing but what this server sends, and nothing that stands in the page itself: markup in a name or a text, should it
# ever get there as markup, can neither run nor call anybody.
_POLICY: Final = (
    "Content-Security-Policy",
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'",
)
_TYPES: Final = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


class Page:
    def __init__(self, server: Server) -> None:
        self._server = server
        folder = files("sttp_reactor.gateway") / "static"
        self._files = {name: (folder / name).read_bytes() for name in ("index.html", "page.css", "page.js")}

    def add_to(self, router: Router[Route]) -> None:
        for path, name in (("/", "index.html"), ("/page.css", "page.css"), ("/page.js", "page.js")):
            router.add("GET", path, self._route_of(name))

    def _route_of(self, name: str) -> Route:
        return lambda request, exchange, parameters: self._answer(request, exchange, name)

    def _answer(self, request: Request, _exchange: Exchange, name: str) -> Response:
        text = self._files[name]
        if name == "index.html":
            text = text.replace(b"WRITE", b"true" if self._server.settings.http.write else b"false", 1)
        etag = etag_of(text)
        headers = [("ETag", etag), ("Cache-Control", "no-cache"), _POLICY]
        if (named := request.headers.get("if-none-match")) is not None and is_named(etag, named):
            return Response(304, headers=headers)
        return Response(200, text, f"{_TYPES[name.rpartition('.')[2]]}; charset=utf-8", headers)
