"""Many clients of several processes are answered as by one that does one thing after the other (PROTOCOL.md section 2).

`linearizability` decides: for each path there must be one order of effects that explains every reply. What it would
say of a server with faults is in its own tests.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable
from typing import Protocol

import pytest
from linearizability import History
from running import Start, Sttpd, Wire

CLIENTS = 12
PATHS = (b"/a", b"/b", b"/c")
ACTIONS = ("SHOW",) * 6 + ("UPDATE",) * 4 + ("CREATE", "DELETE")


class Connects(Protocol):
    def connect(self) -> Wire: ...


class Load:
    """Clients with a connection each, asking one thing at a time, as fast as they are answered, about few files."""

    def __init__(self, server: Connects, seconds: float) -> None:
        self.server = server
        self.history = History()
        self.end = time.monotonic() + seconds
        self.lost = 0

    def run(self, meanwhile: Callable[[], object] = lambda: None) -> History:
        threads = [threading.Thread(target=self._client, args=(number,)) for number in range(CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            meanwhile()
        finally:
            for thread in threads:
                thread.join()
        return self.history

    def _client(self, number: int) -> None:
        draw = random.Random(number)
        requests = 0
        while time.monotonic() < self.end:
            try:
                with self.server.connect() as wire:
                    while time.monotonic() < self.end:
                        requests += 1
                        line = self._line(draw, b"%d-%d" % (number, requests))
                        if self.history.ask(number, line, wire.ask) is None:
                            self.lost += 1
                            break
            except OSError:  # refused, while a killed process is replaced
                time.sleep(0.01)

    def _line(self, draw: random.Random, text: bytes) -> bytes:
        action, path = draw.choice(ACTIONS).encode(), draw.choice(PATHS)
        return b"%b %b" % (action, path) + (b" " + text if action in (b"CREATE", b"UPDATE") else b"")


def children(server: Sttpd) -> list[int]:
    with open(f"/proc/{server.pid}/task/{server.pid}/children") as file:
        return [int(pid) for pid in file.read().split()]


@pytest.mark.parametrize("sync", ["true", "false"])
@pytest.mark.parametrize("cached", ["true", "false"])
@pytest.mark.parametrize("processes", [1, 2])
def test_one_order_of_effects_explains_every_reply(start: Start, processes: int, cached: str, sync: str) -> None:
    server = start("-o", f"processes={processes}", "-o", f"cache.enabled={cached}", "-o", f"sync={sync}")
    load = Load(server, seconds=2.0 if processes > 1 and cached == "true" else 0.7)
    history = load.run()
    assert load.lost == 0
    assert len(history.calls) > 100, "nothing was tried"
    history.check()


def test_while_processes_are_killed_too(start: Start) -> None:
    """A change that was cut short happens once, perhaps when somebody recovers it, or not at all; and from the moment
    one client has been shown it, all are."""
    server = start("-o", "processes=3", "-o", "sync=false")
    load = Load(server, seconds=2.5)

    def kill_one_after_the_other() -> None:
        draw = random.Random(1)
        while time.monotonic() < load.end - 0.5:
            time.sleep(0.3)
            with contextlib.suppress(ProcessLookupError, IndexError):
                os.kill(draw.choice(children(server)), signal.SIGKILL)

    history = load.run(kill_one_after_the_other)
    assert load.lost > 0, "nobody was killed amid a request"
    history.check()
