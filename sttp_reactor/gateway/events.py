"""/events: the figures of /metrics once a second, as server-sent events; and how the loop turns, for who asks for it.

What is sent is made once for all who watch, and not at all where nobody does. A watcher that does not read misses
events; nothing is kept for it.
"""

from __future__ import annotations

import json
import time
from collections import deque
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from sttp_reactor.gateway.figures import Figures
from sttp_reactor.gateway.replies import problem
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response
from sttp_reactor.http.router import Router
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.timers import Timer

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Route
    from sttp_reactor.sttp.server import Server

EVENT_SECONDS: Final = 1.0
# Each costs a send a second.
MOST_WATCHERS: Final = 200
# Turns that one event tells of: a busy loop makes thousands in a second, and a screen has room for some hundred.
TURNS_PER_EVENT: Final = 100
KEPT_TURNS: Final = 400
LAST_PHASE: Final = "flush"


class Turns:
    """The last turns, while somebody watches: how long each of the phases took, in microseconds and in their order."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._turn: list[int] = []
        self.watchers = 0
        self.count = 0
        self.last: deque[list[int]] = deque(maxlen=KEPT_TURNS)

    def watch(self) -> None:
        self.watchers += 1
        self._turn = []
        self._reactor.observer = self._note

    def leave(self) -> None:
        self.watchers -= 1
        if not self.watchers:
            self._reactor.observer = None

    def _note(self, phase: str, seconds: float) -> None:
        self._turn.append(round(seconds * 1e6))
        if phase == LAST_PHASE:
            if len(self._turn) == 8:  # not one that was under way when the watching began
                self.count += 1
                self.last.append(self._turn)
            self._turn = []


class Events:
    def __init__(self, server: Server, turns: Turns, figures: Figures) -> None:
        self._server = server
        self._figures = figures
        self._turns = turns
        self._watchers: dict[Exchange, bool] = {}  # and whether it wants the turns
        self._timer: Timer | None = None
        self._told_turns = 0

    def add_to(self, router: Router[Route]) -> None:
        router.add("GET", "/events", self._begin)

    def _begin(self, request: Request, exchange: Exchange, _parameters: dict[str, str]) -> Response | None:
        if len(self._watchers) >= MOST_WATCHERS:
            return problem(request, 503, "Too many are watching already.", ("Retry-After", "60"))
        wants_turns = parse_qs(request.query).get("turns") == ["1"]
        stream = Response(200, b"", "text/event-stream", [("Cache-Control", "no-store")])
        if exchange.begin(stream, lambda: self._leave(exchange)):
            self._watchers[exchange] = wants_turns
            if wants_turns:
                self._turns.watch()
            exchange.send(b"retry: 2000\n\n" + self._event(with_turns=False))
            if self._timer is None:
                self._told_turns = self._turns.count
                self._timer = self._server.reactor.call_later(EVENT_SECONDS, self._tell)
        return None

    def _leave(self, exchange: Exchange) -> None:
        if self._watchers.pop(exchange):
            self._turns.leave()
        if not self._watchers and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        self._timer = self._server.reactor.call_later(EVENT_SECONDS, self._tell)
        plain = self._event(with_turns=False)
        full = self._event(with_turns=True) if self._turns.watchers else plain
        for exchange, wants_turns in list(self._watchers.items()):
            exchange.send(full if wants_turns else plain)

    def _event(self, *, with_turns: bool) -> bytes:
        told: dict[str, object] = {"now": time.time()}
        told["samples"] = self._figures.values()
        if with_turns:
            fresh = min(self._turns.count - self._told_turns, TURNS_PER_EVENT)
            self._told_turns = self._turns.count
            told["turns"] = list(self._turns.last)[-fresh:] if fresh else []
        return b"data: %b\n\n" % json.dumps(told, separators=(",", ":")).encode()
