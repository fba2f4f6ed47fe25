"""The corpus of request files (tests/corpus/README.rst says how to add one), read for any test that drives a server."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

CORPUS = Path(__file__).parent / "corpus"

_MARKERS = {b"[open]": False, b"[closed]": True}


class Outcome(NamedTuple):
    """What a server did with some requests: lines of reply, whether it closed by itself, lines at the half-close."""

    replies: list[bytes]
    closed: bool
    last_replies: list[bytes]


class Case(NamedTuple):
    name: str
    requests: bytes
    expected: Outcome


def cases(kind: str) -> list[Case]:
    """Every case of `kind` ("valid" or "invalid"), in the order of the names."""
    return [_read(file) for file in sorted((CORPUS / kind).glob("*.sttp"))]


def all_cases() -> list[Case]:
    return cases("valid") + cases("invalid")


def outcome(replies: bytes, closed: bool, last_replies: bytes) -> Outcome:
    return Outcome(lines_of(replies), closed, lines_of(last_replies))


def lines_of(replies: bytes) -> list[bytes]:
    """Whole lines without their line ends. Only a line feed ends one: replies may hold U+2028 and the like."""
    assert not replies or replies.endswith(b"\n"), f"a reply without its line end: {replies[-80:]!r}"
    return replies.split(b"\n")[:-1]


def check(case: Case, got: Outcome) -> None:
    """Assert that `got` is what the case expects; a `*` in a message of the expectation stands for any text."""
    assert got == Outcome(
        _resolved(case.expected.replies, got.replies),
        case.expected.closed,
        _resolved(case.expected.last_replies, got.last_replies),
    )


def _read(file: Path) -> Case:
    *lines, end = file.with_suffix(".expect").read_bytes().split(b"\n")
    assert end == b"", f"{file.stem}.expect: the last line has no end"
    at = [number for number, line in enumerate(lines) if line in _MARKERS]
    assert at, f"{file.stem}.expect: neither [open] nor [closed]"
    expected = Outcome(lines[: at[-1]], _MARKERS[lines[at[-1]]], lines[at[-1] + 1 :])
    return Case(f"{file.parent.name}/{file.stem}", file.read_bytes(), expected)


def _resolved(expected: list[bytes], got: list[bytes]) -> list[bytes]:
    # Lines that fit their pattern are replaced by what was got, so that a failure shows only what differs.
    fitting = [mine if _fits(line, mine) else line for line, mine in zip(expected, got, strict=False)]
    return fitting + expected[len(got) :]


def _fits(expected: bytes, got: bytes) -> bool:
    start, quote, message = expected.partition(b' ERROR "')
    if expected[:3] not in (b"300", b"500") or not quote:
        return expected == got
    pattern = re.escape(start + quote) + re.escape(message).replace(rb"\*", rb'[^"]*')
    return re.fullmatch(pattern, got) is not None
