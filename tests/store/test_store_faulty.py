"""The faults that other tests order are delivered as ordered."""

from __future__ import annotations

import errno
import math
import threading
from pathlib import Path
from typing import Any

import pytest
from store_support import DONE, commit, create, disk, listed, show

from sttp_reactor.errors import StoreError, StoreFailed
from sttp_reactor.store import faulty
from sttp_reactor.store.base import Store
from sttp_reactor.store.faulty import FaultyStore, Gate, delay, fail, faulty_calls, nth, on
from sttp_reactor.store.memory import MemoryStore


def recorded(calls: list[tuple[Any, ...]]) -> faulty.Fault:
    return lambda *call: calls.append(call)


def test_every_call_of_a_store_goes_by_way_of_the_fault() -> None:
    calls: list[tuple[Any, ...]] = []
    store: Store = FaultyStore(MemoryStore(), recorded(calls))
    store.open()
    write = create("/d/a")
    assert commit(store, write) == [DONE]
    assert (show(store, "/d/a"), listed(store, "/d")) == ("text", ["a"])
    store.checkpoint()
    store.close()
    expected = [("open",), ("commit", (write,)), ("show", b"/d/a"), ("list", b"/d"), ("checkpoint",), ("close",)]
    assert calls == expected


def test_a_failure_is_the_stores_answer_and_nothing_is_carried_out() -> None:
    inner = MemoryStore()
    store = FaultyStore(inner, on("commit show", fail(StoreFailed("no"))))
    with pytest.raises(StoreError, match="no"):
        store.commit([create("/a")])
    assert show(store, "/a") == 500
    assert (show(inner, "/a"), listed(store)) == (400, [])


def test_the_nth_call_and_the_ones_behind_it() -> None:
    def failures(fault: faulty.Fault) -> list[int]:
        failed = []
        for number in range(1, 8):
            try:
                fault("show")
            except OSError:
                failed.append(number)
        return failed

    broken = fail(OSError(errno.EIO, "broken"))
    assert failures(nth(3, broken)) == [3]
    assert failures(nth(3, broken, times=2)) == [3, 4]
    assert failures(nth(3, broken, times=math.inf)) == [3, 4, 5, 6, 7]
    assert failures(on("list", broken)) == []


def test_a_delay_is_slept(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(faulty.time, "sleep", slept.append)
    store = FaultyStore(MemoryStore(), on("show", delay(0.2)))
    assert (commit(store, create("/a")), show(store, "/a")) == ([DONE], "text")
    assert slept == [0.2]


def test_a_gate_holds_until_it_is_opened() -> None:
    gate = Gate()
    store = FaultyStore(MemoryStore(), on("show", gate))
    commit(store, create("/a"))
    seen: list[str | int] = []
    reader = threading.Thread(target=lambda: seen.append(show(store, "/a")))
    reader.start()
    gate.wait_until_reached()
    assert seen == []
    gate.open()
    reader.join()
    assert seen == [show(store, "/a")] == ["text"]


def test_a_gate_that_is_never_opened_or_never_reached_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faulty, "_GATE_SECONDS", 0)
    with pytest.raises(TimeoutError, match="show: nobody has opened the gate"):
        Gate()("show")
    with pytest.raises(TimeoutError, match="nobody has come"):
        Gate().wait_until_reached(0)


def test_the_systems_calls_are_back_to_what_they_were(tmp_path: Path) -> None:
    calls: list[tuple[Any, ...]] = []
    with disk(tmp_path / "docroot", sync=True) as store:
        with pytest.raises(KeyboardInterrupt), faulty_calls(on("fdatasync", fail(KeyboardInterrupt()))):
            store.commit([create("/a")])
        with faulty_calls(recorded(calls)):
            commit(store, create("/b"))
        names = {name for name, *_ in calls}
        assert names >= {"open", "close", "flock", "pread", "pwrite", "fstat", "lstat", "fdatasync", "link", "unlink"}
        calls.clear()
        assert commit(store, create("/c")) == [DONE]
        assert calls == []


def test_a_descriptor_is_closed_even_where_close_fails(tmp_path: Path) -> None:
    """The test of every test checks that none is left open."""
    with disk(tmp_path / "docroot") as store, faulty_calls(on("close", fail(OSError(errno.EIO, "broken")))):
        assert commit(store, create("/a")) == [500]
        assert show(store, "/a") == 400
