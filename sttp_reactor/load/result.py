"""What a run came to: the figures in memory, their JSON form, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.hdr import percentiles
from sttp_reactor.load.latency import Counts, mean, rounded, together
from sttp_reactor.load.outcomes import OUTCOMES, UNSENT, WRONG, action_of, label_of

FORMAT = "sttpbench run 1"
PERCENTS = (50.0, 90.0, 95.0, 99.0, 99.9, 99.99, 100.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of the time series. Latencies are response times in us; `busy` are the server's cores in use,
    `rss` its bytes, both None without --server-pid."""

    since: float
    until: float
    requests: int
    p50: int
    p99: int
    most: int
    busy: float | None = None
    rss: int | None = None

    @property
    def rate(self) -> float:
        """Requests a second."""
        return self.requests / (self.until - self.since) if self.until > self.since else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCosts:
    """Over the measured time: CPU seconds of all processes, the share of a core that the busiest one took, and the
    most memory (bytes) seen."""

    pid: int
    processes: int
    cpu: float
    busiest: float
    rss: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Generator:
    """The tool's own side: CPU seconds of all its processes, the busiest one's share of a core; `lag` is how late (us)
    it was itself with requests that were due, the value that 99 % kept below; None without a schedule."""

    processes: int
    cpu: float
    busiest: float
    lag: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`settings` are words for people and for `compare`. `response` and `service` map outcomes to latencies in us;
    `service` is empty without a fixed rate, because then it would be the same. Of the `lost` connections the server
    `refused` some, in its words because of `refusal`."""

    settings: dict[str, Any]
    started: str
    machine: dict[str, str]
    seconds: float
    response: dict[int, Counts]
    service: dict[int, Counts]
    series: list[Point]
    wrong: int
    samples: list[str]
    lost: int
    generator: Generator
    server: ServerCosts | None = None
    interrupted: bool = False
    refused: int = 0
    refusal: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def requests(self) -> int:
        """Answered ones."""
        return sum(sum(counts.values()) for outcome, counts in self.response.items() if outcome != UNSENT)

    @property
    def unsent(self) -> int:
        return sum(self.response.get(UNSENT, {}).values())

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    def cpu_per_request(self) -> float | None:
        """The server's, in us."""
        return self.server.cpu / self.requests * 1e6 if self.server and self.requests else None

    def counts(self, action: str | None = None, *, service: bool = False) -> Counts:
        """Latencies of all replies, or of one action's."""
        parts = self.service if service else self.response
        return together(each for outcome, each in parts.items() if action is None or action_of(outcome) == action)

    def actions(self) -> list[str]:
        """Those that were answered, in the order of `outcomes`."""
        return list(dict.fromkeys(name for number, (name, _) in enumerate(OUTCOMES) if number in self.response))

    def outcomes(self) -> dict[str, int]:
        return {label_of(outcome): sum(self.response[outcome].values()) for outcome in sorted(self.response)}

    def to_json(self) -> str:
        body = asdict(self)
        body["format"] = FORMAT
        for name, parts in (("response", self.response), ("service", self.service)):
            body[name] = {label_of(number): _pairs(counts) for number, counts in sorted(parts.items())}
        body["summary"] = {
            "requests": self.requests,
            "rate": round(self.rate, 1),
            "server_cpu_us_per_request": self.cpu_per_request(),
            "response_ms": figures(self.counts()),
            "service_ms": figures(self.counts(service=True)) if self.service else None,
        }
        return json.dumps(body, indent=1, ensure_ascii=False) + "\n"


def figures(counts: Mapping[int, int]) -> dict[str, float]:
    """Mean and percentiles in milliseconds, by names such as `p99.9`; the last is `max`."""
    names = [f"p{percent:g}" for percent in PERCENTS[:-1]] + ["max"]
    values = [value / 1000 for value in percentiles(counts, PERCENTS)]
    return {"mean": round(mean(counts) / 1000, 3), **dict(zip(names, values, strict=True))}


def is_telling(percent: float, requests: int) -> bool:
    """Whether so many requests have such a percentile: of fewer than a thousand the 99.9th only repeats the maximum."""
    return percent == 100 or requests * (100 - percent) >= 99.99


def _pairs(counts: Counts) -> list[list[int]]:
    return [[value, count] for value, count in rounded(counts).items()]


def _counts(parts: Mapping[str, Iterable[tuple[int, int]]]) -> dict[int, Counts]:
    numbers = {label_of(number): number for number in (*range(len(OUTCOMES)), WRONG, UNSENT)}
    return {numbers[label]: {int(value): int(count) for value, count in pairs} for label, pairs in parts.items()}


def from_json(text: str, name: str) -> Result:
    """Raises LoadError, naming the file, where the text is not what `to_json` writes."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if not isinstance(body, dict) or body.pop("format", None) != FORMAT:
        raise LoadError(f"{name} is not a run that sttpbench -o has written")
    try:
        body.pop("summary", None)
        body["response"], body["service"] = _counts(body["response"]), _counts(body["service"])
        body["series"] = [Point(**point) for point in body["series"]]
        body["generator"] = Generator(**body["generator"])
        body["server"] = ServerCosts(**body["server"]) if body["server"] else None
        return Result(**body)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise LoadError(f"{name} is damaged: {error}") from error
