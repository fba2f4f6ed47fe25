"""One connection's state: its socket, what is in flight on it, and when that was sent."""

from __future__ import annotations

from collections import deque
from typing import Any

from sttp_reactor.client.exchange import Socket


class Link:
    """A plain record, filled by a source (`pending`, `likely`, `rest`), a pacer (`times`) and the engine (the others).

    pending  what is in flight, oldest first; only the source knows what its items are
    likely   the bytes that come next if all goes as expected; empty where the source makes no such guess
    rest     bytes received that do not make a whole reply yet
    times    one item for each of `pending`: when it was sent, in ns; with a fixed rate (scheduled, sent)
    unsent   bytes the kernel did not take yet
    """

    __slots__ = ("broken", "free", "likely", "number", "pending", "rest", "sock", "times", "unsent")

    def __init__(self, number: int, sock: Socket | None = None) -> None:
        self.number = number
        self.sock = sock
        self.pending: deque[Any] = deque()
        self.times: deque[Any] = deque()
        self.likely = b""
        self.rest = b""
        self.unsent = b""
        self.free = True
        self.broken = False

    def close(self) -> None:
        if self.sock is not None:
            self.sock.close()
            self.sock = None
