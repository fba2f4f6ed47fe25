"""Nothing acknowledged is lost and nobody is shown what is not so, whatever dies or hangs: real members, real servers.

Each schedule draws faults from its seed, one after the other, while clients of all nodes record what they are answered;
then `linearizability` looks for an order of effects that explains it. `STTP_TEST_SCHEDULES=200` tries as many.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from etcd_cluster import ETCD, EtcdCluster, Member, new_prefix
from linearizability import History
from relay import Relay
from running import Start, Sttpd, starter
from test_etcd import PATIENT, options
from test_linearizable import ACTIONS, PATHS

pytestmark = [
    pytest.mark.skipif(ETCD is None, reason="etcd is not installed"),
    pytest.mark.long,
    pytest.mark.timeout(120),
]

SCHEDULES = int(os.environ.get("STTP_TEST_SCHEDULES", "5"))
CLIENTS = 9
FAULTS = 3
# Of the members' default settings; STTP_TEST_SLOWNESS=4 allows four times as much.
ELECTION_SECONDS = 3.0 * float(os.environ.get("STTP_TEST_SLOWNESS", "1"))
# From one fault to the next, and how long a stopped process is stopped: an election takes 1 to 2.6 s.
PAUSE_SECONDS = 0.7
# Beyond what a write may take; a request that takes longer than this hangs.
DEADLINE_SECONDS = 15.0


@pytest.fixture
def cluster() -> Iterator[EtcdCluster]:
    with EtcdCluster(3) as cluster:
        yield cluster


class Clients:
    """Clients of several servers, each asking one thing at a time, and again of the next server where one fails."""

    def __init__(self, servers: list[Sttpd]) -> None:
        self.history = History()
        self.slowest = 0.0  # seconds that the slowest request took
        self.failed = 0
        self._servers = servers
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(CLIENTS)]

    def run(self, meanwhile: Callable[[], None]) -> None:
        for thread in self._threads:
            thread.start()
        try:
            meanwhile()
        finally:
            self._is_over.set()
            for thread in self._threads:
                thread.join()

    def _ask(self, number: int) -> None:
        draw = random.Random(number)
        asked = 0
        while not self._is_over.is_set():
            server = self._servers[(number + asked) % len(self._servers)]
            with contextlib.suppress(OSError), server.connect() as wire:
                wire.socket.settimeout(DEADLINE_SECONDS)
                while not self._is_over.is_set():
                    asked += 1
                    began = time.monotonic()
                    reply = self.history.ask(number, self._line(draw, b"%d-%d" % (number, asked)), wire.ask)
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    if reply is None:
                        self.failed += 1
                        break
            self._is_over.wait(0.02)

    def _line(self, draw: random.Random, text: bytes) -> bytes:
        action, path = draw.choice(ACTIONS).encode(), draw.choice(PATHS)
        return b"%b %b" % (action, path) + (b" " + text if action in (b"CREATE", b"UPDATE") else b"")


class Faults:
    """What can go wrong. Each makes it so, waits, and mends it."""

    def __init__(self, cluster: EtcdCluster, relays: list[Relay], draw: random.Random) -> None:
        self._cluster = cluster
        self._relays = relays
        self._draw = draw
        self.log: list[str] = []

    def any(self) -> None:
        name = self._draw.choice(
            [
                "kill",
                "kill",
                "terminate",
                "stop",
                "stop",
                "kill_two",
                "cut",
                "swallow",
                "swallow_answers",
                "delay",
                "compact",
            ]
        )
        self.log.append(name)
        getattr(self, name)()

    def _member(self) -> Member:
        """The leader, half of the time."""
        leader = self._cluster.wait_for_leader()
        others = [member for member in self._cluster.members if member is not leader]
        return self._draw.choice([leader, leader, *others])

    def kill(self, number: int = signal.SIGKILL) -> None:
        member = self._member()
        member.kill(number)
        time.sleep(PAUSE_SECONDS * self._draw.random() * 3)
        self._cluster.restart(member)

    def terminate(self) -> None:
        self.kill(signal.SIGTERM)

    def stop(self) -> None:
        member = self._member()
        member.freeze()
        time.sleep(PAUSE_SECONDS * self._draw.random() * 4)
        member.thaw()

    def kill_two(self) -> None:
        for member in self._draw.sample(self._cluster.members, 2):
            member.kill()
        time.sleep(PAUSE_SECONDS)
        self._cluster.start()

    def cut(self) -> None:
        for relay in self._relays:
            relay.cut()

    def swallow(self) -> None:
        relay = self._draw.choice(self._relays)
        relay.swallow()
        time.sleep(PAUSE_SECONDS * self._draw.random() * 4)
        relay.heal()

    def swallow_answers(self) -> None:
        relay = self._draw.choice(self._relays)
        relay.swallow_answers()
        time.sleep(PAUSE_SECONDS * self._draw.random() * 4)
        relay.heal()

    def delay(self) -> None:
        relay = self._draw.choice(self._relays)
        relay.delay = 0.05
        time.sleep(PAUSE_SECONDS)
        relay.delay = 0.0

    def compact(self) -> None:
        """While the watches are cut off."""
        for relay in self._relays:
            relay.swallow()
        time.sleep(0.1)
        self._cluster.compact()
        for relay in self._relays:
            relay.heal()


@contextlib.contextmanager
def relays_to(cluster: EtcdCluster) -> Iterator[list[Relay]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Relay(member.port)) for member in cluster.members]


def nodes(start: Start, urls: list[str], *more: str) -> list[Sttpd]:
    """One server for each member, which it asks first."""
    prefix = new_prefix()
    return [start(*options([*urls[at:], *urls[:at]], prefix, *more)) for at in range(len(urls))]


@pytest.mark.parametrize("seed", range(SCHEDULES))
def test_no_schedule_of_faults_is_refuted(tmp_path: Path, cluster: EtcdCluster, seed: int) -> None:
    draw = random.Random(seed)
    with relays_to(cluster) as relays, starter(tmp_path) as start:
        clients = Clients(nodes(start, [relay.url for relay in relays]))
        faults = Faults(cluster, relays, draw)

        def go_wrong() -> None:
            for _ in range(FAULTS):
                time.sleep(PAUSE_SECONDS * draw.random())
                faults.any()
            cluster.wait_for_leader()
            time.sleep(1.0)

        clients.run(go_wrong)
        assert len(clients.history.calls) > 100, "nothing was tried"
        assert clients.slowest < DEADLINE_SECONDS
        try:
            clients.history.check()
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, {faults.log}: {error}") from None


def test_a_leader_that_is_killed_holds_up_nobody_for_long(tmp_path: Path, cluster: EtcdCluster) -> None:
    """With the endpoints' own settings: every request is answered in time, and after the election all is well."""
    with starter(tmp_path) as start:
        servers = nodes(start, cluster.urls)
        clients = Clients(servers)
        with servers[0].connect() as wire:
            assert wire.ask(b"CREATE /kept safe").startswith(b"100")
        gap: list[float] = []

        def kill_the_leader() -> None:
            time.sleep(0.3)
            cluster.wait_for_leader().kill()
            began = time.monotonic()
            good = 0
            while good < 20:
                good = good + 1 if ask(servers, b"UPDATE /kept %d" % good).startswith(b"200") else 0
                assert time.monotonic() < began + 30
            gap.append(time.monotonic() - began)

        clients.run(kill_the_leader)
        print(
            f"writes of all nodes were back {gap[0]:.1f} s after the leader was killed; slowest {clients.slowest:.1f} s"
        )
        assert gap[0] < ELECTION_SECONDS
        clients.history.check()


# sttpd whose wall clock is ahead by as many seconds as the file named by the argument says.
JUMPING = """
import sys, time
file, *arguments = sys.argv[1:]
real = time.time

def jumping():
    with open(file) as offset:
        return real() + float(offset.read() or 0)

time.time = jumping
from sttp_reactor.cli.sttpd import main
sys.exit(main(arguments))
"""


@pytest.mark.parametrize("reads", ["linearizable", "cached"])
def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path, cluster: EtcdCluster, reads: str) -> None:
    """An hour ahead, a day back: nothing is kept longer, given up sooner, or shown again because of it. (Of the members
    the clock is that of the machine; Raft measures no time of day.)"""
    clock = tmp_path / "clock"
    clock.write_text("0")
    command = [sys.executable, "-c", JUMPING, str(clock)]
    with starter(tmp_path) as start:

        def begin(*arguments: str) -> Sttpd:
            return start(*arguments, command=command)

        servers = nodes(begin, cluster.urls, *PATIENT, f"store.reads={reads}")
        clients = Clients(servers)

        def jump() -> None:
            for seconds in (3600, -86400, 86400, 0):
                time.sleep(PAUSE_SECONDS)
                # Whoever reads meanwhile finds the old one or the new one.
                (tmp_path / "next").write_text(str(seconds))
                (tmp_path / "next").replace(clock)
                for server in servers:
                    with server.connect() as wire:
                        assert wire.ask(b"LIST /").startswith(b"200")
            time.sleep(PAUSE_SECONDS)

        clients.run(jump)
        assert clients.failed == 0
        assert clients.slowest < DEADLINE_SECONDS / 3
        if reads == "linearizable":
            clients.history.check()


def test_without_most_of_the_members_everything_is_refused_in_time(tmp_path: Path, cluster: EtcdCluster) -> None:
    with starter(tmp_path) as start:
        servers = nodes(start, cluster.urls)
        assert ask(servers, b"CREATE /a kept").startswith(b"100")
        for member in cluster.members[1:]:
            member.kill()
        for server, line in zip(servers, (b"SHOW /a", b"UPDATE /a x", b"LIST /"), strict=True):
            began = time.monotonic()
            assert ask([server], line).startswith(b"500")
            assert time.monotonic() - began < DEADLINE_SECONDS
        cluster.start()
        cluster.wait_for_leader()
        until = time.monotonic() + 30
        while not (reply := ask(servers, b"SHOW /a")).startswith(b"200"):
            assert time.monotonic() < until
        assert reply in (b"200 /a OK\nkept\n", b"200 /a OK\nx\n")


def test_the_restart_of_all_loses_nothing(tmp_path: Path, cluster: EtcdCluster) -> None:
    with starter(tmp_path) as start:
        servers = nodes(start, cluster.urls)
        for number in range(30):
            assert ask([servers[number % 3]], b"CREATE /d/%d text" % number).startswith(b"100")
        for member in cluster.members:
            member.kill()
        servers[0].kill()
        cluster.start()
        cluster.wait_for_leader()
        for number in range(30):
            until = time.monotonic() + 30
            while not (reply := ask(servers[1:], b"SHOW /d/%d" % number)).startswith(b"200"):
                assert time.monotonic() < until, reply


def ask(servers: list[Sttpd], line: bytes) -> bytes:
    """The first of their replies that is no 500, or the last."""
    reply = b"500"
    for server in servers:
        with server.connect() as wire:
            wire.socket.settimeout(DEADLINE_SECONDS)
            reply = wire.ask(line)
        if not reply.startswith(b"500"):
            break
    return reply
