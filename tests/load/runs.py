"""Results made by hand, for the tests of what shows them."""

from __future__ import annotations

from typing import Any

from sttp_reactor.load.gathering import describe
from sttp_reactor.load.latency import Counts
from sttp_reactor.load.outcomes import SHOW_200, UPDATE_200
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.result import Generator, Point, Result, ServerCosts


def make_run(plan: Plan | None = None, **changes: Any) -> Result:
    """2,000 requests in 2 s, of 1 to 1,000 us each and one of 50 ms, by a server at 80 % of a core."""
    shows: Counts = dict.fromkeys(range(1, 1000), 2)
    values: dict[str, Any] = {
        "settings": describe(plan or Plan()),
        "started": "2026-01-02T03:04:05+00:00",
        "machine": {"python": "CPython 3.11"},
        "seconds": 2.0,
        "response": {SHOW_200: shows, UPDATE_200: {500: 1, 50_000: 1}},
        "service": {},
        "series": [
            Point(since=0.0, until=1.0, requests=2000, p50=500, p99=990, most=50_000, busy=0.8, rss=20_000_000),
            Point(since=1.0, until=1.5, requests=0, p50=0, p99=0, most=0, busy=0.0, rss=20_000_000),
            Point(since=1.5, until=2.0, requests=0, p50=0, p99=0, most=0),
        ],
        "wrong": 0,
        "samples": [],
        "lost": 0,
        "generator": Generator(processes=1, cpu=1.0, busiest=0.5),
        "server": ServerCosts(pid=1, processes=1, cpu=1.6, busiest=0.8, rss=20_000_000),
    }
    return Result(**{**values, **changes})
