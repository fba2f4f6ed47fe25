"""The store in an etcd cluster. Several servers may share it; none knows of the others."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence

from sttp_reactor.errors import StartError, StoreError, StoreFailed
from sttp_reactor.store.base import AnyRead, Found, OnChange, Write
from sttp_reactor.store.etcd.answers import RefusedWhole
from sttp_reactor.store.etcd.cluster import Cluster
from sttp_reactor.store.etcd.keys import Keys
from sttp_reactor.store.etcd.reading import Reader
from sttp_reactor.store.etcd.wording import presence
from sttp_reactor.store.etcd.writing import Writer

log = logging.getLogger(__name__)


class EtcdStore:
    """Implements `store.base.Store`."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        """`prefix` begins every key of ours, and no key of anybody else's. The cluster's connections are closed with
        the store."""
        self._cluster = cluster
        self._keys = Keys(prefix)
        self._reader = Reader(cluster, self._keys)
        self._writer = Writer(cluster, self._keys)

    def open(self, on_change: OnChange | None = None) -> None:
        """Where no member answers, that is told of, and everything is answered 500 until one does. Raises StartError
        where it would not help to wait."""
        self._cluster.open()
        try:
            self._cluster.read([presence(self._keys.last_write)])
        except RefusedWhole as error:
            raise StartError(f"the cluster at {self._cluster}: {error.message}") from error
        except StoreFailed as error:
            log.warning("the cluster at %s: %s; waiting for it", self._cluster, error.message)

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        return self._reader.read(list(reads))

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        return self._writer.commit(writes)

    def checkpoint(self) -> None:
        pass  # an acknowledged write is on the disks of most members

    def close(self) -> None:
        self._cluster.close()
