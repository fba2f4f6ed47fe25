"""What a request costs inside the server: reactor, session, cache, workers and store in one process, on socket pairs.

    .venv/bin/python tools/microbench.py [--rounds N] [--connections N]

Each round the clients ask first, untimed; then the reactor turns until all is answered, timed; then the replies are
compared with what they must be. A round asks for all connections at once, as a busy server finds them. What is printed
is the cheapest round: on a shared machine all that is above it is somebody else's. The system calls are there (a socket
pair's cost about half of what TCP's do), the peers' and the scheduler's work is not: for that there is tools/bench.sh.

Cached SHOWs are timed by the clock. Uncached ones by the CPU time of the whole process, because workers take part, and
include the hand-over to them; the files are in the page cache.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from sttp_reactor.limits import DISK_THREADS
from sttp_reactor.net.connection import Connection
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.sttp.cache import Cache
from sttp_reactor.sttp.service import Service
from sttp_reactor.sttp.session import Session, SessionLimits

KEYS = 1000
PIPELINE = 16


class Rig:
    """A server without its listener. `is_cached` False: every SHOW reads its file."""

    def __init__(self, docroot: Path, connections: int, *, is_cached: bool) -> None:
        self._reactor = Reactor()
        self._store = DiskStore(docroot)
        self._store.open()
        cache = Cache(KEYS, 1 << 30, 3600.0, self._reactor.clock) if is_cached else None
        self._service = Service(self._reactor, self._store, cache, DISK_THREADS)
        self._clients: list[socket.socket] = []
        self._connections: list[Connection] = []
        for number in range(connections):
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            theirs.settimeout(10.0)
            self._connections.append(Connection(self._reactor, ours, self._session, f"client {number}"))
            self._clients.append(theirs)

    def time_round(self, pipeline: int, clock: Callable[[], float]) -> float:
        """Seconds by `clock` for one request, when every client sends `pipeline` of them at once."""
        asked = [random.choices(_EXCHANGES, k=pipeline) for _ in self._clients]
        for client, exchanges in zip(self._clients, asked, strict=True):
            client.sendall(b"".join([request for request, _ in exchanges]))
        began = clock()
        self._reactor.turn()
        while self._service.under_way:
            self._reactor.turn()
        seconds = clock() - began
        for client, exchanges in zip(self._clients, asked, strict=True):
            _expect(client, b"".join([reply for _, reply in exchanges]))
        return seconds / (pipeline * len(self._clients))

    def _session(self) -> Session:
        return Session(self._reactor, self._service, SessionLimits(), lambda session: None)

    def close(self) -> None:
        for connection in self._connections:
            connection.abort()
        self._service.close(5.0)
        self._store.close()
        self._reactor.close()
        for client in self._clients:
            client.close()


def _expect(client: socket.socket, replies: bytes) -> None:
    received = b""
    while len(received) < len(replies):
        received += client.recv(1 << 20)
    if received != replies:
        sys.exit(f"microbench: a wrong reply: {received[:200]!r}")


def _exchange(number: int) -> tuple[bytes, bytes]:
    path, text = b"/snippets/snippet_%d.txt" % number, b"This is pre-defined snippet number %d" % (number + 1)
    return b"SHOW %b\n" % path, b"200 %b OK\n%b\n" % (path, text)


_EXCHANGES = [_exchange(number) for number in range(KEYS)]


@contextlib.contextmanager
def docroot_of_snippets() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="sttp-microbench-") as folder:
        snippets = Path(folder) / "snippets"
        snippets.mkdir()
        for number, (_, reply) in enumerate(_EXCHANGES):
            (snippets / f"snippet_{number}.txt").write_bytes(reply.splitlines()[1])
        yield Path(folder)


def measure(docroot: Path, connections: int, rounds: int, pipeline: int, *, is_cached: bool) -> float:
    """Microseconds for one SHOW: the least of `rounds`."""
    clock = time.perf_counter if is_cached else time.process_time
    with contextlib.closing(Rig(docroot, connections, is_cached=is_cached)) as rig:
        for _ in range(10 * KEYS // (connections * pipeline) + 1):  # until every key has been asked for
            rig.time_round(pipeline, clock)
        return min(rig.time_round(pipeline, clock) for _ in range(rounds)) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="The cost of a SHOW inside the server, in microseconds.")
    parser.add_argument("--rounds", type=int, default=400, metavar="N", help="take the cheapest of N (default 400)")
    parser.add_argument("--connections", type=int, default=50, metavar="N", help="that ask at once (default 50)")
    options = parser.parse_args()
    if options.rounds < 1 or options.connections < 1:
        parser.error("there must be at least one round and one connection")
    random.seed(1)
    with docroot_of_snippets() as docroot:
        for name, pipeline, is_cached in (
            ("cached SHOW", 1, True),
            (f"cached SHOW, {PIPELINE} pipelined", PIPELINE, True),
            ("uncached SHOW", 1, False),
        ):
            us = measure(docroot, options.connections, options.rounds, pipeline, is_cached=is_cached)
            print(f"{name:28} {us:7.3f} us", flush=True)


if __name__ == "__main__":
    main()
