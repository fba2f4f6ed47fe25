"""The docroot itself, and the rights to it (PROTOCOL.md sections 3 and 4): missing, moved, replaced, closed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_support import (
    DONE,
    abandon,
    as_nobody,
    commit,
    create,
    delete,
    disk,
    listed,
    message,
    open_to_all,
    show,
    update,
)

from sttp_reactor.errors import StartError
from sttp_reactor.store.disk.store import DiskStore


class TestPermissions:
    @pytest.fixture
    def world(self) -> Iterator[Path]:
        with open_to_all() as folder:
            docroot = folder / "docroot"
            with disk(docroot) as store:
                commit(store, create("/file"), create("/closed/file"), create("/closed/d/file"), create("/still/file"))
            os.chmod(docroot, 0o755)
            for path in docroot.rglob("*"):
                if os.geteuid() == 0:
                    os.chown(path, 65534, 65534)
            os.chmod(docroot / "closed", 0)
            os.chmod(docroot / "still", 0o555)
            os.chmod(docroot / "file", 0o444)
            yield docroot
            os.chmod(docroot / "closed", 0o755)
            os.chmod(docroot / "still", 0o755)

    def test_a_directory_that_may_not_be_searched_is_500(self, world: Path) -> None:
        def codes() -> list[object]:
            with disk(world) as store:
                return [
                    show(store, "/closed/file"),
                    show(store, "/closed/d/file"),
                    listed(store, "/closed"),
                    listed(store, "/closed/d"),
                    *commit(store, update("/closed/file"), delete("/closed/file"), create("/closed/new")),
                ]

        assert as_nobody(codes) == [500] * 7

    def test_what_may_not_be_written_is_500_and_a_directory_that_cannot_be_made_510(self, world: Path) -> None:
        def codes() -> list[int]:
            with disk(world) as store:
                return commit(
                    store,
                    create("/still/new"),
                    delete("/still/file"),
                    update("/file"),
                    create("/still/new/file"),
                    update("/still/file"),  # the file itself may be written
                    create("/still/file"),
                    delete("/still/none"),
                )

        assert as_nobody(codes) == [500, 500, 500, 510, DONE, 300, 400]

    def test_a_refused_write_leaves_nothing_in_the_journal(self, world: Path) -> None:
        """Or it would cost a sync of the whole file system to get it out again: nothing to be had for the asking."""

        def is_unchanged() -> bool:
            with disk(world) as store:
                before = (world / ".sttp" / "journal").read_bytes()
                commit(store, create("/still/new"), delete("/still/file"), update("/file"))
                return (world / ".sttp" / "journal").read_bytes() == before

        assert as_nobody(is_unchanged)

    def test_a_docroot_that_may_not_be_written_is_served_all_the_same(self, caplog: pytest.LogCaptureFixture) -> None:
        def results() -> list[object]:
            with disk(docroot) as store:
                return [show(store, "/a"), listed(store), *commit(store, update("/a"), create("/b"))]

        with open_to_all() as docroot:
            (docroot / "a").write_text("text")
            assert as_nobody(results) == ["text", ["a"], 500, 500]


class TestDocroot:
    def test_is_made_at_start(self, tmp_path: Path) -> None:
        with disk(tmp_path / "a" / "b") as store:
            assert commit(store, create("/x")) == [DONE]
        assert (tmp_path / "a" / "b" / "x").read_text() == "text"

    def test_may_be_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "docroot").symlink_to("real")
        with disk(tmp_path / "docroot") as store:
            assert commit(store, create("/d/a")) == [DONE]
            assert show(store, "/d/a") == "text"
        assert (tmp_path / "real" / "d" / "a").read_text() == "text"

    def test_a_file_in_its_place_stops_the_start(self, docroot: Path) -> None:
        docroot.write_text("x")
        with pytest.raises(StartError, match="not a directory"):
            DiskStore(docroot).open()
        with pytest.raises(StartError):
            DiskStore(docroot / "below").open()

    @pytest.mark.parametrize("sync", [False, True])
    def test_removed_it_gives_500_until_it_is_back(self, docroot: Path, tmp_path: Path, sync: bool) -> None:
        with disk(docroot, sync=sync) as store:
            commit(store, create("/a"), create("/d/b"))
            docroot.rename(tmp_path / "away")
            assert show(store, "/a") == listed(store) == listed(store, "/d") == 500
            assert commit(store, update("/a"), create("/b"), delete("/a"), create("/d/c")) == [500] * 4
            docroot.mkdir()  # another one, and empty
            assert show(store, "/a") == 400
            assert commit(store, update("/a"), create("/b", "new")) == [400, DONE]
            docroot.rename(tmp_path / "other")
            (tmp_path / "away").rename(docroot)
            assert show(store, "/a") == "text"
            assert commit(store, update("/a", "back"), create("/b", "back")) == [DONE, DONE]
        assert (docroot / "b").read_text() == "back"
        assert (tmp_path / "other" / "b").read_text() == "new"

    def test_a_missing_docroot_is_not_made_anew_by_a_write(
        self, store: DiskStore, docroot: Path, tmp_path: Path
    ) -> None:
        docroot.rename(tmp_path / "away")
        assert message(store, create("/a")) == "the docroot is missing"
        assert not docroot.exists()

    @pytest.mark.parametrize("name", ["turn", "journal", "tmp", "."])
    def test_the_servers_own_names_removed_while_running(
        self, docroot: Path, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        """What is written to a journal that has no name any more would be lost with the power."""
        with disk(docroot, sync=True) as store:
            commit(store, create("/a"))
            path = docroot / ".sttp" / name
            path.unlink() if path.is_file() else shutil.rmtree(path)
            assert commit(store, update("/a", "1"), create("/b", "2")) == [DONE, DONE]
            abandon(store)
        (docroot / "a").write_text("t")  # of the old text, in the new size
        (docroot / "b").unlink()
        with disk(docroot) as store:
            assert [show(store, "/a"), show(store, "/b")] == ["1", "2"]

    def test_a_link_in_the_place_of_the_servers_own_is_not_followed(
        self, store: DiskStore, docroot: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "outside").mkdir()
        (docroot / ".sttp").rename(tmp_path / "moved")
        (docroot / ".sttp").symlink_to(tmp_path / "outside")
        assert commit(store, create("/a")) == [500]
        assert os.listdir(tmp_path / "outside") == []
        (docroot / ".sttp").unlink()
