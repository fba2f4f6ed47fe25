"""LIST of a directory with thousands of names, by several peers at once, who do read what they get."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from attacker import Target, flood, play
from honest import Ordeal, endure
from running import Sttpd

CONNECTIONS = 4
NAMES = 5000


def attack(target: Target) -> None:
    flood(target, CONNECTIONS, lambda: itertools.repeat(b"LIST /large\n" * 10))


@pytest.mark.long
def test_list_flood(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None]) -> None:
    server = start()
    large = server.docroot / "large"
    large.mkdir()
    for number in range(NAMES):
        (large / f"{number:016}").touch()
    ordeal = endure(server, __file__, 2.0)
    tell(ordeal)
    assert ordeal.counts["bytes received"] > 1 << 20
    assert ordeal.counts["cut"] == 0
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
