"""Requests that may come out in several ways, all fine: making the keys before a load, deleting them after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sttp_reactor.client.exchange import Socket
from sttp_reactor.load.engine import Engine
from sttp_reactor.load.exact import abandon
from sttp_reactor.load.faults import Mistakes, shown
from sttp_reactor.load.latency import Recorder
from sttp_reactor.load.link import Link
from sttp_reactor.load.outcomes import SHOW_200, WRONG
from sttp_reactor.load.pacing import ClosedPacer
from sttp_reactor.load.replies import MAX_REPLY_BYTES, is_reply_like, refusal_of, reply_end

PIPELINE = 32  # deep enough that a server may write the whole batch to its disk at once

Errand = tuple[bytes, tuple[bytes, ...]]  # a request, and how a fitting reply may begin


class ErrandSource:
    """See `exact` for what a source is. `replies` maps each request to its reply, where that was a fitting one."""

    def __init__(self, errands: Iterable[Errand], mistakes: Mistakes) -> None:
        self._errands = iter(errands)
        self.mistakes = mistakes
        self.replies: dict[bytes, bytes] = {}

    def compose(self, link: Link, count: int) -> bytes:
        errands = [errand for _, errand in zip(range(count), self._errands, strict=False)]
        link.pending.extend(errands)
        return b"".join([request for request, _ in errands])

    def digest(self, link: Link, data: bytes) -> list[int]:
        data = link.rest + data
        outcomes: list[int] = []
        start = 0
        if not link.pending:
            abandon(link, self.mistakes, data, None)
            return outcomes
        while link.pending and start < len(data):
            request, fitting = link.pending[0]
            end = reply_end(data, start)
            is_endless = not end and len(data) - start > MAX_REPLY_BYTES
            if is_endless or not is_reply_like(data, start) or refusal_of(data, start):
                abandon(link, self.mistakes, data[start:], request)
                return outcomes
            if not end:
                break
            link.pending.popleft()
            reply = data[start:end]
            if reply.startswith(fitting):
                self.replies[request] = reply
            else:
                self.mistakes.note(f"{shown(request.rstrip())}: got '{shown(reply)}'")
            outcomes.append(SHOW_200 if reply.startswith(fitting) else WRONG)
            start = end
        link.rest = data[start:]
        return outcomes


Watch = Callable[[Engine, ErrandSource], None]  # sees the engine before it runs, to stop it or to show progress


def run_errands(
    sockets: Sequence[Socket],
    errands: Iterable[Errand],
    mistakes: Mistakes,
    timeout: float,
    watch: Watch | None = None,
) -> tuple[dict[bytes, bytes], bool]:
    """Sends every errand; (the fitting replies by request, whether all sockets can be used further)."""
    links = [Link(number, sock) for number, sock in enumerate(sockets)]
    source = ErrandSource(errands, mistakes)
    engine = Engine(links, source, ClosedPacer(Recorder(), PIPELINE), pipeline=PIPELINE, timeout=timeout)
    if watch:
        watch(engine, source)
    engine.run()
    return source.replies, not engine.lost and not engine.unanswered


def deletion(path: bytes) -> Errand:
    """A DELETE that does not mind if the file, or its whole directory, is not there."""
    return b"DELETE %s\n" % path, (b"600 %s DELETED\n" % path, b"400 %s NOT FOUND\n" % path, b"410 ")
