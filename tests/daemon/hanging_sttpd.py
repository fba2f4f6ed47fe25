"""sttpd in which one place hangs: `hanging_sttpd.py PLACE FILE [sttpd arguments]`, for as long as there is FILE.

PLACE is a system call of the store on disk (`fdatasync`, `open`, ...; `flock` as if another process had the lock),
`getaddrinfo`, or one of those of the loop that
cannot hang, but fail in their own way: `selector` comes late and fails by turns, `waker` is always full.
"""

from __future__ import annotations

import errno
import fcntl
import itertools
import os
import socket
import sys
import time
from typing import Any

from sttp_reactor.cli.sttpd import main
from sttp_reactor.net import poller, waker
from sttp_reactor.store.faulty import faulty_calls, on

_, place, file, *arguments = sys.argv


def hangs() -> bool:
    return os.path.exists(file)


def wait(*_arguments: Any) -> None:
    while hangs():
        time.sleep(0.005)


def hold(_name: str, _descriptor: int, operation: int) -> None:
    """Somebody else has the lock."""
    if operation & fcntl.LOCK_NB and hangs():
        raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK))
    if not operation & fcntl.LOCK_UN:
        wait()


real_getaddrinfo = socket.getaddrinfo


def getaddrinfo(*given: Any, **options: Any) -> Any:
    wait()
    return real_getaddrinfo(*given, **options)


class Selector(poller.EpollSelector):
    turns = itertools.count()

    def select(self, timeout: float | None = None) -> Any:
        if hangs():
            time.sleep(0.02)
            if next(self.turns) % 2:
                raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        return super().select(timeout)


class Waker(waker.Waker):
    def wake(self) -> None:
        if not hangs():
            super().wake()


if place == "getaddrinfo":
    socket.getaddrinfo = getaddrinfo
elif place == "selector":
    from sttp_reactor.net import reactor

    reactor.default_selector = Selector
elif place == "waker":
    from sttp_reactor.net import reactor

    reactor.Waker = Waker  # type: ignore[misc]
with faulty_calls(on(place, hold if place == "flock" else wait)):
    sys.exit(main(arguments))
