from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sttp_reactor.load.errands import ErrandSource, deletion
from sttp_reactor.load.exact import Agenda, ExactSource, Pair
from sttp_reactor.load.faults import Mistakes, shown
from sttp_reactor.load.link import Link
from sttp_reactor.load.outcomes import SHOW_200, WRONG
from sttp_reactor.load.replies import MAX_REPLY_BYTES, is_reply_like, reply_end, status_of

PAIRS: list[Pair] = [
    (b"SHOW /a\n", b"200 /a OK\nBuy milk\n"),
    (b"SHOW /b\n", b"200 /b OK\n\n"),
    (b"CREATE /c x\n", b"100 /c CREATED\n"),
    (b"SHOW /d\n", b"200 /d OK\n300 \xc3\xa9\n"),
]
STREAM = b"".join(reply for _, reply in PAIRS)


def _asked(pairs: Sequence[Pair] = PAIRS) -> tuple[ExactSource, Link]:
    source, link = ExactSource(Agenda(pairs).take, SHOW_200, Mistakes()), Link(0)
    assert source.compose(link, len(pairs)) == b"".join(request for request, _ in pairs)
    return source, link


def test_where_a_reply_ends() -> None:
    assert reply_end(b"100 /a CREATED\nrest", 0) == 15
    assert reply_end(b"200 /a OK\ntext\nrest", 0) == 15
    assert reply_end(b"200 /a OK\ntext", 0) == 0
    assert reply_end(b"200 /a OK", 0) == 0
    assert reply_end(b"x\n400 /a NOT FOUND\n", 2) == 19


def test_what_may_begin_a_reply() -> None:
    assert all(is_reply_like(b"200 /"[:size], 0) for size in range(6))
    assert not any(is_reply_like(text, 0) for text in (b"HTTP/1.1", b"2x", b"200/a", b"\n200", b"2000 "))
    assert [status_of(text) for text in (b"200 /a OK\n", b"OK\n", b"")] == [200, 0, 0]


def test_all_replies_at_once() -> None:
    source, link = _asked()
    assert source.digest(link, STREAM) == [SHOW_200] * 4
    assert not link.pending
    assert not source.mistakes.count


@given(st.lists(st.integers(0, len(STREAM)), max_size=8))
def test_any_split_gives_the_same_outcomes(cuts: list[int]) -> None:
    source, link = _asked()
    edges = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(edges) if start < end]
    assert [outcome for piece in pieces for outcome in source.digest(link, piece)] == [SHOW_200] * 4
    assert (source.mistakes.count, len(link.pending), link.rest) == (0, 0, b"")


def test_topping_up_a_pipeline_keeps_what_is_expected_in_order() -> None:
    source, link = ExactSource(Agenda(PAIRS).take, SHOW_200, Mistakes()), Link(0)
    source.compose(link, 2)
    assert source.digest(link, PAIRS[0][1] + PAIRS[1][1][:5]) == [SHOW_200]
    source.compose(link, 2)
    assert source.digest(link, PAIRS[1][1][5:] + PAIRS[2][1] + PAIRS[3][1]) == [SHOW_200] * 3
    assert not source.mistakes.count


@pytest.mark.parametrize(
    "wrong",
    [
        b"200 /a OK\nBuy milk \n",
        b"200 /a OK\n\n",
        b"200 /b OK\nBuy milk\n",
        b"400 /a NOT FOUND\n",
        b'500 - SERVER ERROR "disk full"\n',
        b"100 /a CREATED\n",
    ],
)
def test_a_wrong_reply_is_one_mistake_and_the_next_is_judged_anew(wrong: bytes) -> None:
    for size in (1, 3, 1000):
        source, link = _asked()
        stream = wrong + STREAM[len(PAIRS[0][1]) :]
        outcomes = [o for at in range(0, len(stream), size) for o in source.digest(link, stream[at : at + size])]
        assert outcomes == [WRONG, SHOW_200, SHOW_200, SHOW_200]
        assert source.mistakes.count == 1
        assert source.refused == {b"SHOW /a\n"}
        assert shown(wrong) in source.mistakes.samples[0]
        assert source.mistakes.samples[0].startswith("SHOW /a: expected '200 /a OK\\nBuy milk\\n'")


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\n", b"\x00\xff", b"200" + b"9" * 10])
def test_what_is_no_reply_breaks_the_link(garbage: bytes) -> None:
    source, link = _asked()
    assert source.digest(link, PAIRS[0][1] + garbage) == [SHOW_200]
    assert link.broken
    assert "is not an STTP reply" in source.mistakes.samples[0]


def test_a_reply_without_end_breaks_the_link() -> None:
    source, link = _asked()
    chunk = b"200 /a OK\n" + b"x" * 65536
    for _ in range(MAX_REPLY_BYTES // len(chunk) + 2):
        assert source.digest(link, chunk.replace(b"\n", b"") if link.rest else chunk) == []
        if link.broken:
            break
    assert link.broken


def test_more_than_was_asked_for_breaks_the_link() -> None:
    source, link = _asked(PAIRS[:1])
    assert source.digest(link, PAIRS[0][1] + b"100 /x CREATED\n") == [SHOW_200]
    assert link.broken
    assert "nobody asked for" in source.mistakes.samples[0]


def test_an_agenda_knows_what_it_gave_away() -> None:
    agenda = Agenda(PAIRS)
    assert agenda.take(3) == PAIRS[:3]
    assert agenda.sent() == {request for request, _ in PAIRS[:3]}
    assert agenda.take(3) == PAIRS[3:]
    assert agenda.take(1) == []


def test_errands_take_any_fitting_reply() -> None:
    source, link = (
        ErrandSource([deletion(b"/a"), deletion(b"/b"), deletion(b"/c"), deletion(b"/d")], Mistakes()),
        Link(0),
    )
    assert source.compose(link, 9) == b"DELETE /a\nDELETE /b\nDELETE /c\nDELETE /d\n"
    stream = b'600 /a DELETED\n400 /b NOT FOUND\n410 / PATH NOT FOUND\n500 /d SERVER ERROR "disk"\n'
    outcomes = [outcome for at in range(len(stream)) for outcome in source.digest(link, stream[at : at + 1])]
    assert outcomes == [SHOW_200, SHOW_200, SHOW_200, WRONG]
    assert set(source.replies) == {b"DELETE /a\n", b"DELETE /b\n", b"DELETE /c\n"}
    assert source.mistakes.samples == ["DELETE /d: got '500 /d SERVER ERROR \"disk\"\\n'"]


def test_only_the_first_mistakes_are_told() -> None:
    mistakes = Mistakes()
    for number in range(100):
        mistakes.note(f"number {number}")
    assert mistakes.count == 100
    assert mistakes.samples == [f"number {number}" for number in range(5)]


def test_bytes_in_messages_are_printable_and_short() -> None:
    text = shown(b"a\nb\x1b[2J\xff" + "é\u202e".encode() + b"x" * 500)
    assert text.startswith("a\\nb\\x1b[2J\\xffé")
    assert text.isprintable()
    assert len(text) < 250
