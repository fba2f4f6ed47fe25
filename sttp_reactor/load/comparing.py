"""Two runs beside each other: their figures, what else differs, and whether the second is worse than tolerated."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.hdr import percentiles
from sttp_reactor.load.latency import Counts
from sttp_reactor.load.result import Result, is_telling
from sttp_reactor.load.wording import NONE, duration, memory

_PERCENTS = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
# The rarest latencies vary by half from run to run on the same server: a tolerance for them would fail at random.
_JUDGED = ("p50", "p90", "p99")
_WRONG = "wrong replies"


class Figure(NamedTuple):
    """One figure of both runs. `sign` is 1 where more is worse, -1 where less is, 0 where a tolerance does not judge
    it. A value is None where its run has no such figure."""

    name: str
    first: float | None
    second: float | None
    show: Callable[[float], str]
    sign: int = 0

    @property
    def ratio(self) -> float | None:
        return self.second / self.first if self.first and self.second is not None else None

    def shown(self) -> list[str]:
        """Both values and their ratio, as text."""
        cells = [self.show(value) if value is not None else NONE for value in (self.first, self.second)]
        return [*cells, NONE if self.ratio is None else f"{self.ratio:.2f}"]

    def is_worse(self, tolerance: float) -> bool:
        """Whether the second is worse than the first by more than the share `tolerance`."""
        if self.first is None or self.second is None:
            return False
        return (self.second - self.first) * self.sign > self.first * tolerance


def compare(first: Result, second: Result) -> str:
    """A table of both with the ratio second / first, and the settings that differ."""
    rows = [f"{'':22}{'A':>12}{'B':>12}{'B / A':>9}"]
    for figure in figures_of_both(first, second):
        a, b, ratio = figure.shown()
        rows.append(f"{figure.name:22}{a:>12}{b:>12}{ratio:>9}")
    different = differences(first, second)
    if different:
        rows += ["", "These settings differ, which may be all that the figures show:"]
        rows += [f"  {name}: {a} / {b}" for name, (a, b) in different.items()]
    return "\n".join(rows)


def exceeded(first: Result, second: Result, tolerance: float) -> list[str]:
    """A sentence for each figure of the second run that is worse by more than the share `tolerance`."""
    sentences = []
    for figure in figures_of_both(first, second):
        # One wrong reply more is one too many, however many there were.
        allowed = 0.0 if figure.name == _WRONG else tolerance
        if figure.is_worse(allowed):
            a, b, _ = figure.shown()
            sentences.append(f"worse by more than {allowed * 100:g}%: {figure.name}, {a} before and {b} now")
    return sentences


def parse_tolerance(text: str) -> float:
    """`10%` or `10` as the share 0.1; LoadError otherwise."""
    if not re.fullmatch(r"\d+(?:\.\d+)?%?", text, re.ASCII):
        raise LoadError(f"--tolerance: expected a percentage, such as 10%, got '{text}'")
    return float(text.removesuffix("%")) / 100


def figures_of_both(first: Result, second: Result) -> Iterator[Figure]:
    yield Figure("requests a second", first.rate, second.rate, _whole, -1)
    yield from _latencies("response", first.counts(), second.counts())
    if first.service or second.service:
        yield from _latencies("service", first.counts(service=True), second.counts(service=True))
    if first.server or second.server:
        yield Figure("server CPU a request", first.cpu_per_request(), second.cpu_per_request(), duration, 1)
        yield Figure("server memory", _server_memory(first), _server_memory(second), memory, 1)
    yield Figure("sttpbench CPU", _own_cpu(first), _own_cpu(second), duration)
    yield Figure(_WRONG, float(first.wrong), float(second.wrong), _whole, 1)


def _latencies(kind: str, first: Counts, second: Counts) -> Iterator[Figure]:
    for name, percent in _PERCENTS.items():
        is_judged = name in _JUDGED and all(is_telling(percent, sum(counts.values())) for counts in (first, second))
        yield Figure(f"{kind} {name}", _percentile(first, percent), _percentile(second, percent), duration, is_judged)


def _server_memory(run: Result) -> float | None:
    return float(run.server.rss) if run.server else None


def _own_cpu(run: Result) -> float | None:
    return run.generator.cpu / run.requests * 1e6 if run.requests else None


def _percentile(counts: Counts, percent: float) -> float | None:
    return float(percentiles(counts, (percent,))[0]) if counts else None


def _whole(value: float) -> str:
    return f"{value:,.0f}"


def differences(first: Result, second: Result) -> dict[str, tuple[object, object]]:
    """The settings and machines that are not the same, apart from the address."""
    return other_settings(first, second) | _different(first.machine, second.machine)


def other_settings(first: Result, second: Result) -> dict[str, tuple[object, object]]:
    """What the two runs were asked to do that is not the same. The address is left out: comparing two servers is what
    many runs are made for."""
    different = _different(first.settings, second.settings)
    different.pop("target", None)
    return different


def _different(ours: Mapping[str, object], theirs: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    names = dict.fromkeys([*ours, *theirs])
    return {name: (ours.get(name), theirs.get(name)) for name in names if ours.get(name) != theirs.get(name)}
