"""The reactor: one thread that waits for whatever happens next and calls the one it happened to.

A turn, always in this order:

    lull      only when something waits for one: work for other threads is handed over once no socket is ready any more
    wait      until a socket is ready, a timer is due, or another thread or a signal wakes us
    sockets   each ready socket's handler is called once; each does a bounded piece of work
    inbox     what other threads have posted becomes ready
    timers    those due; what they set, even for now, waits a turn
    ready     callbacks queued before this point; what they queue waits a turn, so no chain of them starves a socket
    turn end  work collected during the turn is done as one batch
    flush     what the turn has written is sent, one send for each connection

Who owns what. Nothing here is locked, because only this thread touches it:

    selector, interests, timers, ready queue      the reactor
    buffers and state of a connection             that connection, called by the reactor
    the inbox                                     any thread may append through `call_soon_threadsafe`, and only that

`Reactor.observer` is told how long each of these phases took.

`selectors` does the multiplexing, so the loop runs wherever Python has epoll, kqueue, poll or select.
"""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from sttp_reactor.limits import LULL_SECONDS, LULL_TURNS
from sttp_reactor.net.loop import Flushable, Handler, Pollable
from sttp_reactor.net.observing import Observer, Stopwatch
from sttp_reactor.net.poller import default_selector
from sttp_reactor.net.timers import Timer, Timers
from sttp_reactor.net.waker import Waker

log = logging.getLogger(__name__)

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE

# Seconds. epoll and poll count milliseconds in a C int, which overflows after 24 days.
_LONGEST_WAIT: Final = 3600.0
# Waits that fail one after the other before the loop gives up: its selector is broken, and trying on would only spin.
_MOST_FAILURES: Final = 100


class Reactor:
    """An event loop. Everything but `call_soon_threadsafe` belongs to the thread that calls `run`.

    `selector` and `clock` (monotonic seconds) can be given, for tests.
    """

    def __init__(
        self, selector: selectors.BaseSelector | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.clock = clock
        self.now = clock()  # read once a turn, after the wait: cheap, and one turn has one time
        self.turns = 0
        self.busy = 1  # sockets and callbacks that share this turn; never 0
        self.bytes_received = self.bytes_sent = 0  # by all connections so far
        self.unsent: list[Flushable] = []  # connections with something to send; each puts itself here once a turn
        self.observer: Observer | None = None
        """Called with each of `net.observing.PHASES` and how many seconds it took, at its end, from the turn after the
        one in which it was set: all phases in every turn, so that they add up to the turn. Costs nothing when None."""
        self._selector = default_selector() if selector is None else selector
        self._timers = Timers()
        self._ready: deque[Callable[[], None]] = deque()
        self._inbox: deque[Callable[[], None]] = deque()
        self._turn_end: list[Callable[[], None]] = []
        self._in_lull: list[Callable[[], None]] = []
        self._turns_without_lull = 0
        self._lull_awaited_at = 0.0
        self._failures_in_a_row = 0
        self._failed_in_turn = -1
        self._asleep = False
        self._stopping = False
        self._waker = Waker()
        self.register(self._waker, READ, self._waker)

    # -- For handlers --

    def register(self, sock: Pollable, interest: int, handler: Handler) -> None:
        """Raises OSError where the system will not watch one more (ENOSPC, ENOMEM); then nothing is registered."""
        try:
            self._selector.register(sock, interest, handler)
        except KeyError:
            self._forget_closed(sock.fileno())
            self._selector.register(sock, interest, handler)

    def set_interest(self, sock: Pollable, interest: int, handler: Handler) -> None:
        """Raises OSError as `register` does; then the socket is registered no more."""
        self._selector.modify(sock, interest, handler)

    def unregister(self, sock: Pollable) -> None:
        """Harmless for what is registered no more, or has been closed behind our back."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(sock)

    def _forget_closed(self, descriptor: int) -> None:
        """Somebody has closed a socket without unregistering it, and another has got its number."""
        key = self._selector.get_map()[descriptor]
        if isinstance(key.fileobj, int) or key.fileobj.fileno() != descriptor:
            self._selector.unregister(descriptor)

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Call once: later in this turn where the callback of a socket or a timer asks for it, else in the next one."""
        self._ready.append(callback)

    def call_next_turn(self, callback: Callable[[], None]) -> None:
        """Call once, not before the next turn, so after the other sockets have had theirs: for work that goes on
        after a share of it has been done."""
        self._turn_end.append(partial(self._ready.append, callback))

    def call_later(self, delay: float, callback: Callable[[], None]) -> Timer:
        """Call once, `delay` seconds from now."""
        return self._timers.call_at(self.now + delay, callback)

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Timer:
        return self._timers.call_at(deadline, callback)

    def call_at_turn_end(self, callback: Callable[[], None]) -> None:
        """Call once, when this turn's sockets, timers and ready callbacks have all had their say."""
        self._turn_end.append(callback)

    def call_in_lull(self, callback: Callable[[], None]) -> None:
        """Call once, when no socket is ready any more, but after LULL_TURNS turns or LULL_SECONDS at the latest.

        For handing work to other threads. Given a batch at the end of every turn, a worker and this thread would run
        at the same time and fight over the interpreter's lock at every system call; so this thread first takes what
        it can get, and then the worker has the interpreter for itself (uncached SHOWs, 50 connections: 16 us of CPU
        each became 12 us, and 55,000 a second 71,000).
        """
        if not self._in_lull:
            self._lull_awaited_at = self.now
        self._in_lull.append(callback)

    def call_soon_threadsafe(self, callback: Callable[[], None]) -> None:
        """Call once, soon, in the reactor's thread: the only call that any thread may make.

        The byte is only written to a reactor that sleeps. `_asleep` is set before the inbox is looked at for the last
        time before the wait: a thread that sees it False has appended early enough to be seen.
        """
        self._inbox.append(callback)
        if self._asleep:
            self._waker.wake()

    def on_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Call `callback`, as any other event, whenever the signal arrives. Main thread only.

        A signal that comes several times before its callback could run is one call."""
        self._waker.watch_signal(number, callback)

    # -- The loop --

    def run(self) -> None:
        """Turn until `stop` is called."""
        while not self._stopping:
            self.turn()
        self._stopping = False

    def stop(self) -> None:
        """Leave `run` when the turn is over."""
        self._stopping = True

    def turn(self) -> None:
        """One turn. Waits for at most as long as nothing is due."""
        observer = self.observer
        if observer is not None:
            self._observed_turn(observer)
            return
        self._call_sockets((self._in_lull and self._before_lull()) or self._wait())
        if self._inbox:
            self._take_inbox()
        self._call_due()
        if self._ready:
            self._call_ready()
        if self._turn_end:
            self._call_turn_end()
        if self.unsent:
            self._flush()

    def _observed_turn(self, observer: Observer) -> None:
        """The same for somebody who watches. A method of its own, so that nobody else pays for reading the clock."""
        watch = Stopwatch(self.clock, observer, self._forget_observer)
        ready = self._before_lull() if self._in_lull else []
        watch.lap("lull")
        ready = ready or self._wait()
        watch.lap("wait")
        self._call_sockets(ready)
        watch.lap("sockets")
        self._take_inbox()
        watch.lap("inbox")
        self._call_due()
        watch.lap("timers")
        self._call_ready()
        watch.lap("ready")
        self._call_turn_end()
        watch.lap("turn end")
        self._flush()
        watch.lap("flush")

    def _forget_observer(self) -> None:
        self.observer = None

    def _call_sockets(self, ready: list[tuple[selectors.SelectorKey, int]]) -> None:
        self.busy = len(ready) + len(self._ready) or 1
        self.now = self.clock()
        self.turns += 1
        sockets = iter(ready)
        while True:
            try:
                for key, events in sockets:
                    if events == READ:  # nearly always
                        key.data.on_readable()
                        continue
                    if events & READ:
                        key.data.on_readable()
                    if events & WRITE:
                        key.data.on_writable()
                break
            except Exception:  # costs the failed handler its turn, and the others nothing: the iterator goes on
                log.exception("a handler failed")

    def _take_inbox(self) -> None:
        for _ in range(len(self._inbox)):
            self._ready.append(self._inbox.popleft())

    def _call_due(self) -> None:
        for timer in self._timers.pop_due(self.now):
            if (due := timer.take()) is not None:
                _guarded(due)

    def _call_ready(self) -> None:
        for _ in range(len(self._ready)):
            _guarded(self._ready.popleft())

    def _call_turn_end(self) -> None:
        while self._turn_end:
            callbacks, self._turn_end = self._turn_end, []
            for callback in callbacks:
                _guarded(callback)

    def _flush(self) -> None:
        unsent = iter(self.unsent)
        while True:
            try:
                for connection in unsent:
                    connection.flush()
                break
            except Exception:
                log.exception("a flush failed")
        self.unsent.clear()

    def _before_lull(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Sockets that are ready even now, so that there is no lull yet; or none, and what waited for it is done."""
        self._turns_without_lull += 1
        in_time = self._turns_without_lull <= LULL_TURNS and self.now - self._lull_awaited_at < LULL_SECONDS
        with contextlib.suppress(OSError):  # the wait that follows fails likewise, and handles it
            if in_time and (sockets := self._selector.select(0)):
                return sockets
        self._turns_without_lull = 0
        callbacks, self._in_lull = self._in_lull, []
        for callback in callbacks:
            _guarded(callback)
        return []

    def _wait(self) -> list[tuple[selectors.SelectorKey, int]]:
        self._asleep = True
        try:
            if self._ready or self._inbox or self.unsent or self._turn_end or self._stopping:
                return self._selector.select(0)
            deadline = self._timers.next_deadline()
            if deadline is None:
                return self._selector.select(None)
            return self._selector.select(min(max(0.0, deadline - self.clock()), _LONGEST_WAIT))
        except OSError as error:
            return self._after_failure(error)
        finally:
            self._asleep = False

    def _after_failure(self, error: OSError) -> list[tuple[selectors.SelectorKey, int]]:
        """The wait itself has failed. Where a descriptor was closed behind our back, `select` fails until it is
        unregistered: its handler is called, and finds out. Anything else is tried again, but not for ever."""
        self._failures_in_a_row = self._failures_in_a_row + 1 if self.turns == self._failed_in_turn + 1 else 1
        self._failed_in_turn = self.turns
        if self._failures_in_a_row > _MOST_FAILURES:
            raise error
        log.error("waiting for sockets failed: %s", error)
        return [(key, key.events) for key in self._selector.get_map().values() if not _is_open(key.fd)]

    def close(self) -> None:
        """Release the selector and the waker. Sockets registered by others are theirs to close."""
        self.unregister(self._waker)
        self._waker.close()
        self._selector.close()

    def __repr__(self) -> str:
        sockets = len(self._selector.get_map() or ()) - 1
        return f"<Reactor turn {self.turns}: {sockets} sockets, {len(self._timers)} timers, {len(self._ready)} ready>"


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _guarded(callback: Callable[[], None]) -> None:
    """A callback that fails is logged and costs nobody else anything."""
    try:
        callback()
    except Exception:
        log.exception("a callback failed")
