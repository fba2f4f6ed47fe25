"""The door: connections that speak HTTP, what is refused before anything is looked at, and where the rest goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from sttp_reactor.gateway.asking import Asking
from sttp_reactor.gateway.debug import Debug
from sttp_reactor.gateway.events import Events, Turns
from sttp_reactor.gateway.figures import Figures
from sttp_reactor.gateway.files import Files
from sttp_reactor.gateway.health import Health
from sttp_reactor.gateway.hosts import fault_of_write, is_ours
from sttp_reactor.gateway.openapi import add_openapi
from sttp_reactor.gateway.page import Page
from sttp_reactor.gateway.prometheus import CONTENT_TYPE
from sttp_reactor.gateway.ready import CachedAnswers
from sttp_reactor.gateway.replies import problem
from sttp_reactor.gateway.writing import ONLY_READ, Writing, is_directory
from sttp_reactor.http.exchange import Exchange, Site
from sttp_reactor.http.messages import Header, Request, Response, encode, sentence
from sttp_reactor.http.router import Router
from sttp_reactor.http.session import Session
from sttp_reactor.metrics import COUNTER, GAUGE, Sample
from sttp_reactor.net.protocol import Protocol
from sttp_reactor.sttp.access_log import Access

if TYPE_CHECKING:
    from sttp_reactor.sttp.server import Server

# On every response: no guessing of types, no address of a page told to others, and no page of others around ours.
HEADERS: Final[tuple[Header, ...]] = (
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
)
_WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

# A handler gives the response, or None and answers later; `parameters` are those of the route.
Route = Callable[[Request, Exchange, dict[str, str]], Response | None]


def _last_words(status: int, text: str) -> bytes:
    return encode(sentence(status, text, ("Retry-After", "1")), formatdate(usegmt=True), closes=True, extra=HEADERS)


class Gateway:
    """A `sttp.door.Door`."""

    full = _last_words(503, "Too many connections; try again later.")
    crowded = _last_words(503, "Too many connections from your address; close others first.")
    speak_tls = _last_words(400, "This port speaks TLS; use https://.")
    no_header = _last_words(400, "A header of the PROXY protocol was expected of this proxy.")

    def __init__(self, server: Server) -> None:
        self._server = server
        self.site = Site(server.reactor, self._handle, headers=HEADERS)
        self.site.on_lost = server.connection_lost
        self.site.on_timeout = lambda session, limit: server.connection_timed_out(session.transport, limit)
        self._answers = CachedAnswers(server.reactor, self.site.date)
        self.site.fast_way, self.site.keep = self._answers.answer_to, self._answers.keep
        self.is_draining = False
        self._router: Router[Route] = Router()
        self.figures = Figures(server)
        asking = Asking(server)
        Files(server, asking).add_to(self._router)
        Writing(asking).add_to(self._router)
        add_openapi(self._router)
        Page(server).add_to(self._router)
        self.turns = Turns(server.reactor)
        Events(server, self.turns, self.figures).add_to(self._router)
        Debug(server, self.turns).add_to(self._router)
        Health(server, self).add_to(self._router)
        self._router.add("GET", "/metrics", self._metrics)
        self._counts: Counter[tuple[str, int]] = Counter()
        server.registry.add(self.samples)
        self.site.on_answered = self._record
        self.reconfigure()

    @property
    def sessions(self) -> Collection[Session]:
        return self.site.sessions

    @property
    def connections(self) -> int:
        return len(self.site.sessions)

    def make_protocol(self) -> Protocol:
        return Session(self.site)

    def reconfigure(self) -> None:
        server, limits = self._server, self._server.settings.limits
        self._names = frozenset(server.settings.http.host_names)
        self._may_write = server.settings.http.write
        self.site.idle_timeout, self.site.request_timeout = limits.idle_timeout, limits.request_timeout
        # The quick way knows no single requests, as that of STTP: an access log rules it out, and so do rules about
        # who may read what.
        everybody_reads = server.policy is None or server.policy.everybody_reads
        is_quick = everybody_reads and server.access_log is None
        self._answers.use(server.answerer.fast_way() if is_quick else None)

    def drain(self) -> None:
        self.is_draining = True
        self.site.drain()

    def abort(self) -> None:
        self.site.abort()

    def _handle(self, request: Request, exchange: Exchange) -> Response | None:
        if not is_ours(request.host, self._names):
            return problem(request, 421, "This server goes by other names; see http.host_names.")
        if request.method in _WRITES:
            if not self._may_write and not request.path.startswith("/debug/"):
                return problem(request, 403, "Writing over HTTP is off; see http.write.")
            fault = fault_of_write(request)
            if fault is not None:
                return problem(request, 403, fault)
        found = self._router.find(request.method, request.path)
        if isinstance(found, Response):
            if found.status == 405 and is_directory(request.path):
                found.headers = [ONLY_READ]
            return problem(request, found.status, found.body.decode().rstrip("\n"), *found.headers)
        return found.handler(request, exchange, found.parameters)

    def _record(self, session: Session, request: Request | None, status: int, size: int, seconds: float) -> None:
        method, path = ("-", "-") if request is None else (request.method, request.path)
        self._counts[method, status] += 1
        log = self._server.access_log
        if log is not None:
            log.record(Access(session.transport.peer, method.encode(), path.encode(), status, size, seconds))

    def samples(self) -> Iterator[Sample]:
        """Of this process, for metrics."""
        yield Sample("sttp_http_connections", GAUGE, (), len(self.site.sessions))
        counts = self._counts + self._answers.counts
        for (method, status), count in sorted(counts.items()):
            yield Sample("sttp_http_requests_total", COUNTER, (("method", method), ("status", str(status))), count)

    def _metrics(self, _request: Request, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
        text = self.figures.exposition().encode()
        return Response(200, text, CONTENT_TYPE, [("Cache-Control", "no-store")])
