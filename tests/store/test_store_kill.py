"""`kill -9` at any moment: what was acknowledged is there, whole; what was not is there whole or not at all."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_support import (
    DONE,
    commit,
    create,
    delete,
    disk,
    files_in,
    kill_oneself,
    killed,
    left_over,
    show,
    update,
)

from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.faulty import faulty_calls, nth, on

pytestmark = pytest.mark.usefixtures("small_journal")

ROUNDS = 50
LONGEST_SECONDS = 0.02

BEFORE = {"/long": b"o" * 160, "/short": b"o", "/linked": b"old", "/gone": b"old", "/d/other": b"other"}
BATCH = [
    update("/long", "new"),
    update("/short", "n" * 160),
    update("/linked", "new"),
    delete("/gone"),
    create("/new", "new"),
    create("/e/f/new", "new"),
]
AFTER = {"/long": b"new", "/short": b"n" * 160, "/linked": b"new", "/d/other": b"other"} | {
    "/new": b"new",
    "/e/f/new": b"new",
}


def lay_out(docroot: Path, *, sync: bool, claim: Claim | None = None) -> None:
    with disk(docroot, sync=sync, claim=claim) as store:
        assert commit(store, *[create(path, text.decode()) for path, text in BEFORE.items()]) == [DONE] * len(BEFORE)
        os.link(docroot / "linked", docroot.with_name("backup of " + docroot.name))


def seen_by(store: DiskStore) -> dict[str, bytes]:
    """What a client of another process is shown: never half of a text, nor an error."""
    seen = {path: show(store, path) for path in BEFORE | AFTER}
    assert not [path for path, text in seen.items() if text in (300, 500)]
    return {path: text.encode() for path, text in seen.items() if isinstance(text, str)}


def assert_each_is_old_or_new(found: dict[str, bytes]) -> None:
    for path in BEFORE | AFTER:
        assert found.get(path) in (BEFORE.get(path), AFTER.get(path)), path
    assert set(found) <= set(BEFORE | AFTER)


@pytest.mark.parametrize("sync", [False, True])
def test_killed_before_any_one_system_call_of_a_commit(tmp_path: Path, sync: bool) -> None:
    """Another process serves the docroot all the while, and asks before any turn has mended what is left."""
    outcomes = set()
    for call in itertools.count(1):
        docroot = tmp_path / str(call)
        claim = Claim()
        lay_out(docroot, sync=sync, claim=claim)
        sibling = DiskStore(docroot, sync=sync, claim=claim)

        def commit_and_die(docroot: Path = docroot, call: int = call, claim: Claim = claim) -> None:
            store = DiskStore(docroot, sync=sync, claim=claim)
            with faulty_calls(nth(call, kill_oneself)):
                store.commit(BATCH)

        was_killed = killed(commit_and_die)
        assert_each_is_old_or_new(seen_by(sibling))
        sibling.close()
        if call % 2:
            claim.release()  # the next one is of another server
        with disk(docroot, sync=sync, claim=claim) as store:
            assert left_over(docroot) == []
            found = files_in(docroot)
            # One record: all of it or nothing.
            assert found in (BEFORE, AFTER), f"killed before call {call}"
            assert (docroot.with_name("backup of " + docroot.name)).read_text() == "old"
            assert commit(store, create("/e/f/next"), update("/long", "x")) == [DONE, DONE]
        claim.release()
        outcomes.add(found == AFTER)
        if not was_killed:
            break
    assert found == AFTER
    assert outcomes == {False, True}


def in_turn_after(first: Callable[[DiskStore], Any]) -> Callable[[Path, int], None]:
    def run(docroot: Path, call: int) -> None:
        store = DiskStore(docroot, sync=True)
        store.commit([update("/short", "acknowledged")])
        with faulty_calls(nth(call, kill_oneself)):
            first(store)

    return run


@pytest.mark.parametrize(
    "run",
    [
        in_turn_after(lambda store: store.checkpoint()),
        in_turn_after(lambda store: store.close()),
        in_turn_after(lambda store: DiskStore(store._docroot, claim=store._claim).open()),
    ],
    ids=["checkpoint", "close", "open"],
)
def test_killed_before_any_one_system_call_of_the_rest(tmp_path: Path, run: Callable[[Path, int], None]) -> None:
    for call in itertools.count(1):
        docroot = tmp_path / str(call)
        lay_out(docroot, sync=True)

        def run_and_die(docroot: Path = docroot, call: int = call) -> None:
            run(docroot, call)

        was_killed = killed(run_and_die)
        with disk(docroot, sync=True) as store:
            assert files_in(docroot) == BEFORE | {"/short": b"acknowledged"}
            assert commit(store, update("/short", "next")) == [DONE]
        if not was_killed:
            break
    assert call > 5


def test_killed_while_mending(tmp_path: Path) -> None:
    """First in the middle of a commit, then again and again in the middle of what is done about it."""
    for call in itertools.count(1):
        docroot = tmp_path / str(call)
        lay_out(docroot, sync=True)

        def commit_and_die(docroot: Path = docroot) -> None:
            with faulty_calls(on("link", kill_oneself)):
                DiskStore(docroot).commit(BATCH)

        def mend_and_die(docroot: Path = docroot, call: int = call) -> None:
            with faulty_calls(nth(call, kill_oneself)):
                DiskStore(docroot).open()

        assert killed(commit_and_die)
        was_killed = killed(mend_and_die)
        with disk(docroot):
            assert files_in(docroot) == AFTER
            assert left_over(docroot) == []
        if not was_killed:
            break
    assert call > 20


class Storm:
    """A process that commits batch after batch; it says what it is about to commit, and what was acknowledged."""

    def __init__(self, docroot: Path, seed: int) -> None:
        self._docroot = docroot
        self._random = random.Random(seed)
        self._texts: dict[bytes, bytes | None] = {}

    def next_batch(self) -> list[Write]:
        """Writes that all succeed if those before them did."""
        batch = []
        for _ in range(self._random.randint(1, 8)):
            path = b"/d%d/%d" % (self._random.randint(0, 2), self._random.randint(0, 5))
            text: bytes | None = self._random.choice("xyz").encode() * self._random.choice([1, 60, 160])
            if self._texts.get(path) is None:
                operation = Operation.CREATE
            elif self._random.random() < 0.3:
                operation, text = Operation.DELETE, None
            else:
                operation = Operation.UPDATE
            self._texts[path] = text
            batch.append(Write(operation, path, text))
        return batch

    def run(self, pipe: int) -> None:
        with disk(self._docroot, sync=True) as store:
            self._texts = dict(texts_in(self._docroot))
            while True:
                batch = self.next_batch()
                os.write(pipe, line("about", batch))
                assert store.commit(batch) == [None] * len(batch)
                os.write(pipe, line("done", batch))


def line(word: str, batch: list[Write]) -> bytes:
    changes = {write.path.decode(): None if write.contents is None else write.contents.decode() for write in batch}
    return json.dumps([word, changes]).encode() + b"\n"


def texts_in(docroot: Path) -> dict[bytes, bytes | None]:
    return {path.encode(): text for path, text in files_in(docroot).items()}


def test_killed_again_and_again_in_a_storm_of_writes(tmp_path: Path) -> None:
    docroot = tmp_path / "docroot"
    seed = 20240607
    chance = random.Random(seed)
    acknowledged: dict[str, str] = {}
    commits = 0
    for round_number in range(ROUNDS):
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.close(reading)
                Storm(docroot, seed + round_number).run(writing)
            finally:
                os._exit(1)
        os.close(writing)
        with open(reading) as pipe:
            said = [pipe.readline()]  # it is at work
            time.sleep(chance.random() * LONGEST_SECONDS)
            os.kill(child, signal.SIGKILL)
            said += pipe.readlines()
        assert os.waitpid(child, 0)[1] == signal.SIGKILL
        under_way: dict[str, str | None] = {}
        for word, changes in map(json.loads, said):
            under_way = changes if word == "about" else {}
            if word == "done":
                commits += 1
                acknowledged = {k: v for k, v in (acknowledged | changes).items() if v is not None}
        with disk(docroot, sync=True):
            assert left_over(docroot) == []
            found = {path: text.decode() for path, text in files_in(docroot).items()}
        after = {k: v for k, v in (acknowledged | under_way).items() if v is not None}
        assert found in (acknowledged, after), f"round {round_number}"
        acknowledged = found
    assert commits > ROUNDS  # it was a storm
