"""The figures of all processes, gathered once a turn for all who ask in it: that takes a millisecond, and a client may
ask for them a thousand times in one breath."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sttp_reactor.gateway.prometheus import exposition, key_of

if TYPE_CHECKING:
    from sttp_reactor.metrics import Sample
    from sttp_reactor.sttp.server import Server


class Figures:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._turn = -1
        self._samples: list[Sample] = []
        self._exposition: str | None = None

    def samples(self) -> list[Sample]:
        turn = self._server.reactor.turns
        if turn != self._turn:
            self._turn, self._exposition = turn, None
            self._samples = self._server.registry.samples()
        return self._samples

    def values(self) -> dict[str, float]:
        """By name and labels, as Prometheus writes them."""
        return {key_of(sample): sample.value for sample in self.samples()}

    def exposition(self) -> str:
        samples = self.samples()
        if self._exposition is None:
            self._exposition = exposition(samples)
        return self._exposition
