"""The server: puts the parts together, listens, and ends in good order."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TYPE_CHECKING, Final

from sttp_reactor.config import differences
from sttp_reactor.errors import StartError
from sttp_reactor.metrics import Registry, Sample
from sttp_reactor.net.crowd import Crowd, address_of
from sttp_reactor.net.endpoints import Endpoint, Sockets, bind_all, bind_here, names_of, remove_files
from sttp_reactor.net.listener import Listener
from sttp_reactor.net.protocol import Protocol, Transport
from sttp_reactor.net.proxy_headers import ProxyHeaders
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.throttle import Throttle
from sttp_reactor.net.tls_handshakes import Handshakes
from sttp_reactor.store.base import Store
from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.sttp.access import Policy, is_one_of
from sttp_reactor.sttp.access_log import AccessLog
from sttp_reactor.sttp.answerer import Answerer
from sttp_reactor.sttp.backend import Backend
from sttp_reactor.sttp.change import Change
from sttp_reactor.sttp.door import Door
from sttp_reactor.sttp.files import Files
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.last_requests import LastRequests
from sttp_reactor.sttp.listening import endpoints_at_start, tls_context_at_start, unix_mode_of
from sttp_reactor.sttp.refusal import REFUSALS_LINGERING, Refusal
from sttp_reactor.sttp.samples import ACCESS_DROPPED, samples_of
from sttp_reactor.sttp.session import Session, SessionLimits
from sttp_reactor.sttp.settings import Settings
from sttp_reactor.sttp.team import Member
from sttp_reactor.sttp.unsent import Unsent
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import NO_PATH, client_error, server_error

if TYPE_CHECKING:
    import ssl

    from sttp_reactor.net.tls_context import TlsContext

log = logging.getLogger(__name__)

# What says who may do what, and how often they may come.
_ACCESS: Final = ("access", "read_only", "limits.max_connections_per_address")
# At shutdown, while the disk is still busy though every connection is gone.
_LOOK_AGAIN_SECONDS: Final = 0.02
# What workers get to end in when there is no time left: enough for those that are idle.
_LAST_SECONDS: Final = 0.1
# For the reader of an access log to take the last lines, at the most.
_LOG_SECONDS: Final = 5.0
_FULL: Final = encode_response(server_error(NO_PATH, "too many connections; try again later"))
_SPEAK_TLS: Final = encode_response(client_error(NO_PATH, "this port speaks TLS; use sttps://"))
_NO_HEADER: Final = encode_response(client_error(NO_PATH, "a header of the PROXY protocol was expected of this proxy"))
_CROWDED: Final = encode_response(server_error(NO_PATH, "too many connections from your address; close others first"))


class Server:
    """One STTP server on one reactor. `start`, then `reactor.run`, then `close`."""

    answerer: Answerer
    """Of the backend. Once it is open."""

    def __init__(
        self,
        settings: Settings,
        *,
        store: Store | None = None,
        reactor: Reactor | None = None,
        team: Member | None = None,
        sockets: Sockets | None = None,
        tls: TlsContext | None = None,
        claim: Claim | None = None,
        open_door: Callable[[Server], Door] | None = None,
        make_backend: Callable[[Server], Backend] | None = None,
    ) -> None:
        """`store` can be given, for tests and for embedding; `reactor`, which others may be on, and which whoever made
        it closes; `team` where several processes serve together; `sockets`, listening already, where somebody else has
        bound them and removes a Unix socket's file; `tls`, where the files it is made of have been read already;
        `claim`, where others serve the same docroot; `open_door`, which raises StartError, for what is spoken where an
        endpoint's `kind` is not empty; `make_backend` where it is no server of files."""
        self.settings = settings
        self.reactor = Reactor() if reactor is None else reactor
        self._owns_reactor = reactor is None
        self.session_limits = session_limits(settings)
        self.policy = _policy(settings)
        self._crowd = Crowd(settings.limits.max_connections_per_address)
        self.tls = tls
        self.handshakes = Handshakes(self.reactor, settings.limits.handshake_timeout, self._count_connections)
        self.headers: ProxyHeaders | None = None  # made when a proxy is first listed
        self.sessions: set[Session] = set()
        self.unsent = Unsent(self.reactor)
        self._refusals: set[Refusal] = set()
        self.listeners: dict[Endpoint, Listener] = {}
        self.events = Throttle(self.reactor, log)
        self.team = team
        self._sockets = sockets
        self._stopping = False
        self._on_drained: Callable[[], None] | None = None
        self._last_requests: LastRequests | None = None  # while it stops
        self._hurried = False
        self.access_log: AccessLog | None = None
        self.registry = Registry() if team is None else Registry(team.board, team.place)
        self.registry.add(self.samples)
        self._open_door = open_door
        self.door: Door | None = None  # made when it is first needed
        self.backend: Backend = Files(self, store, claim) if make_backend is None else make_backend(self)

    @property
    def addresses(self) -> list[str]:
        """Every bound address, as text; with `port: 0` these hold the ports that were found."""
        return names_of({endpoint: listener.sock for endpoint, listener in self.listeners.items()})

    @property
    def connections(self) -> int:
        """Of all processes together, where there are several; those that are still shaking hands count."""
        return self._connections_here if self.team is None else self.team.connections

    def start(self) -> None:
        """Open what stands behind, listen. Raises StartError, with nothing left open."""
        settings = self.settings
        try:
            if self.tls is None:
                self.tls = tls_context_at_start(settings, self._sockets or ())
            self.access_log = self.open_access_log(settings)
            self.backend.open()
            self.answerer = self.backend.answerer
            endpoints = endpoints_at_start(settings) if self._sockets is None else list(self._sockets)
            self.prepare_door(endpoints)
            bind_one = partial(bind_here, unix_mode=unix_mode_of(settings))
            self.listen(bind_all(endpoints, bind_one) if self._sockets is None else self._sockets)
        except BaseException:
            self.close()
            raise

    @property
    def is_stopping(self) -> bool:
        return self._stopping

    def stop(self, signal: str = "") -> None:
        """For a server that is alone on its reactor: drain; the second time, and after `shutdown_timeout`, at once. The
        reactor's `run` returns when that is done. `signal` names the one that has asked for it, for the log."""
        if self._stopping:
            self.abort(f"{signal or 'told again'} while stopping")
            return
        seconds = self.settings.shutdown_timeout
        self.reactor.call_later(seconds, lambda: self.abort(f"shutdown_timeout ({seconds:g} s) has passed"))
        self.drain(self.reactor.stop, signal)

    def drain(self, on_drained: Callable[[], None], signal: str = "") -> None:
        """Stop accepting, answer what is received until there is a pause, close; then call `on_drained`, once. Whoever
        else is on the reactor goes on."""
        self._stopping = True
        self._on_drained = on_drained
        # Who waits to be accepted has connected, and has perhaps asked already, before we were told to stop.
        self.stop_listening(list(self.listeners), accept_waiting=True)
        if self.headers is not None:
            self.headers.drain()
        self.handshakes.abort_all()
        log.info("stopping%s: %d connections open", signal and f" on {signal}", self._open_here)
        self._last_requests = LastRequests(self.reactor, self.sessions, self.settings.shutdown_timeout)
        if self.door is not None:
            self.door.drain()
        self._stop_if_empty()

    def abort(self, why: str) -> None:
        """Close the connections that are not done, and wait for no disk: it is drained."""
        log.warning("%s: closing %d connections that are not done", why, self._open_here)
        self._hurried = True
        self._abort_sessions()
        if self.door is not None:
            self.door.abort()
        self._drained()

    def close(self, patience: float | None = None) -> bool:
        """Release everything, in `patience` seconds (None: those that the settings give). The reactor no longer runs;
        it is closed, too, unless it was given. Returns False where the disk did not answer in time."""
        self.stop_listening(list(self.listeners))
        self.events.close()
        if self.headers is not None:
            self.headers.abort()
        self.handshakes.abort_all()
        self._abort_sessions()
        if self.door is not None:
            self.door.abort()
        for refusal in list(self._refusals):
            refusal.transport.abort()
        if patience is None:
            patience = self.settings.shutdown_timeout
        patience = _LAST_SECONDS if self._hurried else patience
        ended = self.backend.close(patience)
        if self.access_log is not None:
            self.access_log.close(min(patience, _LOG_SECONDS))
        if self._owns_reactor:
            self.reactor.close()
        return ended

    def reopen_logs(self) -> None:
        """Go on in new files: somebody has moved the old ones away."""
        if self.access_log is not None:
            self.access_log.reopen()
        else:
            log.info("there is no access log to open anew (log.access is false)")

    def samples(self) -> Iterable[Sample]:
        """What it counts and has, by now; for metrics."""
        return samples_of(self)

    def prepare(self, settings: Settings, endpoints: Collection[Endpoint]) -> Change:
        """Other settings, to be applied: in any thread. `endpoints` are all to listen on. Raises StartError."""
        return Change(self, settings, endpoints)

    def take(self, change: Change, sockets: Sockets) -> None:
        """Go on with what a change brings; it calls this itself. `sockets` are those of the endpoints that are new."""
        settings = change.settings
        before, self.settings = self.settings, settings
        has_other_way = self.backend.take(settings, change.of_backend)
        self._take_log_and_limits(change.access_log, has_other_way=has_other_way)
        if differences(TABLE, before, settings, _ACCESS):
            self._take_access(settings)
        self.handshakes.timeout = settings.limits.handshake_timeout
        self.tls = change.tls or self.tls  # what was there is for who has been accepted already
        if self.door is not None:
            self.door.reconfigure()
        for listener in self.listeners.values():
            listener.write_timeout = settings.limits.write_timeout
        self.listen(sockets)
        self.stop_listening([each for each in self.listeners if each not in change.endpoints], accept_waiting=True)

    def _take_log_and_limits(self, access_log: AccessLog | None, *, has_other_way: bool) -> None:
        former, self.access_log = self.access_log, access_log
        limits = session_limits(self.settings)
        if limits != self.session_limits or former is not access_log or has_other_way:
            self.session_limits = limits
            for session in list(self.sessions):
                session.reconfigure(limits, access_log)
        if former is not None and former is not access_log:
            self.events.totals[ACCESS_DROPPED] += former.dropped
            former.close(0)  # it writes what it has and ends; the requests do not wait for that

    def _take_access(self, settings: Settings) -> None:
        """Connections that are there go by these rules, too, from their next request on."""
        self._crowd.limit = settings.limits.max_connections_per_address
        self.policy = _policy(settings)
        for session in self.sessions:
            session.use_policy(self.policy)

    # -- For starting and for reloading alike --

    def open_access_log(self, settings: Settings) -> AccessLog | None:
        """Raises StartError."""
        return AccessLog(self.reactor, settings.log.access, settings.log.format) if settings.log.access else None

    def prepare_door(self, endpoints: Iterable[Endpoint]) -> None:
        """See to it that what these endpoints speak can be spoken. Raises StartError."""
        kinds = {endpoint.kind for endpoint in endpoints} - {""}
        if kinds and self.door is None:
            if self._open_door is None:
                raise StartError(f"nothing here speaks {', '.join(kinds)}")
            self.door = self._open_door(self)

    def listen(self, sockets: Sockets) -> None:
        """Take over these, which are bound and listening."""
        timeout = self.settings.limits.write_timeout
        for endpoint, sock in sockets.items():
            door = self.door if endpoint.kind else None
            self.listeners[endpoint] = Listener(
                self.reactor,
                sock,
                self._factory_for(endpoint),
                timeout,
                self.events,
                self._crowd,
                partial(self._refuse_crowd, endpoint),
                to_malformed=_NO_HEADER if door is None else door.no_header,
            )
        headers = self._prepare_headers()
        for listener in self.listeners.values():
            listener.headers = headers

    def stop_listening(self, endpoints: Iterable[Endpoint], *, accept_waiting: bool = False) -> None:
        """Close the listeners of these; with `accept_waiting` those who wait to be accepted are served."""
        going = {endpoint: self.listeners.pop(endpoint) for endpoint in endpoints}
        if self._sockets is None:
            remove_files({endpoint: listener.sock for endpoint, listener in going.items()})
        for listener in going.values():
            if accept_waiting:
                listener.accept_waiting()
            listener.close()
            self.events.totals["accepted"] += listener.accepted

    # -- Within --

    def _prepare_headers(self) -> ProxyHeaders | None:
        """As the settings want them; None where no proxy is listed."""
        settings = self.settings
        if not settings.proxy_protocol.from_:
            return None
        is_listed = is_one_of(settings.proxy_protocol.from_)
        if self.headers is None:
            on_change, warn = self._count_connections, self.events.warn
            self.headers = ProxyHeaders(self.reactor, is_listed, on_change=on_change, warn=warn)
        self.headers.is_listed = is_listed
        self.headers.timeout = settings.limits.handshake_timeout
        self.headers.most = settings.limits.max_connections
        return self.headers

    @property
    def _open_here(self) -> int:
        return len(self.sessions) + (0 if self.door is None else self.door.connections)

    @property
    def _connections_here(self) -> int:
        headers = 0 if self.headers is None else len(self.headers.under_way)
        return self._open_here + len(self.handshakes.under_way) + headers

    def _factory_for(self, endpoint: Endpoint) -> Callable[[], Protocol]:
        make_protocol, to_plain = self._make_protocol, _SPEAK_TLS
        if endpoint.kind and (door := self.door) is not None:
            make_protocol, to_plain = partial(self._make_other, door), door.speak_tls
        if not endpoint.tls:
            return make_protocol
        from sttp_reactor.net.tls import TlsFactory  # imported late, for the reason that `tls_context_of` has

        make_layer = TlsFactory(self.reactor, self._tls_context, make_protocol, self.handshakes, to_plain=to_plain)
        return partial(self._make_layer, make_layer)

    def _make_layer(self, make_layer: Callable[[], Protocol]) -> Protocol:
        """A handshake is dear, and needed even to refuse somebody politely: beyond a few, they are just closed."""
        if self.connections < self.settings.limits.max_connections + REFUSALS_LINGERING:
            return make_layer()
        return self._refuse(b"")

    def _tls_context(self) -> ssl.SSLContext:
        assert self.tls is not None  # there would be no such listener
        return self.tls.context

    def _refuse(self, line: bytes) -> Protocol:
        most = self.settings.limits.max_connections
        self.events.warn("max_connections", "limits.max_connections (%d) is reached; refusing connections", most)
        return Refusal(self.reactor, self._refusals, line)

    def _make_other(self, door: Door) -> Protocol:
        if self.connections >= self.settings.limits.max_connections:
            return self._refuse(door.full)
        protocol = door.make_protocol()
        self._count_connections()
        return protocol

    def _make_protocol(self) -> Protocol:
        if self.connections >= self.settings.limits.max_connections:
            return self._refuse(_FULL)
        session = Session(
            self.reactor,
            self.answerer,
            self.session_limits,
            self._session_lost,
            self.access_log,
            self._session_timed_out,
            self.policy,
            self.unsent,
            self.backend.counts.of_sessions,
        )
        self.sessions.add(session)
        self._count_connections()
        return session

    def _refuse_crowd(self, endpoint: Endpoint, peer: str) -> Protocol:
        name, most = "max_connections_per_address", self._crowd.limit
        message = "limits.%s (%d) is reached by %s; refusing its connections"
        self.events.warn(name, message, name, most, peer, cause=address_of(peer))
        # In the place of a handshake the line would only puzzle; and a handshake is what a crowd must not get.
        line = self.door.crowded if endpoint.kind and self.door is not None else _CROWDED
        return Refusal(self.reactor, self._refusals, b"" if endpoint.tls else line)

    def _count_connections(self) -> None:
        if self.team is not None:
            self.team.set_connections(self._connections_here)

    def _abort_sessions(self) -> None:
        if self._last_requests is not None:
            self._last_requests.cancel()
        for session in list(self.sessions):
            session.transport.abort()

    def _session_lost(self, session: Session) -> None:
        self.sessions.discard(session)
        self.connection_lost()

    def connection_lost(self) -> None:
        """One connection fewer; the door calls it for its own."""
        self._count_connections()
        self._stop_if_empty()

    def _session_timed_out(self, session: Session, name: str) -> None:
        self.connection_timed_out(session.transport, name)

    def connection_timed_out(self, transport: Transport, name: str) -> None:
        """The limit `name` ends this connection; the door calls it for its own."""
        if name == "idle_timeout":
            self.events.count(name)  # nothing unusual
            log.debug("%s: closing: limits.%s has passed", transport.peer, name)
        elif name == "unsent":
            message = "%s is unsent to peers that read too slowly; closing the connection of %s"
            self.events.warn(name, message, self.unsent, transport.peer)
        else:
            self.events.warn(name, "limits.%s has passed; closing the connection of %s", name, transport.peer)

    def _stop_if_empty(self) -> None:
        if not self._stopping or self._open_here:
            return
        if self.backend.under_way:
            # For a client that has left, but a write is a write. Waiting here, a second signal is still heard.
            self.reactor.call_later(_LOOK_AGAIN_SECONDS, self._stop_if_empty)
        else:
            self.backend.drain(self._drained)

    def _drained(self) -> None:
        on_drained, self._on_drained = self._on_drained, None
        if on_drained is not None:
            on_drained()


def session_limits(settings: Settings) -> SessionLimits:
    limits = settings.limits
    return SessionLimits(limits.max_line, limits.idle_timeout, limits.request_timeout)


def _policy(settings: Settings) -> Policy | None:
    if not settings.access and not settings.read_only:
        return None
    return Policy(settings.access, read_only=settings.read_only)
