"""A cluster that wants to know who we are, and one that is spoken to by TLS only."""

from __future__ import annotations

import contextlib
import json
import ssl
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from etcd_cluster import EtcdCluster
from store_support import DONE, PATIENT, commit, create, listed, message, needs_etcd, show, update

from sttp_reactor.errors import StartError
from sttp_reactor.store.etcd.channel import endpoint_of
from sttp_reactor.store.etcd.cluster import Cluster, password_in
from sttp_reactor.store.etcd.store import EtcdStore

pytestmark = needs_etcd

TLS = Path(__file__).parent.parent / "tls"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(cluster: EtcdCluster, path: str, **fields: object) -> None:
    request = urllib.request.Request(f"{cluster.urls[0]}/v3/auth/{path}", json.dumps(fields).encode())
    _direct.open(request, timeout=10).close()


@pytest.fixture(scope="module")
def guarded() -> Iterator[EtcdCluster]:
    """The user `sttp` has the password `secret`, and may do everything below /sttp/."""
    with EtcdCluster(1) as cluster:
        for name in ("root", "sttp"):
            call(cluster, "user/add", name=name, password="secret")
            call(cluster, "role/add", name=name)
            call(cluster, "user/grant", user=name, role=name)
        permission = {"permType": "READWRITE", "key": "L3N0dHAv", "range_end": "L3N0dHAw"}  # /sttp/ to /sttp0
        call(cluster, "role/grant", name="sttp", perm=permission)
        call(cluster, "enable")
        yield cluster


@contextlib.contextmanager
def store_of(cluster: EtcdCluster, prefix: str, user: str, password: Callable[[], str]) -> Iterator[EtcdStore]:
    store = EtcdStore(Cluster([endpoint_of(url) for url in cluster.urls], PATIENT, None, user, password), prefix)
    try:
        yield store
    finally:
        store.close()


def test_a_user_with_a_password(guarded: EtcdCluster, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    with store_of(guarded, "/sttp/", "sttp", password_in(file)) as store:
        store.open()
        assert commit(store, create("/d/a", "1"), update("/d/a")) == [DONE, DONE]
        assert (show(store, "/d/a"), listed(store, "/d")) == ("other", ["a"])
        assert store.barrier is not None
        until = time.monotonic() + 20
        while not store.barrier():
            assert time.monotonic() < until, "the watch is not let in"


def test_a_token_that_is_no_longer_good_is_renewed(guarded: EtcdCluster) -> None:
    """Members forget a token that was not used for five minutes."""
    asked: list[str] = []

    def password() -> str:
        asked.append("secret")
        return asked[-1]

    with store_of(guarded, "/sttp/", "sttp", password) as store:
        store.open()
        assert commit(store, create("/token")) == [DONE]
        before = len(asked)
        store._cluster._token = "forgotten.7"
        assert commit(store, update("/token", "anew")) == [DONE]
        store._cluster._token = "forgotten.8"
        assert show(store, "/token") == "anew"
        assert len(asked) == before + 2


@pytest.mark.parametrize(("user", "password"), [("sttp", "wrong"), ("nobody", "secret"), ("", "")])
def test_who_is_not_let_in_does_not_start(guarded: EtcdCluster, user: str, password: str) -> None:
    with store_of(guarded, "/sttp/", user, lambda: password) as store, pytest.raises(StartError, match="the cluster"):
        store.open()


def test_a_password_that_cannot_be_read(guarded: EtcdCluster, tmp_path: Path) -> None:
    password = password_in(tmp_path / "none")
    with store_of(guarded, "/sttp/", "sttp", password) as store, pytest.raises(StartError, match="cannot be read"):
        store.open()


def test_beyond_its_rights_it_is_refused(guarded: EtcdCluster) -> None:
    with store_of(guarded, "/elsewhere/", "sttp", lambda: "secret") as store:
        with pytest.raises(StartError, match="denies the permission"):
            store.open()
        assert message(store, create("/a")) == "the cluster denies the permission"


@pytest.fixture(scope="module")
def by_tls() -> Iterator[EtcdCluster]:
    files = {"--cert-file": "server.pem", "--key-file": "server.key"}
    with EtcdCluster(1, tls=[word for flag, file in files.items() for word in (flag, str(TLS / file))]) as cluster:
        yield cluster


def context(ca: str) -> Callable[[], ssl.SSLContext]:
    return lambda: ssl.create_default_context(cafile=str(TLS / ca))


def test_tls(by_tls: EtcdCluster) -> None:
    store = EtcdStore(Cluster([endpoint_of(url) for url in by_tls.urls], PATIENT, context("ca.pem")), "/sttp/")
    store.open()
    try:
        until = time.monotonic() + 20
        while commit(store, create("/a")) == [500]:
            assert time.monotonic() < until
        assert show(store, "/a") == "text"
        assert commit(store, update("/a")) == [DONE]
        assert store.barrier is not None
        while not store.barrier():
            assert time.monotonic() < until
    finally:
        store.close()


def test_a_cluster_that_nobody_vouches_for_gets_nothing(by_tls: EtcdCluster) -> None:
    quick = PATIENT._replace(read=0.2)
    cluster = Cluster([endpoint_of(url) for url in by_tls.urls], quick, context("stranger-ca.pem"))
    store = EtcdStore(cluster, "/sttp/")
    store.open()
    try:
        assert "its certificate" in str(show_message(store))
    finally:
        store.close()


def show_message(store: EtcdStore) -> object:
    from sttp_reactor.store.base import Read

    ((_, found),) = store.read(iter([Read(b"/a")]))
    return found
