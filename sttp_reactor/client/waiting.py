"""Waiting for a socket: `select.poll`, or the same by `selectors` where it is missing.

It is missing on a few systems, and where a library that makes blocking calls cooperative has taken it away: what that
library puts into `selectors` in its stead lets others run while we wait.
"""

from __future__ import annotations

import select
import selectors
from collections.abc import Sequence
from typing import Final, Protocol

READABLE: Final = getattr(select, "POLLIN", 1)
WRITABLE: Final = getattr(select, "POLLOUT", 4)


class Poll(Protocol):
    """`register`, `modify`, `unregister` and `poll` as those of `select.poll`, for READABLE and WRITABLE only."""

    def register(self, fd: int, interest: int, /) -> None: ...
    def modify(self, fd: int, interest: int, /) -> None: ...
    def unregister(self, fd: int, /) -> None: ...
    def poll(self, milliseconds: int, /) -> Sequence[tuple[int, int]]: ...
    def close(self) -> None: ...


def make_poll() -> Poll:
    return _SystemPoll() if hasattr(select, "poll") else _SelectorPoll()


class _SystemPoll:
    def __init__(self) -> None:
        poll = select.poll()
        self.register, self.modify, self.unregister, self.poll = poll.register, poll.modify, poll.unregister, poll.poll

    def close(self) -> None:
        """It holds nothing."""


class _SelectorPoll:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self.close = self._selector.close

    def register(self, fd: int, interest: int) -> None:
        self._selector.register(fd, _events(interest))

    def modify(self, fd: int, interest: int) -> None:
        self._selector.modify(fd, _events(interest))

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def poll(self, milliseconds: int) -> list[tuple[int, int]]:
        return [(key.fd, events) for key, events in self._selector.select(milliseconds / 1000)]


def _events(interest: int) -> int:
    reads = selectors.EVENT_READ if interest & READABLE else 0
    return reads | (selectors.EVENT_WRITE if interest & WRITABLE else 0)
