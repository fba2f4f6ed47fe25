"""A batch of writes as few transactions: one round trip for up to OPERATIONS of them.

Each write is a transaction within the outer one, so it succeeds or fails by itself. etcd compares before it changes
anything, for the whole of the outer transaction, and refuses one that would put a key twice. So a batch is cut where
one write may have to do with another's outcome: where a path comes again, or one is a directory of another. What is
left is as if done one after the other.

A CREATE puts the keys of the directories that it needs, each where no file is in its way. The store remembers which
directories are there, as none ever goes; then a CREATE asks only for the innermost of those it knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sttp_reactor.errors import CannotCreatePath, FileMissing, PathMissing, Refused, StoreError, StoreFailed
from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.etcd.answers import OutcomeUnknown, RefusedWhole, Unavailable
from sttp_reactor.store.etcd.cluster import Cluster
from sttp_reactor.store.etcd.keys import Keys, ancestors_of, parent_of
from sttp_reactor.store.etcd.wording import (
    Json,
    count_of,
    if_all,
    is_missing,
    is_there,
    look,
    parts_of,
    presence,
    put,
    ranges_of,
    remove,
)

# Operations of one outer transaction, that of the last write's key not counted. More are no quicker (60: 8,400 a
# second, 120: 6,900), and with what one of them compares they must stay below etcd's --max-txn-ops, 128 by default.
OPERATIONS: Final = 60
# Directories made by one transaction for one path. A deeper one takes several.
_DIRECTORIES: Final = 32
# Directories remembered: some 10 MB. Then all are forgotten, and looked for again.
_REMEMBERED: Final = 100_000


class Writer:
    """For one thread at a time."""

    def __init__(self, cluster: Cluster, keys: Keys) -> None:
        self._cluster = cluster
        self._keys = keys
        self._known: set[bytes] = set()  # directories that are there; with each, all that lead to it

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        """See `store.base.Store.commit`. Where the cluster is lost on the way the rest is not tried: everybody in a
        commit waits for the whole of it."""
        outcomes: list[StoreError | None] = []
        while len(outcomes) < len(writes):
            outcomes += self._carry_out_some(writes[len(outcomes) :])
            if isinstance(outcomes[-1], Unavailable | OutcomeUnknown):
                lost = Unavailable("the cluster was lost a moment before; nothing was done")
                return outcomes + [lost] * (len(writes) - len(outcomes))
        return outcomes

    def _carry_out_some(self, writes: Sequence[Write]) -> list[StoreError | None]:
        """The outcomes of the first of these, one or more, that could go out together."""
        try:
            if not self._make_depth(writes[0]):
                return [CannotCreatePath()]
        except StoreFailed as error:
            return [error]
        run = self._run_of(writes)
        try:
            answer = self._cluster.write([*run.operations, put(self._keys.last_write)])
        except RefusedWhole as error:
            if error.is_too_much and len(run.writes) > 1:  # for a cluster with lower limits than ours are made for
                return self._carry_out_some(writes[: len(run.writes) // 2])
            return [error] * len(run.writes)
        except StoreFailed as error:
            return [error] * len(run.writes)
        return [
            self._outcome(write, part.get("response_txn", {}))
            for write, part in zip(run.writes, parts_of(answer), strict=False)  # the last part is of no write
        ]

    def _run_of(self, writes: Sequence[Write]) -> _Run:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        run = _Run(self._keys, self._known)
        for write in writes:
            if not run.add(write):
                break
        return run

    def _make_depth(self, write: Write) -> bool:
        """Make directories until few enough are left for the transaction of `write` itself. False where there is a file
        in their way."""
        while write.operation is Operation.CREATE:
            missing = [each for each in ancestors_of(write.path) if each not in self._known]
            if len(missing) <= _DIRECTORIES:
                break
            some = missing[:_DIRECTORIES]
            run = _Run(self._keys, self._known)
            answer = self._cluster.write([run.make(parent_of(some[0]), some), put(self._keys.last_write)])
            if parts_of(answer)[0].get("response_txn", {}).get("succeeded"):
                self._known.update(some)
            elif self._known:
                self._known.clear()  # what we know may be wrong: somebody has emptied the cluster
            else:
                return False
        return True

    def _outcome(self, write: Write, answer: Json) -> StoreError | None:
        if write.operation is Operation.CREATE:
            return self._outcome_of_create(write, answer)
        if answer.get("succeeded"):
            return None
        is_directory, has_parent = map(count_of, ranges_of(answer))
        if is_directory:
            return Refused(f"this is a directory; {write.operation.name} takes a file")
        return FileMissing() if has_parent or not parent_of(write.path) else PathMissing()

    def _outcome_of_create(self, write: Write, answer: Json) -> StoreError | None:
        if not answer.get("succeeded"):
            if all(map(count_of, ranges_of(answer))):
                return CannotCreatePath()
            self._known.clear()  # the directory that we took to be there is not: somebody has emptied the cluster
            return self._carry_out_some([write])[0]
        self._known.update(ancestors_of(write.path))
        innermost = parts_of(answer)[-1].get("response_txn", {})
        if innermost.get("succeeded"):
            return None
        is_directory = count_of(ranges_of(innermost)[0])
        return Refused("this is a directory" if is_directory else "it exists already; use UPDATE")


class _Run:
    """Writes that can go out in one transaction."""

    def __init__(self, keys: Keys, known: set[bytes]) -> None:
        self.writes: list[Write] = []
        self.operations: list[Json] = []  # one for each write
        self._keys = keys
        self._known = known
        self._paths: set[bytes] = set()
        self._made: set[bytes] = set()

    def add(self, write: Write) -> bool:
        """False, and nothing done, where it has to wait for the next one."""
        path = write.path
        above = ancestors_of(path)
        new: list[bytes] = []
        if write.operation is Operation.CREATE:
            new = [each for each in above if each not in self._known]
        if self.writes and (
            path in self._paths
            or path in self._made
            or not self._paths.isdisjoint(above)
            or len(new) > _DIRECTORIES
            or len(self.operations) == OPERATIONS
        ):
            return False
        self.writes.append(write)
        self._paths.add(path)
        self.operations.append(self._create(write, new) if write.operation is Operation.CREATE else self._change(write))
        return True

    def make(self, base: bytes, directories: Sequence[bytes], then: Sequence[Json] = ()) -> Json:
        """Put the keys of `directories`, the first of which is in `base` and each other in the one before it, and do
        what follows. Nothing of it where a file is in the way, or `base`, which we take to be there, is not."""
        compares = [is_missing(self._keys.file(each)) for each in directories]
        if base:
            compares.append(is_there(self._keys.directory(base)))
        new = [self._keys.directory(each) for each in directories if each not in self._made]
        self._made.update(directories)
        puts = [if_all([is_missing(key)], [put(key)], []) for key in new]
        return if_all(compares, [*puts, *then], _looks([self._keys.directory(base)] if base else []))

    def _create(self, write: Write, new: Sequence[bytes]) -> Json:
        file, directory = self._keys.file(write.path), self._keys.directory(write.path)
        it = if_all([is_missing(file), is_missing(directory)], [put(file, write.contents or b"")], _looks([directory]))
        return self.make(parent_of(new[0] if new else write.path), new, [it])

    def _change(self, write: Write) -> Json:
        file, directory, parent = self._keys.file(write.path), self._keys.directory(write.path), parent_of(write.path)
        change = remove(file) if write.operation is Operation.DELETE else put(file, write.contents or b"")
        return if_all(
            [is_there(file)], [change], _looks([directory, self._keys.directory(parent) if parent else directory])
        )


def _looks(keys: Sequence[bytes]) -> list[Json]:
    return [look(presence(key)) for key in keys]
