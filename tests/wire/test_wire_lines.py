"""LineBuffer: where lines end, and how much is kept."""

from __future__ import annotations

import pytest
from wire_driver import in_pieces

from sttp_reactor.errors import LineTooLong
from sttp_reactor.wire.linebuffer import LineBuffer


def take_lines(buffer: LineBuffer) -> list[bytes]:
    return list(iter(buffer.next_line, None))


@pytest.mark.parametrize(
    ("data", "lines", "rest"),
    [
        (b"", [], 0),
        (b"a", [], 1),
        (b"a\n", [b"a"], 0),
        (b"a\r\n", [b"a"], 0),
        (b"a\r\r\n", [b"a\r"], 0),
        (b"\n", [b""], 0),
        (b"\r\n", [b""], 0),
        (b"\r", [], 1),
        (b"a\rb\n", [b"a\rb"], 0),
        (b"a\nb\nc", [b"a", b"b"], 1),
        (b"\n\n\n", [b"", b"", b""], 0),
        (b"a\n\r\nb\n", [b"a", b"", b"b"], 0),
        (b"a\x0b\x0c\x1c\x85\xe2\x80\xa8b\n", [b"a\x0b\x0c\x1c\x85\xe2\x80\xa8b"], 0),
    ],
)
@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines(data: bytes, lines: list[bytes], rest: int, size: int) -> None:
    buffer = LineBuffer(100)
    got = []
    for piece in in_pieces(data, size):
        buffer.receive_data(piece)
        got += take_lines(buffer)
    assert (got, len(buffer)) == (lines, rest)


def test_data_may_come_before_lines_are_taken() -> None:
    buffer = LineBuffer(100)
    for piece in (b"a\nb", b"", b"c\nd\n", b"e"):
        buffer.receive_data(piece)
    assert buffer.next_line() == b"a"
    buffer.receive_data(b"f\r")
    assert [buffer.next_line(), buffer.next_line(), buffer.next_line()] == [b"bc", b"d", None]
    buffer.receive_data(b"\n")
    assert [buffer.next_line(), buffer.next_line()] == [b"ef", None]
    assert len(buffer) == 0


def test_lines_are_bytes_also_when_they_came_in_pieces() -> None:
    buffer = LineBuffer(100)
    for piece in (b"a", b"b", b"c\n"):
        buffer.receive_data(piece)
        line = buffer.next_line()
    assert type(line) is bytes


@pytest.mark.parametrize(("line", "fits"), [(b"123456\n", True), (b"1234567\n", True), (b"12345678\n", False)])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_the_limit_counts_the_line_end(line: bytes, fits: bool, size: int) -> None:
    buffer = LineBuffer(8)
    got: list[bytes] = []

    def feed() -> None:
        for piece in in_pieces(line, size):
            buffer.receive_data(piece)
            got.extend(take_lines(buffer))

    if fits:
        feed()
        assert got == [line[:-1]]
    else:
        with pytest.raises(LineTooLong):
            feed()


@pytest.mark.parametrize(("line", "fits"), [(b"123456\r\n", True), (b"1234567\r\n", False)])
def test_the_limit_counts_a_carriage_return(line: bytes, fits: bool) -> None:
    buffer = LineBuffer(8)
    buffer.receive_data(line)
    if fits:
        assert buffer.next_line() == b"123456"
    else:
        with pytest.raises(LineTooLong):
            buffer.next_line()


def test_too_long_is_said_as_soon_as_it_is_known() -> None:
    buffer = LineBuffer(8)
    buffer.receive_data(b"1234567")
    assert buffer.next_line() is None  # the line end may come yet
    buffer.receive_data(b"8")
    with pytest.raises(LineTooLong, match="more than 8 bytes"):
        buffer.next_line()


@pytest.mark.parametrize("data", [b"x" * 9, b"x" * 9 + b"\ny\n"])
def test_too_long_stays_too_long(data: bytes) -> None:
    buffer = LineBuffer(8)
    buffer.receive_data(data)
    for _ in range(3):
        with pytest.raises(LineTooLong):
            buffer.next_line()
    buffer.clear()
    assert (len(buffer), buffer.next_line()) == (0, None)


def test_whole_lines_before_a_long_one_are_given() -> None:
    buffer = LineBuffer(8)
    buffer.receive_data(b"a\nb\n" + b"x" * 20)
    assert [buffer.next_line(), buffer.next_line()] == [b"a", b"b"]
    with pytest.raises(LineTooLong):
        buffer.next_line()


def test_length_is_what_was_not_taken() -> None:
    buffer = LineBuffer(100)
    buffer.receive_data(b"abc\nde\nf")
    assert len(buffer) == 8
    buffer.next_line()
    assert len(buffer) == 4
    take_lines(buffer)
    assert len(buffer) == 1
    buffer.receive_data(b"gh")
    assert len(buffer) == 3


def test_clear_forgets_a_line_that_has_begun() -> None:
    buffer = LineBuffer(100)
    buffer.receive_data(b"half a l")
    assert buffer.next_line() is None
    buffer.clear()
    buffer.receive_data(b"whole\n")
    assert buffer.next_line() == b"whole"
