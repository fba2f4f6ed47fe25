"""Gives each call to a server, and decides what becomes of those that a server has failed.

A call is queued until its first byte has been given to the kernel, then sent until its reply is complete.

- One that is queued may go to another server whatever it is.
- A SHOW or LIST that was sent is asked of another server, within the tries, the time and the budget. The budget bounds
  how many repeated requests are under way at a time, so that a farm in trouble does not get more to do than before;
  those beyond it wait for their turn.
- A write that was sent is never asked again, because it may have been carried out: the answer is a 500 that says so.
- A complete reply is final, but that a read answered 500 is asked of one other server.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.throttle import Throttle
from sttp_reactor.net.timers import Timer
from sttp_reactor.proxy.balance import PICKERS, Picker
from sttp_reactor.proxy.call import Call
from sttp_reactor.proxy.settings import UpstreamSettings
from sttp_reactor.proxy.upstream import Upstream
from sttp_reactor.sttp.counts import Counts
from sttp_reactor.wire.messages import Action

log = logging.getLogger(__name__)

# Whatever the budget says, so many reads may be repeated at a time.
_LEAST_RETRIES: Final = 3
# Subsets of the servers of which pickers are kept.
_MOST_PICKERS: Final = 32
_SHOWN: Final = (Action.SHOW.word, b"200")
# How often those who wait are looked at, for whom it is too late.
_LOOK_SECONDS: Final = 0.1


class Dispatcher:
    """An `upstream.UpstreamOwner`. Belongs to the reactor's thread."""

    def __init__(
        self, reactor: Reactor, settings: UpstreamSettings, balance: str, events: Throttle, counts: Counts
    ) -> None:
        """`counts` gets what is answered to clients."""
        self.upstreams: list[Upstream] = []
        self.retries = 0  # under way
        self.unanswered = 0  # requests that were answered 500 because no server could be asked, so far
        self._reactor = reactor
        self._events = events
        self._counts = counts
        self._usable: list[Upstream] = []
        self._picker: Picker | None = None  # among these; None where there are none
        self._pickers: dict[tuple[Upstream, ...], Picker] = {}  # of all that were needed since the last change
        self._queue: deque[Call] = deque()  # every server has as much to do as it may
        self._repeated: deque[tuple[Call, str]] = deque()  # reads that wait for room in the budget
        self._look: Timer | None = None
        self.use(settings, balance)

    def use(self, settings: UpstreamSettings, balance: str) -> None:
        self._settings = settings
        self._balance = balance
        self.changed()

    @property
    def under_way(self) -> int:
        return len(self._queue) + len(self._repeated) + sum(each.outstanding for each in self.upstreams)

    def ask(self, call: Call) -> None:
        """Its `done` is called later, never from here."""
        if self._picker is None:
            self._refuse_later(call, self._why_nobody())
            return
        upstream = None if self._queue else self._one_with_room(self._picker, call)
        if upstream is None:
            self._enqueue(call)
        else:
            upstream.ask(call)

    def close(self) -> None:
        if self._look is not None:
            self._look.cancel()
        for upstream in self.upstreams:
            upstream.close()

    # -- From the servers --

    def answered(self, upstream: Upstream, found: list[tuple[Call, bytes]]) -> None:
        requests = shown = failures = 0
        for call, reply in found:
            requests += call.count
            if reply[0] == 0x32 and call.headers is not None:
                shown += call.count
            else:
                if reply[0] == 0x35:
                    failures += 1
                    if not call.is_write and self._ask_again(upstream, call, reply):
                        continue
                self._count(call, reply)
            if call.is_retry:
                self.retries -= 1
            try:
                call.done(reply)
            except Exception:  # what goes wrong with one client must not cost the others their replies
                log.exception("a reply could not be delivered")
        upstream.outstanding -= requests
        upstream.counts["requests"] += requests
        if failures < len(found):
            upstream.succeeded()
        self._counts.of_store[_SHOWN] += shown
        now = self._reactor.now
        self._counts.durations.observe([now - call.began for call, _ in found])
        if self._queue or self._repeated:
            self._go_on()

    def ended(self, upstream: Upstream, sent: Sequence[Call], unsent: Sequence[Call], why: str) -> None:
        told = f"{upstream.name}: {why}"
        if sent or unsent:
            self._events.warn("upstream", "%s; %d requests were under way", told, len(sent) + len(unsent), cause=told)
        for call in unsent:
            self._finish_retry(call)
            call.tried = (*call.tried, upstream)
            call.tries -= 1
            self._ask_another(call, told)
        for call in sent:
            self._finish_retry(call)
            if call.is_write:
                upstream.counts["unknown"] += 1
                self._fail(call, f"outcome unknown: {told}")
            else:
                self._repeat(upstream, call, told)
        if self._queue or self._repeated:
            self._go_on()

    def changed(self) -> None:
        self._usable = [each for each in self.upstreams if each.is_usable]
        if not self._usable:
            # All are ejected: then that means nothing. Those that the checks have found to be down stay out.
            self._usable = [each for each in self.upstreams if each.is_healthy and not each.is_leaving]
        self._pickers.clear()
        self._picker = self._picker_among(self._usable) if self._usable else None
        if self._queue or self._repeated:
            self._go_on()

    def may_eject(self, upstream: Upstream) -> bool:
        return any(each.is_usable and each is not upstream for each in self.upstreams)

    # -- Once more --

    def _ask_again(self, upstream: Upstream, call: Call, reply: bytes) -> bool:
        """A read was answered 500: the server may be the reason, so another one is asked, once."""
        upstream.failed(reply.decode().rstrip())
        if call.tries > 1 or not self._others(call, upstream) or call.waiter.is_gone:
            return False
        self._repeat(upstream, call, f"{upstream.name} answered {reply.decode().rstrip()}")
        return True

    def _repeat(self, upstream: Upstream, call: Call, why: str) -> None:
        for single in call.singles():
            single.tried = (*single.tried, upstream)
            self._repeat_one(single, why)

    def _repeat_one(self, call: Call, why: str) -> None:
        if call.waiter.is_gone:
            return  # a read that nobody waits for
        if call.tries >= self._settings.tries:
            self._fail(call, f"{call.tries} servers were asked; the last one, {why}")
        elif self.retries < self._budget:
            self.retries += 1
            call.is_retry = True
            call.tried[-1].counts["retries"] += 1
            self._ask_another(call, why)
        else:
            self._repeated.append((call, why))
            self._look_later()

    def _ask_another(self, call: Call, why: str) -> None:
        others = self._others(call)
        if not others:
            self._finish_retry(call)
            self._fail(call, f"no other server can be asked; {why}")
        elif call.waiter.is_gone and not call.is_write:
            self._finish_retry(call)
        else:
            self._picker_among(others).pick(call).ask(call)

    def _picker_among(self, upstreams: list[Upstream]) -> Picker:
        """Kept, because a thousand requests that a server loses at once are asked of the same others, and the ring of
        `hash` takes 2 ms to make for twenty servers."""
        key = tuple(upstreams)
        picker = self._pickers.get(key)
        if picker is None:
            if len(self._pickers) >= _MOST_PICKERS:
                self._pickers.clear()
            picker = self._pickers[key] = PICKERS[self._balance](upstreams)
        return picker

    def _others(self, call: Call, but: Upstream | None = None) -> list[Upstream]:
        """The servers that may be asked for it and have not been yet."""
        return [each for each in self._usable if each not in call.tried and each is not but]

    @property
    def _budget(self) -> float:
        under_way = sum(each.outstanding for each in self.upstreams)
        return max(_LEAST_RETRIES, self._settings.retry_budget * under_way)

    def _finish_retry(self, call: Call) -> None:
        if call.is_retry:
            call.is_retry = False
            self.retries -= 1

    # -- Those who wait --

    def _one_with_room(self, picker: Picker, call: Call) -> Upstream | None:
        """The one that is to be asked, or where it has no room any that has; None where none has."""
        most = self._settings.most_outstanding
        upstream = picker.pick(call)
        if upstream.outstanding < most:
            return upstream
        return next((each for each in self._usable if each.outstanding < most), None)

    def _enqueue(self, call: Call) -> None:
        if len(self._queue) >= self._settings.queue:
            self._refuse_later(call, f"{len(self._queue)} requests wait for a server already; try again later")
            return
        self._queue.append(call)
        self._look_later()

    def _go_on(self) -> None:
        while self._repeated and self.retries < self._budget:
            self._repeat_one(*self._repeated.popleft())
        while self._queue:
            call = self._queue[0]
            if self._picker is None:
                self._fail(self._queue.popleft(), self._why_nobody())
                continue
            upstream = self._one_with_room(self._picker, call)
            if upstream is None:
                return
            self._queue.popleft()
            if call.is_write or not call.waiter.is_gone:
                upstream.ask(call)

    def _look_later(self) -> None:
        if self._look is None:
            self._look = self._reactor.call_later(_LOOK_SECONDS, self._look_now)

    def _look_now(self) -> None:
        self._look = None
        now, seconds = self._reactor.now, self._settings.read_timeout
        while self._queue and now - self._queue[0].began > seconds:
            self._fail(self._queue.popleft(), f"no server had room for it within {seconds:g} s")
        late = seconds * self._settings.tries
        while self._repeated and now - self._repeated[0][0].began > late:
            call, why = self._repeated.popleft()
            self._fail(call, why)
        self._go_on()
        if self._queue or self._repeated:
            self._look_later()

    # -- Nothing to answer with --

    def _refuse_later(self, call: Call, why: str) -> None:
        self._reactor.call_soon(lambda: self._fail(call, why))

    def _fail(self, call: Call, why: str) -> None:
        self.unanswered += call.count
        for single in call.singles():
            reply = single.failed(why)
            self._count(single, reply)
            try:
                single.done(reply)
            except Exception:
                log.exception("a reply could not be delivered")

    def _count(self, call: Call, reply: bytes) -> None:
        self._counts.of_store[call.the_request.action.word, reply[:3]] += 1

    def _why_nobody(self) -> str:
        if not self.upstreams:
            return "there is no server to ask; name some in servers"
        return f"no server can be asked: {'; '.join(_troubles(self.upstreams))}"


def _troubles(upstreams: Iterable[Upstream]) -> list[str]:
    return [f"{each.name} is {each.state}{each.why and ': ' + each.why}" for each in upstreams]
