"""An error at any system call, a full disk, no descriptors: the outcome is told as it is, and files are whole."""

from __future__ import annotations

import contextlib
import errno
import itertools
import math
import os
import resource
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from store_support import (
    DONE,
    abandon,
    commit,
    create,
    delete,
    disk,
    files_in,
    in_child,
    left_over,
    message,
    mounted,
    show,
    update,
)

from sttp_reactor.errors import StoreError
from sttp_reactor.store.base import Store, Write
from sttp_reactor.store.disk import journal
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.disk.writing import Plan
from sttp_reactor.store.faulty import faulty_calls, nth, on

ERRORS = [errno.EIO, errno.ENOSPC]

BEFORE = {"/long": b"o" * 160, "/short": b"o", "/linked": b"old", "/gone": b"old", "/d/kept": b"old"}
BATCH = [
    update("/long", "new"),
    update("/short", "n" * 160),
    update("/linked", "new"),
    delete("/gone"),
    create("/new", "new"),
    create("/e/f/new", "new"),
    create("/d/kept", "refused"),
    update("/none", "refused"),
]
REFUSED = {"/d/kept": 300, "/none": 400}
AFTER = {"/long": b"new", "/short": b"n" * 160, "/linked": b"new", "/new": b"new", "/e/f/new": b"new"}


def lay_out(docroot: Path) -> DiskStore:
    store = DiskStore(docroot, sync=True)
    store.open()
    assert commit(store, *[create(path, text.decode()) for path, text in BEFORE.items()]) == [DONE] * len(BEFORE)
    os.link(docroot / "linked", docroot.with_name("backup of " + docroot.name))
    return store


def failing(code: int, calls: list[str]) -> Any:
    def fault(name: str, *arguments: Any) -> None:
        calls.append(name)
        raise OSError(code, os.strerror(code))

    return fault


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def assert_told_as_it_is(docroot: Path, outcomes: list[int]) -> None:
    """What was acknowledged has its new text, everything else its old one."""
    found = files_in(docroot)
    for write, outcome in zip(BATCH, outcomes, strict=True):
        path = write.path.decode()
        assert outcome == REFUSED.get(path, outcome) or outcome in (500, 510), path
        assert found.get(path) == (AFTER if outcome == DONE else BEFORE).get(path), f"{path}: {outcome}"


@pytest.mark.usefixtures("small_journal")
@pytest.mark.parametrize("code", ERRORS)
def test_one_failure_at_any_system_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    names: list[str] = []
    for call in itertools.count(1):
        docroot = tmp_path / str(call)
        store = lay_out(docroot)
        before = descriptors()
        failures: list[str] = []
        with faulty_calls(nth(call, failing(code, failures))):
            outcomes = commit(store, *BATCH)
        assert descriptors() <= before, f"{failures} left a descriptor open"
        assert_told_as_it_is(docroot, outcomes)
        found = files_in(docroot)
        assert commit(store, create("/next"), update("/d/kept", "next")) == [DONE, DONE], failures
        found |= {"/next": b"text", "/d/kept": b"next"}
        assert files_in(docroot) == found
        abandon(store)
        # Nor does anything that was refused come out of the journal one day.
        with disk(docroot):
            assert files_in(docroot) == found, failures
            assert left_over(docroot) == []
        assert docroot.with_name("backup of " + docroot.name).read_text() == "old"
        if not failures:
            break
        names += failures
    assert outcomes == [DONE] * 6 + [300, 400]
    assert set(names) >= {"open", "close", "flock", "pread", "pwrite", "fdatasync", "link", "unlink", "fcntl", "rename"}


@pytest.mark.usefixtures("small_journal")
@pytest.mark.parametrize("code", ERRORS)
def test_everything_fails_from_one_system_call_on(tmp_path: Path, code: int) -> None:
    """The disk is gone for good, until it is back: then the service goes on by itself, and every file is whole."""
    for call in itertools.count(1):
        docroot = tmp_path / str(call)
        store = lay_out(docroot)
        failures: list[str] = []
        with faulty_calls(nth(call, failing(code, failures), times=math.inf)):
            outcomes = commit(store, *BATCH)
            commit(store, update("/d/kept", "refused"))
        assert commit(store, create("/next"), update("/d/kept", "next")) == [DONE, DONE], failures
        found = files_in(docroot)
        for write, outcome in zip(BATCH, outcomes, strict=True):
            path = write.path.decode()
            if outcome == DONE:
                assert found.get(path) == AFTER.get(path)
            elif path != "/d/kept":
                assert found.get(path) in (BEFORE.get(path), AFTER.get(path))
        store.close()
        if not failures:
            break
    assert call > 40


def test_an_update_that_fails_half_way_is_undone(tmp_path: Path) -> None:
    with disk(tmp_path / "docroot") as store:
        commit(store, create("/a", "o" * 160), create("/b"))
        with faulty_calls(on("ftruncate rename", failing(errno.EIO, []))):
            assert commit(store, update("/a", "new"), update("/b")) == [500, DONE]
            assert (tmp_path / "docroot" / "a").read_text() == "o" * 160
        assert commit(store, update("/a", "new")) == [DONE]


@pytest.mark.parametrize("code", ERRORS)
def test_a_read_that_fails_at_any_system_call(tmp_path: Path, code: int) -> None:
    with disk(tmp_path / "docroot") as store:
        commit(store, create("/d/a"))
        for call in itertools.count(1):
            before, failures = descriptors(), list[str]()
            with faulty_calls(nth(call, failing(code, failures))):
                seen = show(store, "/d/a")
            assert seen == ("text" if failures in ([], ["close"]) else 500)
            assert descriptors() <= before
            if not failures:
                break
        assert show(store, "/d/a") == "text"


def test_what_is_said_of_an_error(tmp_path: Path) -> None:
    with disk(tmp_path / "docroot") as store:
        for code, words in [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk is full")]:
            with faulty_calls(on("pwrite", failing(code, []))):
                assert message(store, create("/a")) == words
        with faulty_calls(on("pwrite", failing(errno.EROFS, []))):
            assert message(store, create("/a")) == "read-only file system"


class TestFailedSyncs:
    """A sync that fails may have lost what it was to write, and the next one does not say so."""

    def test_what_was_acknowledged_is_written_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_journal: int
    ) -> None:
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot, sync=True)
        store.open()
        commit(store, create("/a", "1"), create("/b", "1"))
        with faulty_calls(on("syncfs", failing(errno.EIO, []))), pytest.raises(StoreError):
            store.checkpoint()
        # The system thinks that these are on the disk, and they are not.
        (docroot / "a").write_text("")
        (docroot / "b").unlink()
        assert commit(store, update("/b", "2")) == [DONE]
        assert files_in(docroot) == {"/a": b"1", "/b": b"2"}
        store.close()

    def test_what_is_written_again_is_announced_before_and_after(self, tmp_path: Path, small_journal: int) -> None:
        """Somebody may show from a cache what another program has written into the file meanwhile."""
        docroot = tmp_path / "docroot"
        announced: list[tuple[set[bytes] | None, bool]] = []

        def on_change(paths: Collection[bytes] | None) -> None:
            announced.append((None if paths is None else set(paths), (docroot / "b").exists()))

        store = DiskStore(docroot, sync=True)
        store.open(on_change)
        commit(store, create("/a", "1"), create("/b", "1"))
        assert announced == [], "it is the server itself who does that"
        with faulty_calls(on("syncfs", failing(errno.EIO, []))), pytest.raises(StoreError):
            store.checkpoint()
        (docroot / "b").unlink()
        commit(store, update("/a", "2"))
        assert announced == [({b"/a", b"/b"}, False), ({b"/a", b"/b"}, True)]
        store.close()

    def test_a_record_that_could_not_be_synced_is_refused_for_good(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot, sync=True)
        store.open()
        commit(store, create("/a", "1"))
        store.checkpoint()  # so that it is the journal's first
        with faulty_calls(on("fdatasync", failing(errno.EIO, []))):
            # Each fails for its own reason.
            assert commit(store, update("/a", "2"), update("/none"), create("/b")) == [500, 400, 500]
        assert files_in(docroot) == {"/a": b"1"}
        store.checkpoint()  # the server's, in the next quiet moment
        abandon(store)
        with disk(docroot):
            assert files_in(docroot) == {"/a": b"1"}


class TestFullDisk:
    def test_a_small_file_system(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(journal, "JOURNAL_BYTES", (4 << 20, 64 << 10))
        with mounted(tmp_path / "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as mount:
            docroot = mount / "docroot"
            with disk(docroot, sync=True) as store:
                commit(store, *[create(f"/{i}", str(i)) for i in range(10)])
                assert (docroot / ".sttp" / "journal").stat().st_size == 64 << 10
                self._fill(mount)
                before = files_in(docroot)
                assert message(store, create("/new", "x" * 160)) == "the disk is full"
                assert files_in(docroot) == before
                assert left_over(docroot) == []
                # What needs no room is done all the same; and what is deleted makes room.
                assert commit(store, update("/1", "x" * 160), update("/2", ""), delete("/3")) == [DONE] * 3
                assert [show(store, path) for path in ("/1", "/2", "/3")] == ["x" * 160, "", 400]
                assert commit(store, create("/new", "x")) == [DONE]
                (mount / "filling").unlink()
                assert commit(store, *[create(f"/more{i}") for i in range(20)]) == [DONE] * 20

    def test_a_disk_that_is_full_from_the_start(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as mount:
            docroot = mount / "docroot"
            docroot.mkdir()
            (docroot / "a").write_text("there")
            self._fill(mount)
            with disk(docroot) as store:
                assert commit(store, create("/b"), delete("/a")) == [500, 500]
                assert show(store, "/a") == "there"
                (mount / "filling").unlink()
                assert commit(store, create("/b"), delete("/a")) == [DONE, DONE]

    def test_a_file_system_that_becomes_read_only(self, tmp_path: Path) -> None:
        with mounted(tmp_path / "mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as mount:
            with disk(mount / "docroot") as store:
                commit(store, create("/a"))
            assert os.system(f"mount -o remount,ro {mount}") == 0
            with disk(mount / "docroot") as store:
                assert show(store, "/a") == "text"
                codes = commit(store, create("/b"), update("/a"), delete("/a"))
                assert os.system(f"mount -o remount,rw {mount}") == 0
                assert codes == [500, 500, 500]
                assert commit(store, create("/b"), update("/a"), delete("/a")) == [DONE] * 3

    @staticmethod
    def _fill(mount: Path) -> None:
        with open(mount / "filling", "wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(512)):
                pass
        system = os.statvfs(mount)
        assert system.f_bavail == 0


def test_few_descriptors_are_enough_for_many_updates(tmp_path: Path) -> None:
    docroot = tmp_path / "docroot"
    names = [f"/d{i % 10}/{i}" for i in range(200)]
    with disk(docroot) as store:
        commit(store, *[create(name) for name in names])

    def update_all() -> list[int]:
        store: Store = DiskStore(docroot, sync=False)
        store.open()
        # The limit is on their numbers, and what else is open in this process need not have the lowest.
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 30, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        return commit(store, *[update(name, "new") for name in names])

    assert in_child(update_all) == [DONE] * len(names)
    with disk(docroot) as store:
        assert {show(store, name) for name in names} == {"new"}


def test_a_bug_in_one_write_is_its_own_500(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def add(plan: Plan, write: Write) -> None:
        if write.path == b"/odd":
            raise ValueError("a bug")
        actually_add(plan, write)

    actually_add = Plan.add
    monkeypatch.setattr(Plan, "add", add)
    with disk(tmp_path / "docroot") as store:
        assert commit(store, create("/a"), create("/odd"), create("/b")) == [DONE, 500, DONE]
        assert "a write failed" in caplog.text


def test_a_docroot_removed_in_the_middle_of_a_commit_acknowledges_nothing(tmp_path: Path) -> None:
    """Before any one system call, up to the first that changes a file."""
    batch = [update("/d/a"), create("/d/new"), delete("/c")]
    for call in itertools.count(1):
        docroot = tmp_path / str(call)
        names: list[str] = []

        def remove(name: str, *arguments: Any, names: list[str] = names, docroot: Path = docroot) -> None:
            names.append(name)
            if len(names) == call:  # noqa: B023
                shutil.rmtree(docroot)

        with disk(docroot) as store:
            commit(store, create("/d/a"), create("/b"), create("/c"))
            with faulty_calls(remove):
                outcomes = commit(store, *batch)
        if "fcntl" in names[: call - 1]:
            break
        assert DONE not in outcomes, f"{outcomes} though removed before {names[call - 1]}, the {call}th"
    assert call > 20


class TestFileSizeLimit:
    """RLIMIT_FSIZE, with SIGXFSZ ignored, as it is in Python."""

    @staticmethod
    def limited(docroot: Path, most: int, *batches: list[Write]) -> list[list[str]]:
        """What each write of the batches is answered by a process that may not write larger files than this."""

        def run() -> list[list[str]]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
            with disk(docroot, sync=True) as store:
                return [["" if error is None else error.message for error in store.commit(batch)] for batch in batches]

        answers: list[list[str]] = in_child(run)
        return answers

    @pytest.mark.parametrize("most", [8 << 10, 64 << 10, 1 << 20])
    def test_makes_a_smaller_journal(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
        monkeypatch.setattr(journal, "JOURNAL_BYTES", (4 << 20, 64 << 10))
        names = [f"/{i}" for i in range(200)]
        batches = [[create(name) for name in names], [update(name, "x" * 160) for name in names]]
        assert self.limited(tmp_path / "docroot", most, *batches) == [[""] * 200] * 2
        assert (tmp_path / "docroot" / ".sttp" / "journal").stat().st_size <= most

    def test_that_leaves_no_room_for_one_is_told_as_what_it_is(self, tmp_path: Path) -> None:
        words = "the server may not write files of that size (RLIMIT_FSIZE)"
        assert self.limited(tmp_path / "docroot", 530, [create("/a")]) == [[words]]


@pytest.mark.parametrize("length", [33 << 10, 65_930, 1 << 20])
def test_a_path_too_long_for_the_journal_is_its_own_clients(tmp_path: Path, length: int) -> None:
    long = "/a" * (length // 2)
    with disk(tmp_path / "docroot") as store:
        batch = [create("/b"), create(long), update(long), delete(long), create("/c")]
        assert commit(store, *batch) == [DONE, 500, 500, 500, DONE]
        assert message(store, create(long)) == "the path is too long for this store"


def test_a_path_as_long_as_it_may_be(tmp_path: Path) -> None:
    path = "".join(f"/{number:0>255}" for number in range(63)) + "/a"
    with disk(tmp_path / "docroot") as store:
        assert commit(store, create(path), update(path, "x" * 160)) == [DONE, DONE]
        abandon(store)
    with disk(tmp_path / "docroot") as store:
        assert show(store, path) == "x" * 160
