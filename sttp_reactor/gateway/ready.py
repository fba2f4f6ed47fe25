"""The quick way for files that are cached: a request's bytes lead to the line that would ask for it in STTP, and as
long as the cache answers that line with the very reply that the response was made of, the response is sent again.

So the cache alone decides what is still true: in all that concerns expiry, eviction and other processes, a GET is
as good as a SHOW, and it counts as a use of the entry.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sttp_reactor.gateway.replies import FileResponse
from sttp_reactor.http.messages import Response
from sttp_reactor.http.ready import LONGEST_REQUEST, HttpDate
from sttp_reactor.net.reactor import Reactor

# With heads of 500 bytes, as browsers send them, this is 16 MB.
MOST_ANSWERS = 16384


class _Answer:
    """`joined` holds the date that is right until `until`."""

    __slots__ = ("after", "before", "hits", "joined", "kind", "line", "reply", "until")

    def __init__(self, line: bytes, reply: bytes, before: bytes, after: bytes, kind: tuple[str, int]) -> None:
        self.kind = kind
        self.hits = 0
        self.line = line
        self.reply = reply
        self.before = before
        self.after = after
        self.joined = b""
        self.until = 0.0


class CachedAnswers:
    """`use` says what the cache answers to a request line at a time: `Service.fast_way`."""

    def __init__(self, reactor: Reactor, date: HttpDate, most: int = MOST_ANSWERS) -> None:
        self._reactor = reactor
        self._date = date
        self._most = most
        self._answers: dict[bytes, _Answer] = {}
        self._replies_to: Callable[[bytes, float], bytes | None] = _no_reply
        self._hits: Counter[tuple[str, int]] = Counter()  # of answers that are forgotten

    @property
    def counts(self) -> Counter[tuple[str, int]]:
        """By method and status. Each answer counts for itself, because that is cheapest while it is looked at."""
        counts = self._hits.copy()
        for answer in self._answers.values():
            counts[answer.kind] += answer.hits
        return counts

    def _forget(self, answer: _Answer | None) -> None:
        if answer is not None:
            self._hits[answer.kind] += answer.hits

    def use(self, replies_to: Callable[[bytes, float], bytes | None] | None) -> None:
        """None: there is no quick way. What is known is forgotten, as it may have been made under other rules."""
        self._replies_to = _no_reply if replies_to is None else replies_to
        for answer in self._answers.values():
            self._forget(answer)
        self._answers.clear()

    def answer_to(self, chunk: bytes) -> bytes | None:
        answer = self._answers.get(chunk)
        if answer is None:
            return None
        now = self._reactor.now
        if self._replies_to(answer.line, now) is not answer.reply:
            return None  # changed, expired or evicted; the slow way will find out, and keep what it finds
        if now >= answer.until:
            answer.until = now + 1.0
            answer.joined = self._date().encode().join((answer.before, answer.after))
        answer.hits += 1
        return answer.joined

    def keep(self, request: bytes, response: Response, answer: bytes, date: str) -> None:
        """As of `http.ready.ReadyAnswers`, for responses that are about files."""
        if isinstance(response, FileResponse) and 0 < len(request) <= LONGEST_REQUEST:
            while len(self._answers) >= self._most:
                self._forget(self._answers.pop(next(iter(self._answers))))
            self._forget(self._answers.get(request))
            before, _, after = answer.partition(date.encode())
            kind = request.partition(b" ")[0].decode(), response.status
            self._answers[request] = _Answer(response.line, response.reply, before, after, kind)


def _no_reply(_line: bytes, _now: float) -> None:
    """Where no cache may answer."""
