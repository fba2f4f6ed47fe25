"""One docroot, one server (PROTOCOL.md section 4): who has it, who shares it, and what is left of who had it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_support import DONE, abandon, commit, create, disk, in_child, show, update

from sttp_reactor.errors import StartError, StoreError, ToldToStop
from sttp_reactor.store.disk import store as disk_store
from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.faulty import faulty_calls, on

WARNING = "no locks"


def refusal(docroot: Path) -> str:
    """What a second server says."""
    with pytest.raises(StartError) as caught:
        DiskStore(docroot).open()
    return str(caught.value)


@pytest.fixture
def processes() -> Iterator[list[int]]:
    """Children that live until the test ends, if nothing else has ended them."""
    made: list[int] = []
    yield made
    for pid in made:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def fork(processes: list[int], run: Callable[[], Any]) -> int:
    """A process that has run `run` when this returns, and then waits for its end."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            run()
            os.write(writing, b"!")
            os.close(writing)
            time.sleep(60)
        finally:
            os._exit(1)
    os.close(writing)
    processes.append(pid)
    try:
        assert os.read(reading, 1) == b"!"
    finally:
        os.close(reading)
    return pid


def test_a_second_server_is_refused_and_told_who_serves(docroot: Path) -> None:
    with disk(docroot):

        def words() -> str:
            return refusal(docroot)

        assert in_child(words) == f"docroot {docroot}: it is served already, by process {os.getpid()}"
        # Two servers in one process know nothing of each other's caches, either.
        assert refusal(docroot) == f"docroot {docroot}: it is served already, by process {os.getpid()}, this one"
    with disk(docroot) as store:
        assert commit(store, create("/a")) == [DONE]


def test_who_is_refused_has_changed_nothing(docroot: Path) -> None:
    with disk(docroot) as store:
        commit(store, create("/a", "1"))
        refusal(docroot)
        assert commit(store, update("/a", "2")) == [DONE]
        assert show(store, "/a") == "2"


def test_processes_of_one_server_share_it(docroot: Path) -> None:
    claim = Claim()
    DiskStore(docroot, claim=claim).take()

    def write(name: str) -> list[int]:
        with disk(docroot, claim=claim) as store:
            return commit(store, create(name))

    assert in_child(lambda: write("/a")) == [DONE]
    assert in_child(lambda: write("/b")) == [DONE]
    assert "is served already" in refusal(docroot)  # a child that has ended has not given it up
    claim.release()
    with disk(docroot) as store:
        assert [show(store, path) for path in ("/a", "/b")] == ["text", "text"]


def test_stores_that_are_given_one_claim_share_it(docroot: Path) -> None:
    claim = Claim()
    with disk(docroot, claim=claim) as one, disk(docroot, claim=claim) as other:
        assert commit(one, create("/a", "1")) == [DONE]
        assert commit(other, update("/a", "2")) == [DONE]
        assert show(one, "/a") == "2"
    claim.release()


def test_a_killed_one_leaves_nothing_that_blocks(docroot: Path, processes: list[int]) -> None:
    pid = fork(processes, lambda: DiskStore(docroot).open())
    assert refusal(docroot).endswith(f"by process {pid}")
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    processes.clear()
    with disk(docroot) as store:
        assert commit(store, create("/a")) == [DONE]


class TestOrphans:
    """A parent was killed, and its children have not noticed yet."""

    @pytest.fixture
    def orphan(self, docroot: Path) -> Iterator[int]:
        reading, writing = os.pipe()
        parent = os.fork()
        if parent == 0:
            DiskStore(docroot, claim=(claim := Claim())).take()
            assert claim
            os.write(writing, b"%d\n" % fork([], lambda: None))
            os._exit(0)
        os.close(writing)
        with open(reading) as pipe:
            orphan = int(pipe.readline())
        os.waitpid(parent, 0)
        yield orphan
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, signal.SIGKILL)

    def test_are_waited_for(self, docroot: Path, orphan: int, monkeypatch: pytest.MonkeyPatch) -> None:
        def end(seconds: float) -> None:
            sleep(0.02)
            os.kill(orphan, signal.SIGKILL)

        sleep = time.sleep
        monkeypatch.setattr(disk_store.time, "sleep", end)
        with disk(docroot) as store:
            assert commit(store, create("/a")) == [DONE]

    def test_but_not_for_ever(self, docroot: Path, orphan: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(disk_store, "ORPHANS_SECONDS", 0.3)
        assert "is served already, by process" in refusal(docroot)

    def test_nor_by_who_is_told_to_stop(self, docroot: Path, orphan: int) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            signal.raise_signal(signal.SIGTERM)  # to this thread, and to no other
            begun = time.monotonic()
            with pytest.raises(ToldToStop):
                DiskStore(docroot).open()
            assert time.monotonic() - begun < disk_store.ORPHANS_SECONDS / 2
        finally:
            signal.sigtimedwait({signal.SIGTERM}, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class TestWithoutLocks:
    """A file system that has none: it says so, and is served."""

    @pytest.fixture(autouse=True)
    def _no_locks(self) -> Iterator[None]:
        def refuse(name: str, descriptor: int, *arguments: Any) -> None:
            if "docroot" in os.readlink(f"/proc/self/fd/{descriptor}"):
                raise OSError(errno.ENOLCK, "No locks available")

        with faulty_calls(on("flock", refuse)):
            yield

    def test_it_is_said(self, docroot: Path, caplog: pytest.LogCaptureFixture) -> None:
        with disk(docroot) as store, disk(docroot):  # nothing keeps a second one from it
            assert commit(store, create("/a")) == [DONE]
            assert show(store, "/a") == "text"
        assert WARNING in caplog.text

    def test_its_processes_take_turns_all_the_same(self, docroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        claim = Claim()
        DiskStore(docroot, claim=claim).take()
        store = DiskStore(docroot, claim=claim)
        with store._turn() as turn:

            def is_kept_out() -> bool:
                other = DiskStore(docroot, claim=claim)
                with other._turn():
                    return False

            monkeypatch.setattr(disk_store, "GIVEN_UP_SECONDS", 0.2)
            with pytest.raises(StoreError, match="another process keeps the store locked"):
                in_child(is_kept_out)
            assert turn.journal.is_empty
        store.close()
        claim.release()


class TestRemade:
    """A docroot that is replaced while it is served is taken as well."""

    def test_by_the_first_write(self, docroot: Path, tmp_path: Path) -> None:
        with disk(docroot) as store:
            docroot.rename(tmp_path / "away")
            docroot.mkdir()
            assert commit(store, create("/a")) == [DONE]
            assert "is served already" in refusal(docroot)

    def test_by_all_processes_of_a_server(self, docroot: Path, tmp_path: Path) -> None:
        claim = Claim()
        with disk(docroot, claim=claim):
            docroot.rename(tmp_path / "away")
            docroot.mkdir()
            sibling = DiskStore(docroot, claim=claim)

            def write() -> list[int]:
                with disk(docroot, claim=claim) as store:
                    return [*commit(store, create("/a")), *commit(sibling, create("/a"), update("/a"))]

            assert in_child(write) == [DONE, 300, DONE]
        claim.release()

    def test_not_where_somebody_else_serves_it(
        self, docroot: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        with disk(docroot) as store, disk(tmp_path / "other") as other:
            commit(other, create("/a", "theirs"))
            docroot.rename(tmp_path / "away")
            docroot.symlink_to(tmp_path / "other")
            assert commit(store, update("/a", "ours")) == [500]
            assert show(other, "/a") == "theirs"


def test_a_server_that_could_not_write_takes_it_with_its_first_write(docroot: Path) -> None:
    docroot.mkdir()

    def refuse(name: str, path: Any, *arguments: Any) -> None:
        if path == b"lock":
            raise OSError(errno.EROFS, "Read-only file system")

    store = DiskStore(docroot)
    with faulty_calls(on("open", refuse)):
        store.open()
        assert commit(store, create("/a")) == [500]
    assert commit(store, create("/a")) == [DONE]
    assert "is served already" in refusal(docroot)
    store.close()


def test_the_turn_of_another_server_is_not_believed(docroot: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of the same boot, too: the disk may have been gone, and come back with what it had kept."""
    store = DiskStore(docroot)
    store.open()
    commit(store, create("/a", "1"))
    before = {name: (docroot / ".sttp" / name).read_bytes() for name in ("turn", "lock")}
    commit(store, update("/a", "2"), create("/b"))
    abandon(store)
    # What was synced is the journal alone.
    for name, content in before.items():
        (docroot / ".sttp" / name).write_bytes(content)
    (docroot / "a").write_text("1")
    (docroot / "b").unlink()
    with disk(docroot) as store:
        assert [show(store, "/a"), show(store, "/b")] == ["2", "text"]


def test_processes_of_one_server_believe_each_other_whatever_proc_shows(
    docroot: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A service manager may hide all of /proc but the processes (ProcSubset=pid): nothing of it is asked for."""
    claim = Claim()

    def hide(name: str, path: Any, *arguments: Any) -> None:
        if isinstance(path, str) and path.startswith("/proc") and "/self/" not in path:
            raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    with faulty_calls(on("open", hide)), disk(docroot, claim=claim) as one:
        commit(one, create("/a"))

        def write() -> tuple[list[int], list[str]]:
            records: list[str] = []
            logging.getLogger().addHandler(handler := logging.Handler())
            handler.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
            with disk(docroot, claim=claim) as other:
                return commit(other, update("/a")), records

        for _ in range(3):
            assert in_child(write) == ([DONE], [])
            assert commit(one, update("/a")) == [DONE]
    assert "applying" not in caplog.text
    claim.release()


def test_the_lock_is_the_kernels(docroot: Path) -> None:
    """A file that a killed server has left is no lock."""
    (docroot / ".sttp").mkdir(parents=True)
    (docroot / ".sttp" / "lock").write_text(f"{os.getppid()} abc 00 {os.uname().nodename}\n")
    with disk(docroot):
        descriptor = os.open(docroot / ".sttp" / "lock", os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(descriptor)
