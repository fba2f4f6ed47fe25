"""The two parsers: a server's, from bytes to requests, and a client's, from bytes to replies.

Both are fed with `receive_data` and `receive_eof` and asked with `next_message` until they answer NEED_DATA. Neither
raises anything because of what a peer sent; a client's parser raises RemoteError, since it cannot go on.
"""

from __future__ import annotations

import enum
import re
from typing import Final, NamedTuple

from sttp_reactor.errors import LineTooLong, RemoteError
from sttp_reactor.limits import MAX_LINE_BYTES
from sttp_reactor.text import is_text
from sttp_reactor.wire.grammar import echoed_path, parse_request_line, parse_status_line, usual_request
from sttp_reactor.wire.linebuffer import LineBuffer
from sttp_reactor.wire.messages import NO_PATH, Request, Response, Status, client_error
from sttp_reactor.wire.states import TRANSITIONS, Event, SessionState

# A LIST reply's second line is as long as its directory is large: 200,000 names of 32 characters and room to spare.
MAX_CONTENTS_LINE_BYTES: Final = 64 * 1024 * 1024


class Signal(enum.Enum):
    """Answers of `next_message` that are not messages."""

    NEED_DATA = "everything received has been taken"
    END_OF_SESSION = "nothing more will be carried out"


# Names of our own for what is asked for with every line: looking a member up in its enum takes 60 ns on CPython 3.11.
_FRESH: Final = SessionState.FRESH
_ENDED: Final = SessionState.ENDED

_EMPTY_LINES: Final = re.compile(rb"(?:\r?\n)*")

NEED_DATA: Final = Signal.NEED_DATA
END_OF_SESSION: Final = Signal.END_OF_SESSION


class BadLine(NamedTuple):
    """A line that is not a request, and its reply. Whether the session goes on, the parser's next answer says."""

    response: Response


class RequestParser:
    """A server's side of one connection (PROTOCOL.md sections 1 and 2)."""

    __slots__ = ("_at_eof", "_lines", "_max_line", "state")

    def __init__(self, max_line: int = MAX_LINE_BYTES) -> None:
        self.state = SessionState.FRESH
        self._lines = LineBuffer(max_line)
        self._max_line = max_line
        self._at_eof = False

    def receive_data(self, data: bytes) -> None:
        """Bytes from the peer. After the end of the session they are dropped."""
        if self.state is _FRESH and data and data[0] in b"\r\n" and not self._lines and self._max_line > 1:
            # Ignored lines make no message, so nobody counts them: a chunk of nothing else would take 5 ms one by one.
            data = data[_EMPTY_LINES.match(data).end() :]  # type: ignore[union-attr]  # it matches nothing, too
        if self.state is not _ENDED:
            self._lines.receive_data(data)

    def sole_request(self, data: bytes) -> Request | None:
        """The request, if `data` is one whole line as nearly all are, come while nothing was buffered and the session
        is SERVING: then it need not go through `receive_data`, because taking it changes nothing here. Else None."""
        if data.endswith(b"\n") and len(data) <= self._max_line:
            return usual_request(data[:-1])
        return None

    def take_unfinished_line(self) -> bytes:
        """What is buffered once everything else has been given out; then nothing is."""
        return self._lines.take_unfinished()

    def receive_eof(self) -> None:
        """The peer has half-closed. What was received before is still given out."""
        self._at_eof = True

    @property
    def buffered(self) -> int:
        """Bytes received and not yet given out as messages."""
        return len(self._lines)

    def next_message(self) -> Request | BadLine | Signal:
        """A Request; a BadLine; END_OF_SESSION (for good); or NEED_DATA."""
        while self.state is not _ENDED:
            try:
                line = self._lines.next_line()
            except LineTooLong:
                self._move(Event.LINE_TOO_LONG)
                self._lines.clear()
                return BadLine(client_error(NO_PATH, f"the line is too long; at most {self._max_line} bytes"))
            if line is None:
                return self._end_of_input() if self._at_eof else NEED_DATA
            if line:
                is_first = self.state is _FRESH
                if is_first:  # the table has SERVING stay as it is
                    self._move(Event.LINE)
                message = parse_request_line(line)
                return message if isinstance(message, Request) else self._bad_line(line, message, is_first)
            self._move(Event.EMPTY_LINE)
        self._lines.clear()
        return END_OF_SESSION

    def _bad_line(self, line: bytes, response: Response, is_first: bool) -> BadLine:
        # Who is not listed has no say in whom it speaks for; and what follows its header was meant for somebody who
        # believes it. Of version 2's signature, "\r\n\r\n\0\r\nQUIT\n", the empty lines have been ignored.
        if line.startswith(b"PROXY ") or (is_first and line == b"\0" and self._lines.comes_next(b"QUIT\n")):
            self._move(Event.PROXY_HEADER)
            self._lines.clear()
            return BadLine(client_error(echoed_path(line), "no PROXY protocol is taken from you; speak STTP"))
        return BadLine(response)

    def _end_of_input(self) -> BadLine | Signal:
        # "A last line without \n is not carried out: it may be cut short. It is answered 300."
        cut_short = len(self._lines) > 0
        self._move(Event.END_OF_INPUT)
        self._lines.clear()
        if cut_short:
            return BadLine(client_error(NO_PATH, "the last line has no end; finish it with a line feed"))
        return END_OF_SESSION

    def _move(self, event: Event) -> None:
        self.state = TRANSITIONS[self.state, event]


class ResponseParser:
    """A client's side: replies in the order of the requests (PROTOCOL.md section 3).

    `next_message` gives a Response, NEED_DATA, or END_OF_SESSION once the server has closed between two replies. It
    raises RemoteError when the bytes are not STTP, or end in the middle of a reply.
    """

    __slots__ = ("_at_eof", "_first", "_lines")

    def __init__(self, max_line: int = MAX_CONTENTS_LINE_BYTES) -> None:
        self._lines = LineBuffer(max_line)
        self._at_eof = False
        self._first: tuple[Status, bytes] | None = None  # a 200 whose second line is still to come

    def receive_data(self, data: bytes) -> None:
        self._lines.receive_data(data)

    def receive_eof(self) -> None:
        self._at_eof = True

    def next_message(self) -> Response | Signal:
        line = self._lines.next_line()
        if line is None:
            return self._without_line()
        if self._first is None:
            parsed = parse_status_line(line)
            if parsed is None:
                raise RemoteError("not an STTP reply")
            status, path, message = parsed
            if not status.has_contents:
                return Response(status, path, None, message)
            self._first = status, path
            line = self._lines.next_line()
            if line is None:
                return self._without_line()
        if not is_text(line):
            raise RemoteError("the contents of a reply hold a control character or are not UTF-8")
        (status, path), self._first = self._first, None
        return Response(status, path, line)

    def _without_line(self) -> Signal:
        if not self._at_eof:
            return NEED_DATA
        if self._first is not None or len(self._lines):
            raise RemoteError("the server closed in the middle of a reply")
        return END_OF_SESSION
