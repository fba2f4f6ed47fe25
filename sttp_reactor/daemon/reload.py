"""Going on with other settings while the server runs, all or nothing.

First everything that can fail: files are opened, addresses bound, beside what is in use. Only then is the running
server touched, and nothing of that can fail. Connections that are there stay, and so does what is cached.

What the rest of the server is built on cannot be exchanged under it: the keys that are `fixed` keep their values until
the next start.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from sttp_reactor.config import differences
from sttp_reactor.daemon import logs
from sttp_reactor.net.endpoints import Endpoint, Sockets, bind_all, bind_beside, set_modes
from sttp_reactor.sttp.access_log import AccessLog
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.listening import endpoints_of, tls_context_of, unix_mode_of
from sttp_reactor.sttp.samples import ACCESS_DROPPED
from sttp_reactor.sttp.server import Server, session_limits
from sttp_reactor.sttp.settings import Settings

# What says where to listen.
LISTENING: Final = (
    "listen_address",
    "port",
    "tls.port",
    "http.enabled",
    "http.listen_address",
    "http.port",
    "http.tls",
)

# The same, and what it takes to listen for TLS: with a certificate there are endpoints for it, without one none.
ENDPOINTS: Final = (*LISTENING, "tls.certificate")

# What says who may do what, and how often they may come.
ACCESS: Final = ("access", "read_only", "limits.max_connections_per_address")


class Change:
    """Other settings for a running server, prepared: now `apply` them or `cancel`."""

    def __init__(self, server: Server, settings: Settings, endpoints: Collection[Endpoint]) -> None:
        """`endpoints` are all to listen on. Raises StartError, with nothing left open."""
        self._server = server
        self._settings = settings
        self._endpoints = endpoints
        self._tls = tls_context_of(settings, endpoints)
        server.prepare_door(endpoints)
        self._access_log = server.access_log
        self._opened: AccessLog | None = None
        if differences(TABLE, server.settings, settings, ("log.access", "log.format")):
            self._access_log = self._opened = server.open_access_log(settings)

    def cancel(self) -> None:
        if self._opened is not None:
            self._opened.close(0)

    def apply(self, sockets: Sockets) -> None:
        """`sockets` are those of the endpoints that are new; they are taken over."""
        server, settings = self._server, self._settings
        before, server.settings = server.settings, settings
        logs.set_up(settings.log.level, settings.log.format)
        cache = server.service.cache
        self._apply_cache(before)
        self._apply_to_sessions(has_other_cache=server.service.cache is not cache)
        if differences(TABLE, before, settings, ACCESS):
            server.use_access(settings)
        server.use_tls(self._tls, settings)
        if server.door is not None:
            server.door.reconfigure()
        for listener in server.listeners.values():
            listener.write_timeout = settings.limits.write_timeout
        server.listen(sockets)
        server.stop_listening([each for each in server.listeners if each not in self._endpoints], accept_waiting=True)

    def _apply_cache(self, before: Settings) -> None:
        service, cache, longest = self._server.service, self._settings.cache, self._settings.limits.max_line
        if cache == before.cache and longest == before.limits.max_line:
            return
        if service.cache is not None and cache.enabled:
            service.cache.set_limits(cache.max_files, cache.max_size, cache.expiration, longest_key=longest)
            service.use_cache(service.cache)
        else:
            service.use_cache(self._server.make_cache(self._settings))

    def _apply_to_sessions(self, *, has_other_cache: bool) -> None:
        server = self._server
        former, server.access_log = server.access_log, self._access_log
        limits = session_limits(self._settings)
        if limits != server.session_limits or former is not server.access_log or has_other_cache:
            server.session_limits = limits
            for session in list(server.sessions):
                session.reconfigure(limits, server.access_log)
        if former is not None and former is not server.access_log:
            server.events.totals[ACCESS_DROPPED] += former.dropped
            former.close(0)  # it writes what it has and ends; the requests do not wait for that


def change_over(server: Server, settings: Settings, *, binds: bool = True) -> None:
    """For a server that is on its own: prepare and apply. `binds` says whether it has bound its own addresses. Raises
    StartError with everything as it was."""
    listeners = server.listeners
    endpoints = list(listeners)
    if binds and differences(TABLE, server.settings, settings, ENDPOINTS):
        endpoints = endpoints_of(settings)
    leaving = [listener.sock for endpoint, listener in listeners.items() if endpoint not in endpoints]
    change = Change(server, settings, endpoints)
    try:
        new = (endpoint for endpoint in endpoints if endpoint not in listeners)
        mode = unix_mode_of(settings)
        sockets = bind_all(new, lambda endpoint: bind_beside(endpoint, leaving, mode))
    except BaseException:
        change.cancel()
        raise
    change.apply(sockets)
    set_modes({endpoint: listener.sock for endpoint, listener in listeners.items()}, mode)
