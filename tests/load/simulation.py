"""Connections to a server, without sockets: who is served when, and in what pieces replies arrive, is drawn."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Sequence

from fake_server import Files

from sttp_reactor.load.faults import Mistakes
from sttp_reactor.load.keyspace import Keyspace
from sttp_reactor.load.link import Link
from sttp_reactor.load.plan import Plan, parse_mix

MIX = "show=50,update=20,create=12,delete=12,list=6"


class Simulation:
    """`files` must hold what a Keyspace would have prepared: `prepare` sees to it."""

    def __init__(
        self, files: Files, seed: int, *, mix: str = MIX, keys: int = 4, links: int = 4, pipeline: int = 3
    ) -> None:
        self.rng = random.Random(seed)
        self.mistakes = Mistakes()
        self.plan = Plan(mix=parse_mix(mix), keys=keys, seed=seed, sizes=(1, 60))
        self.links = [Link(number) for number in range(links)]
        self.outcomes: list[int] = []
        self._files = files
        self._pipeline = pipeline
        self._asked: list[deque[bytes]] = [deque() for _ in self.links]
        self._replies = [b"" for _ in self.links]
        space = Keyspace(self.plan, 0)
        for key in range(keys):
            if self.plan.starts_present(key):
                files.texts[space.path(key)] = space.first_text(key)
        self.source = space.source(self.links, self.mistakes)

    def run(self, steps: int) -> None:
        moves: Sequence[str] = ("ask", "serve", "deliver")
        for _ in range(steps):
            getattr(self, "_" + self.rng.choice(moves))(self.rng.randrange(len(self.links)))
            if self.mistakes.count:
                return
        for number in range(len(self.links)):
            while self._asked[number]:
                self._serve(number)
            while self._replies[number]:
                self._deliver(number)

    def _ask(self, number: int) -> None:
        link = self.links[number]
        room = self._pipeline - len(link.pending)
        if room:
            self._asked[number].extend(self.source.compose(link, self.rng.randint(1, room)).splitlines())

    def _serve(self, number: int) -> None:
        if self._asked[number]:
            self._replies[number] += self._files.answer(self._asked[number].popleft()) or b""

    def _deliver(self, number: int) -> None:
        replies = self._replies[number]
        if replies:
            size = self.rng.choice((len(replies), self.rng.randint(1, len(replies))))
            self.outcomes += self.source.digest(self.links[number], replies[:size])
            self._replies[number] = replies[size:]
