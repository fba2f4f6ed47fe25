"""What bounded a load: a figure for a server that was really the load tool's own limit misleads everyone.

What is said of sttpbench rests on its own CPU time and its own lateness, never on a server's silence: while no
connection is free, nothing can be late (see `SchedulePacer`).
"""

from __future__ import annotations

import os

from sttp_reactor.load.hdr import percentiles
from sttp_reactor.load.latency import mean
from sttp_reactor.load.result import Result
from sttp_reactor.load.wording import duration, plural, refusals, seconds

_BUSY = 0.9  # of a core: above, a single-threaded process has nothing left to give
_LATE_US = 1000  # a schedule kept worse than this shows in the latencies as if the server were slow
_KEPT_UP = 0.98  # of the asked rate; the rest is the rounding of a short run
_MORE_PROCESSES = "(-j adds processes)"


def fullness(result: Result) -> str:
    """That the server was full, which is to be said before anything else; "" where it was not."""
    if not result.refused:
        return ""
    told = refusals(result.refused, int(result.settings["connections"]), result.refusal)
    return f"{told}; the figures are those of the others"


def remarks(result: Result) -> list[str]:
    """Sentences to print below the figures; none where there is nothing to warn of."""
    if not result.requests:
        return []
    if result.lost >= result.settings["connections"]:
        found = [_on_loss(result)]
    elif result.settings["rate"]:
        found = _on_schedule(result)
    else:
        found = [_on_closed_loop(result)]
    return [sentence for sentence in [*found, _on_sample(result)] if sentence]


def _on_loss(result: Result) -> str:
    unsent = f", and {_unsent(result)}" if result.unsent else ""
    return f"every connection was lost by {seconds(result.seconds)}: the figures end there{unsent}"


def _on_closed_loop(result: Result) -> str:
    if result.generator.busiest >= _BUSY:
        return _on_busy_generator(result)
    if result.server and _cores_used(result) >= 0.95 * (os.cpu_count() or 1):
        return "server and sttpbench together used every processor of this machine: each took time from the other"
    return ""


def _on_busy_generator(result: Result) -> str:
    """For a generator that has nothing left to give; "" where the server has not either."""
    own, server = result.generator.busiest, result.server
    if server is None:
        return (
            f"sttpbench used {own:.0%} of a core: it may have been the bottleneck, not the server "
            f"(--server-pid would tell, {_MORE_PROCESSES[1:]}"
        )
    if server.busiest >= _BUSY:
        return ""
    return (
        f"sttpbench, not the server, was the bottleneck: {own:.0%} of a core against the server's "
        f"{server.busiest:.0%} {_MORE_PROCESSES}"
    )


def _on_schedule(result: Result) -> list[str]:
    late = result.generator.lag or 0
    if late >= _LATE_US and result.generator.busiest >= _BUSY:
        return [
            f"sttpbench was the bottleneck: it was {duration(late)} late or more with 1 % of what was due, and used "
            f"{result.generator.busiest:.0%} of a core {_MORE_PROCESSES}"
        ]
    return [_on_wake_ups(result) if late >= _LATE_US else "", _on_rate(result)]


def _on_wake_ups(result: Result) -> str:
    return (
        f"sttpbench was woken {duration(result.generator.lag or 0)} late or more for 1 % of what was due, and used "
        f"{result.generator.busiest:.0%} of a core: this machine was busy with something else, and the latencies hold "
        "that, too"
    )


def _on_rate(result: Result) -> str:
    asked = float(result.settings["rate"])
    if not _fell_behind(result, asked):
        return _unsent(result)
    unsent = f", and {_unsent(result)}" if result.unsent else ""
    return _bound_of_rate(result, asked) + unsent


def _bound_of_rate(result: Result, asked: float) -> str:
    """The server where it is known to be busy, then the generator, then the connections, and else the server: a busy
    processor is proof, while a server that lets requests queue makes the connections look too few as well."""
    bound = ""
    if not (result.server and result.server.busiest >= _BUSY):
        bound = _on_busy_generator(result) if result.generator.busiest >= _BUSY else _on_connections(result, asked)
    return bound or f"the server did not keep up with {asked:,.0f}/s: it answered {result.rate:,.0f}/s"


def _fell_behind(result: Result, asked: float) -> bool:
    """Whether the answers came slower than the requests were due. The last answer may take its time, which makes a
    short run longer than its schedule; only what is more than the longest reply is due to the rate."""
    beyond = result.seconds - result.requests / asked
    longest = max(result.counts(service=True), default=0) / 1e6
    return result.rate < _KEPT_UP * asked and (beyond > longest or result.unsent > 0)


def _on_connections(result: Result, asked: float) -> str:
    """For a rate that so many connections could not have carried even if every reply had come as quickly as the
    quickest hundredth did; "" for any other."""
    service = result.counts(service=True)
    connections, pipeline = result.settings["connections"] - result.lost, result.settings["pipeline"]
    if not service or connections * pipeline * 1e6 >= asked * max(percentiles(service, (1,))[0], 1):
        return ""
    return (
        f"{asked:,.0f}/s were asked and {result.rate:,.0f}/s answered: no more fits into "
        f"{plural(connections, 'connection')} with {plural(pipeline, 'request')} in flight each at "
        f"{duration(mean(service))} a reply "
        "(a larger -c or -P would show what the server can do)"
    )


def _unsent(result: Result) -> str:
    if not result.unsent:
        return ""
    was = "was" if result.unsent == 1 else "were"
    return f"{plural(result.unsent, 'request')} that {was} due {was} never sent"


def _on_sample(result: Result) -> str:
    if result.requests < 100:
        return f"{result.requests} requests are too few for percentiles: use a longer -d or a larger -n"
    return ""


def _cores_used(result: Result) -> float:
    cpu = result.generator.cpu + (result.server.cpu if result.server else 0.0)
    return cpu / result.seconds if result.seconds else 0.0
