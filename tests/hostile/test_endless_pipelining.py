"""Peers that ask as fast as they can, and read every reply, for ever."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from attacker import Target, flood, play
from honest import Ordeal, endure
from running import Sttpd

REQUESTS = {
    "cached": b"SHOW /honest/hot/0\n",
    "uncached": b"SHOW /honest/nothing\n",  # what is not there is not cached
}


def attack(target: Target) -> None:
    kind, count = target.variant.split(":")
    chunk = REQUESTS[kind] * 2000
    flood(target, int(count), lambda: itertools.repeat(chunk))


@pytest.mark.parametrize(
    "variant",
    [
        pytest.param("cached:1", marks=pytest.mark.long),
        pytest.param("cached:20", marks=pytest.mark.long),
        "uncached:1",
        pytest.param("uncached:20", marks=pytest.mark.long),
    ],
)
def test_endless_pipelining(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None], variant: str) -> None:
    ordeal = endure(start(), __file__, 0.7, variant)
    tell(ordeal)
    assert ordeal.counts["bytes received"] > 1 << 18
    assert ordeal.counts["cut"] == 0, "they do nothing that is forbidden"
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
