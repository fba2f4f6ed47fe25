"""The cache under many threads at once: nobody gets another file's reply, and the books balance at the end."""

from __future__ import annotations

import random
import re
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
from scripted import HandClock

from sttp_reactor.sttp.cache import Cache

NAMES = 12
ROUNDS = 1500
MAX_FILES = 8
MAX_BYTES = 200


@pytest.fixture(autouse=True)
def _nervous_interpreter() -> Iterator[None]:
    """Threads change places after a few instructions: what is not guarded comes to light soon."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def key(name: int) -> bytes:
    return b"SHOW /%d\n" % name


def reply(name: int, version: int) -> bytes:
    return b"200 /%d OK\n%b\n" % (name, b"v" * (version % 20))


def is_reply_to(name: int, found: bytes) -> bool:
    return re.fullmatch(rb"200 /%d OK\nv*\n" % name, found) is not None


class Hammer:
    """Calls that threads make at random; `faults` holds whatever was wrong."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.cache = Cache(MAX_FILES, MAX_BYTES, 10.0, self.clock)
        self.faults: list[object] = []
        self.looks: list[int] = []  # how many lines each thread asked for with `get`, and may have hit

    def write(self, dice: random.Random) -> None:
        for version in range(ROUNDS):
            name = dice.randrange(NAMES)
            self.cache.put(key(name), reply(name, version), self.clock.now - dice.choice([0, 0, 0, 3]))
            if version % 7 == 0:
                self.cache.drop(key(dice.randrange(NAMES)))

    def read(self, dice: random.Random) -> None:
        for _ in range(ROUNDS):
            name = dice.randrange(NAMES)
            found = self.cache.get(key(name))
            if found is not None and not is_reply_to(name, found):
                self.faults.append((name, found))
        self.looks.append(ROUNDS)

    def read_chunks(self, dice: random.Random) -> None:
        for _ in range(ROUNDS):
            names = [dice.randrange(NAMES) for _ in range(dice.choice([1, 2, 3]))]
            found = self.cache.replies_to(b"".join(map(key, names)), self.clock.now)
            if found is None:
                continue
            lines = found.split(b"\n")[:-1]
            pairs = [b"\n".join(lines[at : at + 2]) + b"\n" for at in range(0, len(lines), 2)]
            if len(pairs) != len(names) or not all(map(is_reply_to, names, pairs)):
                self.faults.append((names, found))

    def sweep(self, dice: random.Random) -> None:
        for _ in range(ROUNDS):
            self.cache.sweep(dice.choice([1, 5]))
            self.clock.advance(dice.choice([0, 0.1]))
            counted = self.cache.statistics()
            if counted.files > MAX_FILES or not 0 <= counted.bytes <= MAX_BYTES:
                self.faults.append(counted)

    def run(self, work: Callable[[random.Random], None], seed: int) -> None:
        try:
            work(random.Random(seed))
        except BaseException as error:
            self.faults.append(error)
            raise


def test_many_threads() -> None:
    hammer = Hammer()
    works = [hammer.write, hammer.write, hammer.read, hammer.read, hammer.read_chunks, hammer.read_chunks, hammer.sweep]
    threads = [threading.Thread(target=hammer.run, args=(work, seed)) for seed, work in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hammer.faults == []

    counted = hammer.cache.statistics()
    held = [reply for reply in (hammer.cache.get(key(name)) for name in range(NAMES)) if reply is not None]
    hammer.clock.advance(100)
    assert sum(map(len, held)) <= counted.bytes, "an entry that has expired may still be counted, no other"
    assert counted.misses <= sum(hammer.looks)
    hammer.cache.sweep(1000)
    assert hammer.cache.statistics()[:2] == (0, 0), "after everything has expired nothing is left, and no byte counted"
