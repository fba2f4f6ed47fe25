"""Other limits for a cache that is in use."""

from __future__ import annotations

import pytest
from scripted import HandClock

from sttp_reactor.sttp.cache import Cache


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def cache(clock: HandClock) -> Cache:
    """Four entries of ten bytes, the first one the oldest by far and the second one the least recently used."""
    cache = Cache(10, 1000, 100.0, clock)
    for number in range(4):
        cache.put(b"SHOW /%d\n" % number, b"%010d" % number, clock.now)
        clock.advance(1)
    cache.get(b"SHOW /0\n")
    return cache


def kept(cache: Cache) -> list[int]:
    return [number for number in range(4) if cache.get(b"SHOW /%d\n" % number) is not None]


def test_more_room_changes_nothing_for_what_is_there(cache: Cache) -> None:
    cache.set_limits(100, 10_000, 100.0)
    assert kept(cache) == [0, 1, 2, 3]
    for number in range(4, 60):
        cache.put(b"SHOW /%d\n" % number, bytes(10), 1000.0)
    assert cache.statistics().files == 60


def test_fewer_files(cache: Cache) -> None:
    cache.set_limits(2, 1000, 100.0)
    assert kept(cache) == [0, 3], "the least recently used have gone"
    assert cache.statistics().evicted == 2


def test_fewer_bytes(cache: Cache) -> None:
    cache.set_limits(10, 25, 100.0)
    assert kept(cache) == [0, 3]
    assert cache.statistics().bytes == 20


def test_a_shorter_expiration_holds_for_what_is_there(cache: Cache, clock: HandClock) -> None:
    cache.set_limits(10, 1000, 3.0)  # the ages are 4, 3, 2 and 1
    assert cache.replies_to(b"SHOW /1\n", clock.now) is None
    assert kept(cache) == [2, 3]
    clock.advance(1)
    assert kept(cache) == [3]


def test_a_longer_one_too(cache: Cache, clock: HandClock) -> None:
    cache.set_limits(10, 1000, 200.0)
    clock.advance(195)
    assert kept(cache) == [0, 1, 2, 3]
    clock.advance(2)
    assert kept(cache) == [2, 3]
    assert cache.replies_to(b"SHOW /2\n", clock.now) is not None


def test_the_sweep_knows(cache: Cache, clock: HandClock) -> None:
    cache.set_limits(10, 1000, 50.0)
    assert cache.sweep(10) == 1000.0 + 50.0
    cache.set_limits(10, 1000, 1.0)
    assert cache.sweep(10) == float("inf")
    assert cache.statistics().expired == 4


def test_an_empty_one(clock: HandClock) -> None:
    cache = Cache(10, 1000, 100.0, clock)
    cache.set_limits(1, 1000, 1.0)
    assert cache.sweep(10) == float("inf")
    cache.put(b"SHOW /a\n", b"x", clock.now)
    clock.advance(1)
    assert cache.get(b"SHOW /a\n") is None


def test_a_shorter_longest_line(cache: Cache) -> None:
    cache.put(b"SHOW /long\n", bytes(10), 1000.0)
    cache.set_limits(10, 1000, 100.0, longest_key=len(b"SHOW /0\n"))
    assert cache.get(b"SHOW /long\n") is None
    assert kept(cache) == [0, 1, 2, 3]
    cache.put(b"SHOW /long\n", bytes(10), 1000.0)
    assert cache.get(b"SHOW /long\n") is None, "who may still send such lines is answered, but not from here"
    cache.set_limits(10, 1000, 100.0)
    cache.put(b"SHOW /long\n", bytes(10), 1000.0)
    assert cache.get(b"SHOW /long\n") is not None
