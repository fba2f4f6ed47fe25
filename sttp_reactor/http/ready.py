"""Answers that are ready before they are asked for: whole requests, byte for byte, and what they are answered.

A client that asks again sends the very bytes that it has sent before. Looking those up costs a tenth of parsing them.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Final

from sttp_reactor.http.messages import Response
from sttp_reactor.net.reactor import Reactor

# A head that a browser sends has 500 bytes; so this is some megabytes at the most. Then the oldest goes.
MOST_ANSWERS: Final = 4096
LONGEST_REQUEST: Final = 1024


class HttpDate:
    """The value of the header Date (RFC 9110, section 6.6.1), made once a second."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._until = reactor.now
        self._text = ""

    def __call__(self) -> str:
        if self._reactor.now >= self._until:
            # The time may be as old as the turn, and a second older: no reader of a Date minds.
            self._until = self._reactor.now + 1.0
            self._text = formatdate(time.time(), usegmt=True)
        return self._text


class ReadyAnswers:
    """`answer_to` is the fast way of a session. An answer is kept in the two halves that its Date stands between."""

    def __init__(self, reactor: Reactor, date: HttpDate, most: int = MOST_ANSWERS) -> None:
        self._reactor = reactor
        self._date = date
        self._most = most
        self._halves: dict[bytes, tuple[bytes, bytes]] = {}
        self._joined: dict[bytes, bytes] = {}  # with this second's date
        self._until = reactor.now

    def answer_to(self, chunk: bytes) -> bytes | None:
        if self._reactor.now >= self._until:
            self._until = self._reactor.now + 1.0
            self._joined.clear()
        return self._joined.get(chunk) or self._join(chunk)

    def _join(self, chunk: bytes) -> bytes | None:
        halves = self._halves.get(chunk)
        if halves is None:
            return None
        answer = self._joined[chunk] = self._date().encode().join(halves)
        return answer

    def keep(self, request: bytes, _response: Response, answer: bytes, date: str) -> None:
        """From now on `request`, byte for byte, gets `answer`, which holds `date`. Nothing is kept of a long one."""
        if 0 < len(request) <= LONGEST_REQUEST:
            while len(self._halves) >= self._most:
                oldest = next(iter(self._halves))
                del self._halves[oldest]
                self._joined.pop(oldest, None)
            before, _, after = answer.partition(date.encode())
            self._halves[request] = before, after

    def clear(self) -> None:
        self._halves.clear()
        self._joined.clear()
