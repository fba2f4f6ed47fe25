"""SHOWs answered from a cache that is true only after the store has been asked.

Others change the store, too, and what we are told of it comes a little late. So nothing is shown from the cache before
the barrier has said that everything acknowledged until now has been told; what was cached and has changed is gone from
the cache by then, and is read anew.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from sttp_reactor.net.loop import Loop
from sttp_reactor.sttp.answerer import Asker, Done, FastWay, Waiter
from sttp_reactor.sttp.barrier import Barrier
from sttp_reactor.sttp.cache import Cache
from sttp_reactor.wire.messages import Action, Request

_SHOW: Final = Action.SHOW


class CachedShows:
    """All methods belong to the loop's thread."""

    def __init__(
        self,
        loop: Loop,
        ask_store: Callable[[], bool],
        cache: Callable[[], Cache | None],
        read: Callable[[Request, Done, Waiter], bool],
        when_room: Callable[[Callable[[], None]], None],
    ) -> None:
        """`ask_store` is `store.base.Store.barrier`. `cache()` is the one there is, with all that has been told gone
        from it; `read` and `when_room` are for what is not there any more, as in `answerer.Answerer`."""
        self._barrier = Barrier(loop, ask_store)
        self._loop = loop
        self._cache = cache
        self._read = read
        self._when_room = when_room

    @property
    def under_way(self) -> int:
        return self._barrier.under_way

    def close(self, timeout: float) -> bool:
        return self._barrier.close(timeout)

    def fast_way(self, cache: Cache, asker: Asker) -> FastWay:
        return partial(self._take_chunk, cache, asker)

    def take(self, request: Request, done: Done, waiter: Waiter) -> bool:
        """Answer a SHOW whose reply is cached; False, and nothing done, where it is not."""
        cache = self._cache()
        if cache is None or not cache.has(_key(request.path)):
            return False
        self._barrier.ask(partial(self._answer, request, done, waiter))
        return True

    def _take_chunk(self, cache: Cache, asker: Asker, chunk: bytes, now: float) -> bytes | None:
        if not cache.has(chunk):
            return None
        self._barrier.ask(partial(self._answer_chunk, asker, chunk))
        return b""

    def _answer(self, request: Request, done: Done, waiter: Waiter, is_told: bool) -> None:
        cache = self._cache()
        reply = cache.get(_key(request.path)) if is_told and cache is not None else None
        if reply is None:
            self._read_anew(request, done, waiter)
        else:
            done(reply)

    def _answer_chunk(self, asker: Asker, chunk: bytes, is_told: bool) -> None:
        if asker.is_gone:
            return
        cache = self._cache()
        replies = cache.replies_to(chunk, self._loop.now) if is_told and cache is not None else None
        if replies is None:
            _Chunk(chunk, asker, self._read_anew)
        else:
            asker.answered(replies)

    def _read_anew(self, request: Request, done: Done, waiter: Waiter) -> None:
        """It has been taken, so it waits for room here."""
        if not self._read(request, done, waiter):
            self._when_room(partial(self._read_anew, request, done, waiter))


class _Chunk:
    """SHOWs that the fast way has taken and the cache cannot answer any more: their replies go out together."""

    def __init__(self, chunk: bytes, asker: Asker, read: Callable[[Request, Done, Waiter], None]) -> None:
        """Each line of `chunk` is a key of the cache."""
        paths = [line.removeprefix(b"SHOW ")[:-1] for line in chunk.splitlines(keepends=True)]
        self._asker = asker
        self._replies: list[bytes | None] = [None] * len(paths)
        self._missing = len(paths)
        for place, path in enumerate(paths):
            read(Request(_SHOW, path), partial(self._take, place), asker)

    def _take(self, place: int, reply: bytes) -> None:
        self._replies[place] = reply
        self._missing -= 1
        if not self._missing and not self._asker.is_gone:
            self._asker.answered(b"".join(filter(None, self._replies)))


def _key(path: bytes) -> bytes:
    """The cache's: see `service`."""
    return b"SHOW %b\n" % path
