"""One connection that pipelines requests for the deepest paths there may be: each SHOW looks at 64 directories, each
CREATE makes 63. What it costs is its own: the requests of others take turns with it, in the workers and in a commit."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from attacker import Target, flood, play
from honest import AFTER_UPDATE, UPDATE, Ordeal, endure, percentile
from running import Sttpd

PER_CHUNK = 50
DEEP = b"/deep" + b"/a" * 62 + b"/f"
# An UPDATE shares its sync with what the attacker has asked for; beside a quiet server's it may take so much longer.
MOST_SECONDS_OF_UPDATE = 0.25


def attack(target: Target) -> None:
    flood(target, 1, lambda: deep(target.variant))


def deep(action: str) -> Iterator[bytes]:
    """Chunks of requests. No SHOW is of a file that there is, and no CREATE of a directory that there has been."""
    numbers = itertools.count()
    for _ in itertools.count():
        names = itertools.islice(numbers, PER_CHUNK)
        if action == "SHOW":
            yield b"".join(b"SHOW %b%d\n" % (DEEP, name) for name in names)
        else:
            yield b"".join(b"CREATE /%d%b x\n" % (name, DEEP[5:]) for name in names)


@pytest.mark.long
@pytest.mark.parametrize("variant", ["SHOW", "CREATE"])
def test_deep_paths(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None], variant: str) -> None:
    server = start()
    assert server.converse(b"CREATE %b x\n" % DEEP) == b"100 %b CREATED\n" % DEEP
    ordeal = endure(server, __file__, 2.0, variant)
    tell(ordeal)
    assert ordeal.counts["bytes received"] > 10_000
    ordeal.assert_unharmed()
    for kind in (UPDATE, AFTER_UPDATE):
        assert percentile(ordeal.waits[kind], 0.9) < MOST_SECONDS_OF_UPDATE, str(ordeal)


if __name__ == "__main__":
    play(attack)
