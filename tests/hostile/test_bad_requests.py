"""Nothing but mistakes, as fast as they can be made. Each is answered; that must be cheap."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from attacker import Target, flood, play
from honest import Ordeal, endure
from running import Sttpd

CONNECTIONS = 4
MISTAKES = [
    b"show /a",
    b"DELET /a",  # makes the server look for the nearest action
    b"X" * 200 + b" /a",
    b"SHOW a",
    b"SHOW /a/../b",
    b"SHOW  /a",
    b"CREATE /a " + b"x" * 161,
    b"CREATE /a \x1b[31m",
    b"SHOW /" + b"n" * 33,
    b"\xff\xfe\xfd",
    b"SHOW /.sttp/journal",
    b" ",
]


def attack(target: Target) -> None:
    chunk = b"".join(line + b"\n" for line in MISTAKES) * 50
    flood(target, CONNECTIONS, lambda: itertools.repeat(chunk))


@pytest.mark.long
def test_bad_requests(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None]) -> None:
    ordeal = endure(start(), __file__, 1.0)
    tell(ordeal)
    assert ordeal.counts["bytes received"] > 1 << 18
    assert ordeal.counts["cut"] == 0
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
