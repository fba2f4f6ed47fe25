"""What is asked of a server: one request, or a chunk of SHOWs that came together, and who waits for the reply."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sttp_reactor.sttp.answerer import Done, Waiter
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.grammar import usual_request
from sttp_reactor.wire.messages import Action, Request, server_error

if TYPE_CHECKING:
    from sttp_reactor.proxy.upstream import Upstream

_LIST: Final = Action.LIST


class Call:
    """`lines` are the bytes to send, `count` request lines. `headers` are the first lines of the replies, joined by
    line ends, where all goes well and each is a 200; None where a reply of two lines is not the usual one.

    `request` is None for what has come by the fast way, until somebody needs it. `tried` are the servers that have
    failed it so far, `tries` how often it has been sent, `began` and `sent_at` (the try under way) times of the loop.
    """

    __slots__ = (
        "began",
        "count",
        "done",
        "headers",
        "is_retry",
        "is_write",
        "lines",
        "request",
        "sent_at",
        "tried",
        "tries",
        "waiter",
    )

    def __init__(
        self,
        lines: bytes,
        count: int,
        headers: bytes | None,
        done: Done,
        waiter: Waiter,
        began: float,
        request: Request | None = None,
    ) -> None:
        self.lines = lines
        self.count = count
        self.headers = headers
        self.done = done
        self.waiter = waiter
        self.began = self.sent_at = began
        self.request = request
        self.is_write = False
        self.is_retry = False
        self.tries = 0
        self.tried: tuple[Upstream, ...] = ()

    @property
    def the_request(self) -> Request:
        """Of one that is no chunk."""
        if self.request is None:
            self.request = usual_request(self.lines[:-1])
            assert self.request is not None  # the fast way takes nothing else
        return self.request

    def singles(self) -> list[Call]:
        """The same as one call for each request; `done` is called with all replies when they are there."""
        if self.count == 1:
            return [self]
        gathering = _Gathering(self.count, self.done)
        calls = []
        for place, line in enumerate(self.lines.splitlines(keepends=True)):
            call = Call(line, 1, usual_header(line), gathering.place(place), self.waiter, self.began)
            call.sent_at, call.tries, call.tried = self.sent_at, self.tries, self.tried
            calls.append(call)
        return calls

    def failed(self, why: str) -> bytes:
        """The reply 500 that says why; of one that is no chunk."""
        return encode_response(server_error(self.the_request.path, why.replace('"', "'")))

    def __repr__(self) -> str:
        return f"<Call {self.lines!r}>"


class _Gathering:
    """The replies to what was one chunk and has come apart."""

    def __init__(self, count: int, done: Done) -> None:
        self._replies: list[bytes] = [b""] * count
        self._missing = count
        self._done = done

    def place(self, number: int) -> Callable[[bytes], None]:
        def take(reply: bytes) -> None:
            self._replies[number] = reply
            self._missing -= 1
            if not self._missing:
                self._done(b"".join(self._replies))

        return take


def usual_header(line: bytes) -> bytes:
    """The first line of the reply to this SHOW line, without its end, where the file is there."""
    return b"200 %b OK" % line[5:-1]


def call_for(request: Request, done: Done, waiter: Waiter, now: float) -> Call:
    """What the slow way asks."""
    action, path, contents = request
    if contents is None:
        line = b"%b %b\n" % (action.word, path)
    elif not contents or (len(contents) > 1 and contents[0] == contents[-1] == 0x22):
        # Quotes that are lost on the way. Any others would make the line longer than it came, perhaps too long.
        line = b'%b %b "%b"\n' % (action.word, path, contents)
    else:
        line = b"%b %b %b\n" % (action.word, path, contents)
    call = Call(line, 1, b"200 %b OK" % path if action is Action.SHOW else None, done, waiter, now, request)
    call.is_write = action.is_write
    return call


def is_long(call: Call) -> bool:
    """Whether its reply may take long to come, or to pass: others had better not wait behind it."""
    return call.is_write or (call.request is not None and call.request.action is _LIST)
