"""Who may still ask while a server stops, and for how long.

A request that is on its way when the server is told to stop comes a moment too late to be found in the kernel's buffer.
Closing at once would leave its client with a closed connection, and in doubt: was that write carried out? So each
connection is served on until it has been silent for a moment. A client that never pauses gets no more than a few of
these moments: what has come by then is answered, and nothing after it.

Connections on which nothing has ever been asked are closed first, at once. A client that shares its connections among
many others, as sttp-proxy does, holds one of these: when it ends, there is time to ask elsewhere, and everything that
was asked here is answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sttp_reactor.net.reactor import Reactor
from sttp_reactor.sttp.session import Session

# Longer than a request takes on its way between machines of one place, and than a client takes to notice.
SILENT_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.02


class LastRequests:
    """Drains each of these sessions when its time has come; those that are gone by then are passed over."""

    def __init__(self, reactor: Reactor, sessions: Iterable[Session], shutdown_timeout: float) -> None:
        """Where `shutdown_timeout` (seconds) is short, at least half of it is left for what has come to be answered."""
        self._reactor = reactor
        longest = min(LONGEST_SECONDS, shutdown_timeout / 2)
        self._silent = min(SILENT_SECONDS, longest)
        self._deadline = reactor.now + longest
        self._serving: list[Session] = []
        for session in list(sessions):
            if session.is_unused:
                session.drain()
            else:
                self._serving.append(session)
        self._timer = reactor.call_later(self._silent, self._look)

    def cancel(self) -> None:
        self._timer.cancel()
        self._serving.clear()

    def _look(self) -> None:
        now = self._reactor.now
        serving = []
        for session in self._serving:
            if session.is_gone:
                continue
            if now >= self._deadline or session.is_at_rest(now - self._silent):
                session.drain()
            else:
                serving.append(session)
        self._serving = serving
        if serving:
            self._timer = self._reactor.call_later(_LOOK_SECONDS, self._look)
