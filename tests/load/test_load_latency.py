from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sttp_reactor.load import hdr
from sttp_reactor.load.faults import MissingExtra
from sttp_reactor.load.latency import Recorder, add, mean, percentiles, rounded, split, together
from sttp_reactor.load.outcomes import OUTCOME_BITS, OUTCOMES, UNSENT, UPDATE_200, WRONG, action_of, label_of

COUNTS = st.dictionaries(st.integers(0, 10_000_000), st.integers(1, 1000), min_size=1)
WANTED = (0.1, 50.0, 90.0, 99.0, 99.9, 100.0)


def test_outcomes_fit_their_bits_and_have_names() -> None:
    assert len(OUTCOMES) <= WRONG < UNSENT < 1 << OUTCOME_BITS
    assert label_of(UPDATE_200) == "UPDATE 200"
    assert action_of(UPDATE_200) == "UPDATE"
    assert [label_of(outcome) for outcome in (WRONG, UNSENT)] == ["wrong", "unsent"]


def test_a_tally_comes_apart_by_outcome() -> None:
    recorder = Recorder()
    for value, outcome in ((5, 0), (5, 0), (7, 3), (5, 3)):
        recorder.response[value << OUTCOME_BITS | outcome] += 1
    response, service, lag = recorder.take()
    assert split(response) == {0: {5: 2}, 3: {7: 1, 5: 1}}
    assert together(split(response).values()) == {5: 3, 7: 1}
    assert not service
    assert not lag
    assert not recorder.response, "counting starts anew"


def test_known_percentiles() -> None:
    counts = dict.fromkeys(range(1, 101), 1)
    assert percentiles(counts, (1, 50, 90, 99, 100)) == [1, 50, 90, 99, 100]
    assert percentiles({7: 1}, WANTED) == [7] * len(WANTED)
    assert percentiles({1: 999, 50: 1}, (99.9, 99.91)) == [1, 50]
    assert percentiles({}, (50, 99)) == [0, 0]


@given(COUNTS)
def test_percentiles_are_the_sorted_lists(counts: dict[int, int]) -> None:
    values = sorted(value for value, count in counts.items() for _ in range(count))
    for percent, found in zip(WANTED, percentiles(counts, WANTED), strict=True):
        at_most = sum(value <= found for value in values)
        below = sum(value < found for value in values)
        assert at_most >= percent / 100 * len(values) - 1e-6
        assert below < max(percent / 100 * len(values), 1)


@given(COUNTS)
def test_rounding_keeps_counts_and_three_figures(counts: dict[int, int]) -> None:
    small = rounded(counts)
    assert sum(small.values()) == sum(counts.values())
    for percent in WANTED:
        (exact,), (stored,) = percentiles(counts, (percent,)), percentiles(small, (percent,))
        assert exact <= stored <= exact * 1.001 + 1


def test_adding_and_the_mean() -> None:
    total = {1: 1}
    add(total, {1: 2, 4: 1})
    assert total == {1: 3, 4: 1}
    assert mean(total) == 7 / 4
    assert mean({}) == 0


@given(COUNTS)
def test_hdr_agrees_with_the_exact_values(counts: dict[int, int]) -> None:
    pytest.importorskip("hdrh")
    for exact, found in zip(percentiles(counts, WANTED), hdr.percentiles(counts, WANTED), strict=True):
        assert exact - 1 <= found <= exact * 1.001 + 1
    assert hdr.percentiles(counts, (100.0,)) == [max(counts)]


def test_a_percentile_file_is_in_milliseconds() -> None:
    pytest.importorskip("hdrh")
    lines = hdr.percentile_file({1000: 50, 3000: 50}).splitlines()
    assert lines[0].split() == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    assert lines[2].split()[0] == "1.000"
    assert re.search(r"#\[Mean    = +2\.00\d, StdDeviation   = +1\.00\d\]", "\n".join(lines))


def test_without_the_extra_percentiles_are_exact_and_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdr, "_load", lambda: None)
    assert hdr.percentiles({123_456: 1}, (50.0,)) == [123_456]
    with pytest.raises(MissingExtra, match=r"^--hgrm needs hdrhistogram: pip install 'sttp_reactor\[bench\]'$"):
        hdr.percentile_file({1: 1})
