"""One process's loop: connections, a source that knows what to say, a pacer that knows when."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from sttp_reactor.load.exact import Source
from sttp_reactor.load.link import Link
from sttp_reactor.load.pacing import Pacer
from sttp_reactor.load.poller import READABLE, WRITABLE, Poller, make_poller
from sttp_reactor.load.wording import plural

# Room for a whole pipeline of replies, or for one LIST; what does not fit comes with the next turn.
_RECEIVE_PER_REQUEST = 256
_RECEIVE_LEAST, _RECEIVE_MOST = 4096, 262144
_LONGEST_WAIT = 0.1  # seconds: a signal handler only sets a flag, and this is how long it may go unseen
_PATIENCE_NS = 2_000_000_000  # for the answers to what was sent before `stop`


class Engine:
    """Runs until the pacer is finished and all is answered, or `stop()`, or every connection is lost. A `poller` that
    is handed in is left open and empty, so that another engine can use it for the same connections."""

    def __init__(
        self,
        links: Sequence[Link],
        source: Source,
        pacer: Pacer,
        *,
        pipeline: int = 1,
        timeout: float = 10.0,
        poller: Poller | None = None,
    ) -> None:
        self._links = {link.sock.fileno(): link for link in links if link.sock is not None}
        self._source = source
        self._pacer = pacer
        self._timeout = int(timeout * 1e9)
        self._receive = min(max(pipeline * _RECEIVE_PER_REQUEST, _RECEIVE_LEAST), _RECEIVE_MOST)
        self._poller = poller or make_poller()
        self._owns_poller = poller is None
        self._alarms: list[tuple[int, Callable[[int], None]]] = []
        self._watched: dict[int, Callable[[], None]] = {}
        self._stops = 0
        self._leave_at = 0
        self.lost = 0
        self.unanswered: list[Any] = []  # what was in flight when a connection was lost, or when the loop was left
        self.started = self.last_reply = 0

    def at(self, when: int, call: Callable[[int], None]) -> None:
        """Calls `call(now)` at `when` (monotonic ns) or soon after, while the engine runs."""
        self._alarms.append((when, call))
        self._alarms.sort(key=lambda alarm: alarm[0])

    def stop(self) -> None:
        """Sends nothing more, and leaves the loop when all is answered or after _PATIENCE_NS; the second time at once.

        What was sent may still be carried out after its connection is closed, so a clean-up that did not wait would
        come too early. May be called by a signal handler: the loop sees it within _LONGEST_WAIT.
        """
        self._stops += 1

    def watch(self, fd: int, call: Callable[[], None]) -> None:
        """Calls `call` whenever `fd`, which is no connection, is readable."""
        self._poller.register(fd, READABLE)
        self._watched[fd] = call

    def run(self) -> None:
        for fd in self._links:
            self._poller.register(fd, READABLE)
        now = self.started = self.last_reply = time.monotonic_ns()
        self.at(now + self._timeout // 4, self._look_for_silence)
        self._pacer.start(list(self._links.values()), self._send, now)
        try:
            while self._links and not self._is_done():
                self._turn()
        finally:
            self._leave_poller()
            for link in self._links.values():
                self.unanswered.extend(link.pending)

    def _leave_poller(self) -> None:
        if self._owns_poller:
            self._poller.close()
            return
        for fd in [*self._links, *self._watched]:
            self._poller.unregister(fd)

    def _is_done(self) -> bool:
        if self._stops:
            self._pacer.finished = True
            self._leave_at = self._leave_at or time.monotonic_ns() + _PATIENCE_NS
            if self._stops > 1 or time.monotonic_ns() > self._leave_at:
                return True
        return self._pacer.finished and not any(link.pending for link in self._links.values())

    def _turn(self) -> None:
        now = time.monotonic_ns()
        while self._alarms and self._alarms[0][0] <= now:
            self._alarms.pop(0)[1](now)
        wait = self._pacer.due(now)
        if self._pacer.finished and self._is_done():
            return
        wait = min(_LONGEST_WAIT if wait is None else wait, _LONGEST_WAIT)
        if self._alarms:
            wait = min(wait, max(self._alarms[0][0] - now, 0) / 1e9)
        self._exchange(wait)

    def _exchange(self, wait: float) -> None:
        """Takes in every reply that has come, and lets the pacer answer each with the next request."""
        clock = time.monotonic_ns
        links, digest, answered, receive = self._links, self._source.digest, self._pacer.answered, self._receive
        for fd, events in self._poller.wait(wait):
            link = links.get(fd)
            if link is None or link.sock is None:
                self._on_watched(fd)
                continue
            if events & WRITABLE:
                self._flush(link)
            if events == WRITABLE:
                continue
            try:
                data = link.sock.recv(receive)
            except BlockingIOError:
                continue
            except OSError as error:
                self._lose(link, error.strerror or str(error))
                continue
            if not data:
                self._lose(link, "")
                continue
            now = clock()
            outcomes = digest(link, data)
            if outcomes:
                self.last_reply = now
                answered(link, outcomes, now)
            if link.broken:
                self._drop(link)

    def _send(self, link: Link, count: int) -> int:
        before = len(link.pending)
        data = self._source.compose(link, count)
        if link.unsent:
            link.unsent += data
        elif data:
            assert link.sock is not None
            try:
                sent = link.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                sent = len(data)  # the connection is gone, as recv() is about to say
            if sent < len(data):
                link.unsent = data[sent:]
                self._poller.modify(link.sock.fileno(), READABLE | WRITABLE)
        return len(link.pending) - before

    def _flush(self, link: Link) -> None:
        assert link.sock is not None
        try:
            link.unsent = link.unsent[link.sock.send(link.unsent) :]
        except BlockingIOError:
            return
        except OSError:
            link.unsent = b""
        if not link.unsent:
            self._poller.modify(link.sock.fileno(), READABLE)

    def _on_watched(self, fd: int) -> None:
        call = self._watched.get(fd)
        if call:
            call()

    def _lose(self, link: Link, reason: str) -> None:
        """The server closed the connection, which it may do only when asked to: never here."""
        unanswered = f" with {plural(len(link.pending), 'request')} unanswered" if link.pending else ""
        self._source.mistakes.note(
            f"the server closed connection {link.number}{unanswered}" + (f" ({reason})" if reason else ""),
            max(len(link.pending), 1),
        )
        self._drop(link)

    def _drop(self, link: Link) -> None:
        self.lost += 1
        link.broken = True
        if link.sock is not None:
            fd = link.sock.fileno()
            self._poller.unregister(fd)
            del self._links[fd]
            link.close()
        self.unanswered.extend(link.pending)
        link.pending.clear()
        link.times.clear()

    def _look_for_silence(self, now: int) -> None:
        for link in list(self._links.values()):
            if not link.times:
                continue
            oldest = link.times[0]
            sent = oldest[1] if isinstance(oldest, tuple) else oldest
            if now - sent > self._timeout:
                self._source.mistakes.note(
                    f"no reply within {self._timeout / 1e9:g} s on connection {link.number}, "
                    f"{plural(len(link.pending), 'request')} unanswered",
                    len(link.pending),
                )
                self._drop(link)
        self.at(now + self._timeout // 4, self._look_for_silence)
