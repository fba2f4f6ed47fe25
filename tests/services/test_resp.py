"""RESP2: any split gives the same commands, the quick way and the exact one agree, and no announcement is believed."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("hiredis", reason="the extra `services`")

from sttp_reactor.services.resp import (
    MAX_ARGUMENTS,
    MAX_COMMAND_BYTES,
    MAX_VALUE_BYTES,
    CommandParser,
    Fault,
    split_line,
)

# What looks like an announcement, a line end or a type is what a value may hold as well.
ODD = st.sampled_from([b"", b"\r\n", b"*1000000\r\n", b"$-1\r\n", b"\n*2\r\n", b"\n:5\r\n", b"*", b"$", b"a" * 300])
WORDS = st.binary(max_size=20) | ODD
COMMANDS = st.lists(st.lists(WORDS, min_size=1, max_size=5), max_size=6)


def encoded(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)


def fed(data: bytes, cuts: list[int]) -> tuple[list[list[bytes]], str | None]:
    parser, found = CommandParser(), []
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts}), len(data)]
    for begin, end in itertools.pairwise(edges):
        if begin < end and parser.fault is None:
            found += parser.feed(data[begin:end])
    return found, None if parser.fault is None else str(parser.fault)


@given(COMMANDS, st.lists(st.integers(0, 2000), max_size=8))
def test_any_split_gives_the_same_commands(commands: list[list[bytes]], cuts: list[int]) -> None:
    assert fed(b"".join(map(encoded, commands)), cuts) == (commands, None)


def test_a_cut_anywhere() -> None:
    commands = [[b"SET", b"a", b"\r\n*1\r\n"], [b"GET", b"a"], [b"PING"]]
    data = b"".join(map(encoded, commands))
    for cut in range(len(data)):
        assert fed(data, [cut]) == (commands, None), cut


PIECES = st.sampled_from([b"*2\r\n", b"*0\r\n", b"$1\r\n", b"a\r\n", b":1\r\n", b"GET 'x'\r\n", b"\r\n", b"$-1\r\n"])


@given(st.lists(PIECES, max_size=12), st.lists(st.integers(0, 100), max_size=4))
def test_any_bytes_in_any_split_give_the_same_as_whole(pieces: list[bytes], cuts: list[int]) -> None:
    data = b"".join(pieces)
    assert fed(data, cuts) == fed(data, [])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"*2000000000\r\n", "invalid multibulk length"),
        (b"*%d\r\n" % (MAX_ARGUMENTS + 1), "invalid multibulk length"),
        (b"*abc\r\n", "invalid multibulk length"),
        (b"*1\r\n$%d\r\n" % (MAX_VALUE_BYTES + 1), "invalid bulk length"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n*0\r\n", "expected '$', got '*'"),
        (b"*1" + b"0" * 70_000, "too big mbulk count string"),
        (b"*1\r\n$" + b"0" * 70_000, "too big bulk count string"),
        (b"G" * 70_000, "too big inline request"),
        (b'GET "a\r\n', "unbalanced quotes in request"),
    ],
)
def test_what_is_no_command_is_named_after_those_before_it(data: bytes, words: str) -> None:
    parser = CommandParser()
    assert parser.feed(encoded([b"PING"]) + data) == [[b"PING"]]
    assert str(parser.fault) == words


def test_an_announcement_costs_no_memory() -> None:
    parser = CommandParser()
    tracemalloc.start()
    try:
        parser.feed(b"*65536\r\n$1048576\r\n")
        for _ in range(50):
            parser.feed(b"x" * 8192)
        assert tracemalloc.get_traced_memory()[1] < 3 << 20
    finally:
        tracemalloc.stop()
    assert parser.fault is None
    assert parser.buffered == 50 * 8192 + 18


def test_a_command_that_grows_without_end_is_refused() -> None:
    parser, fed_bytes = CommandParser(), 0
    parser.feed(b"*60000\r\n")
    while parser.fault is None:
        piece = b"$1000000\r\n" + b"x" * 1_000_000 + b"\r\n"
        parser.feed(piece)
        fed_bytes += len(piece)
        assert fed_bytes < MAX_COMMAND_BYTES + 2 * MAX_VALUE_BYTES
    assert str(parser.fault) == "invalid multibulk length"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"", []),
        (b"  GET  a ", [b"GET", b"a"]),
        (b'SET a "b c"', [b"SET", b"a", b"b c"]),
        (rb'"\x41\n\"\\" x', [b'A\n"\\', b"x"]),
        (rb"'it\'s' '\n'", [b"it's", rb"\n"]),
        (b'a"b c"', [b"ab c"]),
        (b'""', [b""]),
    ],
)
def test_inline_words(line: bytes, words: list[bytes]) -> None:
    assert split_line(line) == words


@pytest.mark.parametrize("line", [b'"a', b"'a", b'"a"b', rb"'a\'", b'a"b"c"d"'])
def test_unbalanced_quotes(line: bytes) -> None:
    with pytest.raises(Fault, match="unbalanced quotes"):
        split_line(line)
