"""A server behind a proxy is told to stop under load: what it has been asked it answers, and no write is in doubt."""

from __future__ import annotations

import itertools
import signal
import threading
import time

from ports import free_port
from proxied import House, until
from running import PATIENCE_SECONDS, Sttpd, Wire

WRITERS = 12
STOPS = 10


class Writer(threading.Thread):
    """Creates one file after the other until it is told to end; `odd` are the replies that were none to a write."""

    def __init__(self, number: int, wire: Wire, pause: float) -> None:
        super().__init__()
        self.done = 0
        self.odd: list[bytes] = []
        self._number = number
        self._wire = wire
        self._pause = pause
        self._is_over = threading.Event()
        self.start()

    def run(self) -> None:
        for count in itertools.count():
            path = b"/w%d/%d" % (self._number, count)
            reply = self._wire.ask(b"CREATE %b x" % path)
            if reply == b"100 %b CREATED\n" % path:
                self.done += 1
            else:
                self.odd.append(reply)
            if self._is_over.wait(self._pause) if self._pause else self._is_over.is_set():
                return

    def finish(self) -> None:
        self._is_over.set()
        self.join(PATIENCE_SECONDS)


def test_a_server_that_stops_leaves_no_write_in_doubt(house: House) -> None:
    ports = [free_port() for _ in range(2)]

    def start(place: int) -> Sttpd:
        return house.server("sync=false", port=ports[place], docroot=f"d{place}")

    servers = [start(place) for place in range(2)]
    proxy = house.proxy(servers, "balance=round_robin", "health.interval=0.2", "health.slow_start=0")
    wires = [proxy.connect() for _ in range(WRITERS)]
    # Some never pause; some do, so that their servers' connections are silent now and then.
    writers = [Writer(number, wire, 0.003 * (number % 3)) for number, wire in enumerate(wires)]
    try:
        for turn in range(STOPS):
            place = turn % 2
            done = servers[place].process
            time.sleep(0.3)  # the load goes on
            servers[place].send_signal(signal.SIGTERM)
            assert done.wait(PATIENCE_SECONDS) == 0
            servers[place] = start(place)
            before = [writer.done for writer in writers]
            until(
                lambda before=before: all(writer.done > then for writer, then in zip(writers, before, strict=True)),
                "a writer stands still",
            )
    finally:
        for writer in writers:
            writer.finish()
        for wire in wires:
            wire.close()
    assert [reply for writer in writers for reply in writer.odd] == []
