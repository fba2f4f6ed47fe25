"""One file written durably, over and over, by peers who wait for nothing: they share syncs, and reads go on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from attacker import Target, flood, play
from honest import Ordeal, endure
from running import Sttpd

CONNECTIONS = 4


def attack(target: Target) -> None:
    flood(target, CONNECTIONS, updates)


def updates() -> Iterator[bytes]:
    numbers = itertools.count()
    return (b"".join(b"UPDATE /flooded %d\n" % next(numbers) for _ in range(100)) for _ in itertools.count())


@pytest.mark.long
def test_update_flood(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None]) -> None:
    server = start()
    assert server.converse(b"CREATE /flooded text\n") == b"100 /flooded CREATED\n"
    ordeal = endure(server, __file__, 2.0)
    tell(ordeal)
    assert ordeal.counts["bytes received"] > 100 * len(b"200 /flooded OK\n0\n")
    assert ordeal.counts["cut"] == 0
    ordeal.assert_unharmed()
    assert server.converse(b"SHOW /flooded\n").startswith(b"200 /flooded OK\n")


if __name__ == "__main__":
    play(attack)
