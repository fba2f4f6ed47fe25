"""One address that wants every connection there is gets its share, and the others do not notice."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable

import pytest
from attacker import Target, play, reset
from honest import CONNECTIONS, Ordeal, endure
from running import PROCESSES, Sttpd

SOURCE = "127.0.0.2"
SHARE = 20
CROWDED = b'500 - SERVER ERROR "too many connections from your address; close others first"\n'


def attack(target: Target) -> None:
    """Holds what it is given, asks on all of it, and comes again and again for more."""
    held = set()
    while target.is_on:
        sock = target.connect(SOURCE)
        sock.send(b"SHOW /honest/hot/0\n")
        held.add(sock)
        answered, _, _ = select.select([*held], [], [], 0.01)
        for each in answered:
            try:
                reply = each.recv(65536)
            except ConnectionError:
                reply = CROWDED  # refused in such haste that its request was not read
            if reply.startswith(b"200 "):
                target.counts["served"] += 1
                each.send(b"SHOW /honest/hot/0\n")
            else:
                target.counts["refused"] += reply == CROWDED
                held.remove(each)
                reset(each)
        target.counts["held"] = max(target.counts["held"], len(held))
    for sock in held:
        reset(sock)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is not on loopback of itself")
def test_flood_from_one_address(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None]) -> None:
    processes = int(PROCESSES or 1)  # each counts for itself
    most = processes * (SHARE + CONNECTIONS) + SHARE
    server = start(f"limits.max_connections={most}", f"limits.max_connections_per_address={SHARE}")
    ordeal = endure(server, __file__, 0.7)
    tell(ordeal)
    assert ordeal.counts["refused"] > 100
    assert SHARE <= ordeal.counts["held"] <= processes * SHARE + 64, "and those whose refusal is on its way"
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
