"""What a store in etcd tells of the changes of others, and when it says that it has told all of them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Collection, Iterator

import pytest
from etcd_cluster import EtcdCluster, new_prefix
from relay import Relay
from store_support import DONE, commit, create, delete, in_cluster, needs_etcd, show, update

from sttp_reactor.store.etcd.channel import endpoint_of
from sttp_reactor.store.etcd.cluster import Cluster, Timeouts
from sttp_reactor.store.etcd.store import EtcdStore

pytestmark = needs_etcd

EVERYTHING = b"everything"
# Only a failing test waits that long.
PATIENCE_SECONDS = 20.0


class Told:
    """What `on_change` was called with; EVERYTHING for None."""

    def __init__(self) -> None:
        self.paths: list[bytes] = []

    def __call__(self, paths: Collection[bytes] | None) -> None:
        self.paths += [EVERYTHING] if paths is None else paths

    def forget(self) -> None:
        self.paths = []


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it has not come about"
        time.sleep(0.005)


def store_at(urls: list[str], prefix: str, *, cached: bool = False, stale: float = 30.0) -> EtcdStore:
    timeouts = Timeouts(connect=10, read=0.5 if stale < 10 else 10, write=30, stale=stale)
    return EtcdStore(Cluster([endpoint_of(url) for url in urls], timeouts), prefix, cached=cached)


@contextlib.contextmanager
def opened(store: EtcdStore) -> Iterator[Told]:
    told = Told()
    store.open(told)
    try:
        yield told
    finally:
        store.close()


def confirmed(store: EtcdStore) -> bool:
    """Its barrier; where the watch was late, again: a busy machine is not what is tested."""
    barrier = store.barrier
    assert barrier is not None
    until(barrier)
    return True


@pytest.fixture
def other(etcd: EtcdCluster) -> Iterator[EtcdStore]:
    """Another server's."""
    store = in_cluster(etcd)
    store.open()
    yield store
    store.close()


def prefix_of(store: EtcdStore) -> str:
    return store._keys.everything.first.decode()


def test_past_the_barrier_everything_has_been_told(etcd: EtcdCluster, other: EtcdStore) -> None:
    one = store_at(etcd.urls, prefix_of(other))
    with opened(one) as told:
        for number in range(50):
            told.forget()
            path = f"/d/{number}"
            assert commit(other, create(path), update(path), create(f"/e{number}/x"), delete(path)) == [DONE] * 4
            assert confirmed(one)
            assert sorted(told.paths) == sorted([path.encode()] * 3 + [b"/e%d/x" % number])


def test_what_others_keep_in_the_cluster_holds_up_nobody(etcd: EtcdCluster, other: EtcdStore) -> None:
    one, stranger = store_at(etcd.urls, new_prefix()), other
    with opened(one) as told:
        assert commit(one, create("/a")) == [DONE]
        assert confirmed(one)
        told.forget()
        assert commit(stranger, create("/b")) == [DONE]
        assert confirmed(one)
        assert told.paths == []


def test_a_watch_that_is_cut_misses_nothing(etcd: EtcdCluster, other: EtcdStore) -> None:
    with Relay(etcd.members[0].port) as relay, opened(one := store_at([relay.url], prefix_of(other))) as told:
        for number in range(30):
            relay.cut()
            assert commit(other, create(f"/{number}")) == [DONE]
        assert confirmed(one)
        assert EVERYTHING not in told.paths[1:]
        assert set(told.paths[1:]) == {b"/%d" % number for number in range(30)}


def test_a_watch_that_hears_nothing_is_not_relied_on(etcd: EtcdCluster, other: EtcdStore) -> None:
    """The watch's answers do not arrive, while the cluster does answer otherwise: by its other endpoint."""
    with (
        Relay(etcd.members[0].port) as relay,
        opened(one := store_at([relay.url, *etcd.urls], prefix_of(other), stale=1.0)) as told,
    ):
        assert confirmed(one)
        relay.swallow_answers()
        assert commit(other, create("/a")) == [DONE]
        assert one.barrier is not None
        if one.barrier():
            assert b"/a" in told.paths
        until(one.barrier)  # a watch by the other endpoint
        assert b"/a" in told.paths


def test_cached_reads_are_set_aside_where_nothing_is_told_for_too_long(etcd: EtcdCluster, other: EtcdStore) -> None:
    with (
        Relay(etcd.members[0].port) as relay,
        opened(one := store_at([relay.url], prefix_of(other), cached=True, stale=1.0)) as told,
    ):
        assert one.barrier is None
        until(lambda: one.is_telling)
        told.forget()
        relay.swallow()
        began = time.monotonic()
        until(lambda: not one.is_telling)
        assert time.monotonic() - began < 5.0
        until(lambda: EVERYTHING in told.paths)
        assert commit(other, create("/a")) == [DONE]
        relay.heal()
        until(lambda: one.is_telling)
        assert b"/a" in told.paths


def test_what_is_read_has_been_told(etcd: EtcdCluster, other: EtcdStore) -> None:
    """With cached reads: nothing is shown that is newer than what is cached."""
    one = store_at(etcd.urls, prefix_of(other), cached=True)
    with opened(one) as told:
        until(lambda: one.is_telling)
        for number in range(100):
            assert commit(other, create(f"/{number}"), create(f"/beside-{number}")) == [DONE, DONE]
            assert show(one, f"/{number}") == "text"
            assert b"/beside-%d" % number in told.paths


def test_a_revision_that_is_no_longer_kept_may_have_changed_everything(etcd: EtcdCluster, other: EtcdStore) -> None:
    with Relay(etcd.members[0].port) as relay, opened(one := store_at([relay.url], prefix_of(other))) as told:
        assert confirmed(one)
        told.forget()
        relay.swallow()
        assert commit(other, *[create(f"/{number}") for number in range(70)]) == [DONE] * 70
        compact(other)
        assert commit(other, create("/after")) == [DONE]
        relay.heal()
        assert confirmed(one)
        assert EVERYTHING in told.paths
        told.forget()
        assert commit(other, update("/after")) == [DONE]
        assert confirmed(one)
        assert told.paths == [b"/after"]


def compact(store: EtcdStore) -> None:
    cluster = store._cluster
    revision = cluster.read([{"key": "AA=="}])["header"]["revision"]
    cluster._ask("/v3/kv/compaction", {"revision": revision}, 10.0, is_write=True)


def test_another_cluster_in_its_place_may_have_changed_everything() -> None:
    """Restored from a backup, or made anew: its revisions say nothing of what we know."""
    with EtcdCluster(1) as first, Relay(first.members[0].port) as relay:
        one = store_at([relay.url], "/sttp/")
        with opened(one) as told:
            assert commit(one, *[create(f"/{number}") for number in range(5)]) == [DONE] * 5
            assert confirmed(one)
            told.forget()
            with EtcdCluster(1) as second:
                relay._target = second.members[0].port
                first.close()
                relay.cut()
                until(lambda: EVERYTHING in told.paths)
                assert confirmed(one)
                assert show(one, "/1") == 400
                assert commit(one, create("/1", "anew")) == [DONE]
                assert confirmed(one)
                assert b"/1" in told.paths
                one.close()


def test_it_ends_at_once_amid_anything(etcd: EtcdCluster) -> None:
    threads = threading.active_count()
    with Relay(etcd.members[0].port) as relay:
        one = store_at([relay.url], new_prefix())
        one.open()
        relay.swallow()
        began = time.monotonic()
        one.close()
        assert time.monotonic() - began < 5.0
        assert not [each for each in threading.enumerate() if each.name.startswith("sttp-watch")]
    assert threading.active_count() <= threads
