"""Requests, in and out: what contents a line stands for, and what `encode_request` refuses to send."""

from __future__ import annotations

import pytest
from wire_driver import messages_of

from sttp_reactor.errors import LocalError
from sttp_reactor.wire.encoder import encode_request
from sttp_reactor.wire.grammar import parse_request_line
from sttp_reactor.wire.messages import Action, Request, Response

CREATE, SHOW, LIST, UPDATE, DELETE = Action


@pytest.mark.parametrize("action", [CREATE, UPDATE])
@pytest.mark.parametrize(
    ("sent", "stored"),
    [
        (b"Buy milk", b"Buy milk"),
        (b'"Buy milk"', b"Buy milk"),
        (b'""', b""),
        (b'"', b'"'),
        (b'"""', b'"'),
        (b'""""', b'""'),
        (b'"x', b'"x'),
        (b'x"', b'x"'),
        (b'"x" y', b'"x" y'),
        (b'"x" "y"', b'x" "y'),
        (b' "x"', b' "x"'),
        (b'"x" ', b'"x" '),
        (b" ", b" "),
        (b"  two  ", b"  two  "),
        (b"\t", b"\t"),
        (b'"\t"', b"\t"),
        (b"a\\nb\\\\", b"a\\nb\\\\"),
        (b"'x'", b"'x'"),
        ("\u201cx\u201d".encode(), "\u201cx\u201d".encode()),
        ("one\u2028two".encode(), "one\u2028two".encode()),
        (b"/b c d", b"/b c d"),
        (b"x" * 160, b"x" * 160),
        (b'"' + "\U0001d11e".encode() * 160 + b'"', "\U0001d11e".encode() * 160),
        (b'"' + b'"' * 160 + b'"', b'"' * 160),
    ],
)
def test_contents(action: Action, sent: bytes, stored: bytes) -> None:
    assert parse_request_line(b"%b /a %b" % (action.value, sent)) == Request(action, b"/a", stored)


@pytest.mark.parametrize("unit", ["x", "é", "€", "\U0001d11e", "\u0301", " ", "\t", "\u2028"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_contents_have_160_characters(unit: str, quote: str) -> None:
    for length, fits in ((159, True), (160, True), (161, False), (1000, False)):
        text = unit * length
        reply = parse_request_line(f"CREATE /a {quote}{text}{quote}".encode())
        if fits:
            assert reply == Request(CREATE, b"/a", text.encode())
        else:
            assert isinstance(reply, Response)
            assert reply.message == "contents are too long; at most 160 characters"


@pytest.mark.parametrize(
    ("request_", "line"),
    [
        (Request(SHOW, b"/a"), b"SHOW /a\n"),
        (Request(LIST, b"/"), b"LIST /\n"),
        (Request(DELETE, b"/d/a"), b"DELETE /d/a\n"),
        (Request(CREATE, b"/a", b"Buy milk"), b'CREATE /a "Buy milk"\n'),
        (Request(UPDATE, b"/a", b""), b'UPDATE /a ""\n'),
        (Request(UPDATE, b"/a", b'"x"'), b'UPDATE /a ""x""\n'),
    ],
)
def test_encoding(request_: Request, line: bytes) -> None:
    assert encode_request(request_) == line
    assert messages_of([line]) == ([request_], False, [])


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Request(SHOW, b""), "no path"),
        (Request(SHOW, b"a"), "absolute"),
        (Request(SHOW, b"/a b"), "takes nothing"),
        (Request(SHOW, b"/a "), "takes nothing"),
        (Request(SHOW, b" /a"), "one space"),
        (Request(SHOW, b"/a\n"), "line break"),
        (Request(SHOW, b"/a\nDELETE /a"), "line break"),
        (Request(SHOW, b"/a\r"), "control"),
        (Request(SHOW, b"/a\t"), "control"),
        (Request(SHOW, b"/a/"), "names a directory"),
        (Request(SHOW, b"/../a"), ". or .."),
        (Request(SHOW, b"/\xff"), "UTF-8"),
        (Request(SHOW, b"/.sttp"), "server's own"),
        (Request(SHOW, b"/" + b"n" * 33), "a file name has at most 32 characters"),
        (Request(SHOW, b"/a", b""), "takes nothing"),
        (Request(SHOW, b"/a", b"x"), "takes nothing"),
        (Request(CREATE, b"/a"), "missing"),
        (Request(CREATE, b"/a b", b"x"), "no space"),
        (Request(CREATE, b'/a "b', b"x"), "no space"),
        (Request(CREATE, b"/a ", b"x"), "no space"),
        (Request(CREATE, b"/a", b"one\ntwo"), "line break"),
        (Request(CREATE, b"/a", b"x\n"), "line break"),
        (Request(CREATE, b"/a", b"x\r"), "control"),
        (Request(CREATE, b"/a", b"\x00"), "control"),
        (Request(CREATE, b"/a", b"\xff"), "UTF-8"),
        (Request(CREATE, b"/a", b"x" * 161), "too long"),
        (Request(SHOW, b"/" + b"a" * 8200 + b"/a"), "at most 8192 bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused(request_: Request, reason: str) -> None:
    with pytest.raises(LocalError, match=reason.replace(".", r"\.")):
        encode_request(request_)


def test_a_line_of_8192_bytes_is_the_longest() -> None:
    room = 8192 - len(b"SHOW \n")
    path = b"/d" * 62 + b"/" + b"d" * (room - 62 * 2 - 1 - len(b"/x")) + b"/x"
    line = encode_request(Request(SHOW, path))
    assert len(line) == 8192
    assert len(messages_of([line])[0]) == 1
    with pytest.raises(LocalError, match="at most 8192"):
        encode_request(Request(SHOW, path + b"x"))


def test_a_path_of_64_segments_is_the_deepest() -> None:
    line = encode_request(Request(SHOW, b"/d" * 64))
    assert messages_of([line])[0] == [Request(SHOW, b"/d" * 64)]
    assert encode_request(Request(LIST, b"/d" * 64 + b"/"))
    for action, path in ((SHOW, b"/d" * 65), (LIST, b"/d" * 65), (LIST, b"/d" * 65 + b"/")):
        with pytest.raises(LocalError, match="at most 64 segments"):
            encode_request(Request(action, path))


def test_a_request_shows_what_it_is() -> None:
    assert repr(Request(SHOW, b"/a")) == "Request(action=<Action.SHOW: b'SHOW'>, path=b'/a', contents=None)"
    assert [action for action in Action if action.takes_contents] == [CREATE, UPDATE]
    assert [action for action in Action if action.is_write] == [CREATE, UPDATE, DELETE]
