"""Any sequence of calls: the cache agrees with a plain list of entries, call by call.

The model knows nothing of deadlines kept in order, of a glance at the front or of an earliest time; it looks at every
entry every time. Reads that end out of order have a model of their own, since there the contract leaves a choice.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scripted import HandClock

from sttp_reactor.limits import SWEEP_GLANCE
from sttp_reactor.sttp.cache import Cache

EXPIRATION = 10.0
MAX_FILES = 12
MAX_BYTES = 300

# More names than fit, and enough that more can expire at once than a request drops in passing.
NAMES = st.integers(0, 17)
TEXTS = st.integers(0, 60).map(lambda size: "x" * size)
STEPS = st.sampled_from([0.0, 0.5, 1.0, 4.5, 10.0])


class Entry(NamedTuple):
    key: bytes
    reply: bytes
    deadline: float


def key(name: int) -> bytes:
    return b"SHOW /%d\n" % name


class Machine(RuleBasedStateMachine):
    """What both models share: the cache, the clock, and the calls that look."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.max_files, self.max_bytes, self.expiration = MAX_FILES, MAX_BYTES, EXPIRATION
        self.cache = Cache(MAX_FILES, MAX_BYTES, EXPIRATION, self.clock)
        self.versions = 0

    def reply(self, name: int, text: str) -> bytes:
        self.versions += 1
        return f"200 /{name} OK\n{self.versions}{text}\n".encode()

    @rule(seconds=STEPS)
    def time_passes(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @invariant()
    def the_limits_hold(self) -> None:
        counted = self.cache.statistics()
        assert 0 <= counted.files <= self.max_files
        assert 0 <= counted.bytes <= self.max_bytes
        assert (counted.files == 0) == (counted.bytes == 0)


class InOrder(Machine):
    """Reads end in the order they began, so everything is determined."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []  # the least recently used first
        self.read_at = self.clock.now
        self.hits = self.misses = self.evicted = self.expired = 0

    def find(self, wanted: bytes) -> Entry | None:
        return next((entry for entry in self.entries if entry.key == wanted), None)

    def is_fresh(self, entry: Entry | None) -> bool:
        return entry is not None and self.clock.now < entry.deadline

    def use(self, entry: Entry) -> None:
        self.entries.remove(entry)
        self.entries.append(entry)
        self.hits += 1

    def expire(self, most: int) -> list[Entry]:
        """Drops the oldest that are due, and returns those left that are due too."""
        due = sorted((entry for entry in self.entries if not self.is_fresh(entry)), key=lambda entry: entry.deadline)
        for entry in due[:most]:
            self.entries.remove(entry)
        self.expired += len(due[:most])
        return due[most:]

    @rule(name=NAMES, text=TEXTS, age=st.sampled_from([0.0, 1.0, 12.0]))
    def put(self, name: int, text: str, age: float) -> None:
        self.read_at = max(self.read_at, self.clock.now - age)
        made = Entry(key(name), self.reply(name, text), self.read_at + self.expiration)
        self.cache.put(made.key, made.reply, self.read_at)
        self.entries = [entry for entry in self.entries if entry.key != made.key]
        if len(made.reply) <= self.max_bytes:
            self.entries.append(made)
        self.evict()

    def evict(self) -> None:
        while len(self.entries) > self.max_files or sum(len(entry.reply) for entry in self.entries) > self.max_bytes:
            del self.entries[0]
            self.evicted += 1

    @rule(
        max_files=st.integers(1, 20),
        max_bytes=st.integers(30, 400),
        expiration=st.sampled_from([2.0, EXPIRATION, 17.5]),
    )
    def set_limits(self, max_files: int, max_bytes: int, expiration: float) -> None:
        self.cache.set_limits(max_files, max_bytes, expiration)
        self.entries = [
            entry._replace(deadline=entry.deadline - self.expiration + expiration) for entry in self.entries
        ]
        self.max_files, self.max_bytes, self.expiration = max_files, max_bytes, expiration
        self.evict()

    @rule(name=NAMES)
    def get(self, name: int) -> None:
        entry = self.find(key(name))
        if entry is not None and self.is_fresh(entry):
            self.use(entry)
            assert self.cache.get(key(name)) == entry.reply
        else:
            self.misses += 1
            assert self.cache.get(key(name)) is None

    @rule(names=st.lists(NAMES, max_size=5))
    def ask_for_a_chunk(self, names: list[int]) -> None:
        replies = self.cache.replies_to(b"".join(map(key, names)), self.clock.now)
        left = self.expire(SWEEP_GLANCE)
        entries = [entry for entry in map(self.find, map(key, names)) if entry is not None]
        if left or not names or len(entries) < len(names):
            assert replies is None
        else:
            for entry in entries:
                self.use(entry)
            assert replies == b"".join(entry.reply for entry in entries)

    @rule(name=NAMES)
    def drop(self, name: int) -> None:
        self.cache.drop(key(name))
        self.entries = [entry for entry in self.entries if entry.key != key(name)]

    @rule(names=st.lists(NAMES, max_size=5))
    def drop_hashed(self, names: list[int]) -> None:
        self.cache.drop_hashed({hash(key(name)) for name in names} | {0, hash(b"never there")})
        self.entries = [entry for entry in self.entries if entry.key not in map(key, names)]

    @rule()
    def clear(self) -> None:
        self.cache.clear()
        self.entries = []

    @rule(most=st.integers(1, 20))
    def sweep(self, most: int) -> None:
        then = self.cache.sweep(most)
        self.expire(most)
        assert then == min((entry.deadline for entry in self.entries), default=math.inf)

    @invariant()
    def the_counts_are_the_models(self) -> None:
        size = sum(len(entry.reply) for entry in self.entries)
        expected = (len(self.entries), size, self.hits, self.misses, self.evicted, self.expired)
        assert self.cache.statistics() == expected


class OutOfOrder(Machine):
    """Reads end in any order. An entry may then go before its time, but never before the first of those that were
    there when it came could go; and nothing is ever served after its own time."""

    def __init__(self) -> None:
        super().__init__()
        self.latest: dict[bytes, Entry] = {}
        self.assured_until: dict[bytes, float] = {}

    def check(self, name: int, reply: bytes | None) -> None:
        entry = self.latest.get(key(name))
        if reply is not None:
            assert entry is not None
            assert reply == entry.reply
            assert self.clock.now < entry.deadline
        elif entry is not None:
            assert self.clock.now >= self.assured_until[key(name)]

    @rule(name=st.integers(0, 5), age=st.sampled_from([0.0, 0.5, 3.0, 9.5, 10.0, 15.0]))
    def put(self, name: int, age: float) -> None:
        read_at = self.clock.now - age
        made = Entry(key(name), self.reply(name, ""), read_at + EXPIRATION)
        self.cache.put(made.key, made.reply, read_at)
        self.latest.pop(made.key, None)
        first = min((self.assured_until[other] for other in self.latest), default=made.deadline)
        self.assured_until[made.key] = min(made.deadline, first)
        self.latest[made.key] = made

    @rule(name=st.integers(0, 5))
    def get(self, name: int) -> None:
        self.check(name, self.cache.get(key(name)))

    @rule(names=st.lists(st.integers(0, 5), min_size=1, max_size=4))
    def ask_for_a_chunk(self, names: list[int]) -> None:
        replies = self.cache.replies_to(b"".join(map(key, names)), self.clock.now)
        if replies is not None:
            assert replies == b"".join(self.latest[key(name)].reply for name in names)
            assert all(self.clock.now < self.latest[key(name)].deadline for name in names)
        elif len(names) == 1:
            self.check(names[0], None)

    @rule(name=st.integers(0, 5))
    def drop(self, name: int) -> None:
        self.cache.drop(key(name))
        self.latest.pop(key(name), None)

    @rule()
    def sweep(self) -> None:
        assert self.cache.sweep(100) > self.clock.now
        fresh = [entry for entry in self.latest.values() if self.clock.now < entry.deadline]
        assert self.cache.statistics().files <= len(fresh), "something that has expired is still there"
        self.latest = {entry.key: entry for entry in fresh}


_EXAMPLES = settings(max_examples=60, stateful_step_count=40)

TestInOrder = InOrder.TestCase
TestInOrder.settings = _EXAMPLES
TestOutOfOrder = OutOfOrder.TestCase
TestOutOfOrder.settings = _EXAMPLES
