"""Peers that ask for more and more and read none of it: the server stops listening to them, keeps a bounded part of
what they are owed, and cuts them after `write_timeout`."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from attacker import Target, flood, play
from honest import Ordeal, endure
from running import Sttpd

CONNECTIONS = 50
NAMES = 2000
REQUESTS = {"SHOW": b"SHOW /honest/hot/0\n", "LIST": b"LIST /large\n", "both": b"SHOW /honest/hot/0\nLIST /large\n"}
# Of memory, at the worst moment. A peer is owed what fills its write buffer to the mark, 64 KiB, and one reply more,
# which may be a LIST of as much; and Python has use for some.
MOST_BYTES = CONNECTIONS * 3 * (64 << 10) + (16 << 20)


def attack(target: Target) -> None:
    chunk = REQUESTS[target.variant] * 1000
    flood(target, CONNECTIONS, lambda: itertools.repeat(chunk), reads=False)


@pytest.mark.long
@pytest.mark.parametrize("variant", REQUESTS)
def test_peers_that_never_read(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None], variant: str) -> None:
    server = start("limits.write_timeout=0.5")
    large = server.docroot / "large"
    large.mkdir()
    for number in range(NAMES):
        (large / f"{number:032}").touch()
    ordeal = endure(server, __file__, 2.5, variant)
    tell(ordeal)
    assert ordeal.counts["cut"] >= CONNECTIONS
    assert ordeal.growth < MOST_BYTES
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
