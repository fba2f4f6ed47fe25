"""A power cut at any moment, on a disk that keeps no more than it has to, and on a real file system."""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from store_support import DONE, abandon, commit, create, delete, disk, files_in, mounted, show, update

from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.disk import journal
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.faulty import faulty_calls

SEEDS = range(100)
SECTOR = 512
KILLS = 0.003  # of all system calls


class PowerCut(BaseException):
    """Like the end of the process: nothing of the store may catch it."""


class Killed(PowerCut):
    """Only this process."""


class Disk:
    """What a power cut would leave of a docroot: only what was synced is sure to be there.

    `syncfs` makes everything sure. Syncing a file makes its contents sure, but not its name: if that has never been
    synced, the file is lost. Whatever else has been written is there, or not, or in part, as chance will have it.
    """

    def __init__(self, top: Path, chance: random.Random, cut_at: int) -> None:
        """`top` is the docroot's parent, synced as it is. At the call number `cut_at` the power fails."""
        self._top = top
        self._chance = chance
        self._cut_at = cut_at
        self._calls = 0
        self._is_dead = False
        self._sure = self._now()
        self.image: dict[str, bytes | None] | None = None

    def __call__(self, name: str, *arguments: Any) -> None:
        """The fault."""
        if self._is_dead:
            raise Killed  # what is to be cleaned up is not cleaned up
        self._calls += 1
        if self._calls == self._cut_at:
            self.cut()
            raise PowerCut
        if self._chance.random() < KILLS:
            self._is_dead = True
            raise Killed
        if name == "syncfs":
            self._sure = self._now()
        elif name in ("fdatasync", "fsync"):
            path = os.path.relpath(os.readlink(f"/proc/self/fd/{arguments[0]}"), self._top)
            if path in self._sure:
                self._sure[path] = self._now()[path]

    def cut(self) -> None:
        self.image = self._left()
        self._is_dead = True

    @contextlib.contextmanager
    def process(self) -> Iterator[None]:
        """One that may be killed. At its end whatever it has opened is closed."""
        self._is_dead = False
        before = set(os.listdir("/proc/self/fd"))
        with contextlib.suppress(PowerCut):
            yield
        for number in set(os.listdir("/proc/self/fd")) - before:
            with contextlib.suppress(OSError):
                os.close(int(number))

    def _now(self) -> dict[str, bytes | None]:
        """Each file's contents, and None for each directory."""
        held: dict[str, int] = {}
        for number in os.listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):  # the one that lists them
                held[os.readlink(f"/proc/self/fd/{number}")] = int(number)
        return {
            os.fspath(path.relative_to(self._top)): self._read(path, held) if path.is_file() else None
            for path in self._top.rglob("*")
        }

    @staticmethod
    def _read(path: Path, held: dict[str, int]) -> bytes:
        # What the store holds a lease on would wait for us to give it up.
        with contextlib.suppress(OSError, KeyError):
            return os.pread(held[os.fspath(path)], 1 << 20, 0)
        return path.read_bytes()

    def _left(self) -> dict[str, bytes | None]:
        now = self._now()
        left: dict[str, bytes | None] = {}
        for path in sorted(self._sure.keys() | now.keys()):
            parent = os.path.dirname(path)
            if parent and left.get(parent, b"") is not None:
                continue  # its directory is lost, or is a file
            if path in self._sure and path in now:
                whole = self._sure[path] == now[path] or self._chance.random() < 0.3
                left[path] = self._sure[path] if whole else self._torn(self._sure[path], now[path])
            elif self._chance.random() < 0.7:
                left[path] = self._sure[path] if path in self._sure else self._torn(None, now[path])
        return left

    def _torn(self, old: bytes | None, new: bytes | None) -> bytes | None:
        """Of a file that was being written: each sector old, new or nothing, and any size between the two."""
        if new is None:
            return None
        old = old or b""
        sectors = []
        for at in range(0, max(len(old), len(new)), SECTOR):
            choice = [old, new, new][self._chance.randrange(3)][at : at + SECTOR]
            sectors.append(choice.ljust(min(SECTOR, max(len(old), len(new)) - at), b"\0"))
        return b"".join(sectors)[: self._chance.choice([len(old), len(new), len(new)])]

    def lay_out(self, top: Path) -> None:
        assert self.image is not None
        for path, contents in self.image.items():
            if contents is None:
                (top / path).mkdir(parents=True)
            else:
                (top / path).parent.mkdir(parents=True, exist_ok=True)
                (top / path).write_bytes(contents)


def some_writes(chance: random.Random) -> list[Write]:
    writes = []
    for _ in range(chance.randint(1, 6)):
        path = chance.choice([b"/a", b"/b", b"/d/a", b"/d/b", b"/e/f/a"])
        operation = chance.choice([Operation.CREATE, Operation.UPDATE, Operation.UPDATE, Operation.DELETE])
        text = b"" if operation is Operation.DELETE else bytes(chance.choices(b"xyz", k=chance.choice([1, 80, 160])))
        writes.append(Write(operation, path, None if operation is Operation.DELETE else text))
    return writes


def carry_out(state: dict[str, bytes], writes: list[Write]) -> dict[str, bytes]:
    """What there is after `writes`, those that fail left out."""
    after = dict(state)
    for write in writes:
        path = write.path.decode()
        if (path in after) == (write.operation is Operation.CREATE):
            continue
        if write.contents is None:
            del after[path]
        else:
            after[path] = write.contents
    return after


@pytest.fixture
def _no_real_syncs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated disk keeps what it must; the real one need not."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)
    monkeypatch.setattr(journal, "sync_file_system", lambda descriptor: None)


class Client:
    """Knows what it was promised."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._acknowledged: dict[str, bytes] = {}
        self._asked: dict[str, bytes] = {}
        self.commits = 0

    def check(self, found: dict[str, bytes]) -> None:
        """One commit may have been under way, in one record or several: each file is as before it or as after it."""
        for path in self._acknowledged.keys() | self._asked.keys() | found.keys():
            assert found.get(path) in (self._acknowledged.get(path), self._asked.get(path)), path
        self._acknowledged = self._asked = found

    def live(self, docroot: Path) -> None:
        """Start a server and use it, until its end."""
        store = DiskStore(docroot, sync=True)
        store.open()
        self.check(files_in(docroot))
        while self._chance.random() > 0.03:
            writes = some_writes(self._chance)
            self._asked = carry_out(self._acknowledged, writes)
            store.commit(writes)
            self._acknowledged = self._asked
            self.commits += 1
            if self._chance.random() < 0.1:
                store.checkpoint()


@pytest.mark.usefixtures("_no_real_syncs")
@pytest.mark.parametrize("part", [0, *(pytest.param(part, marks=pytest.mark.long) for part in (1, 2, 3))])
def test_whatever_the_disk_keeps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int) -> None:
    """From an empty directory on: the first start, full journals, checkpoints, kills, one power cut after another."""
    monkeypatch.setattr(journal, "JOURNAL_BYTES", (2048, 2048))
    commits = 0
    for seed in SEEDS[part::4]:
        print(f"seed {seed}")
        chance = random.Random(seed)
        client = Client(chance)
        power = None
        for cut in range(4):
            top = tmp_path / f"{seed}-{cut}"
            top.mkdir()
            if power is not None:
                power.lay_out(top)
            power = Disk(top, chance, chance.randint(1, 2000 if cut else 200))
            with faulty_calls(power):
                while power.image is None:
                    with power.process():
                        client.live(top / "docroot")
        commits += client.commits
    assert commits > 1000


@pytest.mark.usefixtures("_no_real_syncs")
@pytest.mark.parametrize("seed", range(20))
def test_what_was_made_without_sync_is_not_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The journal's own name may not be on the disk when a server that syncs takes over."""
    monkeypatch.setattr(f"{__name__}.KILLS", 0)
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    power = Disk(before, random.Random(seed), 0)
    with faulty_calls(power):
        for sync in (False, True):
            store = DiskStore(before / "docroot", sync=sync)
            store.open()
            assert commit(store, create(f"/{sync}")) == [DONE]
            abandon(store)
        power.cut()
    power.lay_out(after)
    with disk(after / "docroot") as store:
        assert show(store, "/True") == "text"


# _IOR('X', 125, __u32), and: keep nothing that is not on the disk.
_EXT4_IOC_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = struct.pack("I", 2)


@contextlib.contextmanager
def ext4(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "mount", "-t", "ext4", "-o", "loop", str(tmp_path / "image")) as mount:
        yield mount


def cut_power(mount: Path) -> None:
    """The file system forgets at once what it has not written."""
    descriptor = os.open(mount, os.O_RDONLY)
    try:
        fcntl.ioctl(descriptor, _EXT4_IOC_SHUTDOWN, _NO_LOG_FLUSH)
    except OSError as error:
        pytest.skip(f"cannot shut a file system down here: {error.strerror}")
    finally:
        os.close(descriptor)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image"
    with open(path, "wb") as file:
        file.truncate(16 << 20)
    if shutil.which("mkfs.ext4") is None:
        pytest.skip("no mkfs.ext4 here")
    subprocess.run(["mkfs.ext4", "-q", "-F", str(path)], check=True)
    return tmp_path


def test_on_a_real_file_system(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state: dict[str, bytes] = {}
    for boot in range(4):
        with ext4(image) as mount:
            store = DiskStore(mount / "docroot", sync=True)
            store.open()
            assert files_in(mount / "docroot") == state
            for i in range(40):
                writes = [create(f"/d{boot}/{i}", "x" * i), update(f"/d{boot}/{i // 2}", f"new {i}")]
                writes += [delete(f"/d{boot - 1}/{i}")] if boot else []
                assert commit(store, *writes)[:2] == [DONE, DONE]
                state = carry_out(state, writes)
            if boot % 2:
                store.checkpoint()
                assert commit(store, update(f"/d{boot}/1", "the last")) == [DONE]
                state[f"/d{boot}/1"] = b"the last"
            cut_power(mount)
            assert commit(store, create("/lost")) == [500]
            assert show(store, "/lost") in (400, 500)
            abandon(store)


def test_and_without_sync_something_is_lost_there(image: Path) -> None:
    """Or the test above would show nothing."""
    with ext4(image) as mount:
        with disk(mount / "docroot", sync=True) as store:
            commit(store, create("/synced"))
        store = DiskStore(mount / "docroot", sync=False)
        store.open()
        assert commit(store, create("/lost"), update("/synced", "lost")) == [DONE, DONE]
        cut_power(mount)
        abandon(store)
    with ext4(image) as mount:
        assert files_in(mount / "docroot") == {"/synced": b"text"}


@pytest.mark.parametrize("quiet", ["a checkpoint", "a start", "none"])
def test_a_disk_that_goes_while_the_machine_stays(image: Path, quiet: str) -> None:
    """A cable, a network volume, a snapshot put back: what the next start finds is of the same boot, and old."""
    with ext4(image) as mount:
        store = DiskStore(mount / "docroot", sync=True)
        store.open()
        assert commit(store, *[create(f"/{i}", "old") for i in range(20)]) == [DONE] * 20
        if quiet == "a checkpoint":
            store.checkpoint()
        elif quiet == "a start":
            store.close()
            store = DiskStore(mount / "docroot", sync=True)
            store.open()
        for i in range(20):
            assert commit(store, update(f"/{i}", f"new {i}")) == [DONE]
        cut_power(mount)
        abandon(store)
    with ext4(image) as mount, disk(mount / "docroot", sync=True) as store:
        assert [show(store, f"/{i}") for i in range(20)] == [f"new {i}" for i in range(20)]
