"""What stands behind a server's sessions, as the server sees that has made it: the files, or other servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from sttp_reactor.metrics import Sample
from sttp_reactor.sttp.answerer import Answerer
from sttp_reactor.sttp.counts import Counts


class Backend(Protocol):
    """All methods but `prepare` belong to the loop's thread."""

    @property
    def answerer(self) -> Answerer:
        """Whom sessions ask. Once it is open."""

    @property
    def counts(self) -> Counts:
        """Once it is open."""

    @property
    def under_way(self) -> int:
        """Requests that are not answered yet."""

    def open(self) -> None:
        """Raises StartError; then it is still to be closed."""

    def prepare(self, settings: Any) -> Any:
        """Read and open all that other settings take, for `take`. In any thread. Raises StartError."""

    def take(self, settings: Any, prepared: Any) -> bool:
        """Go on with these. Cannot fail. Returns whether the fast way that sessions have is another one now."""

    def samples(self) -> Iterable[Sample]:
        """For metrics. Once it is open."""

    def details(self) -> Iterable[str]:
        """Lines for an operator who asks what it is doing. Once it is open."""

    def drain(self, done: Callable[[], None]) -> None:
        """Nobody asks any more, and nothing is under way: put in order what the next start is to find. `done()` is
        called when that is done, at once or later; harmless twice. The loop goes on meanwhile, and hears signals."""

    def close(self, patience: float) -> bool:
        """Release everything within `patience` seconds. False where something of it was still at work by then."""
