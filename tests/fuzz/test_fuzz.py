"""The targets of the fuzzers, with what was found once and with what hypothesis makes up. tools/fuzz.sh goes on from
here for as long as one likes, guided by what the program runs through."""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import Any

import pytest
from fuzz_parser import check_parser
from fuzz_script import MAX_BYTES, Step, in_linear_time, read_script, write_script
from fuzz_targets import FINDS, TARGETS, finds
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from wire_strategies import LINES, REPLY_STREAMS, STREAMS

Steps = st.SearchStrategy[list[bytes | str]]


def _joined(*parts: Steps) -> Steps:
    return st.tuples(*parts).map(lambda each: list(itertools.chain(*each)))


def _letter(letter: str) -> Steps:
    return st.just([letter])


def _some(part: Steps, most: int) -> Steps:
    return st.lists(part, max_size=most).map(lambda each: list(itertools.chain(*each)))


def _bytes(data: st.SearchStrategy[bytes]) -> Steps:
    return data.map(lambda data: [data])


def _journals() -> st.SearchStrategy[bytes]:
    """Journals that are nearly right: or nothing would be looked at behind the first sum that does not fit."""
    word = _bytes(st.one_of(st.sampled_from(TARGETS["recovery"].words), st.binary(max_size=4)))
    found = st.one_of(st.just([]), _joined(_letter("F"), _bytes(st.sampled_from([b"N", b"Ttext of a", b"T"])), word))
    put = _joined(found, _letter("P"), word, _letter("="), word)
    removal = _joined(found, _letter("X"), word)
    change = st.one_of(put, put, put, removal, removal, word)
    records = _some(_joined(_letter("R"), _some(change, 3), _letter(";")), 4)
    usual = _joined(_letter("H"), _bytes(st.just(b"\1")))
    header = st.one_of(usual, usual, usual, _joined(_letter("H"), word), word)
    turn = _joined(_letter("T"), _bytes(st.binary(min_size=1, max_size=4)))
    return _joined(header, records, st.one_of(_some(word, 0), _some(word, 0), turn)).map(write_script)


def _conversations() -> st.SearchStrategy[bytes]:
    """Few files and many chunks: what one request has changed, the next one asks for."""
    line = st.sampled_from(
        [
            *(b"SHOW /a\n", b"SHOW /a\n", b"SHOW /b\n", b"SHOW /w\n", b"SHOW /w\n", b"SHOW /a\nSHOW /b\n"),
            *(b"SHOW /n\n", b"LIST /\n"),
            *(b"UPDATE /a x\n", b"UPDATE /a y\n", b"CREATE /n z\n", b"DELETE /n\n"),
            *(b"", b"", b"", b"SHOW /b", b"SHOW /a \n", b"SHOW /a\r\n", b"\n", b"\r"),
        ]
    )
    what = st.sampled_from(list("|||,..rRRwWWdDccclLtnnpP"))
    steps = _some(_joined(_bytes(line), what.map(lambda letter: [letter])), 16)
    return _joined(_bytes(st.just(b"SHOW /a\nSHOW /b\n")), _letter("."), steps).map(write_script)


_MORE = {
    "parser": STREAMS,
    "session": LINES.map(lambda line: line + b"\n"),
    "replies": REPLY_STREAMS,
    "config": st.text(max_size=20).map(str.encode),
    "recovery": st.binary(max_size=8),
}

# What one input costs decides.
_EXAMPLES = {"parser": 50, "session": 100, "replies": 60, "config": 60, "recovery": 60}


def scripts(name: str) -> st.SearchStrategy[bytes]:
    """Words and letters of a target, bytes of any kind between them, and nothing but such bytes."""
    target = TARGETS[name]
    more = _MORE[name]
    if target.letters:
        more = more.map(lambda data: write_script([data]))
    pieces = st.one_of(st.sampled_from(target.pieces()), st.sampled_from(target.pieces()), more)
    made_up = st.one_of(st.lists(pieces, max_size=12).map(b"".join), st.binary(max_size=100))
    likely = {"recovery": _journals, "session": _conversations}
    return st.one_of(likely[name](), likely[name](), made_up) if name in likely else made_up


@pytest.mark.parametrize("name", TARGETS)
def test_any_bytes(name: str) -> None:
    @settings(max_examples=_EXAMPLES[name], suppress_health_check=[HealthCheck.too_slow])
    @given(scripts(name))
    @example(b"")
    def check(data: bytes) -> None:
        TARGETS[name].check(data)

    check()


def _found() -> list[Any]:
    return [pytest.param(name, file, id=f"{name}/{file.name}") for name in TARGETS for file in finds(name)]


@pytest.mark.parametrize(("name", "file"), _found())
def test_what_was_found_once(name: str, file: Path) -> None:
    TARGETS[name].check(file.read_bytes())


def test_every_find_has_a_target() -> None:
    assert {folder.name for folder in FINDS.iterdir()} <= TARGETS.keys()


# -- The scripts themselves --


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=5), st.sampled_from("|,")), max_size=8))
def test_a_script_is_read_as_it_was_written(steps: list[bytes | str]) -> None:
    read = read_script(write_script(steps), "|,")
    assert b"".join(data for data, _ in read) == b"".join(step for step in steps if isinstance(step, bytes))
    assert "".join(what for _, what in read) == "".join(step for step in steps if isinstance(step, str))


@pytest.mark.parametrize(
    ("script", "steps"),
    [
        (b"", [Step(b"", "")]),
        (b"a\xff|b", [Step(b"a", "|"), Step(b"b", "")]),
        (b"a\xff\xff|b", [Step(b"a\xff|b", "")]),
        (b"a\xff.", [Step(b"a\xff.", "")]),
        (b"a\xff", [Step(b"a\xff", "")]),
        (b"a\xff*\0\x02b", [Step(b"aaab", "")]),
        (b"\xff*\0\x02b", [Step(b"b", "")]),
    ],
)
def test_what_the_bytes_of_a_script_mean(script: bytes, steps: list[Step]) -> None:
    assert read_script(script, "|") == steps


def test_a_short_script_makes_no_endless_input() -> None:
    (step,) = read_script(b"x" + b"\xff*\xff\xff" * 10, "|")
    assert len(step.data) == MAX_BYTES + 1


def test_what_takes_too_long_is_noticed() -> None:
    with pytest.raises(AssertionError, match="took"):
        in_linear_time(_spin, size=0)


def _spin() -> None:
    end = time.thread_time() + 0.11
    while time.thread_time() < end:
        pass


def test_a_line_of_exactly_the_limit_can_be_said_in_a_few_bytes() -> None:
    (step,) = read_script(b"SHOW /x\xff*\x1f\xf8\n", "|")
    assert len(step.data) == 8192
    check_parser(b"SHOW /x\xff*\x1f\xf8\n")
