"""Hundreds of peers that send a byte now and then: each is cut when its line has taken `request_timeout`, and comes
back at once."""

from __future__ import annotations

import itertools
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest
from attacker import Target, play, reset
from honest import Ordeal, endure
from running import Sttpd

CONNECTIONS = 400
REQUEST_TIMEOUT = 0.5
# Each peer's next byte comes so long after its last one.
DRIP_SECONDS = 0.1


def attack(target: Target) -> None:
    drips = {target.connect(): drip() for _ in range(CONNECTIONS)}
    while target.is_on:
        began = time.monotonic()
        for sock, dripping in list(drips.items()):
            try:
                sock.send(next(dripping))
            except ConnectionError:
                replace(target, drips, sock)
        cut, _, _ = select.select([*drips], [], [], max(0.0, began + DRIP_SECONDS - time.monotonic()))
        for sock in cut:  # it is told so, or reset; either way this is its end
            replace(target, drips, sock)
    for sock in drips:
        reset(sock)


def drip() -> Iterator[bytes]:
    """The request of a peer that seems to be about to ask something sensible; never ending."""
    line = b"SHOW /honest/hot/" + b"0" * 4000
    return (line[at : at + 1] for at in itertools.count())


def replace(target: Target, drips: dict[socket.socket, Iterator[bytes]], sock: socket.socket) -> None:
    target.counts["cut"] += 1
    del drips[sock]
    reset(sock)
    drips[target.connect()] = drip()


@pytest.mark.long
def test_slow_loris(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None]) -> None:
    ordeal = endure(start(f"limits.request_timeout={REQUEST_TIMEOUT}"), __file__, 2.0)
    tell(ordeal)
    assert ordeal.counts["cut"] >= CONNECTIONS, "drips do not extend the time for a line"
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
