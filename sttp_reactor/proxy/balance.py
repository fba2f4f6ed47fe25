"""Which server is asked. Each picker knows those that are usable, and is made anew whenever these change."""

from __future__ import annotations

import math
from bisect import bisect
from collections.abc import Callable, Sequence
from hashlib import blake2b
from random import random
from typing import Final, Protocol

from sttp_reactor.proxy.call import Call
from sttp_reactor.proxy.upstream import Upstream
from sttp_reactor.wire.messages import Action

# Points of the ring for each unit of weight: with 100, the shares of equal servers differ by some 10 %.
_POINTS: Final = 100
# With `hash`, a server may have so much more under way than the average; beyond that the next one is asked.
_BOUND: Final = 1.25


class Picker(Protocol):
    """`pick` is called with at least one server in the table, and looks at no call's history: that is rare."""

    def pick(self, call: Call) -> Upstream: ...


class TwoChoices:
    """The better of two that are drawn by lot: nearly as even as the best of all, and no herd runs to one server."""

    def __init__(self, servers: Sequence[Upstream]) -> None:
        self._servers = [server for server in servers for _ in range(server.weight)]
        self._count = len(self._servers)

    def pick(self, call: Call) -> Upstream:
        servers, count = self._servers, self._count
        one, other = servers[int(random() * count)], servers[int(random() * count)]
        return one if (one.outstanding + 1) * one.cost <= (other.outstanding + 1) * other.cost else other


class RoundRobin:
    """Each in turn, as often as its weight says, the turns of one spread among those of the others."""

    def __init__(self, servers: Sequence[Upstream]) -> None:
        self._servers = servers
        self._credit = [0.0] * len(servers)

    def pick(self, call: Call) -> Upstream:
        credit = self._credit
        total = 0.0
        for place, server in enumerate(self._servers):
            share = 1 / server.cost
            credit[place] += share
            total += share
        best = max(range(len(credit)), key=credit.__getitem__)
        credit[best] -= total
        return self._servers[best]


class LeastOutstanding:
    def __init__(self, servers: Sequence[Upstream]) -> None:
        self._servers = servers
        self._first = 0

    def pick(self, call: Call) -> Upstream:
        # Whose turn it is among equals moves on, or the first of an idle farm would get everything.
        servers, count = self._servers, len(self._servers)
        self._first = first = (self._first + 1) % count
        return min(
            (servers[(first + place) % count] for place in range(count)),
            key=lambda server: (server.outstanding + 1) * server.cost,
        )


class Hash:
    """The server whose point on a ring follows the hash of the directory: consistent, so when one goes only its own
    share moves, and bounded, so that a directory that everybody wants does not drown one server."""

    def __init__(self, servers: Sequence[Upstream]) -> None:
        self._servers = servers
        ring = [
            (_hash(f"{server.name} {point}".encode()), server)
            for server in servers
            for point in range(_POINTS * server.weight)
        ]
        ring.sort(key=lambda entry: entry[0])
        self._points = [point for point, _ in ring]
        self._owners = [server for _, server in ring]
        self._weight = sum(server.weight for server in servers)

    def pick(self, call: Call) -> Upstream:
        at = bisect(self._points, _hash(directory_of(call)))
        total = sum(server.outstanding for server in self._servers) + 1
        owners = self._owners
        for step in range(len(owners)):
            server = owners[(at + step) % len(owners)]
            if server.outstanding < math.ceil(_BOUND * total * server.weight / self._weight):
                return server
        return owners[at % len(owners)]


PICKERS: Final[dict[str, Callable[[Sequence[Upstream]], Picker]]] = {
    "two_choices": TwoChoices,
    "round_robin": RoundRobin,
    "least_outstanding": LeastOutstanding,
    "hash": Hash,
}


def directory_of(call: Call) -> bytes:
    """Where a file is, or what a LIST lists, with its closing `/`."""
    request = call.the_request
    path = request.path
    if request.action is Action.LIST:
        return path if path.endswith(b"/") else path + b"/"
    return path[: path.rfind(b"/") + 1]


def _hash(key: bytes) -> int:
    # Python's own differs from process to process, and all processes of a proxy are to agree.
    return int.from_bytes(blake2b(key, digest_size=8).digest(), "big")
