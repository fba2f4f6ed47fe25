"""What is asked for: one frozen plan, made from the command line's words, handed to every process of the load."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field

from sttp_reactor.load.draws import Distribution
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.target import Target

ACTIONS = ("SHOW", "LIST", "CREATE", "UPDATE", "DELETE")
MAX_TEXT = 160  # characters, PROTOCOL.md section 1
MAX_KEYS = 1_000_000  # each holds its request and its reply ready: about 400 bytes
MAX_PIPELINE = 10_000
MAX_CONNECTIONS = 50_000
MAX_PROCESSES = 256

_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)([kKmM]?)", re.ASCII)
_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`rate` is the total of all processes in requests per second, None for a closed loop. One of `seconds`
    and `requests` is set. `mix` holds (action, weight) for every action with a weight above 0."""

    target: Target = field(default_factory=Target)
    connections: int = 50
    pipeline: int = 1
    processes: int = 1
    seconds: float | None = 10.0
    requests: int | None = None
    warmup: float = 0.0
    rate: float | None = None
    mix: tuple[tuple[str, float], ...] = (("SHOW", 1.0),)
    keys: int = 1000
    distribution: Distribution = field(default_factory=Distribution)
    sizes: tuple[int, int] = (1, MAX_TEXT)
    seed: int = 1
    timeout: float = 10.0

    @property
    def only_shows(self) -> bool:
        return [action for action, _ in self.mix] == ["SHOW"]

    @property
    def writes(self) -> bool:
        return any(action in ("CREATE", "UPDATE", "DELETE") for action, _ in self.mix)

    @property
    def shards(self) -> int:
        """How many processes have keys of their own. Where nothing is written, all share all keys; where something
        is, only the process that sent a key's writes knows what a SHOW may answer."""
        return self.processes if self.writes else 1

    @property
    def keys_per_shard(self) -> int:
        return self.keys // self.shards

    def starts_present(self, key: int) -> bool:
        """Whether `key` exists when the load begins: all do, but with CREATEs in the mix only every second one, the
        state that as many CREATEs as DELETEs settle at, and with nothing but CREATEs none."""
        actions = [action for action, _ in self.mix]
        return "CREATE" not in actions or (actions != ["CREATE"] and key % 2 == 0)

    def check(self) -> None:
        """LoadError where two settings contradict each other."""
        if self.processes > self.connections:
            raise LoadError(f"-j {self.processes} needs at least as many connections, not -c {self.connections}")
        if self.keys < self.shards:
            raise LoadError(
                f"--keys {self.keys} is too few: with writes each of the {self.processes} processes has its own"
            )

    def interval(self) -> float:
        """Seconds between two points of the time series: about sixty of them, and often enough to watch."""
        return min(max((self.seconds or 15.0) / 60, 0.1), 5.0)


def parse_count(text: str, option: str, largest: int | None = None) -> int:
    """A whole number above 0; `20k` and `1.5m` are understood."""
    match = _AMOUNT.fullmatch(text)
    value = float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()] if match else 0
    if value < 1 or value != int(value):
        raise LoadError(f"{option}: expected a whole number above 0, such as 50 or 20k, got '{text}'")
    if largest is not None and value > largest:
        raise LoadError(f"{option}: at most {largest:,}, got '{text}'")
    return int(value)


def parse_seconds(text: str, option: str, *, zero: bool = False) -> float:
    """A time in seconds; `500ms`, `10s`, `2m` are understood. Zero is refused unless `zero`."""
    match = _TIME.fullmatch(text)
    value = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if not match or (value <= 0 and not zero):
        raise LoadError(f"{option}: expected a time such as 10s, 500ms or 2m, got '{text}'")
    return value


def parse_rate(text: str) -> float:
    match = _AMOUNT.fullmatch(text.removesuffix("/s"))
    value = float(match[1]) * {"": 1, "k": 1e3, "m": 1e6}[match[2].lower()] if match else 0.0
    if value <= 0:
        raise LoadError(f"-r: expected requests per second, such as 1000 or 20k, got '{text}'")
    return value


def parse_mix(text: str) -> tuple[tuple[str, float], ...]:
    """`show=90,update=10`: actions and weights, in any order; the weights need not add up to anything."""
    weights: dict[str, float] = {}
    for part in text.split(","):
        name, equals, weight = part.partition("=")
        action = name.strip().upper()
        if action not in ACTIONS:
            known = ", ".join(each.lower() for each in ACTIONS)
            raise LoadError(f"--mix: '{name.strip()}' is no action, they are {known}")
        if action in weights:
            raise LoadError(f"--mix: {action.lower()} is named twice")
        try:
            weights[action] = float(weight)
        except ValueError:
            weights[action] = -1
        if not equals or not math.isfinite(weights[action]) or weights[action] < 0:
            raise LoadError(f"--mix: expected action=weight, as in show=90,update=10, got '{part}'")
    chosen = tuple((action, weights[action]) for action in ACTIONS if weights.get(action, 0) > 0)
    if not chosen:
        raise LoadError("--mix: every weight is 0, so there is nothing to send")
    return chosen


def parse_sizes(text: str) -> tuple[int, int]:
    """`1-160` or `40`, in characters."""
    low, dash, high = text.partition("-")
    if not all(part.isascii() and part.isdigit() for part in ([low, high] if dash else [low])):
        raise LoadError(f"--size: expected characters, such as 40 or 1-{MAX_TEXT}, got '{text}'")
    smallest, largest = int(low), int(high or low)
    if not 1 <= smallest <= largest <= MAX_TEXT:
        raise LoadError(f"--size: a text has 1 to {MAX_TEXT} characters, the smaller number first, got '{text}'")
    return smallest, largest


def parse_seed(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise LoadError(f"--seed: expected a whole number, got '{text}'")
    return int(text)
