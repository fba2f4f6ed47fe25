"""How a path of a URL becomes a request of STTP, and whom that is asked: the rules, the cache, the store."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_to_bytes

from sttp_reactor.gateway.replies import Reply, parse_reply, problem
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.grammar import parse_request_line
from sttp_reactor.wire.messages import Request as SttpRequest

if TYPE_CHECKING:
    from sttp_reactor.sttp.server import Server

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Call:
    """One request about a path of the protocol."""

    request: Request
    exchange: Exchange
    path: bytes


Then = Callable[[Reply, bytes], None]


class Asking:
    """Of one server's service."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def call(self, request: Request, exchange: Exchange) -> Call | Response:
        """What a request for `/files/…` is about, or the response that refuses it."""
        path = sttp_path(request.path)
        return problem(request, 400, path) if isinstance(path, str) else Call(request, exchange, path)

    def ask(self, call: Call, line: bytes, then: Then, refuse: Callable[[Response], None]) -> None:
        """Have `line` carried out: `then(reply, data)` is called at once or later, or `refuse(response)` where a rule
        forbids it. A read of a client that has gone by then may be answered anything."""
        parsed = parse_request_line(line)
        if not isinstance(parsed, SttpRequest):
            data = encode_response(parsed)
            then(parse_reply(data), data)
            return
        refusal = self._refusal(call, parsed)
        if refusal is not None:
            refuse(problem(call.request, 403, f"{refusal[0].upper()}{refusal[1:]}."))
            return
        cached = self._server.answerer.cached(parsed)
        if cached is not None:
            then(parse_reply(cached), cached)
        else:
            self._start(call, parsed, then, refuse)

    def _refusal(self, call: Call, parsed: SttpRequest) -> str | None:
        policy = self._server.policy
        if policy is None:
            return None
        rights = policy.rights_of(call.exchange.peer, call.exchange.peer_names)
        return None if rights is None else rights.refusal(parsed.path, parsed.action.is_write)

    def _start(self, call: Call, parsed: SttpRequest, then: Then, refuse: Callable[[Response], None]) -> None:
        answerer = self._server.answerer

        def done(data: bytes) -> None:
            try:
                then(parse_reply(data), data)
            except Exception:  # or the client would wait for ever, and so would those whose turn comes after it
                log.exception("a reply could not be answered")
                refuse(problem(call.request, 500, "The server has failed; its log has more."))

        if not answerer.start(parsed, done, call.exchange.connection):
            answerer.when_room(parsed, lambda: self._start(call, parsed, then, refuse))


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
