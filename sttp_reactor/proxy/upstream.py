"""One server that is asked: its connections, what is under way there, and whether it is worth asking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from sttp_reactor.limits import DURATION_BOUNDS
from sttp_reactor.metrics import COUNTER, GAUGE, Histogram, Sample
from sttp_reactor.net.proxy_protocol import encode_v2
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.timers import Timer
from sttp_reactor.proxy.call import Call, is_long
from sttp_reactor.proxy.client_links import IDLE_SECONDS, ClientLinks
from sttp_reactor.proxy.link import Link, LinkTimes
from sttp_reactor.proxy.settings import HealthSettings, UpstreamSettings
from sttp_reactor.proxy.target import Target

# A server that is ejected again and again stays out for twice as long each time, up to so many seconds.
_LONGEST_EJECTION: Final = 60.0
# During a slow start, how often a server's share is looked at, and how small it is at first.
_SLOW_START_STEP: Final = 0.25
_SMALLEST_SHARE: Final = 0.1

_BOUNDS: Final = (0.0001, 0.00025, *DURATION_BOUNDS)


class UpstreamOwner(Protocol):
    def answered(self, upstream: Upstream, found: list[tuple[Call, bytes]]) -> None: ...
    def ended(self, upstream: Upstream, sent: Sequence[Call], unsent: Sequence[Call], why: str) -> None: ...
    def changed(self) -> None:
        """A server has become better or worse: who is asked is to be considered anew."""

    def may_eject(self, upstream: Upstream) -> bool:
        """Whether another one is there to be asked instead."""


class Upstream:
    """`outstanding` are the requests under way; `cost` is how much each counts beside those of other servers: the less,
    the larger its weight. Belongs to the reactor's thread."""

    def __init__(
        self,
        reactor: Reactor,
        target: Target,
        weight: int,
        settings: UpstreamSettings,
        health: HealthSettings,
        owner: UpstreamOwner,
        *,
        tell_clients: bool,
    ) -> None:
        self.target = target
        self.name = target.name
        self.weight = weight
        self.cost = 1 / weight
        self.outstanding = 0
        self.is_healthy = True  # by the checks
        self.is_leaving = False  # by the configuration, or because it is about to stop
        self.is_ejected = False
        self.why = ""  # what was last wrong with it
        self.counts: Counter[str] = Counter()
        self.durations = Histogram("sttp_upstream_duration_seconds", _BOUNDS, (("server", self.name),))
        self._reactor = reactor
        self._owner = owner
        self.greeting = b""
        """What a connection that the proxy makes for itself has to begin with."""
        self._links: list[Link | None] = []
        self._client_links: ClientLinks | None = None  # where each client has its own
        self._leaving_links: set[Link] = set()
        self._failures = 0  # in a row
        self._ejections = 0  # one after the other
        self._ejection: Timer | None = None
        self._risen_at: float | None = None
        self._slow_start: Timer | None = None
        self.use(settings, health, tell_clients=tell_clients)

    def use(self, settings: UpstreamSettings, health: HealthSettings, *, tell_clients: bool) -> None:
        """Go on with these; connections that are there keep their times. With `tell_clients` the server is told by the
        PROXY protocol who each client is."""
        if tell_clients != bool(self.greeting):
            self.renew()
            self.greeting = encode_v2() if tell_clients else b""
            self._client_links = ClientLinks(self._make_client_link, self._let_go) if tell_clients else None
        self._health = health
        self._times = LinkTimes(settings.connect_timeout, settings.read_timeout, settings.write_timeout)
        for link in self._links[settings.connections :]:
            if link is not None:
                self._let_go(link)
        self._links = (self._links + [None] * settings.connections)[: settings.connections]
        self._next = 0

    @property
    def is_usable(self) -> bool:
        return self.is_healthy and not self.is_ejected and not self.is_leaving

    @property
    def state(self) -> str:
        if self.is_leaving:
            return "draining"
        if not self.is_healthy:
            return "down"
        if self.is_ejected:
            return "ejected"
        return "up" if self._risen_at is None else "starting"

    def ask(self, call: Call) -> None:
        self.outstanding += call.count
        call.tries += 1
        self._link_for(call).ask(call)

    def leave(self) -> None:
        """Ask it nothing more, and end its connections once they have answered."""
        self.is_leaving = True
        self.renew()
        self._stop_timers()

    def renew(self) -> None:
        """Ask nothing more on the connections that are there. What a new one cannot be made for, was never sent."""
        for link in self._present_links():
            self._let_go(link)
        self._links = [None] * len(self._links)

    def close(self) -> None:
        for link in (*self._present_links(), *self._leaving_links):
            link.close()
        self._stop_timers()

    # -- Its health --

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, why: str, times: int = 1) -> None:
        """Passive checking: after some failures in a row nobody asks it for a while, if somebody else is there."""
        self.why = why
        self.counts["failures"] += times
        self._failures += times
        if self._failures >= self._health.eject_after and not self.is_ejected and self._owner.may_eject(self):
            self._eject()

    def set_healthy(self, healthy: bool, why: str = "") -> None:
        """Active checking."""
        if why:
            self.why = why
        if healthy == self.is_healthy:
            return
        self.is_healthy = healthy
        if healthy:
            self._ejections = 0
            self._end_ejection()
            self._start_slowly()
        self._owner.changed()

    def _eject(self) -> None:
        seconds = min(2.0**self._ejections, _LONGEST_EJECTION)
        self._ejections += 1
        self.counts["ejections"] += 1
        self.is_ejected = True
        self._ejection = self._reactor.call_later(seconds, self._readmit)
        self._owner.changed()

    def _readmit(self) -> None:
        self._end_ejection()
        self._start_slowly()
        self._owner.changed()

    def _end_ejection(self) -> None:
        self.is_ejected = False
        self._failures = 0
        if self._ejection is not None:
            self._ejection.cancel()
            self._ejection = None

    def _start_slowly(self) -> None:
        self._risen_at = self._reactor.now
        self._step()

    def _step(self) -> None:
        assert self._risen_at is not None
        if self._slow_start is not None:
            self._slow_start.cancel()
            self._slow_start = None
        seconds = self._health.slow_start
        share = (self._reactor.now - self._risen_at) / seconds if seconds else 1.0
        if share >= 1.0:
            self._risen_at = None
            self._ejections = 0
            share = 1.0
        else:
            self._slow_start = self._reactor.call_later(_SLOW_START_STEP, self._step)
        self.cost = 1 / (self.weight * max(share, _SMALLEST_SHARE))

    def _stop_timers(self) -> None:
        for timer in (self._ejection, self._slow_start):
            if timer is not None:
                timer.cancel()

    # -- Its connections --

    def _present_links(self) -> list[Link]:
        """Those of clients are forgotten with this."""
        links = [] if self._client_links is None else self._client_links.take_all()
        return links + [link for link in self._links if link is not None]

    def _make_client_link(self, greeting: bytes) -> Link:
        return Link(self._reactor, self.target, self._times._replace(idle=IDLE_SECONDS), self, greeting)

    def _link_for(self, call: Call) -> Link:
        if self._client_links is not None:
            return self._client_links.link_for(call.waiter.addresses)
        links = self._links
        # The last one is for what may take long. Others do not wait behind it.
        last = len(links) - 1
        if is_long(call):
            place = last
        elif last < 2:
            place = 0
        else:
            place = self._next = (self._next + 1) % last
        link = links[place]
        if link is None or link.is_over:
            link = links[place] = Link(self._reactor, self.target, self._times, self)
        return link

    def _let_go(self, link: Link) -> None:
        if link.is_over:
            return
        self._leaving_links.add(link)
        link.leave()

    def answered(self, link: Link, found: list[tuple[Call, bytes]]) -> None:
        now = self._reactor.now
        self.durations.observe([now - call.sent_at for call, _ in found])
        self._owner.answered(self, found)

    def ended(self, link: Link, sent: Sequence[Call], unsent: Sequence[Call], why: str, *, is_fault: bool) -> None:
        self._leaving_links.discard(link)
        lost = sum(call.count for call in (*sent, *unsent))
        self.outstanding -= lost
        if is_fault:
            # A server that takes no connection is out at once; one that loses some calls has failed as often.
            self.failed(why, self._health.eject_after if not link.is_connected else max(1, lost))
        elif why:
            self.why = why
        self._owner.ended(self, sent, unsent, why)

    # -- What it has done --

    def samples(self) -> Iterator[Sample]:
        labels = (("server", self.name),)
        yield Sample("sttp_upstream_up", GAUGE, labels, int(self.is_usable))
        yield Sample("sttp_upstream_outstanding", GAUGE, labels, self.outstanding)
        for name in ("requests", "retries", "failures", "ejections", "unknown"):
            yield Sample(f"sttp_upstream_{name}_total", COUNTER, labels, self.counts[name])
        yield from self.durations.samples()

    def __repr__(self) -> str:
        counts = ", ".join(f"{self.counts[name]} {name}" for name in ("requests", "retries", "ejections"))
        trouble = f"; last trouble: {self.why}" if self.why else ""
        return (
            f"<Upstream {self.name}: {self.state}, {self.outstanding} outstanding, {counts},"
            f" {self.counts['unknown']} unknown outcomes{trouble}>"
        )
