"""Requests that have exactly one right reply: checking one is comparing bytes, a whole pipeline's worth at once.

A source is what the engine asks for bytes to send and hands the bytes received. It never sees a socket or a clock:

    compose(link, count)   the next `count` requests (fewer at the source's end), joined; appends to `link.pending`
    digest(link, data)     one outcome (see `outcomes`) for each reply that `data` completes; pops from `link.pending`
                           sets `link.broken` where what came is not STTP, so that no later reply can be told apart
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from sttp_reactor.load.faults import Mistakes, shown
from sttp_reactor.load.link import Link
from sttp_reactor.load.outcomes import WRONG
from sttp_reactor.load.replies import MAX_REPLY_BYTES, is_reply_like, refusal_of, reply_end

Pair = tuple[bytes, bytes]  # a request and its one right reply


class Source(Protocol):
    mistakes: Mistakes

    def compose(self, link: Link, count: int) -> bytes: ...
    def digest(self, link: Link, data: bytes) -> list[int]: ...


class ExactSource:
    """Takes its requests from `take(count)`, which returns at most `count` pairs, and fewer only at the end."""

    def __init__(self, take: Callable[[int], list[Pair]], outcome: int, mistakes: Mistakes) -> None:
        self._take = take
        self._outcome = outcome
        self.mistakes = mistakes
        self.refused: set[bytes] = set()  # requests that were answered, and wrongly
        self._single = [outcome]

    def compose(self, link: Link, count: int) -> bytes:
        pairs = self._take(count)
        if len(pairs) == 1 and not link.pending:  # no pipelining: 0.3 us less than the general way
            link.pending.append(pairs[0])
            request, link.likely = pairs[0]
            return request
        link.pending.extend(pairs)
        link.likely += b"".join([pair[1] for pair in pairs])
        return b"".join([pair[0] for pair in pairs])

    def digest(self, link: Link, data: bytes) -> list[int]:
        if link.rest:
            data = link.rest + data
            link.rest = b""
        if data == link.likely:
            done = len(link.pending)
            link.pending.clear()
            link.likely = b""
            return self._single if done == 1 else [self._outcome] * done
        return self._walk(link, data)

    def _walk(self, link: Link, data: bytes) -> list[int]:
        """Reply by reply, for what came in pieces or is not what was expected."""
        outcomes: list[int] = []
        start, pending = 0, link.pending
        while pending and start < len(data):
            request, expected = pending[0]
            if data.startswith(expected, start):
                start += len(expected)
                outcomes.append(self._outcome)
            else:
                if not is_reply_like(data, start) or len(data) - start > MAX_REPLY_BYTES:
                    abandon(link, self.mistakes, data[start:], request)
                    return outcomes
                end = reply_end(data, start)
                if not end:
                    break
                if refusal_of(data, start):
                    abandon(link, self.mistakes, data[start:end], request)
                    return outcomes
                self.refused.add(request)
                self.mistakes.note(
                    f"{shown(request.rstrip())}: expected '{shown(expected)}', got '{shown(data[start:end])}'"
                )
                start = end
                outcomes.append(WRONG)
            pending.popleft()
        if not pending and start < len(data):
            abandon(link, self.mistakes, data[start:], None)
            return outcomes
        link.rest = data[start:]
        link.likely = b"".join([pair[1] for pair in pending])
        return outcomes


def abandon(link: Link, mistakes: Mistakes, data: bytes, request: bytes | None) -> None:
    """Marks a link as broken: `data` refuses the connection, or is no reply to `request`, or, where that is None,
    nobody asked for it."""
    link.broken = True
    refusal = refusal_of(data)
    if refusal:
        mistakes.refuse(refusal)
    elif request is None:
        mistakes.note(f"the server sent what nobody asked for: '{shown(data)}'")
    else:
        mistakes.note(f"{shown(request.rstrip())}: '{shown(data)}' is not an STTP reply")


class Agenda:
    """A list of pairs that ends; `taken` of them are sent."""

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self._pairs = pairs
        self.taken = 0

    def __len__(self) -> int:
        return len(self._pairs)

    def take(self, count: int) -> list[Pair]:
        pairs = self._pairs[self.taken : self.taken + count]
        self.taken += len(pairs)
        return list(pairs)

    def sent(self) -> set[bytes]:
        return {request for request, _ in self._pairs[: self.taken]}
