"""What may lie in a docroot besides our own files, and what each request makes of it (PROTOCOL.md sections 3 and 4)."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_support import (
    DONE,
    commit,
    create,
    delete,
    found,
    listed,
    message,
    show,
    update,
)

from sttp_reactor.errors import StoreError
from sttp_reactor.store.base import Read
from sttp_reactor.store.disk import files
from sttp_reactor.store.disk.store import DiskStore


def make_link_to_file(path: Path) -> None:
    target = path.with_name("target of " + path.name)
    target.write_text("secret")
    path.symlink_to(target)


def make_link_to_directory(path: Path) -> None:
    target = path.with_name("target of " + path.name)
    target.mkdir()
    (target / "file").write_text("secret")
    path.symlink_to(target)


def make_broken_link(path: Path) -> None:
    path.symlink_to("nowhere")


def make_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(os.fspath(path))


def make_device(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may make a device")
    os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero: readable without end


SPECIAL: list[Callable[[Path], None]] = [
    make_link_to_file,
    make_link_to_directory,
    make_broken_link,
    make_link_to_itself,
    make_socket,
    make_device,
    os.mkfifo,
]


@pytest.mark.parametrize("make", SPECIAL)
class TestSpecialFiles:
    """Section 3: in the last segment 400, 300 for CREATE; as a directory 410, for CREATE 510."""

    @pytest.fixture(autouse=True)
    def _there(self, store: DiskStore, docroot: Path, make: Callable[[Path], None]) -> Iterator[None]:
        make(docroot / "odd")
        commit(store, create("/d/e/a"))
        make(docroot / "d" / "odd")
        before = os.lstat(docroot / "odd")
        yield
        assert os.lstat(docroot / "odd").st_ino == before.st_ino

    @pytest.mark.parametrize("path", ["/odd", "/d/odd"])
    def test_in_the_last_segment(self, store: DiskStore, path: str) -> None:
        assert show(store, path) == 400
        assert listed(store, path) == listed(store, path + "/") == 400
        assert commit(store, update(path), delete(path), create(path)) == [400, 400, 300]

    @pytest.mark.parametrize("path", ["/odd/file", "/odd/e/file", "/d/odd/file"])
    def test_as_a_directory(self, store: DiskStore, path: str) -> None:
        assert show(store, path) == 410
        assert listed(store, path) == 410
        assert commit(store, update(path), delete(path), create(path)) == [410, 410, 510]

    def test_is_not_listed(self, store: DiskStore) -> None:
        assert listed(store, "/d") == ["e/"]


class TestStoredFiles:
    @pytest.mark.parametrize(
        ("stored", "shown"),
        [
            (b"", ""),
            (b"\n", ""),
            (b"text\n", "text"),
            (b"a\tb\n", "a\tb"),
            ("\U0001f600".encode() * 160 + b"\n", "\U0001f600" * 160),
            ("\u2028\u00a0".encode(), "\u2028\u00a0"),
        ],
    )
    def test_an_editors_line_end_is_no_part_of_the_text(
        self, store: DiskStore, docroot: Path, stored: bytes, shown: str
    ) -> None:
        (docroot / "a").write_bytes(stored)
        assert show(store, "/a") == shown

    @pytest.mark.parametrize(
        "stored",
        [
            b"x" * 161,
            b"x" * 161 + b"\n",
            "\U0001f600".encode() * 161,
            b"x" * 100_000,
            b"text\r\n",
            b"\r",
            b"text\n\n",
            b"\n\n",
            b"two\nlines",
            b"\x1b[31m",
            b"text\0",
            b"\0",
            b"text\0\n",
            b"\x7f",
            "\x85".encode(),
            b"\xff",
            b"caf\xe9",
            b"\xed\xa0\x80",
        ],
    )
    def test_what_would_break_the_framing_is_500(self, store: DiskStore, docroot: Path, stored: bytes) -> None:
        (docroot / "a").write_bytes(stored)
        assert show(store, "/a") == 500
        assert commit(store, update("/a", "short")) == [DONE]  # and can be mended
        assert show(store, "/a") == "short"

    def test_the_message_says_what_is_wrong(self, store: DiskStore, docroot: Path) -> None:
        (docroot / "a").write_bytes(b"\xff")
        (error,) = found(store, Read(b"/a"))
        assert isinstance(error, StoreError)
        assert "not one line of at most 160 characters" in error.message

    def test_entries_that_no_request_could_name_are_not_listed(self, store: DiskStore, docroot: Path) -> None:
        for name in ["with space", "tab\there", "bell\a", "x" * 33, ".sttp2", "x" * 32, "é" * 32, ".hidden"]:
            (docroot / name).write_text("x")
        (docroot / os.fsdecode(b"\xff\xfe")).write_text("x")
        for name in ["a b", ".sttpd", "d" * 100]:
            (docroot / name).mkdir()
        assert listed(store) == [".hidden", "d" * 100 + "/", "x" * 32, "é" * 32]
        (docroot / "d" / ".sttp").mkdir(parents=True)
        assert listed(store, "/d") == [".sttp/"]  # the server's own are at the top only


class TestHowAFileIsReplaced:
    def test_in_place_where_nobody_else_has_it(self, store: DiskStore, docroot: Path) -> None:
        commit(store, create("/a", "a longer text"))
        before = os.stat(docroot / "a").st_ino
        for text in ["shorter", "a much longer text than before", ""]:
            assert commit(store, update("/a", text)) == [DONE]
            assert (docroot / "a").read_text() == text
        assert os.stat(docroot / "a").st_ino == before

    def test_by_rename_where_somebody_reads_it(self, store: DiskStore, docroot: Path) -> None:
        commit(store, create("/a", "old" * 30))
        before = os.stat(docroot / "a").st_ino
        with open(docroot / "a") as reader:
            assert commit(store, update("/a", "new")) == [DONE]
            assert reader.read() == "old" * 30
        assert (docroot / "a").read_text() == "new"
        assert os.stat(docroot / "a").st_ino != before

    def test_a_hard_linked_backup_keeps_its_text(self, store: DiskStore, docroot: Path, tmp_path: Path) -> None:
        commit(store, create("/a", "old"))
        os.link(docroot / "a", tmp_path / "backup")
        assert commit(store, update("/a", "new")) == [DONE]
        assert (tmp_path / "backup").read_text() == "old"
        assert (docroot / "a").read_text() == "new"

    def test_without_leases_by_rename(self, store: DiskStore, docroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        commit(store, create("/a", "old" * 30))
        monkeypatch.delattr(fcntl, "F_SETLEASE")
        assert commit(store, update("/a", "new")) == [DONE]
        assert (docroot / "a").read_text() == "new"

    @pytest.mark.parametrize("is_open", [False, True])
    def test_the_mode_is_kept(self, store: DiskStore, docroot: Path, is_open: bool) -> None:
        commit(store, create("/a"))
        os.chmod(docroot / "a", 0o640)
        descriptor = os.open(docroot / "a", os.O_RDONLY) if is_open else -1
        assert commit(store, update("/a")) == [DONE]
        if is_open:
            os.close(descriptor)
        assert stat.S_IMODE(os.stat(docroot / "a").st_mode) == 0o640

    def test_a_new_file_has_the_mode_that_the_umask_leaves(self, store: DiskStore, docroot: Path) -> None:
        before = os.umask(0o027)
        try:
            commit(store, create("/d/a"))
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(docroot / "d" / "a").st_mode) == 0o640
        assert stat.S_IMODE(os.stat(docroot / "d").st_mode) == 0o750

    def test_who_comes_while_a_file_is_leased_waits(
        self, store: DiskStore, docroot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit(store, create("/a", "old"))
        for use in (lambda: show(store, "/a") == "old", lambda: commit(store, update("/a")) == [DONE]):
            holder = os.open(docroot / "a", os.O_RDWR)
            fcntl.fcntl(holder, fcntl.F_SETSIG, 23)  # SIGURG: ignored
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            slept: list[float] = []

            def sleep(seconds: float, holder: int = holder, slept: list[float] = slept) -> None:
                slept.append(seconds)
                if len(slept) == 3:
                    os.close(holder)

            monkeypatch.setattr(files.time, "sleep", sleep)
            assert use()
            assert len(slept) == 3

    def test_who_keeps_a_lease_for_good_gets_a_500(
        self, store: DiskStore, docroot: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        commit(store, create("/a", "old"))
        monkeypatch.setattr(files, "_BUSY_TRIES", 3)
        holder = os.open(docroot / "a", os.O_RDWR)
        try:
            fcntl.fcntl(holder, fcntl.F_SETSIG, 23)
            fcntl.fcntl(holder, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            assert show(store, "/a") == 500
            assert message(store, update("/a")) == "the file is in use"
            assert commit(store, create("/b")) == [DONE]
        finally:
            os.close(holder)
