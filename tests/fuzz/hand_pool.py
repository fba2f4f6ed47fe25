"""Workers whom a script tells when to work and when to hand back: every order that threads could bring about, with no
thread, so that the same script always does the same."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, Final, Self
from unittest import mock

import invariant
from scripted import Bench, FakeTransport, Talk, _Mishaps

from sttp_reactor.net.fair_queue import FairQueue
from sttp_reactor.store.base import Store
from sttp_reactor.sttp import service
from sttp_reactor.sttp.session import SessionLimits

# Few, so that a script of a few lines fills the queue.
_CAPACITY: Final = 6
_CACHED_FILES: Final = 3

# Until all is done that a script can have brought about: its lines are fewer, and each turn carries out some.
_MAX_TURNS: Final = 20_000
# Rests in a row in which nothing happens though something is owed. A rest goes on while the session wants a turn.
_MAX_IDLE_TURNS: Final = 40


class HandPool:
    """A `pool.Pool`. Waiters take turns, and the jobs of one are begun in their order; what was begun together comes
    back together, and in any order."""

    def __init__(
        self,
        loop: object,
        name: str,
        threads: int,
        work: Callable[[Iterator[Any]], Iterable[tuple[Any, Any]]],
        deliver: Callable[[list[tuple[Any, Any]]], None],
        fail: object,
        waiter_of: Callable[[Any], object],
        *,
        most: int = 64,
        capacity: int = 0,
    ) -> None:
        self._is_single = threads == 1
        self._work = work
        self._deliver = deliver
        self._most = most
        self._queue: FairQueue[Any] = FairQueue(waiter_of)
        self._done: list[list[tuple[Any, Any]]] = []  # batches that are not delivered yet
        self._waiting: deque[Callable[[], None]] = deque()
        self.under_way = 0

    @property
    def has_room(self) -> bool:
        return self.under_way < _CAPACITY

    def submit(self, job: Any) -> bool:
        if not self.has_room:
            return False
        self._queue.extend([job])
        self.under_way += 1
        return True

    def when_room(self, callback: Callable[[], None]) -> None:
        self._waiting.append(callback)

    def close(self, _timeout: float) -> bool:
        return True

    def work(self, most: int) -> None:
        """One worker takes a batch and does it; nobody has heard of it yet."""
        if self._queue:
            self._done.append(list(self._work(self._take(min(most, self._most)))))

    def _take(self, most: int) -> Iterator[Any]:
        for _ in range(min(most, len(self._queue))):
            yield self._queue.take()

    def deliver(self, *, newest: bool) -> None:
        """The loop hears of one batch. A single worker's come in their order."""
        if not self._done:
            return
        results = self._done.pop(-1 if newest and not self._is_single else 0)
        self.under_way -= len(results)
        self._deliver(results)
        for callback in list(islice(self._waiting, len(self._waiting))):
            if not self.has_room:
                break
            assert callback is self._waiting.popleft()
            callback()


def _by_hand(pool: object) -> HandPool:
    assert isinstance(pool, HandPool)
    return pool


class HandBench(Bench):
    """A bench with such workers: `readers` for SHOW, `listers` for LIST, and the `writer`."""

    def __init__(self, store: Store, *, caching: bool, expiration: float) -> None:
        with mock.patch.object(service, "Pool", HandPool):
            super().__init__(max_files=_CACHED_FILES, expiration=expiration, caching=caching, served=store)
        self.readers = _by_hand(self.service._readers)
        self.listers = _by_hand(self.service._listers)
        self.writer = _by_hand(self.service._writer)
        self.talks: list[HandTalk] = []
        self._mishaps_anywhere = _Mishaps()
        # A script turns the clock by hours, and then a disk is called slow, which is no mishap.
        self._mishaps_anywhere.addFilter(lambda record: "it is slow, or too much" not in record.getMessage())

    def __enter__(self) -> Self:
        logging.getLogger("sttp_reactor").addHandler(self._mishaps_anywhere)
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        logging.getLogger("sttp_reactor").removeHandler(self._mishaps_anywhere)
        super().__exit__(*_)
        assert self._mishaps_anywhere.texts == []

    def turn(self) -> None:
        super().turn()
        for talk in self.talks:
            talk.check()

    def hear(self, pool: HandPool, *, newest: bool = False) -> None:
        """A batch comes back, in the loop: whatever it makes go wrong there is noticed at the end."""
        self.reactor.call_soon(lambda: pool.deliver(newest=newest))
        self.turn()

    def rest(self) -> None:
        """Until the workers have done everything, and the loop has nothing to do but wait for somebody."""
        self.turn()
        for _ in range(_MAX_TURNS):
            if not self.service.under_way and not self.reactor._ready:
                return
            for pool in (self.readers, self.listers, self.writer):
                pool.work(_CAPACITY)
                self.hear(pool)
        raise AssertionError(f"never at rest: {self.service}")


class HandTalk(Talk):
    """One session, to which bytes come as they come through a socket: whenever it reads, and no more than it allows."""

    def __init__(self, bench: HandBench, limits: SessionLimits, access_log: Any = None) -> None:
        super().__init__(bench, limits, access_log)
        bench.talks.append(self)
        self.transport: FakeTransport
        self._coming: deque[bytes] = deque()
        self._is_ending = False  # the half-close is behind what is still coming
        self._has_ended = False
        self._is_read = True  # the peer reads what we send; where it does not, the connection reads nothing either

    @property
    def is_over(self) -> bool:
        return self._is_ending

    def arrive(self, *chunks: bytes) -> None:
        self._coming.extend(chunk for chunk in chunks if chunk)
        self.pump()

    def arrive_end(self) -> None:
        self._is_ending = True
        self.pump()

    def check(self) -> None:
        invariant.check(self.session, is_reading=self.transport.is_reading, is_closed=self.transport.is_closed)

    def stop_reading(self) -> None:
        """The peer takes no more replies, and what waits for it has gone over the mark."""
        if self._is_read:
            self._is_read = False
            self.session.pause_writing()
            self.check()

    def read_again(self) -> None:
        if not self._is_read:
            self._is_read = True
            self.session.resume_writing()
            self.check()
        self.pump()

    def pump(self) -> None:
        """What can arrive now arrives."""
        while self._coming and self._can_arrive:
            self.send(self._coming.popleft())
            self.check()
        if self._is_ending and not self._has_ended and self._can_arrive:
            self._has_ended = True
            self.half_close()
            self.check()

    @property
    def _can_arrive(self) -> bool:
        return self._is_read and self.transport.is_reading and not self.transport.is_closed

    def settle(self) -> None:
        """Until everything has arrived and is answered, or the session is closed. Fails where that never comes."""
        self.read_again()
        for _ in range(_MAX_IDLE_TURNS):
            before = len(self._coming)
            self.bench.rest()
            self.pump()
            self.bench.rest()
            if self.transport.is_closed or (not self._coming and self._can_arrive):
                return
            if len(self._coming) < before:
                return self.settle()
        raise AssertionError(f"stuck: {self.session}")
