"""The store in an etcd cluster. Several servers may share it; none knows of the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from sttp_reactor.errors import StartError, StoreError, StoreFailed
from sttp_reactor.metrics import LOWEST, Sample
from sttp_reactor.store.base import AnyRead, Found, OnChange, Write
from sttp_reactor.store.etcd.answers import RefusedWhole
from sttp_reactor.store.etcd.cluster import Cluster
from sttp_reactor.store.etcd.keys import Keys
from sttp_reactor.store.etcd.reading import Reader
from sttp_reactor.store.etcd.watching import Watch
from sttp_reactor.store.etcd.wording import presence
from sttp_reactor.store.etcd.writing import Writer

log = logging.getLogger(__name__)


class EtcdStore:
    """Implements `store.base.Store`."""

    def __init__(self, cluster: Cluster, prefix: str, *, cached: bool = False) -> None:
        """`prefix` begins every key of ours, and no key of anybody else's. With `cached`, what has been read may be
        shown until we are told that it has changed; without, only after the barrier. The cluster's connections are
        closed with the store."""
        self._cluster = cluster
        self._keys = Keys(prefix)
        self._watch = Watch(cluster, self._keys)
        self._is_cached = cached
        # What is shown must not be newer than what is cached: who has seen it would be shown older things next.
        self._reader = Reader(cluster, self._keys, self._watch.wait_for if cached else None)
        self._writer = Writer(cluster, self._keys)

    def open(self, on_change: OnChange | None = None) -> None:
        """Where no member answers, that is told of, and everything is answered 500 until one does. Raises StartError
        where it would not help to wait."""
        self._cluster.open()
        answer = None
        try:
            answer = self._cluster.read([presence(self._keys.last_write)])
        except RefusedWhole as error:
            raise StartError(f"the cluster at {self._cluster}: {error.message}") from error
        except StoreFailed as error:
            log.warning("the cluster at %s: %s; waiting for it", self._cluster, error.message)
        self._watch.open(on_change or (lambda paths: None), answer)

    @property
    def is_telling(self) -> bool:
        return self._is_cached and self._watch.is_live

    @property
    def barrier(self) -> Callable[[], bool] | None:
        return None if self._is_cached else self._watch.barrier

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        return self._reader.read(list(reads))

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        return self._writer.commit(writes)

    def samples(self) -> Iterable[Sample]:
        yield Sample("sttp_store_watch_up", LOWEST, (), int(self._watch.is_live))
        yield Sample("sttp_store_watch_revision", LOWEST, (), self._watch.revision)

    def checkpoint(self) -> None:
        pass  # an acknowledged write is on the disks of most members

    def close(self) -> None:
        self._cluster.close()
        self._watch.close()

    def __repr__(self) -> str:
        state = "live" if self._watch.is_live else "behind, or away"
        return f"<EtcdStore {self._cluster}: watch {state}, told up to revision {self._watch.revision}>"
