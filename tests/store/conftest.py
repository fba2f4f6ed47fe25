from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from etcd_cluster import EtcdCluster
from store_support import disk, in_cluster

from sttp_reactor.store.disk import journal
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.etcd.store import EtcdStore

MEMORY = Path("/dev/shm")


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """A directory in memory where there is such a thing: what is shown here does not depend on the disk, and thousands
    of syncs of one that others use as well take their time. (`test_store_power_cut` has a file system of its own.)"""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="sttp-store-", dir=MEMORY))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdCluster]:
    """One member, for what does not depend on there being more."""
    with EtcdCluster(1) as cluster:
        yield cluster


@pytest.fixture
def in_etcd(etcd: EtcdCluster) -> Callable[[], EtcdStore]:
    """Makes stores, each in a place of its own."""
    return partial(in_cluster, etcd)


@pytest.fixture
def docroot(tmp_path: Path) -> Path:
    return tmp_path / "docroot"


@pytest.fixture
def store(docroot: Path) -> Iterator[DiskStore]:
    with disk(docroot) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _modest_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many hundreds of journals are made here."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES", (128 << 10, 64 << 10))


@pytest.fixture
def small_journal(monkeypatch: pytest.MonkeyPatch) -> int:
    """A journal that is full soon; its size in bytes."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES", (8192, 8192))
    return 8192
