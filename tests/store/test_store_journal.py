"""What recovery makes of a journal: after a kill, after a power cut, and when it has been full many times over."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from store_support import DONE, abandon, commit, create, delete, disk, files_in, left_over, show, update

from sttp_reactor.store.disk import journal
from sttp_reactor.store.disk.records import CHANGE_BYTES, HEADER_BYTES, RECORD_BYTES
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.disk.writing import Plan
from sttp_reactor.store.faulty import fail, faulty_calls, on


def recovered(docroot: Path) -> dict[str, bytes]:
    with disk(docroot):
        assert left_over(docroot) == []
        return files_in(docroot)


class TestRecovery:
    def test_on_the_same_boot_only_the_last_unapplied_record_is_applied(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot)
        store.open()
        commit(store, create("/a", "1"), create("/b", "1"))
        commit(store, update("/a", "2"), update("/b", "2"))

        def interrupted(plan: Plan) -> bool:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Plan, "apply", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.commit([update("/b", "3"), create("/c", "3")])
        abandon(store)
        (docroot / "a").write_text("an editor's")
        with disk(docroot) as store:
            assert [show(store, path) for path in ("/a", "/b", "/c")] == ["an editor's", "3", "3"]

    def test_a_record_that_nobody_may_have_synced_is_synced_before_it_is_applied(self, tmp_path: Path) -> None:
        """Or a power cut could leave half of a file and no record to mend it with."""
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot)
        store.open()
        commit(store, create("/a"))
        with faulty_calls(on("fdatasync", fail(KeyboardInterrupt()))), pytest.raises(KeyboardInterrupt):
            store.commit([create("/b")])
        abandon(store)
        names: list[str] = []
        with faulty_calls(lambda name, *arguments: names.append(name)):
            store = DiskStore(docroot)
            store.open()
        store.close()
        assert names.index("fdatasync") < names.index("link")
        assert files_in(docroot) == {"/a": b"text", "/b": b"text"}

    def test_another_boot_applies_everything_in_order(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot)
        store.open()
        for text in ["1", "2", "3"]:
            commit(store, create(f"/{text}", text), *([update("/1", text)] if text > "1" else []))
        commit(store, delete("/2"))
        abandon(store)
        for name in ("1", "3"):
            (docroot / name).write_text("")
        (docroot / "2").write_text("2")  # not deleted yet
        assert recovered(docroot) == {"/1": b"3", "/3": b"3"}

    def test_a_file_goes_before_a_directory_takes_its_place(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot)
        store.open()
        commit(store, create("/a/b", "first"))
        shutil.rmtree(docroot / "a")
        assert commit(store, create("/a")) == [DONE]
        assert commit(store, delete("/a"), create("/a/b", "last")) == [DONE, DONE]
        abandon(store)
        shutil.rmtree(docroot / "a")
        (docroot / "a").write_text("text")  # not deleted yet
        assert recovered(docroot) == {"/a/b": b"last"}

    def test_what_another_program_has_put_in_the_way_is_left_alone(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot)
        store.open()
        commit(store, create("/a/b"), create("/c"), create("/d"), create("/e/f"), create("/z"), delete("/z"))
        abandon(store)
        for name in ("a", "e"):
            shutil.rmtree(docroot / name)
        for name in ("c", "d"):
            (docroot / name).unlink()
        (docroot / "a").write_text("theirs")
        (docroot / "c").mkdir()
        (docroot / "d").symlink_to("a")
        (docroot / "z").mkdir()
        with disk(docroot) as store:
            assert commit(store, create("/new")) == [DONE]
        assert files_in(docroot) == {"/a": b"theirs", "/e/f": b"text", "/new": b"text"}
        assert (docroot / "d").is_symlink()

    def test_until_it_can_be_done_nothing_new_is_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A full disk must not cost what was acknowledged: the journal is kept, and writes are refused meanwhile."""
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot)
        store.open()
        commit(store, create("/a"))
        abandon(store)
        (docroot / "a").unlink()

        def is_full(name: str, path: Any, flags: int, *arguments: Any, **keywords: Any) -> None:
            if flags & os.O_EXCL:
                raise OSError(28, "No space left on device")

        store = DiskStore(docroot)
        with faulty_calls(on("open", is_full)):
            store.open()
            assert commit(store, create("/b")) == [500]
            assert show(store, "/a") == 400
        assert commit(store, create("/b")) == [DONE]
        assert show(store, "/a") == "text"
        store.close()

    def test_turns_content_is_not_needed(self, tmp_path: Path) -> None:
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot)
        store.open()
        commit(store, create("/a"))
        abandon(store)
        for content in (b"", b"rubbish", os.urandom(100)):
            (docroot / "a").write_text("")
            (docroot / ".sttp" / "turn").write_bytes(content)
            store = DiskStore(docroot)
            store.open()
            assert show(store, "/a") == "text"
            assert commit(store, update("/a", "more"), update("/a", "text")) == [DONE, DONE]
            abandon(store)


class TestWrapping:
    def test_an_older_record_is_never_taken_for_a_newer_one(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_journal: int
    ) -> None:
        """Records of one size, so that behind the last new one there is always a whole old one."""
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot, sync=False)
        store.open()
        commit(store, create("/n", "0000"))
        for i in range(1, 1000):
            commit(store, update("/n", f"{i:04d}"))
            if i % 97 == 0:
                abandon(store)
                (docroot / "n").write_text("")
                store = DiskStore(docroot, sync=False)
                store.open()
                assert show(store, "/n") == f"{i:04d}"
        assert (docroot / ".sttp" / "journal").stat().st_size == small_journal
        store.close()

    def test_without_a_quiet_moment_it_is_emptied_when_it_is_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_journal: int
    ) -> None:
        syncs: list[int] = []
        monkeypatch.setattr(journal, "sync_file_system", syncs.append)
        with disk(tmp_path / "docroot", sync=True) as store:
            commit(store, create("/a"))
            for _ in range(200):
                commit(store, update("/a", "x" * 100))
        size = RECORD_BYTES + CHANGE_BYTES + len(b"/a") + 2 * 100  # what it was, and what it is to be
        full = 200 * size / (small_journal - HEADER_BYTES)
        assert int(full) <= len(syncs) - 2 <= full + 1  # and one at the start, one at the end

    def test_a_checkpoint_leaves_nothing_to_recover(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        docroot = tmp_path / "docroot"
        with disk(docroot, sync=True) as store:
            commit(store, create("/a"))
            store.checkpoint()
            (docroot / "a").write_text("an editor's")
            abandon(store)
        assert recovered(docroot) == {"/a": b"an editor's"}


def test_without_sync_nothing_is_ever_synced(tmp_path: Path, small_journal: int) -> None:
    def refuse(name: str, *arguments: Any) -> None:
        raise AssertionError(f"{name} was called")

    with faulty_calls(on("fdatasync fsync syncfs", refuse)), disk(tmp_path / "docroot", sync=False) as store:
        for i in range(100):
            assert commit(store, create(f"/{i}", "x" * 100), update(f"/{i}", "y")) == [DONE, DONE]
        store.checkpoint()


def test_with_sync_each_commit_is_synced_once(tmp_path: Path) -> None:
    calls: list[str] = []
    with disk(tmp_path / "docroot", sync=True) as store:
        commit(store, create("/a"))
        with faulty_calls(on("fdatasync fsync syncfs", lambda name, *arguments: calls.append(name))):
            for _ in range(5):
                commit(store, *[update("/a", str(i)) for i in range(50)])
            assert calls == ["fdatasync"] * 5
            calls.clear()
            store.checkpoint()
            assert calls == ["syncfs", "fdatasync"]
