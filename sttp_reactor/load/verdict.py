"""Who was the bottleneck: a figure for a server that was really the load tool's own limit misleads everyone."""

from __future__ import annotations

import os

from sttp_reactor.load.result import Result

_BUSY = 0.9  # of a core: above, a single-threaded process has nothing left to give
_LATE_US = 1000  # a schedule kept worse than this shows in the latencies as if the server were slow
_KEPT_UP = 0.98  # of the asked rate; the rest is the rounding of a short run


def remarks(result: Result) -> list[str]:
    """Sentences to print below the figures; none where there is nothing to warn of."""
    if not result.requests:
        return []
    found = [_on_schedule(result) if result.settings["rate"] else _on_closed_loop(result), _on_sample(result)]
    return [sentence for sentence in found if sentence]


def _on_closed_loop(result: Result) -> str:
    own, server = result.generator.busiest, result.server
    if own >= _BUSY and server is None:
        return (
            f"sttpbench used {own:.0%} of a core: it may have been the bottleneck, not the server "
            "(--server-pid would tell, -j adds processes)"
        )
    if own >= _BUSY and server and server.busiest < _BUSY:
        return (
            f"sttpbench, not the server, was the bottleneck: {own:.0%} of a core against the server's "
            f"{server.busiest:.0%} (-j adds processes)"
        )
    if server and _cores_used(result) >= 0.95 * (os.cpu_count() or 1) and own < _BUSY:
        return "server and sttpbench together used every processor of this machine: each took time from the other"
    return ""


def _on_schedule(result: Result) -> str:
    asked, lag = float(result.settings["rate"]), result.generator.lag or 0
    if lag >= _LATE_US:
        return (
            f"sttpbench, not the server, was the bottleneck: it was {lag / 1000:.1f} ms late or more with 1 % of what "
            "was due (-j adds processes)"
        )
    if result.unsent or result.rate < _KEPT_UP * asked:
        unsent = f", and {result.unsent:,} requests were never sent" if result.unsent else ""
        return f"the server did not keep up with {asked:,.0f}/s: it answered {result.rate:,.0f}/s{unsent}"
    return ""


def _on_sample(result: Result) -> str:
    if result.requests < 100:
        return f"{result.requests} requests are too few for percentiles: use a longer -d or a larger -n"
    return ""


def _cores_used(result: Result) -> float:
    cpu = result.generator.cpu + (result.server.cpu if result.server else 0.0)
    return cpu / result.seconds if result.seconds else 0.0
