"""Connections for their own sake: a storm of connects and closes, and as many as there may be, held, and more."""

from __future__ import annotations

import select
from collections import deque
from collections.abc import Callable

import pytest
from attacker import Target, play, reset
from honest import Ordeal, endure
from running import Sttpd

MOST = 300
# The storm's connections that are open at a time, so that the server gets to see them.
OPEN = 20
FULL = b'500 - SERVER ERROR "too many connections; try again later"\n'


def storm(target: Target) -> None:
    """Some say something, some nothing; all go without a farewell."""
    opened: deque[object] = deque()
    while target.is_on:
        sock = target.connect()
        if target.counts["connections"] % 2:
            sock.send(b"SHOW /honest/hot/0\n")
        opened.append(sock)
        if len(opened) > OPEN:
            reset(opened.popleft())  # type: ignore[arg-type]


def hold(target: Target) -> None:
    """All there may be, without a word; and what comes beyond is refused, and comes again."""
    held = set()
    while target.is_on:
        sock = target.connect()
        held.add(sock)
        if len(held) > MOST:
            refused, _, _ = select.select([*held], [], [], 0.05)
            for each in refused:
                held.remove(each)
                target.counts["refused"] += each.recv(4096) == FULL
                reset(each)
    for sock in held:
        reset(sock)


def attack(target: Target) -> None:
    {"storm": storm, "hold": hold}[target.variant](target)


@pytest.mark.long
def test_connect_and_close(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None]) -> None:
    ordeal = endure(start(), __file__, 2.0, "storm")
    tell(ordeal)
    assert ordeal.counts["connections"] > 500
    ordeal.assert_unharmed()


@pytest.mark.long
def test_connect_and_hold(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None]) -> None:
    server = start(f"limits.max_connections={MOST}")
    ordeal = endure(server, __file__, 2.0, "hold")
    tell(ordeal)
    assert ordeal.counts["refused"] > 100
    ordeal.assert_unharmed()
    assert server.converse(b"SHOW /honest/hot/0\n").startswith(b"200 "), "there is room again"


if __name__ == "__main__":
    play(attack)
