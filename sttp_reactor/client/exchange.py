"""One connection: requests out and replies in, at the same time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from sttp_reactor.client.requests import fits
from sttp_reactor.client.waiting import READABLE, WRITABLE, make_poll
from sttp_reactor.errors import ConnectionLost, NoReply, NotSttp, RemoteError, ReplyTimedOut, SttpError
from sttp_reactor.printable import printable
from sttp_reactor.wire.grammar import parse_status_line
from sttp_reactor.wire.messages import NO_PATH, Request, Response
from sttp_reactor.wire.parser import END_OF_SESSION, NEED_DATA, ResponseParser

# Requests sent and not yet answered. Enough to keep a server busy over any distance, few enough that what waits in
# its buffers and ours stays small however long the pipeline is.
REQUESTS_IN_FLIGHT: Final = 512
# A long LIST comes in pieces of this size; the parser copies what it has once for each.
RECEIVE_BYTES: Final = 262_144
# Of a peer that does not speak STTP, this much is shown.
_HEAD_BYTES: Final = 60

# The first bytes of a TLS server's protest against a client that speaks in plain: an alert.
_ALERT: Final = b"\x15\x03"

# Called with a mark and a line: `*` for what happens, `>` for what is sent, `<` for what is received. Received lines
# are as the peer sent them, but for bytes that are not UTF-8, which are escaped.
Trace = Callable[[str, str], None]


class Timing(NamedTuple):
    """Where the last operation's time went, in seconds. The first two are 0 where a connection was used again."""

    resolve: float = 0.0
    connect: float = 0.0
    reply: float = 0.0


class Socket(Protocol):
    """A connected socket that never blocks: what it would have to wait for is a BlockingIOError."""

    def fileno(self) -> int: ...
    def send(self, data: bytes, /) -> int: ...
    def recv(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Connection:
    """A connected, non-blocking socket, which it owns. After an exception from `exchange` it can only be closed."""

    def __init__(self, sock: Socket, name: str, trace: Trace | None = None) -> None:
        self._sock = sock
        self._name = name
        self._trace = trace
        self._parser = ResponseParser()
        self._poll = make_poll()
        self._poll.register(sock.fileno(), READABLE)
        self._interest = READABLE
        self._head = b""  # the first bytes received, until a reply is made of them
        self._has_replied = False
        self._is_ending = False
        self._traced = b""

    def is_usable(self) -> bool:
        """Whether the next request may be sent here: false once the server has closed, or said more than was asked.

        This is what makes reconnecting safe: it happens before a request is sent, never after.
        """
        if self._is_ending or not self._is_silent():
            return False
        try:
            return self._parser.next_message() is NEED_DATA
        except RemoteError:
            return False

    def exchange(self, requests: Sequence[Request], lines: Sequence[bytes], deadline: float) -> list[Response]:
        """Send `lines`, the encoded `requests`; return their replies, in order. Raises NoReply in all its kinds.

        Sending and receiving take turns as the socket allows: with thousands of requests, a client that sends them
        all before it reads the first reply, and a server that stops reading until its replies are read, would wait
        for each other for ever.
        """
        replies: list[Response] = []
        outgoing = _Outgoing(lines, self._trace)
        try:
            while len(replies) < len(requests):
                outgoing.fill(len(replies))
                # Write first: a request nearly always fits into the socket's buffer, and poll need not be asked.
                self._send(outgoing)
                self._wait(bool(outgoing.chunk), deadline)
                self._receive(requests, replies)
        except NoReply as error:
            error.replies = replies
            raise
        # A server that answers what it has not heard out would take the rest for the beginning of the next request.
        self._is_ending |= not outgoing.is_sent
        return replies

    def close(self) -> None:
        if self._trace and self._sock.fileno() >= 0:
            if self._traced:
                self._trace("<", self._traced.decode(errors="backslashreplace"))
            self._trace("*", f"closed the connection to {self._name}")
        self._poll.close()
        self._sock.close()

    def _is_silent(self) -> bool:
        if not self._poll.poll(0):
            return True
        try:
            self._sock.recv(1)
        except BlockingIOError:
            return True  # TLS has messages of its own, session tickets for one
        except (OSError, SttpError):
            pass
        return False  # the end, an error, or more than was asked for

    def _send(self, outgoing: _Outgoing) -> None:
        if not outgoing.chunk:
            return
        try:
            outgoing.advance(self._sock.send(outgoing.chunk))
        except BlockingIOError:
            pass
        except OSError:
            # The server has closed. It may have said why ("too many connections"), and that can still be read.
            outgoing.abandon()

    def _wait(self, has_more_to_send: bool, deadline: float) -> None:
        interest = READABLE | (WRITABLE if has_more_to_send else 0)
        if interest != self._interest:
            self._poll.modify(self._sock.fileno(), interest)
            self._interest = interest
        left = deadline - time.monotonic()
        if left <= 0 or not self._poll.poll(math.ceil(left * 1000)):
            raise ReplyTimedOut(f"timed out waiting for {self._name} to reply")

    def _receive(self, requests: Sequence[Request], replies: list[Response]) -> None:
        try:
            data = self._sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise ConnectionLost(f"lost the connection to {self._name}: {error.strerror}") from error
        if data:
            self._note_received(data)
            self._parser.receive_data(data)
        else:
            self._parser.receive_eof()
        while len(replies) < len(requests):
            reply = self._next_reply(at_eof=not data)
            if reply is None:
                return
            if not fits(requests[len(replies)], reply):
                raise NotSttp(f"{self._name} sent a reply that does not belong to the request")
            self._is_ending |= reply.path == NO_PATH  # it is about the connection, which the server gives up
            replies.append(reply)

    def _next_reply(self, at_eof: bool) -> Response | None:
        try:
            message = self._parser.next_message()
        except RemoteError as error:
            if self._head.startswith(_ALERT):
                raise NotSttp(f"{self._name} speaks TLS; use sttps://{self._name}") from error
            if at_eof:
                raise ConnectionLost(f"{self._name} closed the connection in the middle of a reply") from error
            raise NotSttp(self._not_sttp(error)) from error
        if message is END_OF_SESSION:
            raise ConnectionLost(f"{self._name} closed the connection without a reply")
        if isinstance(message, Response):
            self._has_replied = True
            return message
        return None

    def _note_received(self, data: bytes) -> None:
        if not self._has_replied:
            self._head = (self._head + data)[:_HEAD_BYTES]
        if self._trace:
            *lines, self._traced = (self._traced + data).split(b"\n")
            for line in lines:
                self._trace("<", line.decode(errors="backslashreplace"))

    def _not_sttp(self, error: RemoteError) -> str:
        start = self._head.partition(b"\n")[0].removesuffix(b"\r")
        if self._has_replied or parse_status_line(start) is not None:
            return f"{self._name} broke the protocol: {error}"
        # Not a broken server but another one: its greeting tells which.
        return f"{self._name} does not speak STTP: it sent '{printable(start.decode(errors='backslashreplace'))}'"


class _Outgoing:
    """What is still to be sent; `chunk` is what may be sent now."""

    def __init__(self, lines: Sequence[bytes], trace: Trace | None) -> None:
        self.chunk = b""
        self._lines = lines
        self._trace = trace
        self._taken = 0

    @property
    def is_sent(self) -> bool:
        return not self.chunk and self._taken == len(self._lines)

    def fill(self, answered: int) -> None:
        """Take more lines when all of the last are sent and half of those in flight are answered: a refill for each
        reply would send a segment for each request."""
        if self.chunk or self._taken - answered > REQUESTS_IN_FLIGHT // 2:
            return
        lines = self._lines[self._taken : answered + REQUESTS_IN_FLIGHT]
        self._taken += len(lines)
        self.chunk = b"".join(lines)
        if self._trace:
            for line in lines:
                self._trace(">", line.decode().rstrip("\n"))

    def advance(self, sent: int) -> None:
        self.chunk = self.chunk[sent:]

    def abandon(self) -> None:
        self.chunk = b""
        self._taken = len(self._lines)
