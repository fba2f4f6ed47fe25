"""What stands behind a proxy's sessions: it turns requests into calls, and keeps the servers that are asked them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from sttp_reactor.limits import CHUNK_LINES
from sttp_reactor.metrics import COUNTER, GAUGE, Sample
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.throttle import Throttle
from sttp_reactor.proxy.call import Call, call_for, usual_header
from sttp_reactor.proxy.dispatcher import Dispatcher
from sttp_reactor.proxy.health import HealthCheck
from sttp_reactor.proxy.settings import ProxySettings
from sttp_reactor.proxy.target import Target, target_of
from sttp_reactor.proxy.upstream import Upstream
from sttp_reactor.sttp.answerer import Asker, Done, FastWay, Waiter, no_replies
from sttp_reactor.sttp.counts import Counts
from sttp_reactor.wire.grammar import usual_request
from sttp_reactor.wire.messages import Action, Request

if TYPE_CHECKING:
    from sttp_reactor.sttp.server import Server

# Lines of SHOWs that have been found to be such, each with the first line of its reply. A few megabytes at the most.
_KNOWN_LINES: Final = 16384


class ProxyAnswerer:
    """A `sttp.backend.Backend` that is its own answerer. Belongs to the reactor's thread."""

    keeps_order = False

    def __init__(self, reactor: Reactor, settings: ProxySettings, events: Throttle) -> None:
        self.counts = Counts()
        self._reactor = reactor
        self._dispatcher = Dispatcher(reactor, settings.upstream, settings.balance, events, self.counts)
        self._checks: dict[Upstream, HealthCheck] = {}
        self._leaving: set[Upstream] = set()
        self._known: dict[bytes, bytes] = {}
        self._settings = settings

    @property
    def upstreams(self) -> list[Upstream]:
        return self._dispatcher.upstreams

    @property
    def answerer(self) -> ProxyAnswerer:
        return self

    def open(self) -> None:
        self.take(self._settings, self.prepare(self._settings))

    def prepare(self, settings: ProxySettings) -> list[Target]:
        """One target for each server."""
        return targets_of(settings)

    def take(self, settings: ProxySettings, prepared: Iterable[Target]) -> bool:
        """The servers that are there stay, and those that leave finish what they have. The fast way stays, too: it
        looks at the settings itself."""
        self._settings = settings
        former = {(each.target, each.weight): each for each in self.upstreams}
        wanted = list(zip(prepared, settings.servers, strict=True))
        upstreams = []
        for target, server in wanted:
            upstream = former.pop((target, server.weight), None)
            if upstream is None:
                upstream = self._begin(target, server.weight)
            upstream.use(settings.upstream, settings.health, tell_clients=settings.send_proxy_protocol)
            self._checks[upstream].settings = settings.health
            upstreams.append(upstream)
        self._dispatcher.upstreams = upstreams
        self._leaving = {each for each in self._leaving if each.outstanding}
        for upstream in former.values():
            self._checks.pop(upstream).close()
            upstream.leave()
            self._leaving.add(upstream)
        self._dispatcher.use(settings.upstream, settings.balance)
        return False

    def _begin(self, target: Target, weight: int) -> Upstream:
        settings = self._settings
        upstream = Upstream(
            self._reactor,
            target,
            weight,
            settings.upstream,
            settings.health,
            self._dispatcher,
            tell_clients=settings.send_proxy_protocol,
        )
        check = self._checks[upstream] = HealthCheck(self._reactor, upstream, settings.health)
        self._reactor.call_soon(check.start)
        return upstream

    # -- From sessions --

    def fast_way(self, asker: Asker | None = None) -> FastWay:
        return no_replies if asker is None else partial(self._take, asker)

    def _take(self, asker: Asker, chunk: bytes, now: float) -> bytes | None:
        """SHOWs, each as nearly all are, go out as they came: nothing of them is parsed but once."""
        known = self._known
        headers = known.get(chunk)
        count = 1
        if headers is None:
            lines = chunk.splitlines(keepends=True)
            count = len(lines)
            if count > CHUNK_LINES or (count > 1 and self._settings.balance == "hash"):
                return None
            try:
                headers = b"\n".join(map(known.__getitem__, lines))
            except KeyError:
                headers = self._learn(lines)
                if headers is None:
                    return None
        self._dispatcher.ask(Call(chunk, count, headers, asker.answered, asker, now))
        return b""

    def _learn(self, lines: list[bytes]) -> bytes | None:
        """The same for lines that are not all known yet; None where one of them is anything but a usual SHOW."""
        known = self._known
        if len(known) + len(lines) > _KNOWN_LINES:
            known.clear()
        for line in lines:
            if line not in known:
                request = usual_request(line[:-1]) if line.endswith(b"\n") else None
                if request is None or request.action is not Action.SHOW:
                    return None
                known[line] = usual_header(line)
        return b"\n".join([known[line] for line in lines])

    def cached(self, request: Request) -> None:
        return None

    def start(self, request: Request, done: Done, waiter: Waiter) -> bool:
        self._dispatcher.ask(call_for(request, done, waiter, self._reactor.now))
        return True

    def when_room(self, request: Request, callback: Callable[[], None]) -> None:
        self._reactor.call_soon(callback)  # there always is: whatever is too much is answered at once

    # -- From the server --

    @property
    def under_way(self) -> int:
        return self._dispatcher.under_way + sum(each.outstanding for each in self._leaving)

    def details(self) -> Iterator[str]:
        for upstream in (*self.upstreams, *self._leaving):
            yield f"server {upstream!r}"

    def drain(self, done: Callable[[], None]) -> None:
        done()  # it keeps nothing

    def close(self, patience: float) -> bool:
        for check in self._checks.values():
            check.close()
        for upstream in self._leaving:
            upstream.close()
        self._dispatcher.close()
        return True

    def samples(self) -> Iterator[Sample]:
        yield from self.counts.samples(None)
        yield Sample("sttp_proxy_retries_under_way", GAUGE, (), self._dispatcher.retries)
        yield Sample("sttp_proxy_unanswered_total", COUNTER, (), self._dispatcher.unanswered)
        for upstream in self.upstreams:
            yield from upstream.samples()


def targets_of(settings: ProxySettings) -> list[Target]:
    """Raises StartError."""
    return [target_of(server) for server in settings.servers]


def open_proxy(server: Server) -> ProxyAnswerer:
    """For a server whose settings are `ProxySettings`."""
    return ProxyAnswerer(server.reactor, cast(ProxySettings, server.settings), server.events)


def describe(settings: ProxySettings) -> str:
    """For the log's line that says that it is ready."""
    servers = ", ".join(each.address for each in settings.servers) or "none"
    return f"servers {servers}; balance {settings.balance}"
