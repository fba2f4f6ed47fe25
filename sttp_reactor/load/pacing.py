"""When the next request goes out: at once (closed loop), after a pause, or on a schedule that waits for nobody.

A pacer owns `Link.times`. The engine calls `start` once, `answered` for each link that got replies, and `due` before
it waits:

    due(now)   sends what is due, and returns the seconds until something is again, None if only a reply can change that
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol

from sttp_reactor.load.latency import Recorder
from sttp_reactor.load.link import Link
from sttp_reactor.load.outcomes import OUTCOME_BITS, UNSENT

Send = Callable[[Link, int], int]  # sends up to so many requests on the link; how many they were


class Pacer(Protocol):
    finished: bool  # nothing more will be sent; may be set from outside

    def start(self, links: Sequence[Link], send: Send, now: int) -> None: ...
    def answered(self, link: Link, outcomes: list[int], now: int) -> None: ...
    def due(self, now: int) -> float | None: ...
    def limit(self, requests: int) -> None:
        """At most so many requests from now on."""


class ClosedPacer:
    """Each connection keeps `pipeline` requests in flight, topped up when half of them are answered."""

    def __init__(self, recorder: Recorder, pipeline: int) -> None:
        self.finished = False
        self._recorder = recorder
        self._pipeline = pipeline
        self._refill_at = pipeline // 2
        self._left = 1 << 62
        self._send: Send

    def start(self, links: Sequence[Link], send: Send, now: int) -> None:
        self._send = send
        for link in links:
            self._refill(link, now)

    def limit(self, requests: int) -> None:
        self._left = requests

    def answered(self, link: Link, outcomes: list[int], now: int) -> None:
        tally, times = self._recorder.response, link.times
        for outcome in outcomes:
            tally[(now - times.popleft()) // 1000 << OUTCOME_BITS | outcome] += 1
        if len(times) <= self._refill_at and not self.finished:
            self._refill(link, now)

    def _refill(self, link: Link, now: int) -> None:
        count = self._pipeline - len(link.times)
        if count > self._left:
            count = self._left
        sent = self._send(link, count) if count else 0
        self._left -= sent
        if sent == 1:
            link.times.append(now)
        elif sent:
            link.times.extend([now] * sent)
        else:
            self.finished = True

    def due(self, now: int) -> float | None:
        return None


class PausingPacer:
    """One request at a time on each connection, and a pause of `pause_ns` after each reply."""

    def __init__(self, recorder: Recorder, pause_ns: int) -> None:
        self.finished = False
        self._recorder = recorder
        self._pause = pause_ns
        self._waiting: list[tuple[int, int, Link]] = []
        self._send: Send

    def start(self, links: Sequence[Link], send: Send, now: int) -> None:
        self._send = send
        # Spread over the first pause: as independent users would come, not as one herd.
        self._waiting = [(now + self._pause * n // len(links), n, link) for n, link in enumerate(links)]

    def limit(self, requests: int) -> None:
        raise NotImplementedError("a list of requests ends by itself")

    def answered(self, link: Link, outcomes: list[int], now: int) -> None:
        for outcome in outcomes:
            self._recorder.response[(now - link.times.popleft()) // 1000 << OUTCOME_BITS | outcome] += 1
        heapq.heappush(self._waiting, (now + self._pause, link.number, link))

    def due(self, now: int) -> float | None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= now and not self.finished:
            link = heapq.heappop(waiting)[2]
            if link.broken:
                continue
            if self._send(link, 1):
                link.times.append(now)
            else:
                self.finished = True
        return (waiting[0][0] - now) / 1e9 if waiting and not self.finished else None


class SchedulePacer:
    """Open loop: request n is due at `first + n * period_ns`, whatever the server does. One that finds every connection
    busy waits its turn, and its latency counts from when it was due: a stall is charged to all who would have come
    meanwhile."""

    def __init__(self, recorder: Recorder, pipeline: int, period_ns: float, phase_ns: float = 0.0) -> None:
        self.finished = False
        self._recorder = recorder
        self._pipeline = pipeline
        self._period = period_ns
        self._phase = phase_ns
        self._first = 0
        self._issued = 0
        self._last = 1 << 62
        self._free: deque[Link] = deque()
        self._noticed = 0
        self._is_blocked = False
        self._send: Send

    def start(self, links: Sequence[Link], send: Send, now: int) -> None:
        self._send = send
        self._first = now + int(self._phase)
        self._free.extend(links)

    def limit(self, requests: int) -> None:
        self._last = self._issued + requests

    def answered(self, link: Link, outcomes: list[int], now: int) -> None:
        response, service, times = self._recorder.response, self._recorder.service, link.times
        for outcome in outcomes:
            scheduled, sent = times.popleft()
            response[(now - scheduled) // 1000 << OUTCOME_BITS | outcome] += 1
            service[(now - sent) // 1000 << OUTCOME_BITS | outcome] += 1
        if not link.free and len(times) < self._pipeline:
            link.free = True
            self._free.append(link)
        if self._is_blocked:
            self._dispatch(now)

    def end_schedule(self, now: int) -> None:
        """Nothing becomes due after `now`; what is due and unsent still goes out."""
        self._last = min(self._last, self._count_due(now))

    def give_up(self, now: int) -> int:
        """Counts what is still unsent with the time it has waited so far; how many those are."""
        unsent = max(self._count_due(now) - self._issued, 0)
        for _ in range(unsent):
            self._recorder.response[(now - self._due_at(self._issued)) // 1000 << OUTCOME_BITS | UNSENT] += 1
            self._issued += 1
        self.finished = True
        return unsent

    def due(self, now: int) -> float | None:
        self._dispatch(now)
        if self._issued >= self._last:
            self.finished = True
        if self.finished or self._is_blocked:
            return None
        return max(self._due_at(self._issued) - now, 0) / 1e9

    def _due_at(self, number: int) -> int:
        return self._first + int(number * self._period)

    def _count_due(self, now: int) -> int:
        return min(int((now - self._first) / self._period) + 1 if now >= self._first else 0, self._last)

    def _dispatch(self, now: int) -> None:
        if self.finished:
            return
        due = self._count_due(now)
        owed = due - self._issued
        self._notice(due, now)
        free = self._free
        share = -(-owed // len(free)) if free else 0
        while owed > 0 and free:
            link = free.popleft()
            if link.broken:
                continue
            room = self._pipeline - len(link.times)
            count = min(room, share, owed)
            self._send_scheduled(link, count, now)
            owed -= count
            link.free = room > count
            if link.free:
                free.append(link)
        self._is_blocked = owed > 0

    def _notice(self, due: int, now: int) -> None:
        """Records how late we see that requests are due. Where all connections were busy we did not look, and need not:
        nothing could have been sent."""
        lag = self._recorder.lag
        if due > self._noticed and self._is_blocked:
            lag[0] += due - self._noticed
        else:
            for number in range(self._noticed, due):
                lag[(now - self._due_at(number)) // 1000] += 1
        self._noticed = due

    def _send_scheduled(self, link: Link, count: int, now: int) -> None:
        self._send(link, count)
        link.times.extend([(self._due_at(number), now) for number in range(self._issued, self._issued + count)])
        self._issued += count
