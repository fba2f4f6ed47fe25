"""A run in plain text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sttp_reactor.load.hdr import percentiles
from sttp_reactor.load.latency import Counts
from sttp_reactor.load.result import PERCENTS, Result, is_telling
from sttp_reactor.load.verdict import fullness
from sttp_reactor.load.wording import NONE, duration, memory, plural, seconds

_COLUMNS = (
    *((f"p{percent:g}", percent) for percent in PERCENTS[:-1]),
    ("max", PERCENTS[-1]),
)


def summarise(result: Result) -> str:
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    if result.refused:
        yield f"! {fullness(result)}"
    yield title(result.settings)
    yield workload(result.settings)
    yield ""
    state = "interrupted after" if result.interrupted else "in"
    yield f"{result.requests:,} requests {state} {seconds(result.seconds)}: {result.rate:,.0f}/s, {verdict(result)}"
    outcomes = result.outcomes()
    if len(outcomes) > 1:
        yield "  " + ", ".join(f"{label}: {count:,}" for label, count in outcomes.items())
    if result.requests:
        yield ""
        yield f"{'latency':9}" + "".join(f"{name:>10}" for name, _ in _COLUMNS)
        yield from _latency_rows(result)
        yield ""
    yield from _costs(result)
    for remark in result.remarks:
        yield f"! {remark}"


def title(settings: Mapping[str, object]) -> str:
    count = int(str(settings["connections"]))
    pipeline = "" if settings["pipeline"] == 1 else f", pipeline {settings['pipeline']}"
    rate = f", {float(str(settings['rate'])):,g}/s asked" if settings["rate"] else ""
    return f"{settings['target']}: {plural(count, 'connection')}{pipeline}{rate}"


def workload(settings: Mapping[str, object]) -> str:
    keys = int(str(settings["keys"]))
    return (
        f"{settings['mix']} on {plural(keys, 'key')}, {settings['distribution']}, "
        f"texts of {settings['size']} characters, seed {settings['seed']}"
    )


def verdict(result: Result) -> str:
    lost = f", {plural(result.lost, 'connection')} lost" if result.lost else ""
    return (f"{result.wrong:,} WRONG" if result.wrong else "every reply right") + lost


def _latency_rows(result: Result) -> Iterator[str]:
    if result.service:
        yield _latency_row("response", result.counts())
        yield _latency_row("service", result.counts(service=True))
    else:
        yield _latency_row("all", result.counts())
    actions = result.actions()
    if len(actions) > 1:
        for action in actions:
            yield _latency_row(f" {action}", result.counts(action))


def _latency_row(name: str, counts: Counts) -> str:
    total = sum(counts.values())
    values = percentiles(counts, [percent for _, percent in _COLUMNS])
    cells = [
        duration(value) if is_telling(percent, total) else NONE
        for value, (_, percent) in zip(values, _COLUMNS, strict=True)
    ]
    return f"{name:9}" + "".join(f"{cell:>10}" for cell in cells)


def _costs(result: Result) -> Iterator[str]:
    server, own = result.server, result.generator
    if server and result.requests:
        processes = f" in {server.processes} processes" if server.processes > 1 else ""
        yield (
            f"server     {duration(server.cpu / result.requests * 1e6)} CPU a request, "
            f"{server.cpu / result.seconds:.0%} of a core, {memory(server.rss)}{processes}"
        )
    if result.requests:
        lag = "" if own.lag is None else f", at most {duration(own.lag)} late with 99 % of what was due"
        yield (
            f"sttpbench  {duration(own.cpu / result.requests * 1e6)} CPU a request, "
            f"{own.cpu / result.seconds:.0%} of a core{lag}"
        )
