"""Lines as long as they may be, for ever, and longer ones, which are cut and come again."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from attacker import Target, flood, play
from honest import Ordeal, endure
from running import Sttpd

CONNECTIONS = 10
MOST = 8192
LINES = {
    "valid": b"LIST /" + b"d/" * ((MOST - 8) // 2) + b"d\n",
    "refused": b"LIST /" + b"d/" * ((MOST - 8) // 2) + b"/\n",
    "of one byte too many": b"LIST /" + b"d" * (MOST - 6) + b"\n",
    "without end": b"x" * 65536,
    "without end, of four-byte characters": "\U0001f600".encode() * 16384,
}


def attack(target: Target) -> None:
    flood(target, CONNECTIONS, lambda: itertools.repeat(LINES[target.variant]))


@pytest.mark.long
@pytest.mark.parametrize("variant", LINES)
def test_long_lines(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None], variant: str) -> None:
    ordeal = endure(start(), __file__, 1.0, variant)
    tell(ordeal)
    assert ordeal.counts["bytes received"] > 0, "they are answered"
    assert (ordeal.counts["cut"] == 0) is (variant in ("valid", "refused"))
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
