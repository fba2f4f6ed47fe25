"""Replies, out and in: the table of PROTOCOL.md section 3 line by line, and what a client refuses to take for one."""

from __future__ import annotations

import pytest

from sttp_reactor.errors import LineTooLong, RemoteError
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import NO_PATH, Response, Status, client_error, server_error
from sttp_reactor.wire.parser import END_OF_SESSION, NEED_DATA, ResponseParser

TABLE = [
    (Response(Status.CREATED, b"/a"), b"100 /a CREATED\n"),
    (Response(Status.OK, b"/a", b"Buy milk"), b"200 /a OK\nBuy milk\n"),
    (Response(Status.OK, b"/a", b""), b"200 /a OK\n\n"),
    (Response(Status.OK, b"/", b"a, b, c/"), b"200 / OK\na, b, c/\n"),
    (Response(Status.OK, b"/a", b"400 /b NOT FOUND"), b"200 /a OK\n400 /b NOT FOUND\n"),
    (Response(Status.OK, b"/a", "\u2028\ttext\u00a0".encode()), "200 /a OK\n\u2028\ttext\u00a0\n".encode()),
    (client_error(b"/a", "what is wrong; what is right"), b'300 /a CLIENT ERROR "what is wrong; what is right"\n'),
    (client_error(NO_PATH, ""), b'300 - CLIENT ERROR ""\n'),
    (Response(Status.FILENAME_TOO_LONG, b"/a"), b"310 /a FILENAME TOO LONG\n"),
    (Response(Status.NOT_FOUND, b"/a"), b"400 /a NOT FOUND\n"),
    (Response(Status.PATH_NOT_FOUND, b"/invalidpath/"), b"410 /invalidpath/ PATH NOT FOUND\n"),
    (server_error(b"/a", "the disk is full"), b'500 /a SERVER ERROR "the disk is full"\n'),
    (server_error(NO_PATH, "too many connections"), b'500 - SERVER ERROR "too many connections"\n'),
    (Response(Status.CANNOT_CREATE_PATH, b"/d/"), b"510 /d/ CANNOT CREATE PATH\n"),
    (Response(Status.DELETED, b"/a"), b"600 /a DELETED\n"),
]


def fed(data: bytes, *, closed: bool = False) -> ResponseParser:
    parser = ResponseParser()
    parser.receive_data(data)
    if closed:
        parser.receive_eof()
    return parser


@pytest.mark.parametrize(
    ("response", "line"), TABLE, ids=lambda value: value.decode() if isinstance(value, bytes) else ""
)
def test_the_table(response: Response, line: bytes) -> None:
    assert encode_response(response) == line
    assert fed(line).next_message() == response
    assert fed(line.replace(b"\n", b"\r\n")).next_message() == response


def test_what_is_left_out_is_empty() -> None:
    assert encode_response(Response(Status.OK, b"/a")) == b"200 /a OK\n\n"
    assert encode_response(Response(Status.CLIENT_ERROR, b"/a")) == b'300 /a CLIENT ERROR ""\n'


def test_the_table_names_every_status() -> None:
    assert {response.status for response, _ in TABLE} == set(Status)


@pytest.mark.parametrize("status", Status)
def test_the_status_alone_tells_how_many_lines_follow(status: Status) -> None:
    """Whatever follows the first line of anything but a 200 is the next reply."""
    contents, message = (b"x", None) if status is Status.OK else (None, "m" if status in (300, 500) else None)
    response = Response(status, b"/a", contents, message)
    data = encode_response(response)
    assert data.count(b"\n") == (2 if status is Status.OK else 1)
    parser = fed(data * 2)
    assert [parser.next_message(), parser.next_message(), parser.next_message()] == [response, response, NEED_DATA]


def test_success_is_100_200_and_600() -> None:
    assert {int(status) for status in Status if status.is_success} == {100, 200, 600}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"hello",
        b"HTTP/1.1 400 Bad Request",
        b"220 mail.example.org ESMTP",
        b"200",
        b"200 /a",
        b"200 /a ok",
        b"200 /a OK ",
        b"200  OK",
        b"200 /a  OK",
        b" 200 /a OK",
        b"2000 /a OK",
        b"020 /a OK",
        b"+200 /a OK",
        b"\xd9\xa2\xd9\xa0\xd9\xa0 /a OK",
        b"201 /a OK",
        b"100 /a OK",
        b"100 /a CREATED OK",
        b'100 /a CREATED "x"',
        b'200 /a OK "x"',
        b"300 /a CLIENT ERROR",
        b"300 /a CLIENT ERROR x",
        b'300 /a CLIENT ERROR "x',
        b'300 /a CLIENT ERROR "x"y',
        b'300 /a CLIENT ERROR "x"y"',
        b'300 /a CLIENT ERROR  "x"',
        b'500 /a CLIENT ERROR "x"',
        b'300 /a\tb CLIENT ERROR "x"',
        b'300 /a CLIENT ERROR "a\tb"',
        b'300 /a CLIENT ERROR "\x1b[2J"',
        b'300 /a CLIENT ERROR "\xff"',
        b'300 /a CLIENT ERROR "\xc2\x9b"',
        b"400 /\xff NOT FOUND",
        b"400 /\x00 NOT FOUND",
        b"400 /a NOT FOUND\r\r",
        b"400 /a b NOT FOUND",
        b"400 NOT FOUND",
    ],
)
def test_what_is_not_a_reply(line: bytes) -> None:
    with pytest.raises(RemoteError, match="not an STTP reply"):
        fed(line + b"\n").next_message()


@pytest.mark.parametrize(
    "contents", [b"\x00", b"a\x1b[31mb", b"\x7f", b"\xc2\x9b", b"\xff", b"\xed\xa0\x80", b"a\rb", b"a\r"]
)
def test_contents_that_break_the_rules_are_refused(contents: bytes) -> None:
    with pytest.raises(RemoteError, match="contents of a reply"):
        fed(b"200 /a OK\n" + contents + b"\r\n").next_message()


@pytest.mark.parametrize("cut", range(1, len(b"200 /a OK\nx\n")))
def test_a_reply_that_is_cut_short(cut: int) -> None:
    data = b"200 /a OK\nx\n"[:cut]
    assert fed(data).next_message() is NEED_DATA
    with pytest.raises(RemoteError, match="in the middle of a reply"):
        fed(data, closed=True).next_message()


def test_closing_between_replies_is_the_end() -> None:
    parser = fed(b"100 /a CREATED\n200 /a OK\nx\n", closed=True)
    assert parser.next_message() == Response(Status.CREATED, b"/a")
    assert parser.next_message() == Response(Status.OK, b"/a", b"x")
    assert [parser.next_message(), parser.next_message()] == [END_OF_SESSION, END_OF_SESSION]
    assert fed(b"", closed=True).next_message() is END_OF_SESSION


def test_replies_before_a_wrong_one_are_given() -> None:
    parser = fed(b"100 /a CREATED\nnonsense\n100 /b CREATED\n")
    assert parser.next_message() == Response(Status.CREATED, b"/a")
    with pytest.raises(RemoteError):
        parser.next_message()


@pytest.mark.timeout(5)
def test_the_list_of_a_large_directory_is_read() -> None:
    """200,000 names in small chunks: a tenth of a second, but many seconds if each chunk copied what is there."""
    names = b", ".join(b"%032d" % number for number in range(200_000))
    data = encode_response(Response(Status.OK, b"/", names))
    parser = ResponseParser()
    for at in range(0, len(data), 1000):
        assert parser.next_message() is NEED_DATA
        parser.receive_data(data[at : at + 1000])
    assert parser.next_message() == Response(Status.OK, b"/", names)


def test_a_server_cannot_fill_the_client() -> None:
    parser = ResponseParser(max_line=1000)
    for _ in range(9):
        parser.receive_data(b"x" * 100)
        assert parser.next_message() is NEED_DATA
    parser.receive_data(b"x" * 100)
    for _ in range(2):
        with pytest.raises(LineTooLong):
            parser.next_message()
