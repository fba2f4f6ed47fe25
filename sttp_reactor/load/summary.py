"""A run in plain text, and two runs beside each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from sttp_reactor.load.hdr import percentiles
from sttp_reactor.load.latency import Counts
from sttp_reactor.load.result import PERCENTS, Result, is_telling
from sttp_reactor.load.wording import NONE, duration, memory, plural, seconds

Show = Callable[[float], str]

_COLUMNS = (
    *((f"p{percent:g}", percent) for percent in PERCENTS[:-1]),
    ("max", PERCENTS[-1]),
)
_COMPARED = ("p50", "p90", "p99", "p99.9", "max")


def summarise(result: Result) -> str:
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
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


def compare(first: Result, second: Result) -> str:
    """A table of both with the ratio second / first, and the settings that differ."""
    rows = [f"{'':22}{'A':>12}{'B':>12}{'B / A':>9}"]
    for name, (a, b), show in figures_of_both(first, second):
        cells = [show(value) if value is not None else NONE for value in (a, b)]
        ratio = f"{b / a:.2f}" if a and b is not None else NONE
        rows.append(f"{name:22}{cells[0]:>12}{cells[1]:>12}{ratio:>9}")
    different = differences(first, second)
    if different:
        rows += ["", "These settings differ, which may be all that the figures show:"]
        rows += [f"  {name}: {a} / {b}" for name, (a, b) in different.items()]
    return "\n".join(rows)


def figures_of_both(first: Result, second: Result) -> Iterator[tuple[str, list[float | None], Show]]:
    both = (first, second)
    yield "requests a second", [run.rate for run in both], lambda value: f"{value:,.0f}"
    for name in _COMPARED:
        yield f"response {name}", [_percentile(run.counts(), name) for run in both], duration
    if first.service or second.service:
        for name in _COMPARED:
            yield f"service {name}", [_percentile(run.counts(service=True), name) for run in both], duration
    if first.server or second.server:
        yield "server CPU a request", [run.cpu_per_request() for run in both], duration
        yield "server memory", [float(run.server.rss) if run.server else None for run in both], memory
    own = [run.generator.cpu / run.requests * 1e6 if run.requests else None for run in both]
    yield "sttpbench CPU", own, duration
    yield "wrong replies", [float(run.wrong) for run in both], lambda value: f"{value:,.0f}"


def _percentile(counts: Counts, name: str) -> float | None:
    return float(percentiles(counts, (dict(_COLUMNS)[name],))[0]) if counts else None


def differences(first: Result, second: Result) -> dict[str, tuple[object, object]]:
    """The settings and machines that are not the same, apart from the address."""
    ours, theirs = ({**run.settings, **run.machine} for run in (first, second))
    names = [name for name in ours if name != "target" and ours[name] != theirs.get(name)]
    return {name: (ours[name], theirs.get(name)) for name in names}
