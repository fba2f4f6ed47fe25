"""Latencies as counts: a dictionary from (microseconds, outcome) to how often. Exact, cheap to fill, cheap to send."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping

from sttp_reactor.load.outcomes import OUTCOME_BITS

_OUTCOME_MASK = (1 << OUTCOME_BITS) - 1
_SIGNIFICANT = 1000  # a stored histogram keeps three figures: a value is off by at most one in a thousand

Tally = defaultdict[int, int]  # microseconds << OUTCOME_BITS | outcome -> count; written to by the pacers
Counts = dict[int, int]  # microseconds -> count


class Recorder:
    """What one process has measured since it was last asked. `service` counts from the moment a request was sent,
    `response` from the moment it was due; without a fixed rate they are the same and only `response` is kept.
    `lag` is how late (in us) the tool itself was with a request that was due and could have been sent."""

    def __init__(self) -> None:
        self.response: Tally = defaultdict(int)
        self.service: Tally = defaultdict(int)
        self.lag: Tally = defaultdict(int)

    def take(self) -> tuple[Tally, Tally, Tally]:
        """(response, service, lag) so far; counting starts anew."""
        taken = self.response, self.service, self.lag
        self.response, self.service, self.lag = defaultdict(int), defaultdict(int), defaultdict(int)
        return taken


def add(total: dict[int, int], more: Mapping[int, int]) -> None:
    for key, count in more.items():
        total[key] = total.get(key, 0) + count


def split(tally: Mapping[int, int]) -> dict[int, Counts]:
    """The tally's latencies, apart for each outcome."""
    parts: dict[int, Counts] = {}
    for key, count in tally.items():
        part = parts.setdefault(key & _OUTCOME_MASK, {})
        value = key >> OUTCOME_BITS
        part[value] = part.get(value, 0) + count
    return parts


def together(parts: Iterable[Mapping[int, int]]) -> Counts:
    total: Counts = {}
    for part in parts:
        add(total, part)
    return total


def percentiles(counts: Mapping[int, int], wanted: Iterable[float]) -> list[int]:
    """For each of `wanted` (percent, ascending) the smallest latency that so many did not exceed; 0s where there are
    no latencies."""
    total = sum(counts.values())
    ordered = sorted(counts.items())
    found: list[int] = []
    seen = position = 0
    for percent in wanted:
        needed = min(max(math.ceil(percent / 100 * total - 1e-9), 1), total)
        while position < len(ordered) and (seen < needed or (not found and not seen)):
            seen += ordered[position][1]
            position += 1
        found.append(ordered[position - 1][0] if ordered else 0)
    return found


def mean(counts: Mapping[int, int]) -> float:
    total = sum(counts.values())
    return sum(value * count for value, count in counts.items()) / total if total else 0.0


def rounded(counts: Mapping[int, int]) -> Counts:
    """The same with values cut to three figures: upwards, so that no percentile looks better than it was. The largest
    stays as it is."""
    result: Counts = {}
    most = max(counts, default=0)
    for value, count in counts.items():
        step = 1
        while value >= step * _SIGNIFICANT * 2:
            step *= 2
        upper = min(-(-value // step) * step, most)
        result[upper] = result.get(upper, 0) + count
    return dict(sorted(result.items()))
