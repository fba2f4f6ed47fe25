"""Owner, group, mode, access control lists and extended attributes: kept by what replaces a file, given to what is
made in a directory as the system gives them, and never more rights for anybody than before."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_support import (
    DONE,
    NOBODY,
    abandon,
    commit,
    create,
    delete,
    disk,
    in_child,
    message,
    mounted,
    open_to_all,
    show,
    update,
)

from sttp_reactor.store.disk import attributes, files
from sttp_reactor.store.disk.attributes import mode_for, mode_within
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.faulty import faulty_calls, on

OTHER_GROUP = 4242
is_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")


def acl_of(path: Path) -> list[str]:
    """What getfacl says, without comments; nothing where there is none, and so no list that anybody has set."""
    if shutil.which("getfacl") is None:
        return []
    told = subprocess.run(["getfacl", "-cpn", str(path)], capture_output=True, text=True, check=True).stdout
    return told.split()


def set_acl(path: Path, *entries: str, default: bool = False) -> None:
    if shutil.which("setfacl") is None:
        pytest.skip("no setfacl here")
    options = ["-d"] if default else []
    done = subprocess.run(
        ["setfacl", *options, "-m", ",".join(entries), str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no access control lists here: {done.stderr}")


def replaced(store: DiskStore, path: Path) -> os.stat_result:
    """What there is after an UPDATE of /a, `path`, that goes by rename."""
    before = os.stat(path).st_ino
    with open(path):
        assert commit(store, update("/a", "new")) == [DONE]
    after = os.stat(path)
    assert after.st_ino != before
    assert path.read_text() == "new"
    return after


class TestReplacing:
    @pytest.fixture
    def path(self, store: DiskStore, docroot: Path) -> Path:
        commit(store, create("/a", "old"))
        return docroot / "a"

    @is_root
    def test_keeps_owner_group_and_mode(self, store: DiskStore, path: Path) -> None:
        os.chown(path, NOBODY, OTHER_GROUP)
        os.chmod(path, 0o640)
        status = replaced(store, path)
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (NOBODY, OTHER_GROUP, 0o640)

    def test_keeps_extended_attributes(self, store: DiskStore, path: Path) -> None:
        try:
            os.setxattr(path, "user.origin", b"somewhere")
        except OSError:
            pytest.skip("no extended attributes here")
        replaced(store, path)
        assert os.getxattr(path, "user.origin") == b"somewhere"

    def test_keeps_an_access_control_list(self, store: DiskStore, path: Path) -> None:
        os.chmod(path, 0o600)
        set_acl(path, f"u:{NOBODY}:rw", "g::-", "o::-")
        before = acl_of(path)
        assert "mask::rw-" in before
        replaced(store, path)
        assert acl_of(path) == before

    def test_has_no_list_where_there_was_none(self, store: DiskStore, path: Path, docroot: Path) -> None:
        """Though what is made in the server's own directory would get one."""
        set_acl(docroot / ".sttp" / "tmp", f"u:{NOBODY}:rw", default=True)
        os.chmod(path, 0o600)
        replaced(store, path)
        assert acl_of(path) == ["user::rw-", "group::---", "other::---"]

    def test_where_the_list_may_not_be_set_its_mask_is_not_the_groups(
        self, store: DiskStore, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        os.chmod(path, 0o604)
        set_acl(path, f"u:{NOBODY}:rw", "g::-", "g:4242:-")

        def refuse(name: str, *arguments: Any) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        with faulty_calls(on("setxattr", refuse)):
            assert stat.S_IMODE(replaced(store, path).st_mode) == 0o600

    def test_an_attribute_that_has_no_room_is_the_writes_500(self, store: DiskStore, path: Path) -> None:
        set_acl(path, f"u:{NOBODY}:rw")

        def refuse(name: str, *arguments: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with faulty_calls(on("setxattr", refuse)), open(path):
            assert message(store, update("/a", "new")) == "the disk is full"
        assert show(store, "/a") == "old"

    @is_root
    @pytest.mark.parametrize("has_list", [False, True])
    def test_a_server_without_rights_gives_nobody_more(self, has_list: bool) -> None:
        """It keeps a group that it is in; and of another one, no member gets more than everybody has."""
        with open_to_all() as folder:
            docroot = folder / "docroot"
            docroot.mkdir()
            os.chown(docroot, NOBODY, NOBODY)
            for name, group in (("a", 0), ("b", NOBODY)):
                (docroot / name).write_text("old")
                os.chown(docroot / name, 0, group)
                os.chmod(docroot / name, 0o4666 if group else 0o664)
                if has_list:
                    set_acl(docroot / name, f"u:{NOBODY}:rw", "g::rw", "o::r")
                elif not group:
                    os.chmod(docroot / name, 0o646)

            def modes() -> list[tuple[int, str]]:
                found = []
                with disk(docroot) as store:
                    for name in ("a", "b"):
                        with open(docroot / name):
                            assert commit(store, update(f"/{name}", "new")) == [DONE]
                        status = os.stat(docroot / name)
                        assert status.st_uid == status.st_gid == NOBODY
                        found.append((stat.S_IMODE(status.st_mode), " ".join(acl_of(docroot / name))))
                return found

            (first, _), (second, acl) = in_child(modes, user=NOBODY)
            assert first == (0o644 if has_list else 0o646)
            assert second & 0o7007 == (0o004 if has_list else 0o006)  # what made it run as its owner is gone
            assert (f"user:{NOBODY}:rw-" in acl) == has_list


class TestModes:
    @pytest.mark.parametrize(
        ("mode", "has_group", "expected"),
        [
            (0o664, True, 0o664),
            (0o664, False, 0o644),
            (0o660, False, 0o600),
            (0o646, False, 0o646),
            (0o606, False, 0o606),
            (0o640, False, 0o600),
        ],
    )
    def test_for_another_group(self, mode: int, has_group: bool, expected: int) -> None:
        assert mode_for(stat.S_IFREG | mode, has_owner=True, has_group=has_group) == expected

    @pytest.mark.parametrize(
        ("entries", "expected"),
        [
            ([(1, 6), (4, 4), (0x20, 4)], 0o644),
            ([(1, 6), (2, 6), (4, 0), (0x10, 6), (0x20, 0)], 0o600),
            ([(1, 6), (2, 0), (4, 6), (0x10, 6), (0x20, 4)], 0o600),  # somebody is named in order to be kept out
            ([(1, 6), (4, 6), (8, 0), (0x10, 6), (0x20, 4)], 0o660),  # and a group
            ([(1, 6), (4, 6), (8, 7), (0x10, 4), (0x20, 6)], 0o644),  # the mask binds both
        ],
    )
    def test_without_its_list(self, entries: list[tuple[int, int]], expected: int) -> None:
        acl = b"\2\0\0\0" + b"".join(struct.pack("<HHI", tag, granted, 7) for tag, granted in entries)
        assert mode_within(stat.S_IFREG | 0o666, acl) == expected


@pytest.fixture(params=["a file without a name", "a copy"])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the system's help, and where a file system has no nameless files."""
    if request.param == "a copy":
        monkeypatch.setattr(files, "_NAMELESS", os.O_WRONLY | os.O_CREAT | os.O_DIRECTORY)


@pytest.mark.usefixtures("_either_way")
class TestCreating:
    @pytest.fixture(autouse=True)
    def _umask(self) -> Iterator[None]:
        before = os.umask(0o022)
        yield
        os.umask(before)

    @pytest.fixture
    def folder(self, store: DiskStore, docroot: Path) -> Path:
        commit(store, create("/d/first"))
        return docroot / "d"

    def as_the_system(self, store: DiskStore, folder: Path) -> None:
        """A new file has what one has that is simply made there."""
        descriptor = os.open(folder / "plain", os.O_WRONLY | os.O_CREAT, 0o666)
        os.close(descriptor)
        assert commit(store, create("/d/new")) == [DONE]
        assert (folder / "new").read_text() == "text"
        plain, new = os.stat(folder / "plain"), os.stat(folder / "new")
        assert (new.st_uid, new.st_gid, oct(new.st_mode)) == (plain.st_uid, plain.st_gid, oct(plain.st_mode))
        assert acl_of(folder / "new") == acl_of(folder / "plain")
        assert os.listdir(folder.parent / ".sttp" / "tmp") == []

    def test_in_a_plain_directory(self, store: DiskStore, folder: Path) -> None:
        self.as_the_system(store, folder)

    @is_root
    def test_where_a_directory_gives_its_group(self, store: DiskStore, folder: Path) -> None:
        os.chown(folder, -1, OTHER_GROUP)
        os.chmod(folder, 0o2775)
        self.as_the_system(store, folder)
        assert os.stat(folder / "new").st_gid == OTHER_GROUP
        assert commit(store, create("/d/e/f")) == [DONE]
        assert os.stat(folder / "e" / "f").st_gid == OTHER_GROUP

    @pytest.mark.parametrize("entries", [("u::rwx", "g::rx", "o::-"), (f"u:{NOBODY}:rwx", "g::-", "o::-")])
    def test_where_a_directory_gives_a_list(self, store: DiskStore, folder: Path, entries: tuple[str, ...]) -> None:
        set_acl(folder, *entries, default=True)
        self.as_the_system(store, folder)
        assert os.stat(folder / "new").st_mode & 0o007 == 0

    def test_where_the_docroot_gives_a_list_and_a_directory_does_not(self, tmp_path: Path) -> None:
        docroot = tmp_path / "docroot"
        docroot.mkdir()
        set_acl(docroot, f"u:{NOBODY}:rw", "o::-", default=True)
        with disk(docroot) as store:
            commit(store, create("/d/first"))
            subprocess.run(["setfacl", "-k", str(docroot / "d")], check=True)
            self.as_the_system(store, docroot / "d")

    @is_root
    def test_what_is_made_again_by_the_journal_has_it_too(self, docroot: Path) -> None:
        store = DiskStore(docroot)
        store.open()
        commit(store, create("/d/a"))
        abandon(store)
        (docroot / "d" / "a").unlink()
        os.chown(docroot / "d", -1, OTHER_GROUP)
        os.chmod(docroot / "d", 0o2775)
        with disk(docroot):
            assert os.stat(docroot / "d" / "a").st_gid == OTHER_GROUP


def test_a_list_that_may_not_be_given_opens_a_new_file_to_nobody(
    store: DiskStore, docroot: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_NAMELESS", os.O_WRONLY | os.O_CREAT | os.O_DIRECTORY)
    commit(store, create("/d/first"))
    set_acl(docroot / "d", f"u:{NOBODY}:rwx", "g::-", "o::-", default=True)
    monkeypatch.setattr(attributes, "_set", lambda *arguments: False)
    assert commit(store, create("/d/new")) == [DONE]
    assert stat.S_IMODE(os.stat(docroot / "d" / "new").st_mode) == 0o600


class TestMountedBelow:
    """Another file system below the docroot: no sync of ours reaches it, so no write there could be kept."""

    WORDS = "this is on another file system than the docroot, where no change could be kept"

    @pytest.fixture
    def mount(self, store: DiskStore, docroot: Path) -> Iterator[Path]:
        commit(store, create("/d/first"), create("/a"))
        with mounted(docroot / "d", "-t", "tmpfs", "-o", "size=1m", "tmpfs") as mount:
            (mount / "a").write_text("there")
            (mount / "e").mkdir()
            (mount / "e" / "a").write_text("there")
            yield mount

    @pytest.mark.parametrize("folder", ["/d", "/d/e"])
    def test_is_read_and_not_written(self, store: DiskStore, docroot: Path, mount: Path, folder: str) -> None:
        before = (docroot / ".sttp" / "journal").read_bytes()
        for write in (update(f"{folder}/a"), delete(f"{folder}/a"), create(f"{folder}/new")):
            assert message(store, write) == self.WORDS
        assert show(store, f"{folder}/a") == "there"
        assert (docroot / ".sttp" / "journal").read_bytes() == before
        assert commit(store, update("/a"), create("/b")) == [DONE, DONE]

    def test_a_single_file(self, store: DiskStore, docroot: Path, mount: Path) -> None:
        done = subprocess.run(["mount", "--bind", str(mount / "a"), str(docroot / "a")], check=False)
        if done.returncode:
            pytest.skip("cannot bind here")
        try:
            assert message(store, update("/a")) == self.WORDS
        finally:
            subprocess.run(["umount", str(docroot / "a")], check=True)
