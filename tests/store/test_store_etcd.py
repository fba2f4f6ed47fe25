"""What the store in etcd does beyond the contract that all stores have (see `test_store_contract`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from etcd_cluster import EtcdCluster, new_prefix
from hypothesis import given, settings
from store_support import DONE, commit, create, delete, found, in_cluster, listed, message, needs_etcd, show, update
from test_store_model import answers, batches, outcomes

from sttp_reactor.store.base import Read, Write
from sttp_reactor.store.etcd.cluster import Cluster
from sttp_reactor.store.etcd.keys import Keys
from sttp_reactor.store.etcd.store import EtcdStore
from sttp_reactor.store.etcd.wording import put, remove
from sttp_reactor.store.etcd.writing import OPERATIONS
from sttp_reactor.store.memory import MemoryStore

pytestmark = needs_etcd


@pytest.fixture
def store(in_etcd: Callable[[], EtcdStore]) -> Iterator[EtcdStore]:
    made = in_etcd()
    made.open()
    yield made
    made.close()


def raw(store: EtcdStore) -> tuple[Cluster, Keys]:
    """What somebody else would use, to write what we never would."""
    return store._cluster, store._writer._keys


class TestBatches:
    @pytest.mark.parametrize("is_new", [True, False], ids=["one store", "a new one for each batch"])
    def test_any_sequence_of_batches_leaves_a_cluster_as_it_leaves_memory(
        self, etcd: EtcdCluster, *, is_new: bool
    ) -> None:
        """A new store knows no directories, so it asks for all of them."""

        @settings(max_examples=40)
        @given(batches)
        def in_one_go(batch: list[Write]) -> None:
            nonlocal store, memory, done
            if done % 8 == 0:  # until then one batch meets what others have left
                store.close()
                store, memory = in_cluster(etcd), MemoryStore()
                store.open()
            elif is_new:
                store._writer._known.clear()
            done += 1
            assert outcomes(store, batch) == outcomes(memory, batch)
            assert answers(store) == answers(memory)

        done, store, memory = 0, in_cluster(etcd), MemoryStore()
        try:
            in_one_go()
        finally:
            store.close()

    def test_a_batch_is_one_round_trip(self, store: EtcdStore, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[int] = []
        cluster, _ = raw(store)
        ask = cluster._ask
        monkeypatch.setattr(cluster, "_ask", lambda *a, **k: (asked.append(1), ask(*a, **k))[1])
        writes = [create(f"/d{number % 7}/e/{number}") for number in range(OPERATIONS)]
        assert commit(store, *writes) == [DONE] * OPERATIONS
        assert len(asked) == 1
        assert found(store, *[Read(write.path) for write in writes[:50]]) == [b"text"] * 50
        assert len(asked) == 2

    def test_two_stores_share_a_tree(self, etcd: EtcdCluster) -> None:
        prefix = new_prefix()
        one, other = in_cluster(etcd, prefix), in_cluster(etcd, prefix)
        assert commit(one, create("/a/b", "1")) == [DONE]
        assert commit(other, create("/a/b"), create("/a/b/c"), update("/a/b", "2")) == [300, 510, DONE]
        assert (show(one, "/a/b"), listed(other, "/a")) == ("2", ["b"])
        one.close()
        other.close()

    def test_directories_that_were_there_are_looked_for_again(self, store: EtcdStore) -> None:
        """Somebody has emptied the cluster under a running server."""
        assert commit(store, create("/d/e/a")) == [DONE]
        cluster, keys = raw(store)
        cluster.write([remove(key) for key in (keys.directory(b"/d"), keys.directory(b"/d/e"), keys.file(b"/d/e/a"))])
        assert commit(store, create("/d/e/b"), create("/d/e/c")) == [DONE, DONE]
        assert listed(store, "/d") == ["e/"]
        assert listed(store, "/d/e") == ["b", "c"]

    def test_the_deepest_and_longest_path(self, store: EtcdStore) -> None:
        path = "/" + "/".join(["d" * 120] * 63) + "/" + "\U0001f600" * 32
        assert commit(store, create(path, "deep"), create(path + "/x")) == [DONE, 510]
        assert show(store, path) == "deep"

    def test_what_is_too_much_for_the_cluster_goes_out_in_parts(self) -> None:
        with EtcdCluster(1, ["--max-txn-ops", "16", "--max-request-bytes", "20000"]) as cluster:
            store = in_cluster(cluster)
            paths = [f"/{'d' * 200}{number % 5}/e/{number}" for number in range(60)]
            assert commit(store, *[create(path, "x" * 160) for path in paths]) == [DONE] * 60
            deep = create("/" + "/".join("abcdefghijklmnop") + "/file")
            assert commit(store, deep, create("/after")) == [500, DONE]
            assert message(store, deep).startswith("the cluster refuses it: ")
            store.close()


class TestWhatOthersPutThere:
    @pytest.mark.parametrize("value", [b"a\nb", b"\xff", b"x" * 161, b"\x07"])
    def test_a_value_that_is_no_contents(self, store: EtcdStore, value: bytes) -> None:
        cluster, keys = raw(store)
        cluster.write([put(keys.file(b"/a"), value)])
        assert show(store, "/a") == 500
        assert commit(store, update("/a", "good")) == [DONE]
        assert show(store, "/a") == "good"

    def test_an_editors_line_end(self, store: EtcdStore) -> None:
        cluster, keys = raw(store)
        cluster.write([put(keys.file(b"/a"), b"text\n")])
        assert show(store, "/a") == "text"

    def test_names_that_no_request_could_name(self, store: EtcdStore) -> None:
        cluster, keys = raw(store)
        odd = [b"/a b", b"/\xff", b"/" + b"x" * 33, b"/.sttp", b"/.sttpx"]
        cluster.write([*[put(keys.file(name)) for name in odd], put(keys.file(b"/good"))])
        assert listed(store) == ["good"]

    def test_keys_beside_ours(self, etcd: EtcdCluster) -> None:
        prefix = new_prefix()
        stores = [in_cluster(etcd, each) for each in (prefix, prefix[:-1] + "0/", prefix[:-1] + "t/", prefix + "x/")]
        for number, store in enumerate(stores):
            assert commit(store, create("/t/a", str(number)), create(f"/{number}")) == [DONE, DONE]
        for number, store in enumerate(stores):
            assert listed(store) == [str(number), "t/"]
            assert show(store, "/t/a") == str(number)
            store.close()


def test_a_directory_of_many_pages_is_listed_as_it_was_at_one_moment(store: EtcdStore) -> None:
    names = sorted(f"{number:x}" for number in range(2500))
    assert commit(store, *[create(f"/d/{name}") for name in names]) == [DONE] * 2500
    assert listed(store, "/d") == names
    cluster, _ = raw(store)
    read = cluster.read

    def read_while_it_changes(ranges: list[dict[str, object]]) -> dict[str, object]:
        answer = read(ranges)
        commit(store, delete(f"/d/{names[-1]}"))
        return answer

    cluster.read = read_while_it_changes  # type: ignore[method-assign, assignment]
    assert listed(store, "/d") == names
    assert listed(store, "/d") == names[:-1]


@pytest.mark.parametrize("key", [b"", b"/a", b"/a/b", b"/a/b/c"])
def test_the_path_of_a_key(key: bytes) -> None:
    keys = Keys("/sttp/")
    assert keys.path_of(keys.file(key + b"/name")) == key + b"/name"
    assert keys.path_of(keys.directory(key + b"/name")) is None
    assert keys.path_of(keys.last_write) is None


def test_a_full_cluster_refuses_writes_and_answers_reads() -> None:
    with EtcdCluster(1, ["--quota-backend-bytes", "300000"]) as cluster:
        store = in_cluster(cluster)
        assert commit(store, create("/first", "text")) == [DONE]
        codes: list[int] = []
        for number in range(40):
            codes += commit(store, *[create(f"/{number}-{each}", "x" * 160) for each in range(60)])
            if codes[-1] == 500:
                break
        assert codes[-1] == 500
        assert message(store, update("/first")) == "the cluster's space is used up"
        assert show(store, "/first") == "text"
        assert listed(store, "/none") == 400
        store.close()
