"""What other programs change stays, whatever crashes and whenever the journal is read: no old record undoes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from store_support import DONE, abandon, commit, create, delete, disk, files_in, kill_oneself, killed, show, update

from sttp_reactor.store.disk.records import (
    MAX_FOUND_BYTES,
    Change,
    Digest,
    encode_changes,
    encode_header,
    encode_record,
)
from sttp_reactor.store.disk.recovery import History
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.faulty import faulty_calls, nth, on


def edit(path: Path) -> None:
    path.write_text("an editor's")


def remove(path: Path) -> None:
    path.unlink()


def lay_out(docroot: Path) -> None:
    with disk(docroot, sync=True) as store:
        assert commit(store, create("/a", "1"), create("/b", "1"), create("/d/c", "1")) == [DONE] * 3


@pytest.mark.parametrize("change", [edit, remove])
class TestAnUpdatedFile:
    def test_changed_after_the_server_was_killed(self, docroot: Path, change: Callable[[Path], None]) -> None:
        lay_out(docroot)
        store = DiskStore(docroot)
        store.open()
        commit(store, update("/a", "2"), update("/b", "2"))
        commit(store, update("/a", "3"))
        abandon(store)
        change(docroot / "a")
        expected = files_in(docroot)
        with disk(docroot):
            assert files_in(docroot) == expected

    def test_changed_after_a_start_that_wrote_nothing(self, docroot: Path, change: Callable[[Path], None]) -> None:
        """Killed again, days later, it has no journal to go by."""
        lay_out(docroot)
        store = DiskStore(docroot)
        store.open()
        commit(store, update("/a", "2"))
        abandon(store)
        idle = DiskStore(docroot)
        idle.open()
        (docroot / "a").write_text("1")  # what the journal's record has found
        change(docroot / "b")
        expected = files_in(docroot)
        abandon(idle)
        with disk(docroot):
            assert files_in(docroot) == expected

    def test_changed_while_the_server_runs(self, docroot: Path, change: Callable[[Path], None]) -> None:
        lay_out(docroot)
        store = DiskStore(docroot)
        store.open()
        commit(store, update("/d/c", "2"))
        change(docroot / "d" / "c")
        commit(store, update("/a", "2"))
        abandon(store)
        expected = files_in(docroot)
        with disk(docroot):
            assert files_in(docroot) == expected

    def test_changed_between_a_kill_and_the_next_turn(self, docroot: Path, change: Callable[[Path], None]) -> None:
        lay_out(docroot)

        def commit_and_die() -> None:
            with faulty_calls(on("ftruncate", nth(2, kill_oneself))):  # the first is the lock file's
                DiskStore(docroot).commit([update("/b", "2"), update("/a", "")])

        assert killed(commit_and_die)
        assert (docroot / "a").read_bytes() == b"\0"
        change(docroot / "a")
        expected = files_in(docroot)
        with disk(docroot):
            assert files_in(docroot) == expected


def test_a_deleted_file_that_somebody_has_made_anew(docroot: Path) -> None:
    lay_out(docroot)
    store = DiskStore(docroot)
    store.open()
    commit(store, delete("/a"), delete("/b"))
    abandon(store)
    (docroot / "a").write_text("theirs")
    (docroot / "b").write_text("1")  # as the record has found it: the disk has lost the deletion
    with disk(docroot) as store:
        assert [show(store, "/a"), show(store, "/b")] == ["theirs", 400]


def test_a_created_file_that_somebody_has_changed(docroot: Path) -> None:
    store = DiskStore(docroot)
    store.open()
    commit(store, create("/a", "1"), create("/b", "1"))
    abandon(store)
    (docroot / "a").write_text("theirs")
    (docroot / "b").unlink()  # lost with the power, for all we know
    with disk(docroot) as store:
        assert [show(store, "/a"), show(store, "/b")] == ["theirs", "1"]


@pytest.mark.parametrize("size", [MAX_FOUND_BYTES + 1, 100_000])
def test_a_long_file_is_known_by_its_digest(docroot: Path, size: int) -> None:
    """It is replaced by rename: before, or after, but never both in part."""
    docroot.mkdir()
    store = DiskStore(docroot)
    store.open()
    for name in "abcd":
        (docroot / name).write_bytes(name.encode() * size)
    assert commit(store, update("/a"), update("/b"), delete("/c"), delete("/d")) == [DONE] * 4
    abandon(store)
    (docroot / "a").write_bytes(b"a" * size)
    (docroot / "b").write_bytes(b"x" * size)
    (docroot / "c").write_bytes(b"c" * size)
    (docroot / "d").write_bytes(b"d" * (size + 1))
    with disk(docroot):
        assert files_in(docroot) == {"/a": b"other", "/b": b"x" * size, "/d": b"d" * (size + 1)}


def test_that_it_is_left_is_said(docroot: Path, caplog: pytest.LogCaptureFixture) -> None:
    lay_out(docroot)
    store = DiskStore(docroot)
    store.open()
    commit(store, update("/a", "2"))
    abandon(store)
    edit(docroot / "a")
    with disk(docroot):
        assert "'/a' is left as it is: another program has changed it since" in caplog.text


def test_a_journal_of_the_first_version_is_applied_as_it_was_then(docroot: Path) -> None:
    """It does not say what was found."""
    lay_out(docroot)
    body = encode_changes([Change(b"/a", b"2"), Change(b"/b", None), Change(b"/new", b"2")])
    assert body == b"\1\2\0\1\0/a2" + b"\0\2\0\0\0/b" + b"\1\4\0\1\0/new2"
    (docroot / ".sttp" / "journal").write_bytes(encode_header(7).ljust(512, b"\0") + encode_record(7, body))
    (docroot / ".sttp" / "turn").unlink()
    edit(docroot / "a")
    with disk(docroot):
        assert files_in(docroot) == {"/a": b"2", "/d/c": b"1", "/new": b"2"}


class TestWhatACrashCanHaveLeft:
    OLD = b"o" * 600
    NEW = b"n" * 30

    def history(self) -> History:
        history = History()
        history.add(Change(b"/a", self.NEW, self.OLD))
        return history

    @pytest.mark.parametrize(
        "data",
        [
            OLD,
            NEW,
            NEW.ljust(600, b"\0"),  # killed before it was cut
            b"",  # replaced by rename, and nothing of the new file on the disk
            OLD[:30],  # the new size, and the old text
            NEW.ljust(512, b"\0") + OLD[512:],  # one sector written
            OLD[:512] + bytes(88),  # the other one
            bytes(600),
            bytes(30),
        ],
    )
    def test_is_recognised(self, data: bytes) -> None:
        assert self.history().explains(data)

    @pytest.mark.parametrize(
        "data",
        [b"x", NEW[:-1], NEW + b"\n", b"x" * 30, OLD[:-1], NEW + OLD[30:], OLD[:599] + b"x", None, Digest(700, 1)],
    )
    def test_and_nothing_else(self, data: bytes | Digest | None) -> None:
        assert not self.history().explains(data)

    def test_nothing_is_left_of_a_file_only_where_there_was_none_at_a_time(self) -> None:
        history = self.history()
        history.add(Change(b"/a", None, self.NEW))
        assert history.explains(None)
        history.add(Change(b"/a", b"x", None))
        assert history.explains(None)
        assert history.explains(b"x")
        assert history.contents == b"x"
