"""Hundreds of connections that LIST one directory with many names, again and again, and read nothing: whoever LISTs an
empty one is answered at once, and what is owed stays within one budget."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
from attacker import Target, attacking, flood, play
from honest import memory
from running import Sttpd

CONNECTIONS = 300
NAMES = 20_000
# Each one's own: what its write buffer holds, and the kernel's copy while it is being written.
MOST_BYTES = CONNECTIONS * 3 * (64 << 10) + (64 << 20)
LIMIT_SECONDS = 1.0


def attack(target: Target) -> None:
    flood(target, CONNECTIONS, lambda: itertools.repeat(b"LIST /large\n" * 10), reads=False)


@pytest.mark.long
def test_unread_lists(start: Callable[..., Sttpd]) -> None:
    server = start()
    for name in ("large", "empty"):
        (server.docroot / name).mkdir()
    for number in range(NAMES):
        (server.docroot / "large" / f"{number:032}").touch()
    before = memory(server, "VmRSS")
    waits: list[float] = []
    with attacking(__file__, server.addresses[0], 6.0) as attack, server.connect() as wire:
        time.sleep(1.0)
        while attack.is_on:
            asked = time.monotonic()
            assert wire.ask(b"LIST /empty/") == b"200 /empty/ OK\n\n"
            waits.append(time.monotonic() - asked)
            time.sleep(0.05)
        counts = attack.end()
    print(f"\nthe longest wait: {max(waits):.3f} s; memory {(memory(server, 'VmHWM') - before) / 1e6:.0f} MB; {counts}")
    assert counts["connections"] >= CONNECTIONS
    assert max(waits) < LIMIT_SECONDS
    assert memory(server, "VmHWM") - before < MOST_BYTES


if __name__ == "__main__":
    play(attack)
