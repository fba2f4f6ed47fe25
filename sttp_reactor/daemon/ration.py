"""What may be asked for at any rate, and is done at most so often."""

from __future__ import annotations

from collections.abc import Callable

from sttp_reactor.net.reactor import Reactor


class Ration:
    """Calls `action` when it is asked for: at once, or `pause` seconds after the last one was done. What is asked for
    until then is one, and it is done after the last asking. Belongs to the reactor's thread."""

    def __init__(self, reactor: Reactor, action: Callable[[], None], pause: float) -> None:
        self._reactor = reactor
        self._action = action
        self._pause = pause
        self._is_asked = False
        self._not_before = 0.0

    def ask(self) -> None:
        if self._is_asked:
            return
        self._is_asked = True
        left = self._not_before - self._reactor.clock()
        if left > 0:
            self._reactor.call_later(left, self._act)
        else:
            self._act()

    def _act(self) -> None:
        self._is_asked = False
        try:
            self._action()
        finally:
            self._not_before = self._reactor.clock() + self._pause
