"""What a session asks: the joint between a connection's conversation and whoever knows the replies.

The service, which asks the cache and the disk, is one answerer; a proxy, which asks other servers, is another. Replies
are bytes, ready to send, and an answerer never blocks the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from sttp_reactor.wire.messages import Request

Done = Callable[[bytes], None]
FastWay = Callable[[bytes, float], bytes | None]
"""Called with a chunk that ends where a line ends, and the loop's time, while nothing is owed to its asker. It gives
the joined replies; or b"" where it has taken the chunk and will give them to the asker's `answered` later, once; or
None where it wants nothing to do with it, and then each request takes the slow way."""


class Waiter(Protocol):
    """Who waits for one reply."""

    is_gone: bool
    """Nobody is there any more to read an answer. Once so, always so; workers look at it, too."""

    @property
    def addresses(self) -> tuple[str, str]:
        """The client's address, and the one that it has connected to, as text; empty where there is no client."""


class Asker(Waiter, Protocol):
    """Who may take the fast way: a session."""

    @property
    def peer(self) -> str:
        """The client's address, as text; of a Unix socket, whatever is known of it."""

    def answered(self, replies: bytes) -> None:
        """These are the replies to the chunk that its fast way has taken."""


class Answerer(Protocol):
    """All methods belong to the loop's thread."""

    keeps_order: bool
    """Whether writes that are started one after the other are carried out in that order. Where they are not, the next
    write of a session waits for the reply to the one before."""

    def fast_way(self, asker: Asker | None = None) -> FastWay:
        """Asked for when the asker begins, and again whenever what it may do, or the configuration, has changed.
        Without an asker nobody can be answered later."""

    def cached(self, request: Request) -> bytes | None:
        """The reply to one SHOW, where it is known already."""

    def start(self, request: Request, done: Done, waiter: Waiter) -> bool:
        """Have somebody else asked: `done(reply)` is called once, later. False where there is no room; then it is
        never called, and `when_room` tells when to ask again."""

    def when_room(self, request: Request, callback: Callable[[], None]) -> None:
        """Call once, when there is room for such a request again; there may be none any more when it is called."""


class _Anybody:
    is_gone = False
    addresses = ("", "")


ANYBODY: Final = _Anybody()


def no_replies(_chunk: bytes, _now: float) -> None:
    """The fast way where there is none."""
