"""Active checks: `LIST /` on a connection of its own to each server, over and over; and a lookout for its stop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.timers import Timer
from sttp_reactor.proxy.call import Call, call_for
from sttp_reactor.proxy.link import IDLE_SECONDS, Link, LinkTimes
from sttp_reactor.proxy.lookout import Lookout
from sttp_reactor.proxy.settings import HealthSettings
from sttp_reactor.proxy.upstream import Upstream
from sttp_reactor.sttp.answerer import ANYBODY
from sttp_reactor.wire.messages import Action, Request

log = logging.getLogger(__name__)

_CHECK: Final = Request(Action.LIST, b"/")
# While a server seems to have changed and is not believed yet, it is looked at so many times as often.
_HASTE: Final = 5


class HealthCheck:
    """Of one server. `start` begins; the first check is at once."""

    def __init__(self, reactor: Reactor, upstream: Upstream, settings: HealthSettings) -> None:
        self._reactor = reactor
        self._upstream = upstream
        self.settings = settings
        self._link: Link | None = None
        self._lookout: Lookout | None = None
        self._timer: Timer | None = None
        self._in_a_row = 0  # checks that spoke against what is believed
        self._is_closed = False

    def start(self) -> None:
        self._timer = None
        if self._link is None or self._link.is_over:
            seconds = self.settings.timeout
            times = LinkTimes(seconds, seconds, seconds)
            self._link = Link(self._reactor, self._upstream.target, times, self, self._upstream.greeting)
        self._link.ask(call_for(_CHECK, self._checked, ANYBODY, self._reactor.now))

    def close(self) -> None:
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._link is not None:
            self._link.close()
        if self._lookout is not None:
            self._lookout.close()

    # -- From the connection --

    def answered(self, link: Link, found: list[tuple[Call, bytes]]) -> None:
        for call, reply in found:
            call.done(reply)

    def ended(self, link: Link, sent: Sequence[Call], unsent: Sequence[Call], why: str, *, is_fault: bool) -> None:
        if sent or unsent:
            self._take(healthy=False, why=why)
        elif not self._is_closed:
            self._look_now()  # it hangs up on us between two checks: perhaps it stops

    # -- Within --

    def _look_now(self) -> None:
        """Unless a check is under way. Whoever listens there now will say how it is."""
        if self._timer is not None:
            self._timer.cancel()
            self.start()

    def _checked(self, reply: bytes) -> None:
        healthy = not reply.startswith(b"5")
        self._look_out()
        self._take(healthy=healthy, why="" if healthy else f"it answered {reply.decode().rstrip()}")

    def _look_out(self) -> None:
        if self._lookout is not None:
            if not self._lookout.is_over and self._reactor.now < self._lookout.made_at + IDLE_SECONDS:
                return
            self._lookout.close()  # before the server's `idle_timeout` does, which would seem to mean something
        target, greeting = self._upstream.target, self._upstream.greeting
        self._lookout = Lookout(self._reactor, target, self.settings.timeout, self._is_stopping, greeting)

    def _is_stopping(self) -> None:
        self._upstream.renew()
        if self._timer is not None and self._link is not None:
            self._link.close()  # it would still be answered there
        self._look_now()

    def _take(self, *, healthy: bool, why: str) -> None:
        upstream, settings = self._upstream, self.settings
        if healthy == upstream.is_healthy:
            self._in_a_row = 0
        else:
            self._in_a_row += 1
            if self._in_a_row >= (settings.rise if healthy else settings.fall):
                self._in_a_row = 0
                log.warning("%s is %s%s", upstream.name, "up again" if healthy else "down", why and f": {why}")
                upstream.set_healthy(healthy, why)
        pause = settings.interval / _HASTE if self._in_a_row else settings.interval
        if not self._is_closed:
            self._timer = self._reactor.call_later(pause, self.start)
