"""Honest clients, who want their replies right and soon, whatever others do to the server meanwhile.

Each of their connections asks at fixed times, one request after the other: mostly SHOWs that the cache knows, SHOWs
that it does not, and now and then an UPDATE, which the next SHOW must see. Latency counts from the time a request was
due, not from the time it could be sent, so that one long wait is felt by all requests that should have been sent in it.
"""

from __future__ import annotations

import itertools
import os
import re
import select
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from attacker import attacking
from running import PATIENCE_SECONDS, Sttpd

# What everybody may expect of a server that is under attack: nobody notices a twentieth of a second.
# STTP_TEST_SLOWNESS=4 allows four times as much, where nobody knows what else the machine has to do.
LIMIT_SECONDS = 0.05 * float(os.environ.get("STTP_TEST_SLOWNESS", "1"))
# The machine may be busy with something else; what the server can do shows in the best of some attempts.
ATTEMPTS = 3
# Of the time. A server that does not get the processor is late through no fault of its own.
MOST_STARVED = 0.1

# The first two ask for what is cached.
CONNECTIONS = 4
COLD_READER, WRITER = 2, 3
# Between two requests of a connection, of a reader's and of the writer's: 620 a second in all, less than a twentieth of
# what the server can do.
INTERVAL_SECONDS = 0.005
WRITER_INTERVAL_SECONDS = 0.05
# More than the cache holds, and asked for in turn: what comes next has just been dropped.
COLD_FILES = 200
HOT_FILES = 8

CACHED, UNCACHED, UPDATE, AFTER_UPDATE = "cached SHOW", "uncached SHOW", "UPDATE", "SHOW after UPDATE"
# How long a sync takes is the disk's matter, and its other users'; the limit is about these.
LIMITED = (CACHED, UNCACHED)


def _file(kind: str, number: int) -> tuple[str, str]:
    return f"/honest/{kind}/{number}", f"{kind} text {number}, as it has always been"


def _show(path: str, text: str) -> tuple[bytes, bytes]:
    return f"SHOW {path}\n".encode(), f"200 {path} OK\n{text}\n".encode()


def _requests(name: int) -> Iterator[tuple[str, bytes, bytes]]:
    """(kind, request, the one right reply) for ever. Replies come in order, so each connection asks for one kind of
    thing: who asks for what is cached does not wait for the disk, and who only reads not for a write to be durable."""
    if name == WRITER:
        for number in itertools.count():
            path, text = "/honest/written", f"version {number}"
            yield UPDATE, f'UPDATE {path} "{text}"\n'.encode(), f"200 {path} OK\n{text}\n".encode()
            yield AFTER_UPDATE, *_show(path, text)
    for number in itertools.count():
        if name == COLD_READER:
            yield UNCACHED, *_show(*_file("cold", number % COLD_FILES))
        else:
            yield CACHED, *_show(*_file("hot", number % HOT_FILES))


class _Client:
    """One connection. It asks when the time has come, whether or not the replies before have."""

    def __init__(self, server: Sttpd, name: int) -> None:
        self.wire = server.connect()
        self.due = 0.0
        self.awaited: deque[tuple[str, float, bytes]] = deque()  # kind, when it was due, the reply
        self._interval = WRITER_INTERVAL_SECONDS if name == WRITER else INTERVAL_SECONDS
        self._requests = _requests(name)
        self._received = b""

    def ask(self) -> None:
        kind, request, reply = next(self._requests)
        self.awaited.append((kind, self.due, reply))
        self.due += self._interval
        self.wire.send(request)

    def listen(self) -> Iterator[tuple[str, float]]:
        """Take what has come: for each whole reply the kind of its request, and for how long it has been waited for."""
        piece = self.wire.socket.recv(65536)
        assert piece, f"the server has closed an honest connection that waited for {self.awaited[0]}"
        now = time.monotonic()
        self._received += piece
        while self._received:
            kind, due, reply = self.awaited[0]
            if len(self._received) < len(reply) and reply.startswith(self._received):
                return
            assert self._received.startswith(reply), f"a wrong reply: {self._received!r} instead of {reply!r}"
            self._received = self._received[len(reply) :]
            self.awaited.popleft()
            yield kind, now - due


class HonestClients:
    """`talk` while something happens; `waits` holds the seconds of every request, by kind. A context manager."""

    def __init__(self, server: Sttpd) -> None:
        _lay_out_files(server)
        self._clients = [_Client(server, name) for name in range(CONNECTIONS)]
        self.waits: defaultdict[str, list[float]] = defaultdict(list)

    def __enter__(self) -> HonestClients:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.wire.close()

    def talk(self, is_on: Callable[[], bool]) -> None:
        """Ask and listen, from now on and while `is_on()`, and until the last reply has come."""
        self.waits.clear()
        began = time.monotonic()
        for name, client in enumerate(self._clients):
            client.due = began + name * INTERVAL_SECONDS / CONNECTIONS
        while is_on():
            now = time.monotonic()
            for client in self._clients:
                while client.due <= now:
                    client.ask()
            self._listen(max(0.0, min(client.due for client in self._clients) - now))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(client.awaited for client in self._clients):
            assert time.monotonic() < deadline, "honest clients have been forgotten"
            self._listen(0.1)

    def _listen(self, seconds: float) -> None:
        by_socket = {client.wire.socket: client for client in self._clients}
        readable, _, _ = select.select([*by_socket], [], [], seconds)
        for sock in readable:
            for kind, waited in by_socket[sock].listen():
                self.waits[kind].append(waited)


def _lay_out_files(server: Sttpd) -> None:
    """Directly on the disk: that takes the server no time."""
    texts = dict(_file("hot", number) for number in range(HOT_FILES))
    texts |= dict(_file("cold", number) for number in range(COLD_FILES))
    texts["/honest/written"] = "not yet"
    for path, text in texts.items():
        file = server.docroot / path[1:]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


# -- How they fare --


@dataclass(frozen=True)
class Ordeal:
    """What honest clients have met with during an attack, and what the attackers have done. Seconds and bytes."""

    waits: dict[str, list[float]]
    counts: Counter[str]
    growth: int  # of the server's memory, at the worst moment
    starved: float  # the share of the time in which the server could have run, and others had the processors

    @property
    def p99(self) -> float:
        """Of what is LIMITED."""
        return percentile([wait for kind in LIMITED for wait in self.waits[kind]], 0.99)

    def assert_unharmed(self) -> None:
        """The honest have been served in time. Where the machine has been too busy with other things to tell, the test
        is skipped; but what it was busy with explains so much and no more."""
        excused = LIMIT_SECONDS * (1 + 10 * self.starved)
        if LIMIT_SECONDS <= self.p99 < excused and self.starved > MOST_STARVED:
            pytest.skip(f"for {self.starved:.0%} of the time the server was ready and others had the processors")
        assert self.p99 < LIMIT_SECONDS, str(self)

    def figures(self) -> dict[str, float]:
        figures = {"p99 ms": 1000 * self.p99, "worst ms": 1000 * max(map(max, self.waits.values()))}
        figures |= {f"p99 ms of {kind}": 1000 * percentile(waits, 0.99) for kind, waits in self.waits.items()}
        figures |= {"requests": sum(map(len, self.waits.values())), "memory MB": self.growth / 1e6}
        figures["starved %"] = 100 * self.starved
        return {name: round(figure, 1) for name, figure in figures.items()} | dict(self.counts)

    def __str__(self) -> str:
        return ", ".join(f"{name} {figure:,}" for name, figure in self.figures().items())


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


def endure(server: Sttpd, script: str, seconds: float, variant: str = "", address: str = "") -> Ordeal:
    """Have `script` attack the server (at `address`, if it has several) while honest clients use it. The best of some
    attempts; but in each of them every reply must be right, and the server must have its descriptors back."""
    best: Ordeal | None = None
    for _ in range(ATTEMPTS):
        with HonestClients(server) as clients:
            clients.talk(_for_seconds(0.2))  # everything that is opened once is open
            open_before, memory_before = descriptors(server), memory(server, "VmRSS")
            with attacking(script, address or server.addresses[0], seconds, variant) as attack:
                began, starved_before = time.monotonic(), starved_seconds(server)
                clients.talk(lambda attack=attack: attack.is_on)  # type: ignore[misc]
                starved = (starved_seconds(server) - starved_before) / (time.monotonic() - began)
                counts = attack.end()
            growth = memory(server, "VmHWM") - memory_before
            ordeal = Ordeal(dict(clients.waits), counts, growth, starved)
            wait_for_descriptors(server, open_before)
        if best is None or ordeal.p99 < best.p99:
            best = ordeal
        if best.p99 < LIMIT_SECONDS:
            break
    assert best is not None
    return best


def _for_seconds(seconds: float) -> Callable[[], bool]:
    deadline = time.monotonic() + seconds
    return lambda: time.monotonic() < deadline


def processes(server: Sttpd) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [server.pid, *map(int, children)]


def descriptors(server: Sttpd) -> int:
    """How many files and sockets the server's processes have open."""
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in processes(server))


def memory(server: Sttpd, name: str) -> int:
    """Bytes: `VmRSS` now, `VmHWM` at most so far."""
    found = [re.findall(rf"{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text()) for pid in processes(server)]
    return sum(int(number) << 10 for numbers in found for number in numbers)


def starved_seconds(server: Sttpd) -> float:
    """For how long the busiest reactor has been ready to run and had no processor to run on."""
    return max(int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) for pid in processes(server)) / 1e9


def wait_for_descriptors(server: Sttpd, count: int) -> None:
    """Until the server has no more than `count` open: it learns of a close a moment later, and may linger."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (now := descriptors(server)) > count:
        assert time.monotonic() < deadline, f"the server had {count} descriptors open before, and {now} afterwards"
        time.sleep(0.02)
