"""From what a server sends to whole replies, each with the call that it answers.

Usual replies, and nearly all are, are looked at together: the first lines that the calls await are compared with those
that have come, at the speed of C. Anything else goes, a reply at a time, through the client's parser of `wire`, and is
then compared with what was asked: a server that has got out of step must not answer one client with another's text.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from sttp_reactor.client.requests import fits
from sttp_reactor.errors import RemoteError
from sttp_reactor.proxy.call import Call
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import NO_PATH, Action, Request, Response
from sttp_reactor.wire.parser import MAX_CONTENTS_LINE_BYTES, ResponseParser

_USUAL: Final = bytes(range(0x20, 0x7F)) + b"\n"

# How a server begins that does not take this connection: it has carried out nothing of what was sent on it.
_REFUSALS: Final = ("too many connections", "a header of the PROXY protocol was expected")


class Replies:
    """`waiting` are the calls that were sent, in order; those that are answered are taken from its front.

    `fault` says what is wrong with the server's bytes, once something is; then nothing more can be read. `refusal` is
    what it said where it refused the connection, and so has carried out nothing of what is waiting.
    """

    __slots__ = ("_pieces", "_size", "_waiting", "fault", "has_answered", "refusal")

    def __init__(self, waiting: deque[Call]) -> None:
        self._waiting = waiting
        self._pieces: list[bytes] = []  # an unfinished reply
        self._size = 0
        self.fault = self.refusal = ""
        self.has_answered = False

    def receive(self, data: bytes) -> list[tuple[Call, bytes]]:
        """The calls that are answered by what has come so far, with their replies."""
        if self._pieces:
            self._pieces.append(data)
            self._size += len(data)
            if b"\n" not in data:
                # A LIST's second line may have megabytes: it is joined once, when it is there.
                if self._size > MAX_CONTENTS_LINE_BYTES:
                    self.fault = "its reply is too long"
                return []
            data = b"".join(self._pieces)
            self._pieces.clear()
        found: list[tuple[Call, bytes]] = []
        rest = self._take(data, found)
        if rest and not self.fault:
            if self._waiting:
                self._pieces.append(rest)
                self._size = len(rest)
            else:
                self._take_unasked(rest)
        self.has_answered = self.has_answered or bool(found)
        return found

    def _take(self, data: bytes, found: list[tuple[Call, bytes]]) -> bytes:
        """Gives what is left."""
        waiting = self._waiting
        lines = data.split(b"\n")
        at, whole = 0, len(lines) - 1
        is_usual = not data.translate(None, _USUAL)
        while waiting and at < whole:
            call = waiting[0]
            headers = call.headers
            if is_usual and headers is not None:
                if call.count == 1:
                    if at + 2 <= whole and lines[at] == headers:
                        found.append((call, b"%b\n%b\n" % (headers, lines[at + 1])))
                        at += 2
                        waiting.popleft()
                        continue
                elif (end := at + 2 * call.count) <= whole:
                    piece = lines[at:end]
                    if b"\n".join(piece[::2]) == headers:
                        piece.append(b"")
                        found.append((call, b"\n".join(piece)))
                        at = end
                        waiting.popleft()
                        continue
                elif headers.startswith(b"\n".join(lines[at:whole:2])):
                    break  # as it should be, so far
            if call.count > 1:
                waiting.popleft()
                waiting.extendleft(reversed(call.singles()))
                continue
            taken = self._take_odd(call, lines, at, whole, found)
            if not taken:
                break
            at += taken
        return lines[whole] if at == whole else b"\n".join(lines[at:])

    def _take_odd(self, call: Call, lines: list[bytes], at: int, whole: int, found: list[tuple[Call, bytes]]) -> int:
        """The number of lines that the reply to `call` has; 0 where it is not all there, or is none."""
        parser = ResponseParser()
        for count in (1, 2):
            if at + count > whole:
                return 0
            parser.receive_data(lines[at + count - 1] + b"\n")
            try:
                message = parser.next_message()
            except RemoteError as error:
                self.fault = f"its reply cannot be read: {error}"
                return 0
            if isinstance(message, Response):
                return count if self._take_reply(call, message, found) else 0
        return 0

    def _take_reply(self, call: Call, reply: Response, found: list[tuple[Call, bytes]]) -> bool:
        if reply.path == NO_PATH and not self.has_answered and not found:
            message = reply.message or ""
            if message.startswith(_REFUSALS):
                self.refusal = message
                self.fault = f"it refuses connections: {message}"
                return False
        if not answers(call.the_request, reply):
            self.fault = "its reply belongs to another request"
            return False
        self._waiting.popleft()
        found.append((call, encode_response(reply)))
        return True

    def _take_unasked(self, data: bytes) -> None:
        """What nobody has asked for: a refusal, or a reason to hang up. Either way the connection is of no more use."""
        parser = ResponseParser()
        parser.receive_data(data)
        try:
            message = parser.next_message()
        except RemoteError:
            message = None
        if isinstance(message, Response) and message.path == NO_PATH:
            self.fault = f"it said: {message.message}"
            self.refusal = message.message or ""
        else:
            self.fault = "it sent what nobody has asked for"


def answers(request: Request, reply: Response) -> bool:
    """Whether this may be the reply to this request (PROTOCOL.md section 3). Refusals are held to it, too, because the
    replies of several clients come on one connection."""
    action, path, contents = request
    if reply.status.is_success:
        return fits(request, reply) and (action is not Action.UPDATE or reply.contents == contents)
    if reply.path in (path, NO_PATH):
        return True
    # Some errors name the directory that they are about.
    return reply.path.endswith(b"/") and path.startswith(reply.path)
