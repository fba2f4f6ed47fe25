"""A cluster whose network fails: members and servers in network namespaces, cut off for real, also to one side only.

The clients are not cut off: they ask by Unix sockets, which are in no network.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from etcd_cluster import ETCD, EtcdCluster, new_prefix
from namespaces import Network, Node, why_there_are_none
from running import STTPD, Sttpd, starter
from test_etcd import options
from test_etcd_faults import DEADLINE_SECONDS, Clients, ask

pytestmark = [
    pytest.mark.skipif(ETCD is None, reason="etcd is not installed"),
    pytest.mark.skipif(bool(why_there_are_none()), reason=why_there_are_none()),
    pytest.mark.long,
    pytest.mark.timeout(120),
]

SIDES = [("sends", "receives"), ("sends",), ("receives",)]
# Longer than an election takes (1 to 2.6 s), and than a watch may be silent (`store.timeout.stale`).
CUT_SECONDS = 5.0


class Site:
    """Three members and three servers, each on a node of its own; a server asks the member of its number first."""

    def __init__(self, network: Network, cluster: EtcdCluster, servers: list[Sttpd]) -> None:
        self.cluster = cluster
        self.servers = servers
        self._nodes = network.nodes

    def member(self, *, leads: bool) -> tuple[Node, int]:
        """The leader's node and number, or those of somebody who follows."""
        leader = self.cluster.members.index(self.cluster.wait_for_leader())
        number = leader if leads else (leader + 1) % 3
        return self._nodes[number], number

    def node_of_server(self, number: int) -> Node:
        return self._nodes[3 + number]


@contextlib.contextmanager
def site(folder: Path, *more: str) -> Iterator[Site]:
    with Network(6) as network, EtcdCluster(3, nodes=network.nodes[:3]) as cluster, starter(folder) as start:
        prefix = new_prefix()
        servers = [
            start(
                *options([*cluster.urls[number:], *cluster.urls[:number]], prefix, *more),
                address=str(folder / f"sttpd-{number}"),
                command=[*network.nodes[3 + number].run, *STTPD],
            )
            for number in range(3)
        ]
        try:
            yield Site(network, cluster, servers)
        finally:
            for node in network.nodes:
                node.mend()


def until(condition: Callable[[], bool], within: float = 30.0) -> float:
    """Seconds until it holds."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + within
        time.sleep(0.01)
    return time.monotonic() - began


def has(server: Sttpd, line: bytes, reply: bytes) -> Callable[[], bool]:
    return lambda: ask([server], line).startswith(reply)


@pytest.mark.parametrize("sides", SIDES, ids="+".join)
@pytest.mark.parametrize("leads", [True, False], ids=["leader", "follower"])
def test_a_member_that_is_cut_off_stops_nobody(tmp_path: Path, leads: bool, sides: Sequence[str]) -> None:
    """The others go on after an election at most, and so does the server that has asked the lost member so far."""
    with site(tmp_path) as cut:
        clients = Clients(cut.servers)
        assert ask(cut.servers, b"CREATE /kept 0").startswith(b"100")

        def part() -> None:
            time.sleep(0.3)
            node, number = cut.member(leads=leads)
            node.cut(sides)
            end = time.monotonic() + CUT_SECONDS
            back = [until(has(server, b"UPDATE /kept %d" % number, b"200")) for server in cut.servers]
            print(f"{number + 1} cut off: writes were back after {sum(back):.1f} s")
            time.sleep(max(0.0, end - time.monotonic()))
            for server in cut.servers:  # still cut off, and nobody needs it
                assert ask([server], b"UPDATE /kept again").startswith(b"200")
            node.mend()
            cut.cluster.wait_for_leader()
            time.sleep(1.0)

        clients.run(part)
        assert len(clients.history.calls) > 100, "nothing was tried"
        assert clients.slowest < DEADLINE_SECONDS
        clients.history.check()


@pytest.mark.parametrize("sides", SIDES, ids="+".join)
def test_a_server_that_is_cut_off_says_so_and_the_others_go_on(tmp_path: Path, sides: Sequence[str]) -> None:
    with site(tmp_path) as cut:
        clients = Clients(cut.servers)
        assert ask(cut.servers, b"CREATE /kept old").startswith(b"100")
        assert ask(cut.servers[:1], b"SHOW /kept").startswith(b"200")

        def part() -> None:
            time.sleep(0.3)
            cut.node_of_server(0).cut(sides)
            end = time.monotonic() + CUT_SECONDS
            assert ask(cut.servers[1:2], b"UPDATE /kept new").startswith(b"200")
            while time.monotonic() < end:  # never the old text
                assert ask(cut.servers[:1], b"SHOW /kept").startswith(b"500")
                assert ask(cut.servers[2:], b"SHOW /kept") == b"200 /kept OK\nnew\n"
            cut.node_of_server(0).mend()
            until(has(cut.servers[0], b"SHOW /kept", b"200 /kept OK\nnew\n"))
            time.sleep(0.5)

        clients.run(part)
        assert clients.slowest < DEADLINE_SECONDS
        clients.history.check()


@pytest.mark.parametrize("sides", SIDES, ids="+".join)
def test_with_cached_reads_it_shows_what_it_had_for_no_longer_than_promised(
    tmp_path: Path, sides: Sequence[str]
) -> None:
    stale = 2.0
    with site(tmp_path, "store.reads=cached", f"store.timeout.stale={stale}") as cut:
        lost, *others = cut.servers
        assert ask(others, b"CREATE /kept old").startswith(b"100")
        until(has(lost, b"SHOW /kept", b"200"))
        cut.node_of_server(0).cut(sides)
        assert ask(others, b"UPDATE /kept new").startswith(b"200")
        written = time.monotonic()
        shown = []
        while time.monotonic() < written + CUT_SECONDS:
            asked = time.monotonic()
            reply = ask([lost], b"SHOW /kept")
            assert reply.startswith(b"500") or reply == b"200 /kept OK\nold\n", reply
            if reply.startswith(b"200"):
                shown.append(asked - written)
        assert max(shown, default=0.0) < stale, "an old text was shown for too long"
        cut.node_of_server(0).mend()
        until(has(lost, b"SHOW /kept", b"200 /kept OK\nnew\n"))
