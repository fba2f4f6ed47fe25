"""Which key comes next: seeded draws from a distribution, made a block at a time."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

from sttp_reactor.load.faults import LoadError

# Draws that are made at once: one call for so many costs each of them little, and the pause it makes is short.
BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Distribution:
    """`uniform`; `zipf`, where the n-th key weighs 1/n^exponent; `hot`, where the share `hot_draws` of the draws goes
    to the share `hot_keys` of the keys; `seq`, one after the other, round and round."""

    kind: str = "uniform"
    exponent: float = 1.0
    hot_draws: float = 0.8
    hot_keys: float = 0.2

    def __str__(self) -> str:
        if self.kind == "zipf":
            return f"zipf:{self.exponent:g}"
        if self.kind == "hot":
            return f"hot:{self.hot_draws * 100:g}/{self.hot_keys * 100:g}"
        return self.kind


def parse_distribution(text: str) -> Distribution:
    """`uniform`, `zipf:1.1`, `hot:80/20` or `seq`; LoadError otherwise."""
    kind, _, parameter = text.partition(":")
    try:
        if kind == "zipf":
            exponent = float(parameter or "1.1")
            if 0 < exponent <= 10:
                return Distribution("zipf", exponent=exponent)
        elif kind == "hot":
            draws, _, keys = (parameter or "80/20").partition("/")
            hot_draws, hot_keys = float(draws) / 100, float(keys) / 100
            if 0 < hot_draws < 1 and 0 < hot_keys < 1:
                return Distribution("hot", hot_draws=hot_draws, hot_keys=hot_keys)
        elif kind in ("uniform", "seq") and not parameter:
            return Distribution(kind)
    except ValueError:
        pass
    raise LoadError(f"--dist: expected uniform, zipf:1.1, hot:80/20 or seq, got '{text}'")


def make_draws(distribution: Distribution, keys: int, seed: str) -> Callable[[], list[int]]:
    """A function that returns the next BLOCK keys, each in range(keys), to be taken from the list's end."""
    rng = random.Random(seed)
    everything = range(keys)
    if distribution.kind == "zipf":
        weights = list(accumulate((rank + 1) ** -distribution.exponent for rank in everything))
        return lambda: rng.choices(everything, cum_weights=weights, k=BLOCK)
    if distribution.kind == "hot":
        hot = everything[: max(1, round(keys * distribution.hot_keys))]
        cold = everything[len(hot) :] or hot
        # Two populations instead of a weight for each key: choices() would search a million weights for every draw.
        sides, weights = (hot, cold), [distribution.hot_draws, 1.0]
        choose = rng.choice
        return lambda: [choose(side) for side in rng.choices(sides, cum_weights=weights, k=BLOCK)]
    if distribution.kind == "seq":
        return _make_sequence(keys)
    return lambda: rng.choices(everything, k=BLOCK)


def _make_sequence(keys: int) -> Callable[[], list[int]]:
    following = 0

    def block() -> list[int]:
        nonlocal following
        drawn = [number % keys for number in range(following, following + BLOCK)]
        following = (following + BLOCK) % keys
        drawn.reverse()
        return drawn

    return block
