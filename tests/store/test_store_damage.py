"""A journal cut or changed at every byte: what is before the damage is applied, nothing behind it, nothing half."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest
from store_support import DONE, abandon, commit, create, delete, disk, files_in, left_over, show, update

from sttp_reactor.store.base import Write
from sttp_reactor.store.disk.records import HEADER_BYTES, RECORD_BYTES
from sttp_reactor.store.disk.store import DiskStore

BASE = {"/a": b"old text of a", "/b": b"b", "/d/gone": b"to be deleted"}
BATCHES: list[list[Write]] = [
    [update("/a", "1")],
    [create("/new", "n" * 30), update("/b", "")],
    [update("/a", "second text of a, and a longer one"), delete("/d/gone")],
    [create("/d/e/f", "deep"), update("/new", "é"), delete("/b")],
    [create("/b", "back")],
]


class Journaled(NamedTuple):
    """A journal with one record for each of BATCHES, what the docroot held at each record's end, and where that is."""

    data: bytes
    states: list[dict[str, bytes]]
    ends: list[int]


def lay_out(docroot: Path, data: bytes = b"") -> None:
    """A docroot with BASE and a journal of `data`: what a power cut may leave of it at the worst."""
    shutil.rmtree(docroot, ignore_errors=True)
    for path, contents in BASE.items():
        (docroot / path[1:]).parent.mkdir(parents=True, exist_ok=True)
        (docroot / path[1:]).write_bytes(contents)
    (docroot / ".sttp").mkdir()
    if data:
        (docroot / ".sttp" / "journal").write_bytes(data)


@pytest.fixture
def journaled(tmp_path: Path, small_journal: int) -> Journaled:
    docroot = tmp_path / "source"
    lay_out(docroot)
    states = [dict(BASE)]
    store = DiskStore(docroot, sync=False)
    store.open()
    for batch in BATCHES:
        assert commit(store, *batch) == [DONE] * len(batch)
        states.append(files_in(docroot))
    abandon(store)
    data = (docroot / ".sttp" / "journal").read_bytes()
    assert len(data) == small_journal
    ends = [HEADER_BYTES]
    for _ in BATCHES:
        ends.append(ends[-1] + RECORD_BYTES + int.from_bytes(data[ends[-1] + 12 :][:4], "little"))
    assert data[ends[-2] :][:4] != b"\0\0\0\0"
    assert not data[ends[-1] :].strip(b"\0")
    return Journaled(data, states, ends)


def recovered(docroot: Path) -> dict[str, bytes]:
    with disk(docroot):
        assert left_over(docroot) == []
        return files_in(docroot)


def whole_records(made: Journaled, offset: int) -> int:
    """How many records end at or before `offset`."""
    return sum(end <= offset for end in made.ends[1:])


class TestDamage:
    def test_cut_at_every_byte(self, journaled: Journaled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every record before the cut is applied, none behind it, and nothing half."""
        for cut in range(journaled.ends[-1] + 1):
            lay_out(tmp_path / "docroot", journaled.data[:cut])
            assert recovered(tmp_path / "docroot") == journaled.states[whole_records(journaled, cut)], f"cut at {cut}"

    @pytest.mark.parametrize("rest", [b"\0", b"\xff", b"STJr", "é".encode()])
    def test_cut_at_every_byte_and_rubbish_behind(
        self, journaled: Journaled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rest: bytes
    ) -> None:
        """As where a sector was written and the next was not. Each record's own rest excepted, by chance."""
        size = len(journaled.data)
        for cut in range(HEADER_BYTES, journaled.ends[-1], 3):
            data = (journaled.data[:cut] + rest * size)[:size]
            expected = whole_records(journaled, cut)
            while expected < len(BATCHES) and data[: (end := journaled.ends[expected + 1])] == journaled.data[:end]:
                expected += 1
            lay_out(tmp_path / "docroot", data)
            assert recovered(tmp_path / "docroot") == journaled.states[expected], f"cut at {cut}"

    @pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
    def test_any_byte_changed(
        self, journaled: Journaled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flip: int
    ) -> None:
        """The records before the damage count. The header is not needed as long as there is a record behind it."""
        places = [*range(24), *range(HEADER_BYTES, journaled.ends[-1])]
        for at in places:
            data = bytearray(journaled.data)
            data[at] ^= flip
            lay_out(tmp_path / "docroot", bytes(data))
            expected = len(BATCHES) if at < HEADER_BYTES else whole_records(journaled, at)
            assert recovered(tmp_path / "docroot") == journaled.states[expected], f"byte {at}"

    @pytest.mark.parametrize("cut", [0, 3, 600, 700, 8191])
    def test_what_is_written_after_a_damage_is_durable_again(
        self, journaled: Journaled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: int
    ) -> None:
        docroot = tmp_path / "docroot"
        lay_out(docroot, journaled.data[:cut])
        store = DiskStore(docroot, sync=True)
        store.open()
        assert commit(store, update("/a", "after"), create("/x")) == [DONE, DONE]
        assert (docroot / ".sttp" / "journal").stat().st_size == len(journaled.data)
        expected = files_in(docroot)
        abandon(store)
        (docroot / "a").write_text("")
        (docroot / "x").unlink()
        assert recovered(docroot) == expected

    def test_with_the_header_and_the_first_record_the_later_ones_are_lost_for_good(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_journal: int
    ) -> None:
        """Or one of them would come out behind a new one that ends where it begins."""
        docroot = tmp_path / "docroot"
        store = DiskStore(docroot, sync=False)
        store.open()
        for text in "1234":
            commit(store, *([create("/a", text)] if text == "1" else [update("/a", text)]))
        abandon(store)
        with open(docroot / ".sttp" / "journal", "r+b") as file:
            file.write(bytes(HEADER_BYTES + 4))
        for text in "56":
            store = DiskStore(docroot, sync=False)
            store.open()
            assert show(store, "/a") == ("4" if text == "5" else "5")
            assert commit(store, update("/a", text)) == [DONE]
            abandon(store)
