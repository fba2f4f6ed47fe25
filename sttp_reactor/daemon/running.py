"""What runs in one process, on its one reactor: any number of servers, started together and drained together.

The reactor is the process's: who runs on it never stops or closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import Any
from typing import Protocol as Interface

from sttp_reactor.metrics import Sample
from sttp_reactor.net.endpoints import Endpoint, Sockets
from sttp_reactor.net.reactor import Reactor


class Change(Interface):
    """Other settings for a Runnable, prepared: to be applied in the reactor's thread, or cancelled."""

    def apply(self, sockets: Sockets) -> None:
        """`sockets` are those of the endpoints that are new; they are taken over. Cannot fail."""

    def cancel(self) -> None: ...


class Runnable(Interface):
    """A server on a reactor that it shares with others, such as `sttp.server.Server`."""

    def start(self) -> None:
        """Raises StartError, with nothing left open."""

    def drain(self, on_drained: Callable[[], None], signal: str = "") -> None:
        """Accept nobody any more, answer what has been asked, close the connections, and call `on_drained` once.
        `signal` names the one that was received, for the log."""

    def abort(self, why: str) -> None:
        """While it drains: close the connections now, and call `on_drained`. `why` is for the log."""

    def prepare(self, settings: Any, endpoints: Collection[Endpoint], /) -> Change:
        """Read and open all that other settings take; `endpoints` are all to listen on. In any thread, and may take its
        time. Raises StartError, with nothing left open."""

    def samples(self) -> Iterable[Sample]:
        """What it has counted by now; for metrics."""

    def close(self, patience: float | None = None) -> bool:
        """Release everything, within `patience` seconds. The reactor does not run any more. Returns False where
        something has not ended in time."""


class Running:
    """`stop` has all of them drain, and then stops the reactor: at once the second time, and after
    `shutdown_timeout()` seconds."""

    def __init__(self, reactor: Reactor, runnables: Sequence[Runnable], shutdown_timeout: Callable[[], float]) -> None:
        self._reactor = reactor
        self._runnables = list(runnables)
        self._shutdown_timeout = shutdown_timeout
        self._draining: list[Runnable] = []
        self.is_stopping = False

    def start(self) -> None:
        """All of them or none: raises StartError, with what had been started closed."""
        for number, each in enumerate(self._runnables):
            try:
                each.start()
            except BaseException:
                for started in reversed(self._runnables[:number]):
                    started.close()
                raise

    def stop(self, signal: str = "") -> None:
        """`signal` names the one that has asked for it, for the log."""
        if self.is_stopping:
            self._abort(f"{signal or 'told again'} while stopping")
            return
        self.is_stopping = True
        seconds = self._shutdown_timeout()
        self._reactor.call_later(seconds, lambda: self._abort(f"shutdown_timeout ({seconds:g} s) has passed"))
        self._draining = list(self._runnables)
        for each in self._runnables:
            each.drain(partial(self._drained, each), signal)

    def close(self) -> None:
        for each in reversed(self._runnables):
            each.close()

    def _drained(self, runnable: Runnable) -> None:
        self._draining.remove(runnable)
        if not self._draining:
            self._reactor.stop()

    def _abort(self, why: str) -> None:
        for each in list(self._draining):
            each.abort(why)
