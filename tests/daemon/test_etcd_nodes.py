"""Several servers on one cluster are answered as by one that does one thing after the other (PROTOCOL.md section 2)."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator

import pytest
from etcd_cluster import ETCD, EtcdCluster, new_prefix
from running import Start, Sttpd, Wire
from test_etcd import patient
from test_linearizable import Load

pytestmark = pytest.mark.skipif(ETCD is None, reason="etcd is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[EtcdCluster]:
    with EtcdCluster(3) as cluster:
        yield cluster


class Nodes:
    """Servers that clients are spread over: each connection goes to the next."""

    def __init__(self, *servers: Sttpd) -> None:
        self._next = itertools.cycle(servers)
        self._lock = threading.Lock()

    def connect(self) -> Wire:
        with self._lock:
            server = next(self._next)
        return server.connect()


@pytest.mark.parametrize("processes", [1, 2])
def test_one_order_of_effects_explains_what_all_nodes_reply(start: Start, cluster: EtcdCluster, processes: int) -> None:
    prefix = new_prefix()
    nodes = [start(*patient(cluster.urls, prefix, f"processes={processes}")) for _ in range(3)]
    load = Load(Nodes(*nodes), seconds=2.0)
    history = load.run()
    assert load.lost == 0
    assert len(history.calls) > 100, "nothing was tried"
    history.check()


@pytest.mark.parametrize("processes", [1, 2])
def test_with_cached_reads_no_node_goes_back(start: Start, cluster: EtcdCluster, processes: int) -> None:
    """One node writes numbers, always higher; on another nobody is shown a lower one than before, be it by SHOW or by
    the names that LIST shows."""
    prefix = new_prefix()
    mode = ("store.reads=cached", f"processes={processes}")
    writer, reader = (start(*patient(cluster.urls, prefix, *mode)) for _ in range(2))
    end = time.monotonic() + 1.5
    with writer.connect() as wire:
        wire.ask(b"CREATE /number 0")
        wire.ask(b"CREATE /list/0 x")
    highest = [0]
    faults: list[str] = []

    def read() -> None:
        while time.monotonic() < end:
            with reader.connect() as wire:  # so that each process is asked
                for _ in range(20):
                    before = highest[0]
                    shown = int(wire.ask(b"SHOW /number").split(b"\n")[1])
                    if shown < before:
                        faults.append(f"SHOW {shown} after {before}")
                    highest[0] = max(highest[0], shown)
                    names = wire.ask(b"LIST /list").split(b"\n")[1]
                    if max(map(int, names.split(b", "))) < before:
                        faults.append(f"LIST {names.decode()} after {before}")

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    number = 0
    with writer.connect() as wire:
        while time.monotonic() < end:
            number += 1
            assert wire.ask(b"CREATE /list/%d x" % number).startswith(b"100")
            assert wire.ask(b"DELETE /list/%d" % (number - 1)).startswith(b"600")
            assert wire.ask(b"UPDATE /number %d" % number).startswith(b"200")
    for thread in threads:
        thread.join()
    assert faults == []
    assert number > 10
    with reader.connect() as wire:  # and what was written last comes
        until = time.monotonic() + 10
        while wire.ask(b"SHOW /number") != b"200 /number OK\n%d\n" % number:
            assert time.monotonic() < until
