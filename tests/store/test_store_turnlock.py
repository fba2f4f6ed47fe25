"""A turn that somebody else keeps: it is waited for, told of, and given up; what comes after it goes on by itself."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from store_support import DONE, commit, create, disk, message, show, update

from sttp_reactor.errors import StartError, ToldToStop
from sttp_reactor.store.disk import store as disk_store
from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.disk.turnlock import TurnLock, holder_of

LONG = 10.0
WORDS = "another process keeps the store locked; the server's log says which"


class Holder:
    """Somebody else's lock on `turn`."""

    def __init__(self, docroot: Path) -> None:
        (docroot / ".sttp").mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(docroot / ".sttp" / "turn", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_store, "TOLD_SECONDS", 0.05)
    monkeypatch.setattr(disk_store, "GIVEN_UP_SECONDS", 0.2)


@pytest.mark.usefixtures("impatient")
def test_a_write_is_answered_500_and_the_next_ones_are_done(docroot: Path, caplog: pytest.LogCaptureFixture) -> None:
    with disk(docroot) as store:
        commit(store, create("/a", "1"))
        holder = Holder(docroot)
        threads = threading.active_count()
        for _ in range(3):
            assert message(store, update("/a", "2")) == WORDS
        assert threading.active_count() <= threads + 1  # whoever waits in the kernel waits for all of them
        assert show(store, "/a") == "1"
        assert f"process {os.getpid()} (" in caplog.text
        holder.release()
        assert commit(store, update("/a", "3"), create("/b")) == [DONE, DONE]
        assert show(store, "/a") == "3"


@pytest.mark.usefixtures("impatient")
def test_what_was_given_up_keeps_nobody_out(docroot: Path) -> None:
    """Who has waited in the kernel gets the lock one day, when nobody wants it any more."""
    claim = Claim()
    with disk(docroot, claim=claim) as store, disk(docroot, claim=claim) as sibling:
        holder = Holder(docroot)
        assert commit(store, create("/a")) == [500]
        holder.release()
        assert commit(sibling, create("/a")) == [DONE]
        assert commit(store, update("/a")) == [DONE]
    claim.release()


def test_a_store_closed_while_it_waits_leaves_nothing(docroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk_store, "GIVEN_UP_SECONDS", 0.1)
    store = DiskStore(docroot)
    store.open()
    holder = Holder(docroot)
    assert commit(store, create("/a")) == [500]
    store.close()
    holder.release()
    with disk(docroot) as store:
        assert commit(store, create("/a")) == [DONE]


@pytest.mark.usefixtures("impatient")
class TestStart:
    def test_is_refused_and_says_who_holds_it(self, docroot: Path, caplog: pytest.LogCaptureFixture) -> None:
        holder = Holder(docroot)
        with pytest.raises(StartError, match=rf"process {os.getpid()} \(.*\) has locked .sttp/turn"):
            DiskStore(docroot).open()
        assert "has the turn; waiting" in caplog.text
        holder.release()
        with disk(docroot) as store:  # the refused one has let go of everything
            assert commit(store, create("/a")) == [DONE]

    def test_hears_a_signal_that_is_held_back(self, docroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(disk_store, "GIVEN_UP_SECONDS", LONG)
        holder = Holder(docroot)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            signal.raise_signal(signal.SIGTERM)  # to this thread, and to no other
            begun = time.monotonic()
            with pytest.raises(ToldToStop):
                DiskStore(docroot).open()
            assert time.monotonic() - begun < LONG / 2
        finally:
            signal.sigtimedwait({signal.SIGTERM}, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            holder.release()

    def test_of_one_more_process_serves_what_the_others_have_recovered(
        self, docroot: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """One of them hangs in its turn: that is no reason to start none in the place of another."""
        claim = Claim()
        with disk(docroot, claim=claim) as store:
            commit(store, create("/a"))
            holder = Holder(docroot)
            with disk(docroot, claim=claim) as another:
                assert show(another, "/a") == "text"
                assert commit(another, update("/a")) == [500]
                holder.release()
                assert commit(another, update("/a")) == [DONE]
        claim.release()


class TestTurnLock:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        (tmp_path / "file").touch()
        return tmp_path / "file"

    @pytest.fixture
    def descriptors(self, file: Path) -> Iterator[tuple[int, int]]:
        pair = os.open(file, os.O_RDWR), os.open(file, os.O_RDWR)
        yield pair
        for descriptor in pair:
            os.close(descriptor)

    def test_is_taken_as_soon_as_it_is_free(self, descriptors: tuple[int, int]) -> None:
        lock, other = map(TurnLock, descriptors)
        assert lock.lock(0)
        assert not other.lock(0)
        threading.Timer(0.05, lock.unlock).start()
        assert other.lock(LONG)
        assert not lock.lock(0.01)
        other.unlock()
        assert lock.lock(LONG)
        lock.unlock()

    def test_two_that_take_it_again_and_again_both_get_it(self, descriptors: tuple[int, int]) -> None:
        counts = [0, 0]
        deadline = time.monotonic() + 0.5

        def run(number: int) -> None:
            lock = TurnLock(descriptors[number])
            while time.monotonic() < deadline:
                assert lock.lock(LONG)
                counts[number] += 1
                time.sleep(0.001)
                lock.unlock()

        threads = [threading.Thread(target=run, args=(number,)) for number in (0, 1)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert min(counts) > 0

    def test_an_error_is_the_waiters(self, descriptors: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(descriptor: int, operation: int) -> None:
            raise BlockingIOError if operation & fcntl.LOCK_NB else OSError(37, "No locks available")

        monkeypatch.setattr(fcntl, "flock", fail)
        with pytest.raises(OSError, match="No locks"):
            TurnLock(descriptors[0]).lock(LONG)

    def test_who_holds_it(self, descriptors: tuple[int, int], caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        assert holder_of(descriptors[0]) == "another process"
        fcntl.flock(descriptors[1], fcntl.LOCK_EX)
        assert holder_of(descriptors[0]).startswith(f"process {os.getpid()} (")
