"""What text is, code point by code point, compared with Unicode's own table."""

from __future__ import annotations

import sys
import unicodedata

import pytest

from sttp_reactor.text import (
    characters,
    has_control_but_tab,
    is_contents,
    is_file_name,
    is_segment,
    is_text,
    is_utf8,
)

CODE_POINTS = [chr(number) for number in range(sys.maxunicode + 1) if not 0xD800 <= number < 0xE000]


def test_control_characters_are_category_cc_but_tab() -> None:
    control = {c for c in CODE_POINTS if unicodedata.category(c) == "Cc"} - {"\t"}
    assert {c for c in CODE_POINTS if has_control_but_tab(c.encode())} == control


def test_every_character_is_utf8_and_one_character_long() -> None:
    assert is_utf8("".join(CODE_POINTS).encode())
    assert characters("".join(CODE_POINTS).encode()) == len(CODE_POINTS)


def test_no_neighbours_look_like_a_control_character() -> None:
    """The bytes of two ordinary characters side by side never form one that is none."""
    ordinary = [c for c in map(chr, range(0xA0, 0x3000)) if is_text(c.encode())]
    assert not has_control_but_tab("".join(ordinary).encode())
    assert not has_control_but_tab("".join(reversed(ordinary)).encode())


@pytest.mark.parametrize(
    "data",
    [
        *(
            b"\x80",
            b"\xbf",
            b"\xc2",
            b"\xc0\xaf",
            b"\xc1\xbf",
            b"\xe0\x9f\xbf",
            b"\xf0\x8f\xbf\xbf",
            b"\xf4\x90\x80\x80",
        ),
        *(b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf5\x80\x80\x80", b"\xfe", b"\xff", b"a\xe9b", b"\xe2\x82", b"\xc3\x28"),
    ],
)
def test_what_is_not_utf8(data: bytes) -> None:
    assert not is_utf8(data)
    assert not is_text(data)
    assert not is_contents(data)
    assert not is_file_name(data)


@pytest.mark.parametrize("unit", ["x", "é", "€", "\U0001d11e", "\u0301", "\u2028", "\t", '"'])
def test_lengths_are_in_characters(unit: str) -> None:
    assert is_contents((unit * 160).encode())
    assert not is_contents((unit * 161).encode())
    assert is_file_name((unit * 32).encode()) is (unit != "\t")
    assert not is_file_name((unit * 33).encode())
    assert is_segment((unit * 33).encode()) is (unit != "\t")


@pytest.mark.parametrize("name", ["a b", " ", "a ", "a\tb", "\t", "a\nb", "a\x00", "\x7f", "\x85", "a\x9f"])
def test_what_no_segment_holds(name: str) -> None:
    assert not is_segment(name.encode())


@pytest.mark.parametrize("name", ["a\u00a0b", "a\u2028b", "\u3000", "\u202e", '"', "\\", "%20", "\ufeff"])
def test_only_the_ascii_space_is_a_space(name: str) -> None:
    assert is_segment(name.encode())
