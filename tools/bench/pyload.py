"""loadgen.c in Python, on sttpbench's own engine, for machines without a C compiler.

The same command line and the same line of JSON; loadgen.c explains both. A request costs this generator about as much
as it costs the server, 6.3 us where loadgen takes 4.4, and 0.7 us instead of 0.3 with 16 pipelined (50 connections), so
rates are its own as much as the server's; CPU per request is as right.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from pathlib import Path

from sttp_reactor.load.connect import open_connections
from sttp_reactor.load.engine import Engine
from sttp_reactor.load.exact import ExactSource, Pair
from sttp_reactor.load.faults import LoadError, Mistakes
from sttp_reactor.load.latency import Recorder, percentiles, split, together
from sttp_reactor.load.link import Link
from sttp_reactor.load.outcomes import SHOW_200
from sttp_reactor.load.pacing import ClosedPacer
from sttp_reactor.load.target import parse_target

_PATIENCE_SECONDS = 10.0


def read_script(file: Path) -> list[Pair]:
    lines = iter(file.read_bytes().splitlines(keepends=True))
    pairs = []
    for request in lines:
        reply = next(lines)
        pairs.append((request, reply + next(lines) if reply.startswith(b"200 ") else reply))
    return pairs


class _Span:
    """What was used between two moments."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids
        self.is_over = False
        self.began = self.seconds = self.server = self.own = 0.0

    def begin(self) -> None:
        self.began, self.server, self.own = time.monotonic(), self._server_now(), time.process_time()

    def end(self) -> None:
        self.seconds = time.monotonic() - self.began
        self.server, self.own = self._server_now() - self.server, time.process_time() - self.own
        self.is_over = True

    def _server_now(self) -> float:
        # The number the kernel gives a process's CPU clock, clock_getcpuclockid(3).
        return sum(time.clock_gettime(~pid << 3 | 2) for pid in self._pids)


def load(options: argparse.Namespace) -> dict[str, float]:
    """Raises LoadError with what went wrong."""
    pairs = read_script(options.script)
    mistakes, recorder, span = Mistakes(), Recorder(), _Span(options.p)
    source = ExactSource(lambda count: random.choices(pairs, k=count), SHOW_200, mistakes)
    pacer = ClosedPacer(recorder, options.P)
    sockets = open_connections(parse_target(f"127.0.0.1:{options.port}"), options.c, _PATIENCE_SECONDS)
    links = [Link(number, sock) for number, sock in enumerate(sockets)]
    engine = Engine(links, source, pacer, pipeline=options.P, timeout=_PATIENCE_SECONDS)

    def begin(now: int) -> None:
        recorder.take()
        span.begin()
        engine.at(now + int(options.d * 1e9), end)

    def end(_now: int) -> None:
        span.end()
        tallies.append(dict(recorder.response))
        pacer.finished = True

    tallies: list[dict[int, int]] = []
    engine.at(time.monotonic_ns() + int(options.w * 1e9), begin)
    try:
        engine.run()
    finally:
        for link in links:
            link.close()
    if mistakes.count or not span.is_over:
        raise LoadError(mistakes.samples[0] if mistakes.samples else "the run ended too early")
    return _result(tallies[0], span)


def _result(tally: dict[int, int], span: _Span) -> dict[str, float]:
    counts = together(split(tally).values())
    if not counts:
        raise LoadError("no reply came in time")
    p50, p99, p999 = percentiles(counts, (50, 99, 99.9))
    return {
        "requests": sum(counts.values()),
        "seconds": span.seconds,
        "server_cpu": span.server,
        "generator_cpu": span.own,
        "p50": p50,
        "p99": p99,
        "p999": p999,
    }


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("-c", type=int, default=50)
    parser.add_argument("-P", type=int, default=1)
    parser.add_argument("-w", type=float, default=0.0)
    parser.add_argument("-d", type=float, default=1.0)
    parser.add_argument("-p", type=int, action="append", default=[])
    parser.add_argument("port", type=int)
    parser.add_argument("script", type=Path)
    random.seed(1)
    try:
        print(json.dumps(load(parser.parse_args())))
    except LoadError as error:
        print(f"pyload: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
