"""The keys of one process: making them before the load, the source that uses them, deleting them after it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sttp_reactor.client.exchange import Socket
from sttp_reactor.load import outcomes as out
from sttp_reactor.load.draws import make_draws
from sttp_reactor.load.errands import Errand, Watch, deletion, run_errands
from sttp_reactor.load.exact import ExactSource, Pair, Source
from sttp_reactor.load.faults import Mistakes
from sttp_reactor.load.link import Link
from sttp_reactor.load.mixed import MixedSource
from sttp_reactor.load.model import Directory, Key
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.texts import directory_of, name_of, text_of

ERRAND_CONNECTIONS = 32  # with their pipelines, a thousand requests under way: more would only queue


class Keyspace:
    """`process` counts from 0. Keys that all processes share are made and deleted by each in part."""

    def __init__(self, plan: Plan, process: int) -> None:
        self._plan = plan
        self._process = process
        self._shard = process if plan.shards > 1 else 0

    @property
    def _mine(self) -> range:
        """The keys that this process makes and deletes."""
        plan = self._plan
        return range(plan.keys_per_shard) if plan.writes else range(self._process, plan.keys, plan.processes)

    @property
    def count(self) -> int:
        return len(self._mine)

    def path(self, key: int) -> bytes:
        return (directory_of(self._plan.target.directory, self._shard, key) + name_of(key)).encode()

    def first_text(self, key: int) -> bytes:
        """What `key` holds before the load: the same in all processes, and for the same seed in every run."""
        low, high = self._plan.sizes
        # A multiplicative hash: sizes spread evenly, and need no generator that would have to be in step everywhere.
        spread = (key * 2654435761 + self._plan.seed * 40503) % (1 << 32)
        return text_of(key, "first", 0, low + spread * (high - low + 1) // (1 << 32))

    def _first_reply(self, key: int) -> bytes:
        return b"200 %s OK\n%s\n" % (self.path(key), self.first_text(key))

    def prepare(self, sockets: Sequence[Socket], mistakes: Mistakes, watch: Watch) -> bool:
        """Brings every key into its first state. What an earlier run has left is taken over. False where that did not
        work out; `mistakes` says why, unless the engine was stopped."""
        plan = self._plan
        some, timeout = sockets[:ERRAND_CONNECTIONS], plan.timeout
        replies, fine = run_errands(some, map(self._first_errand, self._mine), mistakes, timeout, watch)
        there = [key for key in self._mine if replies.get(self._create(key), b"").startswith(b"300")]
        if fine and there:
            _, fine = run_errands(some, map(self._take_over, there), mistakes, timeout, watch)
        return fine and not mistakes.count

    def _create(self, key: int) -> bytes:
        return b"CREATE %s %s\n" % (self.path(key), self.first_text(key))

    def _first_errand(self, key: int) -> Errand:
        path = self.path(key)
        if not self._plan.starts_present(key):
            return deletion(path)
        return self._create(key), (b"100 %s CREATED\n" % path, b"300 %s " % path)

    def _take_over(self, key: int) -> Errand:
        return b"UPDATE %s %s\n" % (self.path(key), self.first_text(key)), (self._first_reply(key),)

    def clean(self, sockets: Sequence[Socket], watch: Watch) -> tuple[int, Mistakes]:
        """Deletes every key that this process made, or may have; how many are left, and why."""
        mistakes, left = Mistakes(), list(self._mine)
        while True:
            # A server that is full takes some of the connections only. What was asked on the others is asked again,
            # as long as that gets any further.
            some = [each for each in sockets if each.fileno() >= 0][:ERRAND_CONNECTIONS]
            replies, _ = run_errands(some, map(self._deletion, left), mistakes, self._plan.timeout, watch)
            before, left = len(left), [key for key in left if self._deletion(key)[0] not in replies]
            if not left or len(left) == before:
                return len(left), mistakes

    def _deletion(self, key: int) -> Errand:
        return deletion(self.path(key))

    def source(self, links: Iterable[Link], mistakes: Mistakes) -> Source:
        if self._plan.only_shows:
            return ExactSource(self._take_shows(), out.SHOW_200, mistakes)
        return MixedSource(self._plan, self._process, self._make_keys(), links, mistakes)

    def _take_shows(self) -> Callable[[int], list[Pair]]:
        pairs = _Pairs(self)
        draw = make_draws(self._plan.distribution, self._plan.keys, f"{self._plan.seed}/{self._process}")
        block: list[int] = []

        def take(count: int) -> list[Pair]:
            if count == 1:
                if not block:
                    block.extend(draw())
                return [pairs[block.pop()]]
            while len(block) < count:
                block[:0] = draw()
            drawn = block[-count:]
            del block[-count:]
            drawn.reverse()
            return [pairs[key] for key in drawn]

        return take

    def _make_keys(self) -> list[Key]:
        directories: dict[bytes, Directory] = {}
        keys: list[Key] = []
        for number in range(self._plan.keys_per_shard):
            path = directory_of(self._plan.target.directory, self._shard, number).encode()
            directory = directories.setdefault(path, Directory(path))
            reply = self._first_reply(number) if self._plan.starts_present(number) else None
            key = Key(number, self.path(number), directory, reply)
            directory.keys[name_of(number).encode()] = key
            keys.append(key)
        for directory in directories.values():
            directory.fix()
        return keys


class _Pairs(dict[int, Pair]):
    """Requests and replies of the keys drawn so far: with a million keys, most runs never touch most of them."""

    def __init__(self, keyspace: Keyspace) -> None:
        super().__init__()
        self._keyspace = keyspace

    def __missing__(self, key: int) -> Pair:
        space = self._keyspace
        pair = self[key] = (b"SHOW %s\n" % space.path(key), space._first_reply(key))
        return pair
