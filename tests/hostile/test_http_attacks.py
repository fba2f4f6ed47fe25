"""By HTTP, what the other attacks do by STTP: drips of a head and of a body, headers and requests without end, watchers
and readers that do not read. The honest clients speak STTP, beside them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest
from attacker import Target, flood, play
from honest import Ordeal, endure
from running import Sttpd
from test_slow_loris import attack as slowly

pytest.importorskip("httptools", reason="the extra `http`")

HOST = b" HTTP/1.1\r\nHost: localhost\r\n"
HEAD = b"GET /files/honest/hot/0" + HOST
GET = HEAD + b"\r\n"
MISSING = b"GET /files/honest/nothing" + HOST + b"\r\n"
METRICS = b"GET /metrics" + HOST + b"\r\n"
WATCH = b"GET /events?turns=1" + HOST + b"\r\n"
LIST = b"GET /files/honest/cold/" + HOST + b"Accept: text/html\r\n\r\n"
PUT = b"PUT /files/a" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"

FLOODS: dict[str, tuple[bytes, Iterator[bytes], bool]] = {
    "headers": (HEAD, itertools.repeat(b"X: y\r\n" * 1000), True),
    "pipelined": (b"", itertools.repeat(GET * 500), True),
    "missing": (b"", itertools.repeat(MISSING * 500), True),
    "metrics": (b"", itertools.repeat(METRICS * 500), True),
    "watchers": (WATCH, itertools.repeat(WATCH), False),
    "lists": (b"", itertools.repeat(LIST * 100), False),
    "tiny-chunks": (PUT, itertools.repeat(b"1;ext=x\r\na\r\n" * 1000), True),
}


def attack(target: Target) -> None:
    kind, count = target.variant.split(":")
    if kind in ("head", "body"):
        import test_slow_loris

        begin = HEAD + b"X: " if kind == "head" else b"PUT /files/a" + HOST + b"Content-Length: 9999\r\n\r\n"
        test_slow_loris.drip = lambda: itertools.chain([begin], itertools.repeat(b"a"))
        slowly(target)
    else:
        first, rest, reads = FLOODS[kind]
        flood(target, int(count), lambda: itertools.chain([first] if first else [], rest), reads=reads)


@pytest.mark.long
@pytest.mark.parametrize(
    "variant",
    [
        "head:400",
        "body:400",
        "headers:10",
        "pipelined:20",
        "missing:20",
        "metrics:20",
        "watchers:100",
        "lists:50",
        "tiny-chunks:10",
    ],
)
def test_attacks_by_http(start: Callable[..., Sttpd], tell: Callable[[Ordeal], None], variant: str) -> None:
    server = start("http.enabled=true", "http.port=0", "http.write=true", "limits.request_timeout=0.5")
    [address] = [each.removeprefix("http://") for each in server.addresses if each.startswith("http://")]
    ordeal = endure(server, __file__, 2.0, variant, address)
    tell(ordeal)
    kind = variant.partition(":")[0]
    if kind in ("head", "body"):
        assert ordeal.counts["cut"] >= 400
    elif kind in ("headers", "tiny-chunks"):
        assert ordeal.counts["cut"] > 10
    else:
        assert ordeal.counts["cut"] == 0, "they do nothing that is forbidden"
    assert ordeal.growth < 64 << 20
    ordeal.assert_unharmed()


if __name__ == "__main__":
    play(attack)
