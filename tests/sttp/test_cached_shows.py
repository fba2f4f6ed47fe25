"""What is cached is shown only after the store has said that nothing newer has been acknowledged (`store.base`)."""

from __future__ import annotations

import queue
from collections.abc import Iterator

import pytest
from scripted import PATIENCE_SECONDS, Bench, ScriptedStore, Talk

OLD = b"200 /a OK\nold\n"
NEW = b"200 /a OK\nnew\n"
OTHER = b"200 /b OK\nother\n"


class SharedStore(ScriptedStore):
    """Others change it, too. The barrier waits until the test `answers`."""

    is_telling = False

    def __init__(self) -> None:
        super().__init__({b"/a": b"old", b"/b": b"other"})
        self.asked: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[bool | Exception] = queue.SimpleQueue()
        self.barrier = self._barrier

    def _barrier(self) -> bool:
        self.asked.put(None)
        answer = self._answers.get(timeout=PATIENCE_SECONDS)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self, is_told: bool | Exception) -> None:
        self._answers.put(is_told)


@pytest.fixture
def store() -> SharedStore:
    return SharedStore()


@pytest.fixture
def bench(store: SharedStore) -> Iterator[Bench]:
    with Bench(store) as bench:
        assert bench.ask(b"SHOW /a") == OLD
        assert bench.ask(b"SHOW /b") == OTHER
        bench.rest()
        store.shown.clear()
        yield bench


def changed(bench: Bench, store: SharedStore, *paths: bytes) -> None:
    """Somebody else has changed these, and we have been told."""
    for path in paths:
        store.files[path] = b"new"
    bench.service.changed_elsewhere(paths)


def primed(bench: Bench, store: SharedStore) -> Talk:
    """A session that has said something: the first words of a connection always take the slow way."""
    talk = Talk(bench)
    talk.send(b"SHOW /a\n")
    store.answer(True)
    bench.rest()
    store.asked.get(timeout=PATIENCE_SECONDS)
    talk.transport.sent.clear()
    return talk


def test_it_is_shown_once_the_store_has_told_everything(bench: Bench, store: SharedStore) -> None:
    replies = bench.start(b"SHOW /a")
    store.asked.get(timeout=PATIENCE_SECONDS)
    bench.turn()
    assert replies == []
    store.answer(True)
    bench.rest()
    assert (replies, store.shown) == ([OLD], [])


def test_what_has_been_told_meanwhile_is_read_anew(bench: Bench, store: SharedStore) -> None:
    replies = bench.start(b"SHOW /a")
    store.asked.get(timeout=PATIENCE_SECONDS)
    changed(bench, store, b"/a")
    store.answer(True)
    bench.rest()
    assert (replies, store.shown) == ([NEW], [b"/a"])


@pytest.mark.parametrize("answer", [False, OSError("the store has failed")])
def test_where_the_store_does_not_know_it_is_read(bench: Bench, store: SharedStore, answer: bool | Exception) -> None:
    store.files[b"/a"] = b"new"  # and nobody tells
    replies = bench.start(b"SHOW /a")
    store.answer(answer)
    bench.rest()
    assert (replies, store.shown) == ([NEW], [b"/a"])


def test_one_question_is_for_all_who_came_before_it_and_for_nobody_else(bench: Bench, store: SharedStore) -> None:
    first = bench.start(b"SHOW /a")
    store.asked.get(timeout=PATIENCE_SECONDS)
    later = [bench.start(b"SHOW /a") for _ in range(20)]
    store.answer(True)
    bench.until(lambda: bool(first))
    assert first == [OLD]
    assert later == [[]] * 20, "these came after the question"
    store.asked.get(timeout=PATIENCE_SECONDS)
    store.answer(True)
    bench.rest()
    assert later == [[OLD]] * 20
    assert store.asked.empty()


def test_a_read_that_has_begun_is_not_joined(bench: Bench, store: SharedStore) -> None:
    """Somebody else may have changed the file since, and been told so."""
    changed(bench, store, b"/a")
    bench.turn()
    gate = store.gate("after show /a")
    first = bench.start(b"SHOW /a")
    gate.wait_until_reached()
    store.files[b"/a"] = b"newest"
    second = bench.start(b"SHOW /a")
    gate.open()
    bench.rest()
    assert (first, second) == ([NEW], [b"200 /a OK\nnewest\n"])


def test_a_chunk_goes_past_the_barrier_as_one(bench: Bench, store: SharedStore) -> None:
    talk = primed(bench, store)
    talk.transport.writes.clear()
    talk.send(b"SHOW /a\nSHOW /b\nSHOW /a\n")
    bench.turn()
    store.asked.get(timeout=PATIENCE_SECONDS)
    assert talk.transport.writes == []
    store.answer(True)
    bench.rest()
    assert talk.transport.sent == OLD + OTHER + OLD
    assert len(talk.transport.writes) == 1
    assert store.asked.empty()


def test_a_chunk_of_which_one_has_changed_keeps_its_order(bench: Bench, store: SharedStore) -> None:
    talk = primed(bench, store)
    talk.send(b"SHOW /b\nSHOW /a\nSHOW /b\n")
    bench.turn()
    store.asked.get(timeout=PATIENCE_SECONDS)
    changed(bench, store, b"/a")
    store.answer(True)
    bench.rest()
    assert talk.transport.sent == OTHER + NEW + OTHER
    talk.send(b"SHOW /b\n")
    store.answer(True)
    bench.rest()
    assert talk.transport.sent == OTHER + NEW + OTHER + OTHER


def test_a_chunk_that_the_full_queue_has_no_room_for_is_answered_later(bench: Bench, store: SharedStore) -> None:
    talk = primed(bench, store)
    talk.send(b"SHOW /b\nSHOW /a\n")
    bench.turn()
    store.asked.get(timeout=PATIENCE_SECONDS)
    filling = bench.fill_queue()
    changed(bench, store, b"/a", b"/b")
    store.answer(True)
    bench.rest()
    assert filling
    assert talk.transport.sent == OTHER.replace(b"other", b"new") + NEW


def test_while_nothing_is_told_nothing_is_kept() -> None:
    """A store without a barrier (`reads: cached`), whose watch is cut off for a while."""
    store = ScriptedStore({b"/a": b"old"})
    store.is_telling = False
    with Bench(store) as bench:
        for _ in range(3):
            assert bench.ask(b"SHOW /a") == OLD
        assert len(store.shown) == 3
        store.is_telling = True
        for _ in range(3):
            assert bench.ask(b"SHOW /a") == OLD
        assert len(store.shown) == 4


def test_own_writes_are_seen_at_once(bench: Bench, store: SharedStore) -> None:
    assert bench.ask(b"UPDATE /a new") == NEW
    assert bench.ask(b"SHOW /a") == NEW
    replies = bench.start(b"SHOW /a")
    store.answer(True)
    bench.rest()
    assert replies == [NEW]
