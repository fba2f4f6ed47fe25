"""What files may hold that one connection writes: exact, because nobody else does.

Requests of one connection take effect in their order, and nobody else writes its files (PROTOCOL.md section 2). So
every reply is known when its request is made up, and comparing bytes proves it. Only a connection that is lost leaves a
doubt: of what was not answered, some first part may have been carried out. Then a file may hold what was acknowledged
last, or what any of the unanswered requests would have made of it, and nothing else.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from sttp_reactor.load.texts import text_of

State = bytes | None  # a file's text, or its absence


class Key:
    """One file. `possible` is what it may hold if none of the `pending` has been carried out: one state, or several
    once a connection was lost."""

    __slots__ = ("path", "pending", "possible")

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.possible: list[State] = [None]
        self.pending: deque[State] = deque()  # after each change that is not answered yet

    @property
    def is_certain(self) -> bool:
        return len(self.possible) == 1

    @property
    def latest(self) -> State:
        """What it holds when all that was asked is done; for a file that is certain."""
        return self.pending[-1] if self.pending else self.possible[0]

    def acknowledge(self) -> None:
        self.possible = [self.pending.popleft()]

    def lose(self) -> None:
        """The connection is gone: what is pending is done or not, and nobody will say."""
        self.possible = list(dict.fromkeys([*self.possible, *self.pending]))
        self.pending.clear()

    def settle(self, state: State) -> bool:
        """It was looked at, and no change of it is under way any more. False where that cannot be right."""
        is_right = state in self.possible
        self.possible = [state]
        return is_right


class Asked(NamedTuple):
    """A request and its only right reply; `changed` is the file whose next pending state that reply acknowledges."""

    request: bytes
    reply: bytes
    changed: Key | None = None


# Texts that grow and shrink by much and by little; the shortest have no room for a tag and may look alike.
_SIZES = (1, 2, 24, 60, 159, 160)


class Files:
    """The files of one connection, some in a directory of their own, and changes of them made up at random."""

    def __init__(self, directory: str, count: int, rng: random.Random) -> None:
        """`directory` ends with "/"."""
        self.keys = [Key(f"{directory}{number % 3}/{number:02d}".encode()) for number in range(count)]
        self._rng = rng
        self._versions = 0

    def change(self, key: Key) -> Asked:
        """A CREATE, UPDATE or DELETE that will succeed."""
        if key.latest is not None and self._rng.random() < 0.3:
            key.pending.append(None)
            return Asked(b"DELETE %s\n" % key.path, b"600 %s DELETED\n" % key.path, key)
        self._versions += 1
        number, writer = self.keys.index(key), key.path.split(b"/")[1].decode()
        text = text_of(number, writer, self._versions, self._rng.choice(_SIZES))
        is_there = key.latest is not None
        key.pending.append(text)
        if is_there:
            return Asked(b"UPDATE %s %s\n" % (key.path, text), b"200 %s OK\n%s\n" % (key.path, text), key)
        return Asked(b"CREATE %s %s\n" % (key.path, text), b"100 %s CREATED\n" % key.path, key)

    def lose(self) -> None:
        for key in self.keys:
            key.lose()


def settle_by(look: Callable[[Key], State], keys: list[Key]) -> list[str]:
    """Look at each file. Returns what is not right, in words."""
    wrong = []
    for key in keys:
        possible = key.possible
        found = look(key)
        if not key.settle(found):
            wrong.append(f"{key.path.decode()} holds {found!r}, and may hold {possible}")
    return wrong
