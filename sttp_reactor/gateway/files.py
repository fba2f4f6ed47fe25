"""/files/…: HTTP's methods as requests of STTP, and their replies as responses. The service does all of the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote_to_bytes

from sttp_reactor.gateway.listing import listing
from sttp_reactor.gateway.replies import FileResponse, Reply, etag_of, failure, is_named, parse_reply, problem
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response
from sttp_reactor.http.router import Router
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.grammar import parse_request_line
from sttp_reactor.wire.messages import Request as SttpRequest

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Route
    from sttp_reactor.sttp.server import Server

# A client asks anew each time, and mostly hears that nothing has changed.
_REVALIDATE: Final = ("Cache-Control", "no-cache")


@dataclass(slots=True)
class Call:
    """One request about a path of the protocol."""

    request: Request
    exchange: Exchange
    path: bytes


Then = Callable[[Reply, bytes], None]


class Files:
    def __init__(self, server: Server) -> None:
        self._server = server

    def add_to(self, router: Router[Route]) -> None:
        router.add("GET", "/files/{path...}", self._get)

    def _get(self, request: Request, exchange: Exchange, parameters: dict[str, str]) -> Response | None:
        path = sttp_path(request.path)
        if isinstance(path, str):
            return problem(request, 400, path)
        call = Call(request, exchange, path)
        if path.endswith(b"/"):
            self.ask(call, b"LIST " + path, lambda reply, _: _listed(call, reply))
        else:
            self.ask(call, b"SHOW " + path, lambda reply, data: _shown(call, reply, data))
        return None

    def ask(self, call: Call, line: bytes, then: Then) -> None:
        """Have the service asked, or the rules refuse; `then(reply, data)` is called at once or later, but not once the
        client has gone, unless the request changes something."""
        parsed = parse_request_line(line)
        if not isinstance(parsed, SttpRequest):
            data = encode_response(parsed)
            then(parse_reply(data), data)
            return
        refusal = self._refusal(call, parsed)
        if refusal is not None:
            call.exchange.answer(problem(call.request, 403, f"{refusal[0].upper()}{refusal[1:]}."))
            return
        cached = self._server.service.cached(parsed)
        if cached is not None:
            then(parse_reply(cached), cached)
        else:
            self._start(call, parsed, then)

    def _refusal(self, call: Call, parsed: SttpRequest) -> str | None:
        policy = self._server.policy
        if policy is None:
            return None
        rights = policy.rights_of(call.exchange.peer, call.exchange.peer_names)
        return None if rights is None else rights.refusal(parsed.path, parsed.action.is_write)

    def _start(self, call: Call, parsed: SttpRequest, then: Then) -> None:
        service = self._server.service

        def done(data: bytes) -> None:
            if parsed.action.is_write or not call.exchange.is_gone:
                then(parse_reply(data), data)

        if not service.start(parsed, done, call.exchange.connection):
            service.when_room(parsed, lambda: self._start(call, parsed, then))


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


def _listed(call: Call, reply: Reply) -> None:
    if reply.status != 200:
        call.exchange.answer(failure(call.request, reply))
    else:
        call.exchange.answer(listing(call.request, call.path, reply.contents))


def sttp_path(target: str) -> bytes | str:
    """The path of the protocol that `/files/…` stands for, or what is wrong with it. Percent-decoded once."""
    rest = target.removeprefix("/files")
    if "%" in rest and ("%2f" in rest.lower() or _has_bad_escape(rest)):
        return "A % in a path is followed by two hexadecimal digits, and a name holds no /."
    path = unquote_to_bytes(rest)
    if b" " in path or b"\n" in path:
        return "A path holds no space and no line break."
    return path


def _has_bad_escape(text: str) -> bool:
    return len(unquote_to_bytes(text)) + 2 * text.count("%") != len(text)


def location_of(path: bytes) -> str:
    """The URL's path for a path of the protocol."""
    return "/files" + quote(path, safe="/!$&'()*+,;=:@-._~")
