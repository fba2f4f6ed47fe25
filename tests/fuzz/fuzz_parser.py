"""Target `parser`: whatever a client sends, in whatever pieces, is judged as PROTOCOL.md says (`wire_oracle`)."""

from __future__ import annotations

from typing import Final

from fuzz_script import in_linear_time, read_script
from test_wire_properties import verdict_of
from wire_driver import Message, drain, in_pieces, messages_of
from wire_oracle import judge_all

from sttp_reactor.limits import MAX_LINE_BYTES
from sttp_reactor.wire.parser import RequestParser
from sttp_reactor.wire.states import SessionState

# `|`: the next piece begins.
LETTERS: Final = "|"

# Byte by byte is a piece for each; what a longer stream could show, the pieces of its own script do.
_MAX_BY_BYTES: Final = 256


def check_parser(script: bytes) -> None:
    pieces = [data for data, _ in read_script(script, LETTERS)]
    stream = b"".join(pieces)
    for max_line in _limits(stream):
        whole = messages_of([stream], max_line)
        messages, closed, last = whole
        assert [verdict_of(message) for message in messages + last] == judge_all(stream, max_line)
        assert _fed(pieces, max_line) == messages + last
        assert closed or len(last) <= 1
        if len(stream) <= _MAX_BY_BYTES:
            assert messages_of(in_pieces(stream, 1), max_line) == whole
        in_linear_time(
            lambda limit=max_line: messages_of(pieces, limit),  # type: ignore[misc]
            size=len(stream),
            lines=len(messages),
            pieces=len(pieces),
        )


def _limits(stream: bytes) -> list[int]:
    """The real limit, and the two that the first line just keeps to and just breaks."""
    first = stream.find(b"\n") + 1 or len(stream)
    return [MAX_LINE_BYTES, max(first, 2), max(first - 1, 2)]


def _fed(pieces: list[bytes], max_line: int) -> list[Message]:
    """What comes out of a parser with a reader that is behind: it takes one message, then the rest at every second
    piece. Nothing is held but what has come and not been taken."""
    parser = RequestParser(max_line)
    messages: list[Message] = []
    for number, piece in enumerate(pieces):
        sole = parser.sole_request(piece) if parser.state is SessionState.SERVING and not parser.buffered else None
        held = parser.buffered
        parser.receive_data(piece)
        assert parser.buffered <= held + len(piece)
        if number % 2:
            message = parser.next_message()
            if isinstance(message, Message):
                messages.append(message)
                assert sole is None or (sole == message and not parser.buffered), "the short way for one line differs"
        else:
            more, _ = drain(parser)
            assert sole is None or more == [sole], "the short way for one line differs"
            messages += more
            assert parser.buffered < max_line, "more is kept than a line may have"
    parser.receive_eof()
    last, _ = drain(parser)
    assert parser.buffered == 0
    return messages + last
