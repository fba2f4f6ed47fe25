"""Going on with other settings while the server runs, all or nothing, and while nobody waits.

What may take its time is done in a thread: the configuration is read, names are resolved, certificates read, files
opened, beside what is in use. The rest is done in the loop: new addresses are bound while the old ones still listen,
and only then is the running server touched, and nothing of that can fail.

What the rest of the server is built on cannot be exchanged under it: the keys that are `fixed` keep their values until
the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from sttp_reactor.config import differences
from sttp_reactor.daemon.background import Background
from sttp_reactor.daemon.lifecycle import Lifecycle, Wanted
from sttp_reactor.net.endpoints import Endpoint, bind_all, bind_beside, set_modes
from sttp_reactor.sttp.change import Change
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.listening import LISTENING, endpoints_of, unix_mode_of
from sttp_reactor.sttp.server import Server
from sttp_reactor.sttp.settings import Settings

log = logging.getLogger(__name__)

# What says where to listen, and what it takes to listen for TLS: with a certificate there are endpoints for it, without
# one none.
ENDPOINTS: Final = (*LISTENING, "tls.certificate")

P = TypeVar("P")


class Reloads(Generic[P]):
    """One reload at a time: `prepare` is called in a thread, then `take_over` (which raises StartError with everything
    as it was, and returns the addresses listened on), or `cancel`, in the thread that calls `go_on`.

    `wake` is called in the other thread: it has somebody call `go_on`.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        prepare: Callable[[Settings], P],
        take_over: Callable[[P], Iterable[str]],
        cancel: Callable[[P], None],
        wake: Callable[[], None],
    ) -> None:
        self._lifecycle = lifecycle
        self._prepare = prepare
        self._take_over = take_over
        self._cancel = cancel
        self._wake = wake
        self._under_way: Background[tuple[Wanted, P]] | None = None
        self._is_asked = False  # again, since it has begun

    @property
    def began_at(self) -> float | None:
        """When the one under way did, on the monotonic clock."""
        return None if self._under_way is None else self._under_way.began_at

    def begin(self) -> None:
        if self._under_way is not None:
            self._is_asked = True
            log.warning("a reload is still under way, reading or resolving; another one follows when it is through")
            return
        self._lifecycle.reloading()
        self._under_way = Background(self._read, self._wake)

    def go_on(self, *, is_stopping: bool) -> None:
        """Finish what has been prepared, if it has. One that comes when the server stops changes nothing."""
        prepared = self._under_way
        if prepared is None or not prepared.is_over:
            return
        self._under_way = None
        if is_stopping:
            self._drop(prepared)
            return
        self._lifecycle.reload(lambda: self._finish(prepared))
        if self._is_asked:
            self._is_asked = False
            self.begin()

    def _read(self) -> tuple[Wanted, P]:
        wanted = self._lifecycle.read()
        return wanted, self._prepare(wanted.settings)

    def _finish(self, prepared: Background[tuple[Wanted, P]]) -> tuple[Wanted, Iterable[str]]:
        wanted, plan = prepared.result()
        return wanted, self._take_over(plan)

    def _drop(self, prepared: Background[tuple[Wanted, P]]) -> None:
        try:
            self._cancel(prepared.result()[1])
        except Exception as error:
            log.debug("a reload that was under way: %s", error)


def wanted_endpoints(before: Settings, after: Settings, current: Iterable[Endpoint], *, binds: bool) -> list[Endpoint]:
    """All that are to be listened on. `binds` says whether we bind our own. Blocks on name resolution."""
    return endpoints_of(after) if binds and differences(TABLE, before, after, ENDPOINTS) else list(current)


def prepare(server: Server, settings: Settings, *, binds: bool = True) -> Change:
    """For a server that is on its own; in any thread. Raises StartError."""
    return server.prepare(settings, wanted_endpoints(server.settings, settings, server.listeners, binds=binds))


def take_over(server: Server, change: Change) -> list[str]:
    """Bind what is new, beside what is in use, and apply. Raises StartError with everything as it was. Returns the
    addresses listened on."""
    listeners = server.listeners
    leaving = [listener.sock for endpoint, listener in listeners.items() if endpoint not in change.endpoints]
    mode = unix_mode_of(change.settings)
    try:
        change.complete()
        new = [endpoint for endpoint in change.endpoints if endpoint not in listeners]
        sockets = bind_all(new, lambda endpoint: bind_beside(endpoint, leaving, mode))
    except BaseException:
        change.cancel()
        raise
    change.apply(sockets)
    set_modes({endpoint: listener.sock for endpoint, listener in listeners.items()}, mode)
    return server.addresses
