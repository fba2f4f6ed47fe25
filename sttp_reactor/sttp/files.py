"""The backend of a server of files: a store, the service that asks it, and the cache between them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sttp_reactor.metrics import Sample
from sttp_reactor.net.threads import start_deaf
from sttp_reactor.store.base import Store
from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.sttp.cache import Cache
from sttp_reactor.sttp.counts import Counts
from sttp_reactor.sttp.service import Service
from sttp_reactor.sttp.settings import Settings
from sttp_reactor.sttp.stores import make_store

if TYPE_CHECKING:
    from sttp_reactor.sttp.server import Server

log = logging.getLogger(__name__)


class Files:
    """A `backend.Backend`. `service`, which is its answerer, is there once it is open."""

    service: Service

    def __init__(self, server: Server, store: Store | None, claim: Claim | None) -> None:
        """`store` is made from the settings where it is None; `claim`, where others serve the same docroot."""
        self._server = server
        self._settings = server.settings
        self._closing: threading.Thread | None = None
        self._store = make_store(server.settings, claim) if store is None else store

    @property
    def answerer(self) -> Service:
        return self.service

    @property
    def counts(self) -> Counts:
        return self.service.counts

    @property
    def under_way(self) -> int:
        return self.service.under_way

    def open(self) -> None:
        server, cache = self._server, self._make_cache(self._settings)
        threads = self._settings.disk_threads
        self.service = Service(server.reactor, self._store, cache, threads, server.team, server.events)
        self._store.open(self.service.changed_elsewhere)

    def prepare(self, settings: Settings) -> None:
        """What takes its time stays as it is until the next start."""

    def take(self, settings: Settings, prepared: None) -> bool:
        before, self._settings = self._settings, settings
        service, former = self.service, self.service.cache
        cache, longest = settings.cache, settings.limits.max_line
        if cache == before.cache and longest == before.limits.max_line:
            return False
        if former is not None and cache.enabled:
            former.set_limits(cache.max_files, cache.max_size, cache.expiration, longest_key=longest)
            service.use_cache(former)
        else:
            service.use_cache(self._make_cache(settings))
        return service.cache is not former

    def samples(self) -> Iterable[Sample]:
        yield from self.service.samples()
        yield from self._store.samples()

    def details(self) -> Iterable[str]:
        yield f"workers: {self.service!r}"
        yield f"store: {self._store!r}"

    def drain(self, done: Callable[[], None]) -> None:
        if self._closing is None:
            self._closing = self._begin_to_close(lambda: self._server.reactor.call_soon_threadsafe(done))

    def close(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        ended = not hasattr(self, "service") or self.service.close(patience)
        if ended:
            if self._closing is None:
                self._closing = self._begin_to_close(lambda: None)
            self._closing.join(max(0.0, deadline - time.monotonic()))
            ended = not self._closing.is_alive()
        if not ended:
            log.warning("the disk did not answer in time; its work is left to the next start")
        return ended

    def _begin_to_close(self, done: Callable[[], None]) -> threading.Thread:
        """In a thread of its own, since a disk may hang in the middle of it: then it is left behind."""

        def close() -> None:
            try:
                self._store.close()
            except Exception:
                log.exception("the store could not be closed")
            done()

        thread = threading.Thread(target=close, name="sttp-close", daemon=True)
        start_deaf(thread)
        return thread

    def _make_cache(self, settings: Settings) -> Cache | None:
        cache = settings.cache
        if not cache.enabled:
            return None
        longest = settings.limits.max_line
        clock = self._server.reactor.clock
        return Cache(cache.max_files, cache.max_size, cache.expiration, clock, longest_key=longest)
