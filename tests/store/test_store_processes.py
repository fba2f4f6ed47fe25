"""Several processes on one docroot, and other programs beside them (PROTOCOL.md section 4)."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_support import DONE, abandon, commit, create, delete, disk, in_child, show, update

from sttp_reactor.store.disk import files
from sttp_reactor.store.disk import store as disk_store
from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.faulty import faulty_calls, nth, on

SECONDS = 1.0


class Child:
    """A process that waits for `go` and then sends, line by line, what `function` writes to its pipe."""

    def __init__(self, function: Callable[[int], None]) -> None:
        self._lines, writing = os.pipe()
        starting, self._start = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._start)
                os.close(self._lines)
                os.read(starting, 1)
                function(writing)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        os.close(starting)

    def go(self) -> None:
        os.write(self._start, b"!")
        os.close(self._start)

    def lines(self) -> list[str]:
        """All it has sent, once it has ended."""
        with open(self._lines) as pipe:
            lines = pipe.read().splitlines()
        assert os.waitpid(self.pid, 0)[1] == 0
        return lines


@pytest.fixture
def claim() -> Iterator[Claim]:
    """Of a server with several processes."""
    shared = Claim()
    yield shared
    shared.release()


def together(*functions: Callable[[int], None]) -> list[list[str]]:
    children = [Child(function) for function in functions]
    for child in children:
        child.go()
    return [child.lines() for child in children]


@pytest.mark.parametrize("sync", [False, True])
def test_of_two_that_create_one_file_exactly_one_does(tmp_path: Path, sync: bool, claim: Claim) -> None:
    DiskStore(tmp_path / "docroot", claim=claim).take()
    names = [f"/d{i % 7}/{i}" for i in range(100)]

    def create_all(me: str) -> Callable[[int], None]:
        def run(pipe: int) -> None:
            with disk(tmp_path / "docroot", sync=sync, claim=claim) as store:
                for name in names:
                    os.write(pipe, b"%d\n" % commit(store, create(name, me))[0])

        return run

    ours, theirs = together(create_all("we"), create_all("they"))
    with disk(tmp_path / "docroot", claim=claim) as store:
        for name, our, their in zip(names, ours, theirs, strict=True):
            assert {our, their} == {"0", "300"}
            assert show(store, name) == ("we" if our == "0" else "they")


def test_of_us_and_another_program_that_create_one_file_exactly_one_does(tmp_path: Path) -> None:
    """And what was refused stays refused, whatever crashes later."""
    with disk(tmp_path / "docroot", sync=True) as store:

        def be_quicker(name: str, *arguments: Any) -> None:
            (tmp_path / "docroot" / "a").write_text("theirs")

        with faulty_calls(on("link", be_quicker)):
            assert commit(store, create("/a", "ours"), create("/b")) == [300, DONE]
        assert show(store, "/a") == "theirs"
        abandon(store)
    with disk(tmp_path / "docroot") as store:
        assert show(store, "/a") == "theirs"


def test_a_file_linked_between_plan_and_change_keeps_its_text(tmp_path: Path) -> None:
    """A backup by hard links may come at any moment."""
    with disk(tmp_path / "docroot") as store:
        commit(store, create("/a", "old"))

        def back_up(name: str, *arguments: Any) -> None:
            os.link(tmp_path / "docroot" / "a", tmp_path / "backup")

        with faulty_calls(on("pwrite", nth(2, back_up))):  # the record's
            assert commit(store, update("/a", "new")) == [DONE]
        assert (tmp_path / "backup").read_text() == "old"
        assert show(store, "/a") == "new"


def test_a_file_deleted_between_plan_and_change(tmp_path: Path) -> None:
    with disk(tmp_path / "docroot") as store:
        commit(store, create("/a", "old"), create("/b"))

        def remove(name: str, *arguments: Any) -> None:
            (tmp_path / "docroot" / "a").unlink()
            (tmp_path / "docroot" / "b").unlink()

        with faulty_calls(on("pwrite", nth(2, remove))):
            assert commit(store, update("/a", "new"), delete("/b")) == [DONE, 400]
        assert show(store, "/a") == "new"  # it may come back; an acknowledged text that is nowhere may not be


@pytest.mark.parametrize("number", [0, 35])
def test_a_directory_removed_between_plan_and_change(tmp_path: Path, number: int) -> None:
    """One that the batch still has open, and one of too many to keep open."""
    names = [f"/d{i}/a" for i in range(40)]
    with disk(tmp_path / "docroot", sync=True) as store:
        commit(store, *[create(name) for name in names])
        commit(store, *[delete(name) for name in names])

        def remove(name: str, *arguments: Any) -> None:
            (tmp_path / "docroot" / f"d{number}").rmdir()

        with faulty_calls(on("fdatasync", nth(1, remove))):
            outcome = commit(store, *[create(name, "new") for name in names])
        assert outcome[number] == (500 if number == 0 else DONE)
        assert [code for code in outcome if code != DONE] == [500] * (number == 0)
        assert commit(store, create(names[number], "new")) == [DONE if number == 0 else 300]


def test_a_left_over_of_a_killed_process_with_our_number(tmp_path: Path) -> None:
    """Killed between link and unlink, so that it is a name of somebody's file by now: not to be written to."""
    with disk(tmp_path / "docroot") as store:
        commit(store, create("/a", "mine"))
        next_number = next(files._serial)
        for number in range(next_number, next_number + 3):
            os.link(tmp_path / "docroot" / "a", tmp_path / "docroot" / ".sttp" / "tmp" / f"{os.getpid()}-{number}")
        assert commit(store, create("/b", "new")) == [DONE]
        assert (show(store, "/a"), show(store, "/b")) == ("mine", "new")


@pytest.mark.parametrize("looks", [1, 5])
def test_a_program_that_reads_all_the_time_never_sees_half_of_a_text(tmp_path: Path, looks: int) -> None:
    """It opens the file anew each time, or keeps it open for some looks: then it is replaced by rename."""
    path = tmp_path / "docroot" / "a"
    texts = ["x", "y" * 160]

    def read(pipe: int) -> None:
        seen: set[str] = set()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            with open(path) as file:
                for _ in range(looks):
                    file.seek(0)
                    seen.add(file.read())
        os.write(pipe, "\n".join(seen).encode())

    with disk(tmp_path / "docroot") as store:
        commit(store, create("/a", texts[0]))
        reader = Child(read)
        reader.go()
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for text in texts:
                assert commit(store, update("/a", text)) == [DONE]
        assert set(reader.lines()) == set(texts)


@pytest.mark.usefixtures("small_journal")
def test_processes_that_take_turns_and_then_a_power_cut(tmp_path: Path) -> None:
    """One journal holds the updates of both in the order they were made; replaying it gives the last one."""
    docroot = tmp_path / "docroot"

    def write(me: str) -> Callable[[int], None]:
        def run(pipe: int) -> None:
            store = DiskStore(docroot, sync=True, claim=claim)
            store.open()
            for i in range(200):
                assert commit(store, update("/shared", f"{me} {i}")) == [DONE]
            os._exit(0)  # as if killed: no checkpoint

        return run

    claim = Claim()
    with disk(docroot, claim=claim) as store:
        commit(store, create("/shared"))
    together(write("we"), write("they"))
    last = (docroot / "shared").read_text()
    assert last in ("we 199", "they 199")
    claim.release()
    # Nothing but the journal was synced since the last record.
    (docroot / "shared").write_text("")
    with disk(docroot) as store:
        assert show(store, "/shared") == last


def test_nobody_else_has_the_turn_during_a_commit(tmp_path: Path) -> None:
    docroot = tmp_path / "docroot"
    attempts: list[str] = []

    def try_to_take_it(name: str, *arguments: Any) -> None:
        descriptor = os.open(docroot / ".sttp" / "turn", os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            attempts.append(f"taken at {name}")
        except BlockingIOError:
            attempts.append("refused")
        finally:
            os.close(descriptor)

    with disk(docroot, sync=True) as store:
        commit(store, create("/a", "a longer text"), create("/b"))
        with faulty_calls(on("link unlink ftruncate fdatasync pwrite", try_to_take_it)):
            commit(store, create("/c"), update("/a"), delete("/b"))
        try_to_take_it("the end")
    assert attempts.pop() == "taken at the end"
    assert set(attempts) == {"refused"}
    assert len(attempts) >= 7


def test_a_store_opened_before_a_fork_keeps_the_parent_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptor that a child inherits has its parent's lock, so the child must not use it."""

    def commit_in_child() -> list[int]:
        return commit(store, update("/a", "child"))

    monkeypatch.setattr(disk_store, "GIVEN_UP_SECONDS", 0.2)

    with disk(tmp_path / "docroot") as store:
        commit(store, create("/a", "0"))
        with store._turn():
            assert in_child(commit_in_child) == [500]
        assert in_child(commit_in_child) == [DONE]
        assert show(store, "/a") == "child"
        assert commit(store, update("/a", "parent")) == [DONE]
