"""The model of what keys can hold: never a false alarm, and no real fault gets past it."""

from __future__ import annotations

import random

import pytest
from fake_server import Files
from hypothesis import given
from hypothesis import strategies as st
from simulation import Simulation

from sttp_reactor.load.model import FOREVER, Directory, Key, Model
from sttp_reactor.load.outcomes import OUTCOMES, WRONG, action_of

OLD, NEW, NEWER = (b"200 /k OK\n%s\n" % text for text in (b"old", b"new", b"newer"))


def _key() -> Key:
    return Key(0, b"/k", Directory(b"/"), OLD)


def _may_show(model: Model, key: Key, since: int, writer: int = 9) -> set[bytes | None]:
    return {version.reply for version in key.admissible(since, writer)}


def test_a_write_under_way_may_be_seen_or_not() -> None:
    model, key = Model(), _key()
    model.change(key, 1, NEW)
    assert _may_show(model, key, model.now) == {OLD, NEW}


def test_after_the_acknowledgement_only_the_new_text_is_right() -> None:
    model, key = Model(), _key()
    since = model.now
    write = model.change(key, 1, NEW)
    model.now += 1
    model.acknowledge(key, write)
    assert _may_show(model, key, model.now) == {NEW}
    assert _may_show(model, key, since) == {OLD, NEW}, "that one was asked before the acknowledgement"
    assert key.likely == NEW


def test_of_two_writes_that_overlapped_either_may_be_the_last() -> None:
    model, key = Model(), _key()
    first, second = model.change(key, 1, NEW), model.change(key, 2, NEWER)
    for write in (second, first):
        model.now += 1
        model.acknowledge(key, write)
    assert _may_show(model, key, model.now) == {NEW, NEWER}


def test_writes_of_one_connection_are_in_order_though_they_overlapped() -> None:
    model, key = Model(), _key()
    first, second = model.change(key, 1, NEW), model.change(key, 1, NEWER)
    model.now += 1
    model.acknowledge(key, first)
    model.acknowledge(key, second)
    assert _may_show(model, key, model.now) == {NEWER}


def test_a_request_sees_its_own_connections_writes_before_they_are_acknowledged() -> None:
    model, key = Model(), _key()
    write = model.change(key, 1, NEW)
    since = model.now
    model.now += 1
    model.acknowledge(key, write)  # the reply to the write comes first on that connection
    assert _may_show(model, key, since, writer=1) == {NEW}
    assert _may_show(model, key, since, writer=2) == {OLD, NEW}


def test_a_refused_write_is_never_right() -> None:
    model, key = Model(), _key()
    write = model.change(key, 1, NEW)
    assert model.refuse(key, write)
    assert _may_show(model, key, model.now) == {OLD}


def test_a_write_that_was_seen_cannot_be_refused() -> None:
    model, key = Model(), _key()
    write = model.change(key, 1, NEW)
    write.seen = True
    assert not model.refuse(key, write)


def test_forgetting_keeps_what_a_request_in_flight_may_still_show() -> None:
    model, key = Model(), _key()
    asked_early = model.now
    write = model.change(key, 1, NEW)
    model.now += 1
    model.acknowledge(key, write)
    model.prune(asked_early)
    assert _may_show(model, key, asked_early) == {OLD, NEW}
    model.prune(model.now)
    assert [version.reply for version in key.versions] == [NEW]
    assert key.versions[0].died == FOREVER


def test_two_creations_of_one_key_cannot_both_succeed() -> None:
    model, key = Model(), _key()
    key.balance = 2
    assert not model.can_balance(key)
    key.deleting = 1
    assert model.can_balance(key)
    key.balance, key.deleting = -1, 0
    assert not model.can_balance(key)
    key.creating = 1
    assert model.can_balance(key)


@given(st.integers(), st.integers(1, 5), st.integers(1, 6), st.integers(1, 5))
def test_a_right_server_is_never_called_wrong(seed: int, links: int, pipeline: int, keys: int) -> None:
    simulation = Simulation(Files(), seed, links=links, pipeline=pipeline, keys=keys)
    simulation.run(400)
    assert simulation.mistakes.samples == []
    assert WRONG not in simulation.outcomes


def test_a_long_run_sees_every_outcome_and_forgets_old_versions() -> None:
    simulation = Simulation(Files(), 1)
    simulation.run(40_000)
    assert simulation.mistakes.samples == []
    assert set(simulation.outcomes) == set(range(len(OUTCOMES)))
    keys = {id(key): key for asked in [link.pending for link in simulation.links] for _, key, *_ in asked}
    assert all(len(key.versions) < 1000 for key in keys.values())


class LosesUpdates(Files):
    def update(self, path: bytes, text: bytes) -> bytes:
        return self._ok(path, text) if path in self.texts else self._missing(path)


class StaleCache(Files):
    """Keeps serving a text that it has served before."""

    def __init__(self) -> None:
        super().__init__()
        self.cache: dict[bytes, bytes] = {}

    def show(self, path: bytes, text: bytes) -> bytes:
        return self.cache.setdefault(path, super().show(path, text))


class LateInvalidation(Files):
    """Acknowledges an update, and serves the old text once more."""

    def __init__(self) -> None:
        super().__init__()
        self.old: dict[bytes, bytes] = {}

    def update(self, path: bytes, text: bytes) -> bytes:
        self.old[path] = super().show(path, b"")
        return super().update(path, text)

    def show(self, path: bytes, text: bytes) -> bytes:
        return self.old.pop(path, b"") or super().show(path, text)


class CreatesTwice(Files):
    def create(self, path: bytes, text: bytes) -> bytes:
        self.texts.pop(path, None)
        return super().create(path, text)


class CreatesNever(Files):
    def create(self, path: bytes, text: bytes) -> bytes:
        self.texts.setdefault(path, text)
        return b'300 %s CLIENT ERROR "it exists"\n' % path


class RefusesButStores(Files):
    def create(self, path: bytes, text: bytes) -> bytes:
        reply = super().create(path, text)
        self.texts[path] = text
        return reply


class KeepsDeleted(Files):
    def delete(self, path: bytes, text: bytes) -> bytes:
        return b"600 %s DELETED\n" % path if path in self.texts else self._missing(path)


class DeletesTwice(Files):
    def delete(self, path: bytes, text: bytes) -> bytes:
        self.texts.pop(path, None)
        return b"600 %s DELETED\n" % path


class UpdatesWhatIsMissing(Files):
    def update(self, path: bytes, text: bytes) -> bytes:
        self.texts[path] = text
        return self._ok(path, text)


class EchoesAnotherText(Files):
    def update(self, path: bytes, text: bytes) -> bytes:
        reply = super().update(path, text)
        return reply.replace(text, text.swapcase()) if reply.startswith(b"200") else reply


class MixesUpKeys(Files):
    def show(self, path: bytes, text: bytes) -> bytes:
        other = random.choice(sorted(self.texts)) if self.texts else path
        return self._ok(path, self.texts[other]) if path in self.texts else self._missing(path)


class ListsTooLittle(Files):
    def list(self, path: bytes, text: bytes) -> bytes:
        head, _, names = super().list(path, text)[:-1].partition(b"\n")
        return head + b"\n" + b", ".join(names.split(b", ")[1:]) + b"\n"


class ListsInDisorder(Files):
    def list(self, path: bytes, text: bytes) -> bytes:
        head, _, names = super().list(path, text)[:-1].partition(b"\n")
        return head + b"\n" + b", ".join(reversed(names.split(b", "))) + b"\n"


class ListsStrangers(Files):
    def list(self, path: bytes, text: bytes) -> bytes:
        return super().list(path, text)[:-1] + b", zz\n"


class RunsOutOfDisk(Files):
    def create(self, path: bytes, text: bytes) -> bytes:
        return b'500 %s SERVER ERROR "the disk is full"\n' % path


FAULTS = [
    LosesUpdates, StaleCache, LateInvalidation, CreatesTwice, CreatesNever, RefusesButStores, KeepsDeleted,
    DeletesTwice, UpdatesWhatIsMissing, EchoesAnotherText, MixesUpKeys, ListsTooLittle, ListsInDisorder,
    ListsStrangers, RunsOutOfDisk,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("pipeline", [1, 4])
def test_a_fault_is_noticed(fault: type[Files], pipeline: int) -> None:
    for seed in range(5):
        simulation = Simulation(fault(), seed, pipeline=pipeline)
        simulation.run(3000)
        assert simulation.mistakes.count, "nothing was noticed"
        assert WRONG in simulation.outcomes


def test_a_fault_is_noticed_where_only_texts_change() -> None:
    simulation = Simulation(LateInvalidation(), 1, mix="show=90,update=10", links=1)
    simulation.run(1000)
    assert "overwritten before this was asked; last acknowledged was version" in simulation.mistakes.samples[0]


def test_a_mix_without_changes_lists_exactly() -> None:
    simulation = Simulation(Files(), 1, mix="show=50,list=50", keys=150)
    simulation.run(2000)
    assert simulation.mistakes.samples == []
    assert {action_of(outcome) for outcome in simulation.outcomes} == {"SHOW", "LIST"}
    wrong = Simulation(ListsTooLittle(), 1, mix="show=50,list=50", keys=150)
    wrong.run(2000)
    assert wrong.mistakes.count
