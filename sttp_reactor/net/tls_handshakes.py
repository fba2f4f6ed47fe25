"""The handshakes under way on one listener or connector: counted, given a deadline, and a few steps of them a turn."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol as Interface

from sttp_reactor.limits import HANDSHAKE_TIMEOUT, HANDSHAKES_PER_TURN
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.timers import Timer


class Handshake(Interface):
    def shake_hands(self) -> None:
        """Take one step. Never raises anything."""

    def handshake_late(self) -> None:
        """The deadline has passed."""

    def abort(self) -> None: ...


class Handshakes:
    """`under_way` holds a handshake from its connection's first moment until it has succeeded or the connection is
    gone; `completed`, `resumed` (of those) and `failed` count those that have left it."""

    def __init__(
        self, reactor: Reactor, timeout: float = HANDSHAKE_TIMEOUT, on_change: Callable[[], None] | None = None
    ) -> None:
        """`timeout` in seconds, from the connection to the end of the handshake. `on_change` is called when
        `under_way` has changed."""
        self.under_way: set[Handshake] = set()
        self.completed = self.resumed = self.failed = 0
        self.timeout = timeout
        self._reactor = reactor
        self._on_change = on_change
        self._steps: deque[Handshake] = deque()
        self._is_due = False  # _take_steps is to be called

    def began(self, handshake: Handshake) -> Timer:
        """Returns the deadline, for the handshake to cancel."""
        self.under_way.add(handshake)
        self._changed()
        return self._reactor.call_later(self.timeout, handshake.handshake_late)

    def succeeded(self, handshake: Handshake, *, resumed: bool) -> None:
        self.completed += 1
        self.resumed += resumed
        self.under_way.discard(handshake)
        self._changed()

    def lost(self, handshake: Handshake) -> None:
        if handshake in self.under_way:
            self.failed += 1
            self.under_way.discard(handshake)
            self._changed()

    def await_step(self, handshake: Handshake) -> None:
        """Call `shake_hands` when it is its turn: still in this turn of the reactor, if there are few."""
        self._steps.append(handshake)
        if not self._is_due:
            self._is_due = True
            self._reactor.call_soon(self._take_steps)

    def abort_all(self) -> None:
        for handshake in list(self.under_way):
            handshake.abort()

    def _take_steps(self) -> None:
        for _ in range(min(len(self._steps), HANDSHAKES_PER_TURN)):
            self._steps.popleft().shake_hands()
        self._is_due = bool(self._steps)
        if self._is_due:
            self._reactor.call_soon(self._take_steps)

    def _changed(self) -> None:
        if self._on_change is not None:
            self._on_change()

    def __repr__(self) -> str:
        return f"<Handshakes: {len(self.under_way)} under way, {self.completed} completed, {self.failed} failed>"
