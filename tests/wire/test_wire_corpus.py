"""The corpus through parser and encoder, whole and in pieces."""

from __future__ import annotations

import pytest
from corpus_files import CORPUS, Case, Outcome, all_cases, cases, check, outcome
from wire_driver import DictService, cut_at, in_pieces, messages_of

from sttp_reactor.wire.parser import BadLine


def play(pieces: list[bytes]) -> Outcome:
    service = DictService()
    messages, closed, last_messages = messages_of(pieces)
    return outcome(service.replies(messages), closed, service.replies(last_messages))


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_replies(case: Case) -> None:
    check(case, play([case.requests]))


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_pieces_change_nothing(case: Case) -> None:
    whole = messages_of([case.requests])
    for size in (1, 2, 3, 7, 4096):
        assert messages_of(in_pieces(case.requests, size)) == whole, f"in pieces of {size}"
    for place in range(0, len(case.requests), 1 if len(case.requests) < 300 else 101):
        assert messages_of(cut_at(case.requests, [place])) == whole, f"cut at {place}"


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_kind(case: Case) -> None:
    """A file stands in `invalid` if and only if a line of it is refused for its form."""
    messages, _, last_messages = messages_of([case.requests])
    refused = any(isinstance(message, BadLine) for message in messages + last_messages)
    assert refused is case.name.startswith("invalid/")


def test_files_come_in_pairs() -> None:
    files = {file for kind in ("valid", "invalid") for file in (CORPUS / kind).iterdir()}
    assert {file.suffix for file in files} == {".sttp", ".expect"}
    assert {file.stem for file in files if file.suffix == ".sttp"} == {
        file.stem for file in files if file.suffix == ".expect"
    }


def test_the_corpus_is_found() -> None:
    assert len(cases("valid")) >= 50
    assert len(cases("invalid")) >= 100
