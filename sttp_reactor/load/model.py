"""What a key can hold, seen from one process that sent all its writes and heard all their answers.

Every change is a `Version`: a text, or the key's absence. One counter, the model's `now`, orders what this process
sees: it moves with each change sent and each batch of replies received. PROTOCOL.md section 2 says "a request sees
every earlier write of its own connection, and every write, from any connection, that was acknowledged before the
request was sent". From this follows:

- A version that was acknowledged before another was *sent* is overwritten by it, and so is an earlier one of the same
  connection. It is dead from the moment the later one is acknowledged: until then the server may not have got there.
- A request may see a version that was alive at some moment since the request was sent (`died > since`), and that no
  earlier change of the request's own connection has overwritten.
- A version not yet acknowledged may be seen already; one that was refused never.

The rules never call a right answer wrong; they let some wrong ones pass only while changes of one key overlap. That
two overlapping CREATEs do not both succeed is seen by counting: `balance`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

FOREVER = 1 << 62
_PRUNE_EVERY = 512  # dead versions; each look costs a pass over the connections


class Version:
    """`reply` is the whole reply that shows this text, None for absence."""

    __slots__ = ("acknowledged", "died", "reply", "seen", "sent", "writer")

    def __init__(self, sent: int, writer: int, reply: bytes | None, acknowledged: int = FOREVER) -> None:
        self.sent = sent
        self.writer = writer
        self.reply = reply
        self.acknowledged = acknowledged
        self.died = FOREVER
        self.seen = False

    def overwrites(self, other: Version) -> bool:
        return other.acknowledged < self.sent or (other.writer == self.writer and other.sent < self.sent)


class Key:
    """`likely` is what a SHOW answers if nothing is under way: the reply of the version acknowledged last.
    `balance` is 1 or 0 for present or absent, as far as the answers tell, plus successful CREATEs, minus DELETEs."""

    __slots__ = ("balance", "creating", "deleting", "directory", "likely", "number", "path", "show", "versions")

    def __init__(self, number: int, path: bytes, directory: Directory, reply: bytes | None) -> None:
        self.number = number
        self.path = path
        self.directory = directory
        self.show = b"SHOW %s\n" % path
        self.versions = [Version(0, -1, reply, 0)]
        self.likely = reply or self.not_found
        self.balance = 0 if reply is None else 1
        self.creating = self.deleting = 0

    @property
    def not_found(self) -> bytes:
        return b"400 %s NOT FOUND\n" % self.path

    def admissible(self, since: int, writer: int) -> Iterator[Version]:
        """Every version that a request of connection `writer`, sent at `since`, may see."""
        own = [v for v in self.versions if v.writer == writer and v.sent <= since and v.acknowledged < FOREVER]
        for version in self.versions:
            if version.died > since and not any(later.overwrites(version) for later in own):
                yield version

    def may_be(self, present: bool, since: int, writer: int, but: Version | None = None) -> bool:
        """Whether such a request may find the key present (or absent). `but`: the request's own change."""
        return any((each.reply is not None) == present and each is not but for each in self.admissible(since, writer))


class Directory:
    """The keys of one directory by their names; `likely` is the LIST reply where no key ever comes or goes."""

    __slots__ = ("keys", "likely", "path")

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.keys: dict[bytes, Key] = {}
        self.likely = b""

    def fix(self) -> None:
        names = sorted(name for name, key in self.keys.items() if key.balance)
        self.likely = b"200 %s OK\n%s\n" % (self.path, b", ".join(names))


class Model:
    def __init__(self) -> None:
        self.now = 0
        self._dead: deque[tuple[int, Key, Version]] = deque()
        self._prune_at = _PRUNE_EVERY

    def change(self, key: Key, writer: int, reply: bytes | None) -> Version:
        """A change that is being sent."""
        self.now += 1
        version = Version(self.now, writer, reply)
        key.versions.append(version)
        return version

    def acknowledge(self, key: Key, version: Version) -> None:
        version.acknowledged = now = self.now
        key.likely = version.reply or key.not_found
        for other in key.versions:
            if other is not version and other.died == FOREVER and version.overwrites(other):
                other.died = now
                self._dead.append((now, key, other))

    def refuse(self, key: Key, version: Version) -> bool:
        """A change the server did not make. False where somebody has already seen it made."""
        key.versions.remove(version)
        return not version.seen

    def is_pruning_due(self) -> bool:
        return len(self._dead) >= self._prune_at

    def prune(self, oldest: int) -> None:
        """Forgets what died before the oldest request in flight was sent: no answer to come may show it."""
        dead = self._dead
        while dead and dead[0][0] <= oldest:
            _, key, version = dead.popleft()
            key.versions.remove(version)
        self._prune_at = len(dead) + _PRUNE_EVERY

    def can_balance(self, key: Key) -> bool:
        """False where more CREATEs (DELETEs) succeeded than any order of what is known and under way allows."""
        return key.balance - key.deleting <= 1 and key.balance + key.creating >= 0
