"""The page and its events as a client gets them; what watching costs, and that it costs nothing where nobody does."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from running import PATIENCE_SECONDS
from web import Web

from sttp_reactor.config import load
from sttp_reactor.gateway.events import KEPT_TURNS, Turns
from sttp_reactor.gateway.figures import Figures
from sttp_reactor.metrics import COUNTER, Registry, Sample
from sttp_reactor.net.observing import PHASES
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.server import Server


def test_the_page_is_all_from_here_and_nothing_in_it_is_inline(web: Web) -> None:
    page = web.get("/")
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    policies = ", ".join(page.headers.get_all("Content-Security-Policy") or [])
    assert "default-src 'none'" in policies
    assert "script-src 'self'" in policies
    assert "unsafe" not in policies
    text = page.body.decode()
    assert re.findall(r"<script(?! src=)|<style|style=|\son[a-z]+=|https?:", text) == []
    assert re.findall(r'(?:src|href)="(/[^"]+)"', text) == ["/page.css", "/page.js", "/files/", "/metrics"]
    for path, kind in (("/page.css", "text/css"), ("/page.js", "text/javascript")):
        answer = web.get(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert web.get(path, If_None_Match=answer.headers["ETag"]).status == 304
        assert "://" not in answer.body.decode().replace("http://www.w3.org/2000/svg", "")
    assert 'data-write="true"' in text


class Watcher:
    """Reads /events as a browser does."""

    def __init__(self, web: Web, query: str = "") -> None:
        self.sock = socket.create_connection(("127.0.0.1", web.port), PATIENCE_SECONDS)
        self.sock.sendall(f"GET /events{query} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())  # 1.0: no chunks
        self.file = self.sock.makefile("rb")
        while self.file.readline() != b"\r\n":
            pass

    def next(self) -> dict[str, Any]:
        while not (line := self.file.readline()).startswith(b"data: "):
            assert line
        told = json.loads(line[6:])
        assert isinstance(told, dict)
        return told

    def close(self) -> None:
        self.file.close()
        self.sock.close()


def test_events_tell_the_figures_of_the_metrics_once_a_second(web: Web) -> None:
    plain, turning = Watcher(web), Watcher(web, "?turns=1")
    first = plain.next()
    assert first["samples"]["sttp_http_connections"] >= 1
    assert "turns" not in first
    turning.next()
    web.get("/healthz")
    second, turned = plain.next(), turning.next()
    assert 0.5 < second["now"] - first["now"] < PATIENCE_SECONDS
    served = 'sttp_http_requests_total{method="GET",status="200"}'
    assert second["samples"][served] > first["samples"].get(served, 0)
    assert all(len(turn) == len(PHASES) and min(turn) >= 0 for turn in turned["turns"])
    assert 0 < len(turned["turns"]) <= 100
    plain.close()
    turning.close()
    web.until(lambda: "sttp_http_connections 1\n" in web.get("/metrics").body.decode())


def test_a_watcher_ends_with_the_server(web: Web) -> None:
    """Nothing holds a drain up that would go on for ever: shown by the end of this module's server, too."""
    watcher = Watcher(web)
    watcher.next()
    watcher.close()


def test_figures_are_gathered_once_a_turn(tmp_path: Path) -> None:
    """However many ask for them in it; and anew in the next one."""
    server = Server(load(TABLE, None, [("-o", "docroot", str(tmp_path))]).settings)
    gathered: list[int] = []

    def count() -> Iterator[Sample]:
        gathered.append(server.reactor.turns)
        yield Sample("asked_total", COUNTER, (), len(gathered))

    server.registry = Registry()
    server.registry.add(count)
    figures = Figures(server)
    assert [figures.values() for _ in range(3)] == [{"asked_total": 1}] * 3
    assert "asked_total 1\n" in figures.exposition()
    server.reactor.call_soon(lambda: None)
    server.reactor.turn()
    assert figures.exposition().endswith("asked_total 2\n")
    assert len(gathered) == 2
    server.reactor.close()


def test_the_loop_is_timed_only_while_somebody_watches() -> None:
    reactor = Reactor()
    turns = Turns(reactor)
    assert reactor.observer is None
    turns.watch()
    turns.watch()
    for _ in range(KEPT_TURNS + 10):
        reactor.call_soon(lambda: None)
        reactor.turn()
    turns.leave()
    assert reactor.observer is not None
    turns.leave()
    assert reactor.observer is None
    assert (turns.count, len(turns.last)) == (KEPT_TURNS + 10, KEPT_TURNS)
    assert all(len(turn) == len(PHASES) for turn in turns.last)
    reactor.close()
