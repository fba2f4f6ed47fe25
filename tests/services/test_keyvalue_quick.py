"""The quick way of the key-value service gives the same as the parser and the commands, or nothing at all."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("hiredis", reason="the extra `services`")

from sttp_reactor.services.keyvalue_commands import COMMANDS, OOM, Store
from sttp_reactor.services.keyvalue_quick import MOST_BYTES, MOST_REPLY_BYTES, quick_replies
from sttp_reactor.services.resp import Command, CommandParser

KEYS = [b"a", b"b", b"", b"line\r\nend", b"\r", b"x" * 511, b"x" * 512, b"x" * 513]
VALUES = [b"", b"1", b"\r\n", b"value\r", b"\n", b"$3", b"y" * 600]


def written(*words: bytes) -> bytes:
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def one_by_one(store: Store, chunk: bytes) -> bytes:
    """As `Session` does it."""
    parser = CommandParser()
    commands: list[Command] = parser.feed(chunk)
    assert parser.fault is None
    assert not parser.buffered
    replies = []
    for words in commands:
        spec = COMMANDS[words[0]]
        replies.append(OOM if spec.grows and store.used > store.max_memory else spec.run(store, words))
    return b"".join(replies)


def make(now: Callable[[], float] = lambda: 0.0, memory: int = 1 << 30) -> Store:
    store = Store(now, memory)
    store.set(b"a", b"first")
    store.set(b"t", b"for a time")
    store.expire(b"t", 10.0)
    return store


def state(store: Store) -> tuple[object, ...]:
    return store.replies, store.deadlines, store.used


GETS = st.lists(st.tuples(st.just(b"GET"), st.sampled_from(KEYS)), min_size=1, max_size=8)
SETS = st.lists(st.tuples(st.just(b"SET"), st.sampled_from(KEYS), st.sampled_from(VALUES)), min_size=1, max_size=8)


@given(st.lists(st.one_of(GETS, SETS), min_size=1, max_size=5))
def test_the_same_replies_and_the_same_store(rounds: list[list[tuple[bytes, ...]]]) -> None:
    quick, plain = make(), make()
    for commands in rounds:
        chunk = b"".join(written(*words) for words in commands)
        expected = one_by_one(plain, chunk)
        replies = quick_replies(quick, chunk)
        if replies is None:
            assert any(b"\r\n" in word or len(word) > 512 for words in commands for word in words)
            assert one_by_one(quick, chunk) == expected
        else:
            assert replies == (expected, len(commands))
        assert state(quick) == state(plain)


@pytest.mark.parametrize(
    "chunk",
    [
        written(b"GET", b"a")[:-1],
        written(b"GET", b"a")[:-2],
        written(b"GET", b"a") + b"*",
        written(b"GET", b"a") + written(b"SET", b"a", b"1"),
        written(b"SET", b"a", b"1") + written(b"GET", b"a"),
        written(b"GET", b"a") + b"PING\r\n",
        written(b"SET", b"a", b"1", b"NX"),
        written(b"DEL", b"a"),
        written(b"APPEND", b"a", b"1"),
        b"*2\r\n$3\r\nGET\r\n$2\r\na\r\n",
        b"*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
        b"*2\r\n$4\r\nGET\r\n$1\r\na\r\n",
        b"*3\r\n$3\r\nGET\r\n$1\r\na\r\n",
        b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$-1\r\n\r\n",
        b"*2\r\n:3\r\nGET\r\n$1\r\na\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET a\r\n",
        b"\r\n",
        written(b"GET", b"t"),
        written(b"SET", b"t", b"1"),
        written(b"GET", b"a") * (MOST_BYTES // 20 + 1),
    ],
    ids=range(21),
)
def test_what_is_anything_else_is_left_to_the_parser_untouched(chunk: bytes) -> None:
    store = make()
    assert quick_replies(store, chunk) is None
    assert state(store) == state(make())


def test_replies_that_are_large_go_in_pieces() -> None:
    store = make()
    store.set(b"large", b"x" * (MOST_REPLY_BYTES // 2))
    assert quick_replies(store, written(b"GET", b"large")) is not None
    assert quick_replies(store, 2 * written(b"GET", b"large")) is None


def test_near_the_end_of_the_memory_each_command_is_looked_at() -> None:
    store = make(memory=1 << 15)
    replies = []
    for number in range(300):
        chunk = written(b"SET", b"%d" % number, b"x" * 100)
        quick = quick_replies(store, chunk)
        replies.append(one_by_one(store, chunk) if quick is None else quick[0])
    assert {*replies} == {b"+OK\r\n", OOM}
    assert store.used <= (1 << 15) + 300
