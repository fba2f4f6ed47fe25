"""/debug/…: profiles, the heap, stacks and turns of the process that answers. For clients on this machine, where
`http.debug` is on: a profile tells more than everybody should know, and costs more than everybody should be able to ask
for."""

from __future__ import annotations

import json
import logging
import threading
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from sttp_reactor.gateway.events import Turns
from sttp_reactor.gateway.flamegraph import POLICY, flame_graph
from sttp_reactor.gateway.replies import problem
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import TEXT, Request, Response
from sttp_reactor.http.router import Router
from sttp_reactor.net.observing import PHASES
from sttp_reactor.net.threads import start_deaf
from sttp_reactor.profiling import as_collapsed, as_speedscope, sample, stacks
from sttp_reactor.sttp.access import peer_of

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Route
    from sttp_reactor.sttp.server import Server

log = logging.getLogger(__name__)

MOST_SECONDS: Final = 60.0
# The lines of code that hold most.
_HEAP_LINES: Final = 100
_NEVER_CACHED: Final = ("Cache-Control", "no-store")

Answer = Callable[[], Response]


class Debug:
    def __init__(self, server: Server, turns: Turns) -> None:
        self._server = server
        self._turns = turns
        self._is_busy = False  # a thread is at work for somebody

    def add_to(self, router: Router[Route]) -> None:
        for method, path, route in (
            ("GET", "/debug/profile", self._profile),
            ("GET", "/debug/heap", self._heap),
            ("POST", "/debug/heap", self._trace_heap),
            ("GET", "/debug/stacks", self._stacks),
            ("GET", "/debug/turns", self._show_turns),
        ):
            router.add(method, path, self._guarded(route))

    def _guarded(self, route: Route) -> Route:
        def guarded(request: Request, exchange: Exchange, parameters: dict[str, str]) -> Response | None:
            if not self._server.settings.http.debug:
                return problem(request, 404, "There is nothing here; see http.debug.")
            if not peer_of(exchange.peer).is_local:
                return problem(request, 403, "This is for clients on the same machine.")
            if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
                return problem(request, 403, "This is not for pages of other sites.")
            return route(request, exchange, parameters)

        return guarded

    def _in_thread(self, request: Request, exchange: Exchange, work: Answer) -> Response | None:
        """Have a thread of its own work the answer out, one at a time."""
        if self._is_busy:
            return problem(request, 503, "Somebody else is at it; try again later.", ("Retry-After", "10"))
        self._is_busy = True

        def done(response: Response) -> None:
            self._is_busy = False
            exchange.answer(response)

        def run() -> None:
            try:
                response = work()
            except Exception:
                log.exception("%s failed", request.path)
                response = problem(request, 500, "It has failed; the server's log has more.")
            self._server.reactor.call_soon_threadsafe(lambda: done(response))

        start_deaf(threading.Thread(target=run, name="sttp-debug", daemon=True))
        return None

    def _profile(self, request: Request, exchange: Exchange, _parameters: dict[str, str]) -> Response | None:
        query = parse_qs(request.query)
        form = query.get("format", ["svg"])[-1]
        seconds = _seconds(query.get("seconds", ["10"])[-1])
        if seconds is None or form not in ("svg", "collapsed", "speedscope"):
            most = f"{MOST_SECONDS:g}"
            return problem(
                request, 400, f"Use seconds=10 (above 0, at most {most}) and format=svg, collapsed or speedscope."
            )

        def work() -> Response:
            found = sample(seconds, lambda: exchange.is_gone)
            headers = [_NEVER_CACHED]
            if form == "collapsed":
                return Response(200, as_collapsed(found).encode(), TEXT, headers)
            if form == "speedscope":
                return Response(200, as_speedscope(found).encode(), "application/json", headers)
            graph = flame_graph(found, f"sttpd, {seconds:g} s, {sum(found.values())} samples of all threads")
            headers.append(("Content-Security-Policy", POLICY))
            return Response(200, graph.encode(), "image/svg+xml; charset=utf-8", headers)

        return self._in_thread(request, exchange, work)

    def _heap(self, request: Request, exchange: Exchange, _parameters: dict[str, str]) -> Response | None:
        if not tracemalloc.is_tracing():
            told = "Nothing is traced. POST /debug/heap?tracing=on begins; everything is slower then."
            return problem(request, 409, told, _NEVER_CACHED)

        def work() -> Response:
            now, peak = tracemalloc.get_traced_memory()
            statistics = tracemalloc.take_snapshot().statistics("lineno")
            lines = [f"{now} bytes since tracing began, {peak} at the most"]
            lines += [str(each) for each in statistics[:_HEAP_LINES]]
            return Response(200, ("\n".join(lines) + "\n").encode(), TEXT, [_NEVER_CACHED])

        return self._in_thread(request, exchange, work)

    def _trace_heap(self, request: Request, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
        wanted = parse_qs(request.query).get("tracing", [""])[-1]
        if wanted not in ("on", "off"):
            return problem(request, 400, "Use tracing=on or tracing=off.")
        if wanted == "on":
            tracemalloc.start()
        else:
            tracemalloc.stop()
        return Response(204)

    def _stacks(self, _request: Request, _exchange: Exchange, _parameters: dict[str, str]) -> Response:
        return Response(200, ("\n".join(stacks()) + "\n").encode(), TEXT, [_NEVER_CACHED])

    def _show_turns(self, _request: Request, exchange: Exchange, _parameters: dict[str, str]) -> None:
        """Those of the next second: they are timed only while somebody watches."""
        turns = self._turns
        turns.watch()

        def answer() -> None:
            told = {"phases": PHASES, "unit": "microseconds", "turns": list(turns.last)}
            turns.leave()
            exchange.answer(Response(200, json.dumps(told).encode() + b"\n", "application/json", [_NEVER_CACHED]))

        self._server.reactor.call_later(1.0, answer)


def _seconds(text: str) -> float | None:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 < seconds <= MOST_SECONDS else None
