"""Waiting for sockets. `selectors` wraps every event in two tuples and a dictionary look-up; where there is epoll it is
used bare."""

from __future__ import annotations

import contextlib
import ctypes
import select
import selectors
from typing import Protocol

READABLE = 1
WRITABLE = 4
_FINE_SECONDS = 0.02  # waits below this must be exact: they are the gaps of a schedule
_FD_SETSIZE = 1024
_PR_SET_TIMERSLACK = 29


class Poller(Protocol):
    def register(self, fd: int, events: int) -> None: ...
    def modify(self, fd: int, events: int) -> None: ...
    def unregister(self, fd: int) -> None: ...
    def wait(self, seconds: float) -> list[tuple[int, int]]:
        """(fd, events) of what is ready; events beyond READABLE and WRITABLE mean an error or a hang-up."""

    def close(self) -> None: ...


class EpollPoller:
    """Exact in its short waits if made while descriptors are few: select() takes none above _FD_SETSIZE."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self.register = self._epoll.register
        self.modify = self._epoll.modify
        self.unregister = self._epoll.unregister
        self.close = self._epoll.close
        self._fine = self._epoll.fileno() < _FD_SETSIZE

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        # epoll rounds up to whole milliseconds, a lifetime on a schedule of 1,000 a second. select() does not,
        # and an epoll descriptor can be selected like any other.
        if 0 < seconds < _FINE_SECONDS and self._fine:
            if not select.select([self._epoll], [], [], seconds)[0]:
                return []
            seconds = 0
        return self._epoll.poll(seconds, 1024)


class SelectorPoller:
    """For systems without epoll; kqueue's time-outs are exact already."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, fd: int, events: int) -> None:
        self._selector.register(fd, _interest(events))

    def modify(self, fd: int, events: int) -> None:
        self._selector.modify(fd, _interest(events))

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def wait(self, seconds: float) -> list[tuple[int, int]]:
        return [(key.fd, _bits(events)) for key, events in self._selector.select(max(seconds, 0))]

    def close(self) -> None:
        self._selector.close()


def _interest(events: int) -> int:
    reading = selectors.EVENT_READ if events & READABLE else 0
    return reading | (selectors.EVENT_WRITE if events & WRITABLE else 0)


def _bits(events: int) -> int:
    return (READABLE if events & selectors.EVENT_READ else 0) | (WRITABLE if events & selectors.EVENT_WRITE else 0)


def sharpen_timers() -> None:
    """Asks Linux not to put off this process's wake-ups: by default it may, by 50 us, to serve several at once. On a
    schedule that is 60 us more of response time, by the tool's fault."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0)


def make_poller() -> Poller:
    return EpollPoller() if hasattr(select, "epoll") else SelectorPoller()
