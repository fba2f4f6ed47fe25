"""Counting, and adding up over processes that die, that write at the same time, and that have nothing to say."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import pytest

from sttp_reactor import metrics
from sttp_reactor.metrics import (
    COUNTER,
    GAUGE,
    HIGHEST,
    HISTOGRAM,
    LOWEST,
    Board,
    Histogram,
    Registry,
    Sample,
    total,
)


@pytest.fixture
def board() -> Iterator[Board]:
    board = Board(3)
    yield board
    board.close()


def values(samples: list[Sample]) -> dict[str, float]:
    assert len({sample.name for sample in samples}) == len(samples)
    return {sample.name: sample.value for sample in samples}


def some(count: float, now: float = 0.0) -> list[Sample]:
    return [
        Sample("count", COUNTER, (), count),
        Sample("part", HISTOGRAM, (), count),
        Sample("now", GAUGE, (), now),
        Sample("high", HIGHEST, (), now),
        Sample("low", LOWEST, (), now),
    ]


def test_each_kind_is_added_up_as_it_makes_sense() -> None:
    assert values(total(some(1, 10) + some(2, 20))) == {"count": 3, "part": 3, "now": 30, "high": 20, "low": 10}


def test_labels_tell_samples_apart() -> None:
    one, other = Sample("n", COUNTER, (("a", "1"),), 1), Sample("n", COUNTER, (("a", "2"),), 1)
    assert total([one, other, one]) == [one._replace(value=2), other]


def test_a_histogram_is_cumulative_and_its_bounds_belong_to_what_they_name() -> None:
    histogram = Histogram("h", (0.1, 1.0), (("x", "y"),))
    histogram.observe((0.05, 0.1, 0.5, 1.0, 7.0))
    assert [(sample.labels[1:], sample.value) for sample in histogram.samples(at_once=10)] == [
        ((("le", "0.1"),), 12),
        ((("le", "1.0"),), 14),
        ((("le", "+Inf"),), 15),
        ((), pytest.approx(8.65)),
        ((), 15),
    ]
    assert histogram.count == 5


def test_any_process_answers_for_all(board: Board) -> None:
    assert board.samples() == []
    one, other = board.place(0), board.place(2)
    one.publish(some(1, 10))
    other.publish(some(2, 5))
    assert values(board.samples()) == {"count": 3, "part": 3, "now": 15, "high": 10, "low": 5}
    one.publish(some(7, 1))  # what is published replaces what was
    assert values(board.samples())["count"] == 9


def test_what_a_dead_process_has_counted_stays_counted(board: Board) -> None:
    board.place(0).publish(some(100, 10))
    board.place(1).publish(some(1, 1))
    board.place(0).retire()
    assert values(board.samples()) == {"count": 101, "part": 101, "now": 1, "high": 1, "low": 1}
    successor = board.place(0)
    successor.publish(some(5, 3))
    assert values(board.samples()) == {"count": 106, "part": 106, "now": 4, "high": 3, "low": 1}
    successor.publish(some(6, 3))  # its predecessor's are added once, not every time
    assert values(board.samples())["count"] == 107
    board.place(0).retire()
    board.place(0).publish([])
    assert values(board.samples())["count"] == 107


def test_too_much_to_publish_leaves_what_was_there(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    place = board.place(0)
    place.publish(some(1))
    place.publish([Sample(f"{number:01000}", COUNTER, (), 1) for number in range(300)])
    assert values(board.samples())["count"] == 1


@pytest.mark.parametrize("times", [1, 2])
def test_a_page_that_was_not_written_to_its_end_is_not_read(times: int) -> None:
    memory = mmap.mmap(-1, metrics._PLACE_BYTES)
    place = metrics.Place(memory, 0)
    for count in range(times):
        place.publish(some(count))
    at = place._page_start(memory[0])
    length, _ = struct.unpack_from("=qq", memory, at)
    memory[at + 16 + length // 2] ^= 1
    assert metrics.Place(memory, 0).read() == []
    for length in (-1, 1 << 40, 0):
        struct.pack_into("=q", memory, at, length)
        assert metrics.Place(memory, 0).read() == []


def test_who_reads_while_another_process_writes_gets_one_state(board: Board) -> None:
    """All values of one state are the same; and they never go back."""
    names = [f"n{number}" for number in range(50)]
    pid = os.fork()
    if pid == 0:
        place = board.place(0)
        for count in range(1, 1001):
            place.publish(Sample(name, COUNTER, (), count) for name in names)
        os._exit(0)
    before = 0.0
    while before < 1000:
        found = values(board.samples())
        assert len(found) in (0, len(names))
        assert len(set(found.values())) <= 1
        now = max(found.values(), default=before)
        assert now >= before
        before = now
        if os.waitpid(pid, os.WNOHANG)[0]:
            assert values(board.samples())[names[0]] == 1000
            return
    os.waitpid(pid, 0)


def test_a_registry_asks_everybody_each_time(board: Board) -> None:
    alone, one, other = Registry(), Registry(board, board.place(0)), Registry(board, board.place(1))
    counts = {"a": 1, "b": 2}
    for registry in (alone, one, other):
        registry.add(lambda: [Sample("a", COUNTER, (), counts["a"])])
        registry.add(lambda: iter([Sample("b", COUNTER, (), counts["b"])]))
    assert values(alone.samples()) == counts
    other.publish()
    counts["a"] = 10
    assert values(one.samples()) == {"a": 11, "b": 4}  # of the other as it has published it
    assert values(other.samples()) == {"a": 20, "b": 4}
