"""sttpd with its files in an etcd cluster: a client cannot tell which store is behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from corpus_files import all_cases
from etcd_cluster import ETCD, EtcdCluster, new_prefix
from ports import free_port
from running import Start, Sttpd

pytestmark = pytest.mark.skipif(ETCD is None, reason="etcd is not installed")

# A busy machine is not what these tests are about.
PATIENT = ["store.timeout.connect=10", "store.timeout.read=10", "store.timeout.write=30", "store.timeout.stale=30"]

StartOn = Callable[..., Sttpd]


@pytest.fixture(scope="module")
def cluster() -> Iterator[EtcdCluster]:
    with EtcdCluster(1) as cluster:
        yield cluster


def options(urls: list[str], prefix: str, *more: str) -> list[str]:
    given = ["store.engine=etcd", f"store.endpoints={','.join(urls)}", f"store.prefix={prefix}", *more]
    return [word for option in given for word in ("-o", option)]


def patient(urls: list[str], prefix: str, *more: str) -> list[str]:
    return options(urls, prefix, *PATIENT, *more)


@pytest.fixture(scope="module", params=["linearizable", "cached"])
def pair(request: pytest.FixtureRequest, start_for_all: Start, cluster: EtcdCluster) -> tuple[Sttpd, Sttpd]:
    """A server on a disk and one on a cluster, both empty."""
    on_disk = start_for_all(docroot=f"disk-{request.param}")
    on_etcd = start_for_all(*patient(cluster.urls, new_prefix(), f"store.reads={request.param}"), docroot="none")
    return on_disk, on_etcd


def test_everything_in_the_corpus_is_answered_byte_for_byte_as_by_a_disk(pair: tuple[Sttpd, Sttpd]) -> None:
    on_disk, on_etcd = pair
    for case in all_cases():
        assert on_etcd.converse(case.requests) == on_disk.converse(case.requests), case.name
    assert not Path("none").exists()


CONVERSATION = [
    b"CREATE /t/file text", b"CREATE /t/directory/x x", b"DELETE /t/directory/x", b"CREATE /t/new/deep/x one",
    b"SHOW /t/file", b"SHOW /t/file", b"LIST /t/directory/", b"LIST /t/directory", b"LIST /t", b"LIST /",
    b'UPDATE /t/new/deep/x "two"', b'UPDATE /t/new/deep/x ""', b"SHOW /t/new/deep/x", b"CREATE /t/file x",
    b"CREATE /t/directory x", b"SHOW /t/directory", b"UPDATE /t/directory x", b"DELETE /t/directory", b"LIST /t/file",
    b"SHOW /t/none", b"UPDATE /t/none x", b"SHOW /none/x", b"DELETE /none/x", b"LIST /none/x/", b"LIST /none",
    b"SHOW /t/file/x", b"LIST /t/file/x", b"CREATE /t/file/x y", b"DELETE /t/new/deep/x", b"SHOW /t/new/deep/x",
    b"LIST /t/new/", b"UPDATE /t/file \xf0\x9f\x98\x80", b"SHOW /t/file", b"DELETE /t/file", b"LIST /t",
]  # fmt: skip


def test_a_conversation_one_after_the_other_and_all_at_once(pair: tuple[Sttpd, Sttpd]) -> None:
    on_disk, on_etcd = pair
    with on_disk.connect() as wire, on_etcd.connect() as other:
        for request in CONVERSATION:
            assert other.ask(request) == wire.ask(request), request
    everything = b"".join(request + b"\n" for request in CONVERSATION)
    assert on_etcd.converse(everything) == on_disk.converse(everything)


def test_what_was_written_is_there_for_another_server_and_after_a_restart(start: Start, cluster: EtcdCluster) -> None:
    prefix = new_prefix()
    one, other = (start(*patient(cluster.urls, prefix)) for _ in range(2))
    with one.connect() as here, other.connect() as there:
        for number in range(20):
            assert here.ask(b"CREATE /d/%d text" % number).startswith(b"100")
            assert there.ask(b"SHOW /d/%d" % number) == b"200 /d/%d OK\ntext\n" % number
            assert there.ask(b"UPDATE /d/%d new" % number).startswith(b"200")
            assert here.ask(b"SHOW /d/%d" % number) == b"200 /d/%d OK\nnew\n" % number
    one.stop()
    with start(*patient(cluster.urls, prefix)).connect() as again:
        assert again.ask(b"SHOW /d/7") == b"200 /d/7 OK\nnew\n"


def test_without_a_cluster_it_says_so_and_waits(start: Start) -> None:
    cluster = EtcdCluster(1)
    quick = ["store.timeout.read=0.2", "store.timeout.connect=0.2"]
    server = start(*options([*cluster.urls, f"http://127.0.0.1:{free_port()}"], "/sttp/", *quick))
    assert "waiting for it" in server.log
    try:
        with server.connect() as wire:
            assert wire.ask(b"SHOW /a").startswith(b'500 /a SERVER ERROR "the cluster cannot be reached (')
            assert wire.ask(b"LIST /").startswith(b'500 / SERVER ERROR "the cluster cannot be reached (')
            with cluster:
                assert wire.ask(b"CREATE /a text") == b"100 /a CREATED\n"
                assert wire.ask(b"SHOW /a") == b"200 /a OK\ntext\n"
    finally:
        cluster.close()


def test_files_that_cannot_be_used_keep_it_from_starting(start: Start) -> None:
    with pytest.raises(AssertionError, match=r"store\.tls\.ca .*no\.pem: no such file"):
        start(*options(["https://127.0.0.1:1"], "/sttp/", "store.tls.ca=no.pem"))
