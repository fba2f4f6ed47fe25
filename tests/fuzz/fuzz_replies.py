"""Target `replies`: whatever a server sends, in whatever pieces, is replies to a client, or it says RemoteError."""

from __future__ import annotations

from typing import Final, NamedTuple

from fuzz_script import in_linear_time, read_script
from test_wire_properties import read_all
from wire_driver import in_pieces
from wire_oracle import is_control

from sttp_reactor.errors import RemoteError
from sttp_reactor.load.replies import reply_end
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import Response
from sttp_reactor.wire.parser import END_OF_SESSION, ResponseParser

# `|`: the next piece begins.
LETTERS: Final = "|"

_MAX_BY_BYTES: Final = 256
_SMALL_LIMIT: Final = 40

# PROTOCOL.md section 3. True: a message in quotes follows.
_TEXTS: Final = {
    "100": ("CREATED", False),
    "200": ("OK", False),
    "300": ("CLIENT ERROR", True),
    "310": ("FILENAME TOO LONG", False),
    "400": ("NOT FOUND", False),
    "410": ("PATH NOT FOUND", False),
    "500": ("SERVER ERROR", True),
    "510": ("CANNOT CREATE PATH", False),
    "600": ("DELETED", False),
}


class Reply(NamedTuple):
    status: str
    path: str
    contents: str | None = None
    message: str | None = None


def check_replies(script: bytes) -> None:
    pieces = [data for data, _ in read_script(script, LETTERS)]
    stream = b"".join(pieces)
    whole = in_linear_time(lambda: read_all(pieces), size=len(stream), lines=stream.count(b"\n"), pieces=len(pieces))
    assert read_all([stream]) == whole
    if len(stream) <= _MAX_BY_BYTES:
        assert read_all(in_pieces(stream, 1)) == whole
    replies, end = whole
    assert ([_as_reply(reply) for reply in replies], end is END_OF_SESSION) == judge_replies(stream)
    _check_framing(stream, replies)
    _check_limit(pieces)


def judge_replies(stream: bytes) -> tuple[list[Reply], bool]:
    """Section 3 read on text, without a regular expression: the replies, and whether all of it was replies."""
    *lines, rest = stream.split(b"\n")
    replies: list[Reply] = []
    numbers = iter(range(len(lines)))
    for number in numbers:
        reply = _judge_first(_text(lines[number]))
        if reply is None:
            return replies, False
        if reply.status == "200":
            following = next(numbers, None)
            contents = None if following is None else _text(lines[following])
            if contents is None:
                return replies, False
            reply = reply._replace(contents=contents)
        replies.append(reply)
    return replies, not rest


def _text(line: bytes) -> str | None:
    """A line without its line end; None where it is no text."""
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError:
        return None
    return None if any(is_control(character) and character != "\t" for character in text) else text


def _judge_first(line: str | None) -> Reply | None:
    code, path, rest = (*(line or "").split(" ", 2), "", "")[:3]
    if line is None or "\t" in line or code not in _TEXTS or not path:
        return None
    text, has_message = _TEXTS[code]
    if not has_message:
        return Reply(code, path) if rest == text else None
    message = rest.removeprefix(f'{text} "').removesuffix('"')
    return Reply(code, path, None, message) if rest == f'{text} "{message}"' and '"' not in message else None


def _as_reply(response: Response) -> Reply:
    status, path, contents, message = response
    return Reply(f"{status:d}", path.decode(), None if contents is None else contents.decode(), message)


def _check_framing(stream: bytes, replies: list[Response]) -> None:
    """What was taken is what was sent, and the load tool, which has its own idea of where a reply ends, agrees."""
    start = 0
    for reply in replies:
        end = reply_end(stream, start)
        assert stream[start:end].replace(b"\r\n", b"\n") == encode_response(reply)
        start = end


def _check_limit(pieces: list[bytes]) -> None:
    """With a limit for its lines a client keeps no more than that and the piece that has just come."""
    parser = ResponseParser(_SMALL_LIMIT)
    try:
        for piece in pieces:
            parser.receive_data(piece)
            while isinstance(parser.next_message(), Response):
                pass
            assert len(parser._lines) < _SMALL_LIMIT
    except RemoteError:
        pass
