"""The store in an etcd cluster. Several servers may share it; none knows of the others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sttp_reactor.errors import StoreError
from sttp_reactor.store.base import AnyRead, Found, OnChange, Write
from sttp_reactor.store.etcd.cluster import Cluster
from sttp_reactor.store.etcd.keys import Keys
from sttp_reactor.store.etcd.reading import Reader
from sttp_reactor.store.etcd.writing import Writer


class EtcdStore:
    """Implements `store.base.Store`."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        """`prefix` begins every key of ours, and no key of anybody else's. The cluster's connections are closed with
        the store."""
        self._cluster = cluster
        keys = Keys(prefix)
        self._reader = Reader(cluster, keys)
        self._writer = Writer(cluster, keys)

    def open(self, on_change: OnChange | None = None) -> None:
        self._cluster.open()

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        return self._reader.read(list(reads))

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        return self._writer.commit(writes)

    def checkpoint(self) -> None:
        pass  # an acknowledged write is on the disks of most members

    def close(self) -> None:
        self._cluster.close()
