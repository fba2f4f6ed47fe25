"""What the key-value service can do: one function for each command, found by its name, as Redis answers it.

A value is kept as the reply to its GET, ready to send: GET is then one look into a dict. What is about to expire
stands in a heap as well, so that a timer finds it; a key that has been given another time since is known by that.
"""

from __future__ import annotations

import heapq
import itertools
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sttp_reactor.services.resp import MAX_VALUE_BYTES, Command

NIL: Final = b"$-1\r\n"
OK: Final = b"+OK\r\n"
OOM: Final = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
# What one entry takes besides its bytes: two objects, and its place in the dict (CPython 3.11, 64 bits).
ENTRY_BYTES: Final = 150
EXPIRE_SLICE: Final = 500
# Iterations (SCAN) that can be under way at once; the one not continued for longest is forgotten.
SCANS: Final = 16


class Refused(Exception):
    """A command that is wrong; the text is the error, without its `-` and line end."""


class Store:
    """Keys and their values. `clock` gives seconds; its zero means nothing. Belongs to the reactor's thread."""

    def __init__(self, clock: Callable[[], float], max_memory: int) -> None:
        self.clock = clock
        self.max_memory = max_memory
        self.replies: dict[bytes, bytes] = {}
        self.deadlines: dict[bytes, float] = {}
        self.used = 0
        self.expired = 0
        self._heap: list[tuple[float, bytes]] = []
        self._scans: OrderedDict[int, list[bytes]] = OrderedDict()
        self._scan_ids = itertools.count(1)

    def get(self, key: bytes) -> bytes | None:
        """The value's reply, or None; what has expired is gone, whether the timer has come to it or not."""
        if key in self.deadlines and self.deadlines[key] <= self.clock():
            self.delete(key)
            self.expired += 1
        return self.replies.get(key)

    def value(self, key: bytes) -> bytes | None:
        reply = self.get(key)
        return None if reply is None else reply[reply.index(b"\n") + 1 : -2]

    def set(self, key: bytes, value: bytes) -> None:
        """A deadline that the key has stays."""
        reply = bulk(value)
        before = self.replies.get(key)
        self.used += len(reply) - len(before) if before is not None else len(reply) + len(key) + ENTRY_BYTES
        self.replies[key] = reply

    def delete(self, key: bytes) -> bool:
        reply = self.replies.pop(key, None)
        if reply is None:
            return False
        self.used -= len(reply) + len(key) + ENTRY_BYTES
        self.deadlines.pop(key, None)
        return True

    def expire(self, key: bytes, deadline: float | None) -> None:
        """None: it stays for ever."""
        if deadline is None:
            self.deadlines.pop(key, None)
            return
        self.deadlines[key] = deadline
        heapq.heappush(self._heap, (deadline, key))
        if len(self._heap) > 2 * len(self.deadlines) + EXPIRE_SLICE:  # mostly times that no longer hold
            self._heap = [(when, each) for each, when in self.deadlines.items()]
            heapq.heapify(self._heap)

    def expire_some(self) -> float | None:
        """Drop what is due, EXPIRE_SLICE keys at the most. When to come again: seconds from now; None without need."""
        now = self.clock()
        for _ in range(EXPIRE_SLICE):
            if not self._heap:
                return None
            deadline, key = self._heap[0]
            if deadline > now:
                return deadline - now
            heapq.heappop(self._heap)
            if self.deadlines.get(key) == deadline:
                self.delete(key)
                self.expired += 1
        return 0.0

    def flush(self) -> None:
        self.replies, self.deadlines, self._heap, self.used = {}, {}, [], 0

    def scan(self, cursor: int, count: int) -> tuple[int, list[bytes]]:
        """The next `count` keys of an iteration (0 begins one) and its next cursor, 0 at the end. An iteration goes
        over the keys there were at its beginning: whatever is there all the while is seen once."""
        number, position = divmod(cursor, 1 << 32)
        keys = list(self.replies) if cursor == 0 else self._scans.pop(number, [])
        if cursor == 0:
            number = next(self._scan_ids)
        end = position + count
        if end < len(keys):
            self._scans[number] = keys
            if len(self._scans) > SCANS:
                self._scans.popitem(last=False)
        return ((number << 32) + end if end < len(keys) else 0), keys[position:end]


def bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def array(items: list[bytes]) -> bytes:
    return b"*%d\r\n%b" % (len(items), b"".join(items))


def integer(text: bytes, what: str = "value is not an integer or out of range") -> int:
    """A signed 64-bit number as Redis writes it. Raises Refused."""
    if re.fullmatch(rb"-?[1-9][0-9]{0,18}|0", text) is None or not -(1 << 63) <= int(text) < 1 << 63:
        raise Refused(f"ERR {what}")
    return int(text)


class Spec(NamedTuple):
    """`least` and `most` words, the name counted; `grows` what may take memory, and is refused when there is none."""

    run: Callable[[Store, Command], bytes]
    least: int
    most: float
    grows: bool


COMMANDS: Final[dict[bytes, Spec]] = {}


def command(least: int, most: float | None = None, *, grows: bool = False) -> Callable[..., Any]:
    """Put a function into the table, under its own name. `most` None: as many as `least`."""

    def add(run: Callable[[Store, Command], bytes]) -> Callable[[Store, Command], bytes]:
        name = run.__name__.strip("_").encode()
        # Both ways of writing that clients use; any other costs a look more.
        COMMANDS[name] = COMMANDS[name.upper()] = Spec(run, least, least if most is None else most, grows)
        return run

    return add


MANY: Final = float("inf")


@command(1, 2)
def ping(_store: Store, words: Command) -> bytes:
    return b"+PONG\r\n" if len(words) == 1 else bulk(words[1])


@command(2)
def echo(_store: Store, words: Command) -> bytes:
    return bulk(words[1])


@command(2)
def get(store: Store, words: Command) -> bytes:
    if store.deadlines:
        return store.get(words[1]) or NIL
    return store.replies.get(words[1], NIL)


@command(3, MANY, grows=True)
def _set(store: Store, words: Command) -> bytes:
    if len(words) == 3:
        store.set(words[1], words[2])
        if store.deadlines:
            store.deadlines.pop(words[1], None)
        return OK
    return _set_with(store, words[1], words[2], words[3:])


def _set_with(store: Store, key: bytes, value: bytes, options: list[bytes]) -> bytes:
    words = iter(options)
    given = {word.upper(): next(words, None) if word.upper() in (b"EX", b"PX") else b"" for word in words}
    times = given.keys() & {b"EX", b"PX", b"KEEPTTL"}
    if given.keys() - {b"EX", b"PX", b"NX", b"XX", b"GET", b"KEEPTTL"} or None in given.values() or len(times) > 1:
        raise Refused("ERR syntax error")
    if {b"NX", b"XX"} <= given.keys():
        raise Refused("ERR syntax error")
    unit = b"EX" if b"EX" in given else b"PX"
    seconds = _positive(given.get(unit) or b"", unit == b"PX") if unit in given else None
    before = store.get(key)
    if (b"NX" in given and before is not None) or (b"XX" in given and before is None):
        return (before or NIL) if b"GET" in given else NIL
    store.set(key, value)
    if b"KEEPTTL" not in given:
        store.expire(key, None if seconds is None else store.clock() + seconds)
    return (before or NIL) if b"GET" in given else OK


def _positive(text: bytes, milliseconds: bool) -> float:
    number = integer(text)
    if not 0 < number < 1 << 53:
        raise Refused("ERR invalid expire time in 'set' command")
    return number / 1000 if milliseconds else number


@command(3, grows=True)
def getset(store: Store, words: Command) -> bytes:
    return _set_with(store, words[1], words[2], [b"GET"])


@command(3, grows=True)
def setnx(store: Store, words: Command) -> bytes:
    if store.get(words[1]) is not None:
        return b":0\r\n"
    store.set(words[1], words[2])
    return b":1\r\n"


@command(2, MANY)
def mget(store: Store, words: Command) -> bytes:
    return array([store.get(key) or NIL for key in words[1:]])


@command(3, MANY, grows=True)
def mset(store: Store, words: Command) -> bytes:
    if len(words) % 2 == 0:
        raise Refused("ERR wrong number of arguments for 'mset' command")
    for key, value in zip(words[1::2], words[2::2], strict=True):
        store.set(key, value)
        store.expire(key, None)
    return OK


@command(2, MANY)
def _del(store: Store, words: Command) -> bytes:
    return b":%d\r\n" % sum(store.get(key) is not None and store.delete(key) for key in words[1:])


@command(2, MANY)
def exists(store: Store, words: Command) -> bytes:
    return b":%d\r\n" % sum(store.get(key) is not None for key in words[1:])


def _add(store: Store, key: bytes, more: int) -> bytes:
    value = store.value(key)
    number = (0 if value is None else integer(value)) + more
    if not -(1 << 63) <= number < 1 << 63:
        raise Refused("ERR increment or decrement would overflow")
    store.set(key, b"%d" % number)
    return b":%d\r\n" % number


@command(2, grows=True)
def incr(store: Store, words: Command) -> bytes:
    return _add(store, words[1], 1)


@command(2, grows=True)
def decr(store: Store, words: Command) -> bytes:
    return _add(store, words[1], -1)


@command(3, grows=True)
def incrby(store: Store, words: Command) -> bytes:
    return _add(store, words[1], integer(words[2]))


@command(3, grows=True)
def decrby(store: Store, words: Command) -> bytes:
    less = integer(words[2])
    if less == -(1 << 63):
        raise Refused("ERR decrement would overflow")
    return _add(store, words[1], -less)


@command(3, grows=True)
def append(store: Store, words: Command) -> bytes:
    value = (store.value(words[1]) or b"") + words[2]
    if len(value) > MAX_VALUE_BYTES:
        raise Refused("ERR string exceeds maximum allowed size (proto-max-bulk-len)")
    store.set(words[1], value)
    return b":%d\r\n" % len(value)


@command(2)
def strlen(store: Store, words: Command) -> bytes:
    return b":%d\r\n" % len(store.value(words[1]) or b"")


def _expire_in(store: Store, words: Command, unit: float) -> bytes:
    number = integer(words[2])
    if abs(number) >= 1 << 53:
        raise Refused(f"ERR invalid expire time in '{words[0].decode().lower()}' command")
    if store.get(words[1]) is None:
        return b":0\r\n"
    if number <= 0:
        store.delete(words[1])
    else:
        store.expire(words[1], store.clock() + number * unit)
    return b":1\r\n"


@command(3)
def expire(store: Store, words: Command) -> bytes:
    return _expire_in(store, words, 1)


@command(3)
def pexpire(store: Store, words: Command) -> bytes:
    return _expire_in(store, words, 0.001)


def _left(store: Store, key: bytes, units: float) -> bytes:
    if store.get(key) is None:
        return b":-2\r\n"
    deadline = store.deadlines.get(key)
    return b":-1\r\n" if deadline is None else b":%d\r\n" % round((deadline - store.clock()) * units)


@command(2)
def ttl(store: Store, words: Command) -> bytes:
    return _left(store, words[1], 1)


@command(2)
def pttl(store: Store, words: Command) -> bytes:
    return _left(store, words[1], 1000)


@command(2)
def persist(store: Store, words: Command) -> bytes:
    return b":%d\r\n" % (store.get(words[1]) is not None and store.deadlines.pop(words[1], None) is not None)


@command(2)
def type(store: Store, words: Command) -> bytes:
    return b"+none\r\n" if store.get(words[1]) is None else b"+string\r\n"


@command(1)
def dbsize(store: Store, _words: Command) -> bytes:
    return b":%d\r\n" % len(store.replies)


@command(1, 2)
def flushdb(store: Store, words: Command) -> bytes:
    if len(words) == 2 and words[1].upper() not in (b"SYNC", b"ASYNC"):
        raise Refused("ERR syntax error")
    store.flush()
    return OK
