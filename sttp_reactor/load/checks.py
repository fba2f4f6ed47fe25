"""`--check 'p99<5ms'`: what a run must meet to pass."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.hdr import percentiles
from sttp_reactor.load.latency import mean
from sttp_reactor.load.plan import ACTIONS
from sttp_reactor.load.result import Result

CHECK_FAILED_EXIT = 99  # as k6 exits where a threshold is crossed; no other cause gives it

_FORM = re.compile(r"\s*(?:([a-z]+)\.)?([a-z]+[0-9.]*)\s*(<=|>=|<|>)\s*(\d+(?:\.\d+)?)\s*([a-zA-Zµ%/]*)\s*", re.ASCII)
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_TIMES = {"us": 1.0, "µs": 1.0, "ms": 1e3, "s": 1e6}
_UNITS: dict[str, dict[str, float]] = {
    "time": _TIMES,
    "rate": {"": 1.0, "/s": 1.0, "k": 1e3, "k/s": 1e3},
    "memory": {"kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9},
    "count": {"": 1.0},
}
_HINT = "expected something like p99<5ms, update.p99<20ms, service.max<1s, rate>10k, cpu<10us or rss<50MB"


@dataclass(frozen=True, slots=True)
class Check:
    """`limit` is in the metric's base unit: us, requests a second, bytes, or a count."""

    text: str
    scope: str
    metric: str
    comparison: str
    limit: float

    def value(self, result: Result) -> float | None:
        """None where the run has no such figure."""
        if self.metric == "rate":
            return result.rate
        if self.metric == "wrong":
            return float(result.wrong)
        if self.metric == "cpu":
            return result.cpu_per_request()
        if self.metric == "rss":
            return float(result.server.rss) if result.server else None
        service = self.scope == "service" and bool(result.service)
        counts = result.counts(self.scope.upper() if self.scope.upper() in ACTIONS else None, service=service)
        if not counts:
            return None
        if self.metric == "mean":
            return mean(counts)
        percent = 100.0 if self.metric == "max" else float(self.metric[1:])
        return float(percentiles(counts, (percent,))[0])

    def passes(self, result: Result) -> bool:
        value = self.value(result)
        return value is not None and _COMPARE[self.comparison](value, self.limit)

    @property
    def needs_server(self) -> bool:
        return self.metric in ("cpu", "rss")

    def show(self, value: float | None) -> str:
        """`value` in a readable unit."""
        kind = _kind(self.metric)
        if value is None:
            return "no such figure"
        if kind == "time":
            return f"{value / 1000:,.3f} ms"
        if kind == "memory":
            return f"{value / 1e6:,.1f} MB"
        return f"{value:,.0f}/s" if kind == "rate" else f"{value:,.0f}"


def parse_check(text: str) -> Check:
    """LoadError, one sentence, where the text is no check."""
    match = _FORM.fullmatch(text)
    if not match:
        raise LoadError(f"--check: {_HINT}, got '{text}'")
    scope, metric, comparison, number, unit = match[1] or "", match[2], match[3], match[4], match[5]
    kind = _kind(metric)
    if not kind:
        raise LoadError(f"--check: unknown figure '{metric}', {_HINT}")
    if scope and (kind != "time" or metric == "cpu" or scope not in ("response", "service", *map(str.lower, ACTIONS))):
        raise LoadError(f"--check: '{scope}.{metric}' is no figure, {_HINT}")
    if unit not in _UNITS[kind]:
        allowed = " or ".join(each for each in _UNITS[kind] if each and each.isascii()) or "no unit"
        raise LoadError(f"--check: {metric} is given in {allowed}, got '{text}'")
    return Check(text, scope, metric, comparison, float(number) * _UNITS[kind][unit])


def _kind(metric: str) -> str:
    if metric in ("mean", "max", "cpu"):
        return "time"
    if re.fullmatch(r"p\d+(\.\d+)?", metric):
        return "time" if 0 < float(metric[1:]) <= 100 else ""
    return {"rate": "rate", "rss": "memory", "wrong": "count"}.get(metric, "")
