"""What a client of a soak asks: requests, each with its right reply. No sockets."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from soak.model import Files, Key, State

# After a connection was lost the server may still be at work on what it had read of it; nobody can tell from outside.
# For this long its files are only looked at. A server that has not carried out a few hundred requests by then is none.
DOUBT_SECONDS = 5.0

_KEYS = 24


class Question(NamedTuple):
    """`fits` is the only right reply, or tells whether one is right; `changed` is as in `model.Asked`."""

    request: bytes
    fits: bytes | Callable[[bytes], bool]
    changed: Key | None = None


class Talk:
    """One client's. Nobody else may change its files."""

    def __init__(self, number: int, rng: random.Random) -> None:
        self._rng = rng
        self._home = f"/soak{number}/"
        self.files = Files(self._home, _KEYS, rng)
        self._doubtful: dict[Key, float] = {}  # until when
        self._makers = (self._change, self._show, self._list, self._refused)

    def first(self) -> list[Question]:
        """To be asked before anything else: makes every file, so that the directories are there for good."""
        return [Question(*self.files.change(key)) for key in self.files.keys]

    def questions(self, count: int) -> list[Question]:
        return [make() for make in self._rng.choices(self._makers, (30, 60, 4, 6), k=count)]

    def shows(self, count: int) -> list[Question]:
        """Reading only."""
        return [self._show() for _ in range(count)]

    def look(self) -> list[Question]:
        """Every file; for another connection, once this one's requests are all answered."""
        return [self._show_of(key) for key in self.files.keys]

    def lose(self) -> None:
        """The connection is gone, with requests unanswered perhaps."""
        until = time.monotonic() + DOUBT_SECONDS
        self._doubtful.update({key: until for key in self.files.keys if key.pending})
        self.files.lose()

    def settle(self, *, all_of_them: bool = False) -> list[Question]:
        """Look at the files whose doubt is over. Nothing else may be asked before these are answered."""
        now = time.monotonic()
        return [
            Question(b"SHOW %b\n" % key.path, partial(self._settled, key))
            for key, until in self._doubtful.items()
            if until <= now or all_of_them
        ]

    @property
    def seconds_of_doubt(self) -> float:
        return max([0.0, *(until - time.monotonic() for until in self._doubtful.values())])

    # -- One question each --

    def _change(self) -> Question:
        key = self._rng.choice(self.files.keys)
        return self._show_of(key) if key in self._doubtful else Question(*self.files.change(key))

    def _show(self) -> Question:
        return self._show_of(self._rng.choice(self.files.keys))

    def _show_of(self, key: Key) -> Question:
        request = b"SHOW %b\n" % key.path
        if key in self._doubtful:
            replies = {_shown(key, state) for state in key.possible}
            return Question(request, replies.__contains__)
        return Question(request, _shown(key, key.latest))

    def _list(self) -> Question:
        directory = self._rng.choice(self.files.keys).path.rpartition(b"/")[0] + b"/"
        keys = [key for key in self.files.keys if key.path.startswith(directory)]
        request, head = b"LIST %b\n" % directory, b"200 %b OK\n" % directory
        sure = {_name(key) for key in keys if key not in self._doubtful and key.latest is not None}
        if not self._doubtful:
            return Question(request, head + b", ".join(sorted(sure)) + b"\n")
        maybe = sure | {_name(key) for key in keys if key in self._doubtful}

        def fits(reply: bytes) -> bool:
            names = reply[len(head) : -1].split(b", ") if len(reply) > len(head) + 1 else []
            return reply.startswith(head) and names == sorted(names) and sure <= set(names) <= maybe

        return Question(request, fits)

    def _refused(self) -> Question:
        """What breaks a rule, or is about nothing. PROTOCOL.md leaves the words of a 300 open."""
        home = self._home.encode()
        refused: list[tuple[bytes, bytes | None]] = [
            (b"show %b0" % home, home + b"0"),
            (b"SHOW", None),
            (b"SHOW  %b0" % home, None),
            (b" SHOW /", None),
            (b"SHOW /\xff", None),
            (b"SHOW %b../x" % home, home + b"../x"),
            (b"SHOW /.sttp/journal", b"/.sttp/journal"),
            (b"SHOW %b0" % home, home + b"0"),
            (b"CREATE %b0 text" % home, home + b"0"),
            (b"DELETE %b0/" % home, home + b"0/"),
            (b"CREATE /long %b" % (b"x" * 161), b"/long"),
            (b"LIST / text", b"/"),
            (b"x" * 2000, None),
        ]
        missing = [
            (b"UPDATE %b0/none text" % home, b"400 %b0/none NOT FOUND\n" % home),
            (b"DELETE /nowhere/none", b"410 /nowhere/ PATH NOT FOUND\n"),
            (b"LIST /nowhere/none", b"410 /nowhere/ PATH NOT FOUND\n"),
            (b"LIST %bnone" % home, b"400 %bnone NOT FOUND\n" % home),
            (b"SHOW /%b" % (b"n" * 33), b"310 /%b FILENAME TOO LONG\n" % (b"n" * 33)),
        ]
        if self._rng.random() < 0.5:
            line, reply = self._rng.choice(missing)
            return Question(line + b"\n", reply)
        line, path = self._rng.choice(refused)
        form = re.compile(rb'300 %b CLIENT ERROR "[^"\n]+"\n' % re.escape(path or b"-"))
        return Question(line + b"\n", lambda reply: form.fullmatch(reply) is not None)

    def _settled(self, key: Key, reply: bytes) -> bool:
        for state in key.possible:
            if reply == _shown(key, state):
                key.settle(state)
                self._doubtful.pop(key, None)
                return True
        return False


def _name(key: Key) -> bytes:
    return key.path.rpartition(b"/")[2]


def _shown(key: Key, state: State) -> bytes:
    """What a SHOW answers."""
    return b"400 %b NOT FOUND\n" % key.path if state is None else b"200 %b OK\n%b\n" % (key.path, state)
