"""The cache's contract, on a clock wound by hand: what goes first, what is too old, and what is counted."""

from __future__ import annotations

import math

import pytest
from scripted import HandClock

from sttp_reactor.limits import CHUNK_LINES, SWEEP_GLANCE
from sttp_reactor.sttp.cache import Cache

EXPIRATION = 300.0


def key(name: str) -> bytes:
    return b"SHOW /%b\n" % name.encode()


def reply(name: str, text: str = "x") -> bytes:
    return f"200 /{name} OK\n{text}\n".encode()


class Kept:
    """A cache and its clock, with what the tests do all the time."""

    def __init__(self, max_files: int = 100, max_bytes: int = 1 << 20, expiration: float = EXPIRATION) -> None:
        self.clock = HandClock()
        self.cache = Cache(max_files, max_bytes, expiration, self.clock)

    def replies_to(self, chunk: bytes) -> bytes | None:
        return self.cache.replies_to(chunk, self.clock.now)

    def put(self, *names: str, text: str = "x", age: float = 0.0) -> None:
        for name in names:
            self.cache.put(key(name), reply(name, text), self.clock.now - age)

    def has(self, name: str) -> bool:
        return self.cache.get(key(name)) is not None

    def held(self, names: str) -> str:
        """Which of `names`, a letter each, are there."""
        return "".join(name for name in names if self.has(name))

    def __len__(self) -> int:
        return self.cache.statistics().files


# -- Least recently used --


def test_the_least_recently_used_goes_first() -> None:
    kept = Kept(max_files=3)
    kept.put("a", "b", "c", "d")
    assert kept.held("abcd") == "bcd"
    kept.put("e")
    assert kept.held("abcde") == "cde"
    assert kept.cache.statistics().evicted == 2


@pytest.mark.parametrize("use", ["get", "alone", "in a chunk", "put again"])
def test_every_use_counts_as_one(use: str) -> None:
    kept = Kept(max_files=3)
    kept.put("a", "b", "c")
    if use == "get":
        assert kept.has("a")
    elif use == "alone":
        assert kept.replies_to(key("a")) == reply("a")
    elif use == "in a chunk":
        assert kept.replies_to(key("b") + key("a")) == reply("b") + reply("a")
    else:
        kept.put("a")
    kept.put("d")
    assert kept.held("abcd") == ("acd" if use != "in a chunk" else "abd")


def test_a_chunk_uses_its_lines_in_their_order() -> None:
    kept = Kept(max_files=3)
    kept.put("a", "b", "c")
    kept.replies_to(key("b") + key("c") + key("a") + key("b"))
    kept.put("d", "e")
    assert kept.held("abcde") == "bde"


def test_a_chunk_that_misses_uses_nothing_and_counts_nothing() -> None:
    kept = Kept(max_files=3)
    kept.put("a", "b", "c")
    before = kept.cache.statistics()
    assert kept.replies_to(key("a") + key("z")) is None
    assert kept.cache.statistics() == before
    kept.put("d")
    assert kept.held("abcd") == "bcd"


def test_bytes_are_those_of_the_replies() -> None:
    size = len(reply("a"))
    kept = Kept(max_bytes=3 * size)
    kept.put("a", "b", "c")
    assert kept.cache.statistics()[:2] == (3, 3 * size)
    kept.put("d")
    assert kept.held("abcd") == "bcd"
    assert kept.cache.statistics().bytes == 3 * size


def test_one_large_reply_costs_as_many_small_ones_as_it_needs() -> None:
    size = len(reply("a"))
    kept = Kept(max_bytes=4 * size)
    kept.put("a", "b", "c", "d")
    kept.put("e", text="x" * (2 * size + 1))  # three replies' worth, with its frame
    assert kept.held("abcde") == "de"
    assert kept.cache.statistics().bytes <= 4 * size


def test_a_reply_of_exactly_the_limit_is_kept_and_a_longer_one_is_not() -> None:
    size = len(reply("a", "12345"))
    kept = Kept(max_bytes=size)
    kept.put("a", text="12345")
    assert kept.has("a")
    kept.put("b", text="123456")
    assert kept.held("ab") == "a", "what is not kept costs nobody his place"


def test_what_is_too_long_to_keep_still_replaces_what_was_kept() -> None:
    kept = Kept(max_bytes=len(reply("a", "short")))
    kept.put("a", text="short")
    kept.put("a", text="much longer")
    assert not kept.has("a"), "the short text is no longer what the file holds"
    assert kept.cache.statistics()[:2] == (0, 0)


def test_a_second_put_replaces_the_text_and_its_size() -> None:
    kept = Kept()
    kept.put("a", text="first")
    kept.put("a", text="the second")
    assert kept.cache.get(key("a")) == reply("a", "the second")
    assert kept.cache.statistics()[:2] == (1, len(reply("a", "the second")))


# -- Age --


@pytest.mark.parametrize("way", ["get", "replies_to", "chunk"])
def test_an_entry_is_served_until_just_before_its_time_and_not_at_it(way: str) -> None:
    kept = Kept()
    kept.put("a", "b")
    born = kept.clock.now

    def served() -> bool:
        if way == "get":
            return kept.cache.get(key("a")) is not None
        return kept.replies_to(key("a") if way == "replies_to" else key("a") + key("b")) is not None

    assert served()
    kept.clock.now = math.nextafter(born + EXPIRATION, 0)
    assert served()
    kept.clock.now = born + EXPIRATION
    assert not served()


def test_being_used_does_not_make_an_entry_younger() -> None:
    kept = Kept()
    kept.put("a")
    for _ in range(3):
        kept.clock.advance(EXPIRATION / 4)
        assert kept.has("a")
    kept.clock.advance(EXPIRATION / 4)
    assert not kept.has("a")


def test_age_counts_from_when_the_read_began() -> None:
    kept = Kept()
    kept.put("a", age=EXPIRATION - 1)
    assert kept.has("a")
    kept.clock.advance(1)
    assert not kept.has("a")
    assert kept.replies_to(key("a")) is None


def test_a_read_that_took_longer_than_an_entry_lives_is_never_served() -> None:
    kept = Kept()
    kept.put("a", age=EXPIRATION)
    assert not kept.has("a")
    assert kept.replies_to(key("a")) is None


def test_a_second_put_starts_a_new_life() -> None:
    kept = Kept()
    kept.put("a", "b")
    kept.clock.advance(EXPIRATION - 1)
    kept.put("a")
    kept.clock.advance(EXPIRATION - 1)
    assert kept.held("ab") == "a"
    assert kept.replies_to(key("a")) == reply("a")


def test_reads_that_end_out_of_order_are_each_gone_in_time() -> None:
    kept = Kept()
    kept.put("a", age=1)
    kept.put("b", age=9)  # begun before a, and slower
    kept.put("c", age=5)  # between the two: it may go early, with b, and must not go late
    kept.put("d", age=0)
    kept.clock.advance(EXPIRATION - 9)
    assert not kept.has("b")
    kept.clock.advance(4)
    assert not kept.has("c")
    assert kept.held("ad") == "ad"
    assert kept.replies_to(key("a") + key("d")) is not None
    kept.clock.advance(4)
    assert kept.held("ad") == "d"
    kept.clock.advance(1)
    assert kept.held("ad") == ""


# -- The sweep --


def test_a_sweep_drops_what_has_expired_a_slice_at_a_time() -> None:
    kept = Kept()
    kept.put(*"abcdefg")
    due = kept.clock.now + EXPIRATION
    kept.clock.advance(EXPIRATION / 2)
    kept.put("z")
    kept.clock.now = due
    left = []
    while kept.cache.sweep(3) <= kept.clock.now:
        left.append(len(kept))
    assert left == [5, 2], "eight entries, of which seven are due: three, three, one"
    assert len(kept) == 1
    assert kept.cache.statistics().expired == 7
    assert kept.cache.sweep(3) == due + EXPIRATION / 2, "when the last one is due"


def test_a_sweep_says_when_the_next_one_has_something_to_do() -> None:
    kept = Kept()
    assert kept.cache.sweep(10) == math.inf
    kept.put("a")
    due = kept.clock.now + EXPIRATION
    assert kept.cache.sweep(10) == due
    assert kept.has("a")
    kept.clock.now = due
    assert kept.cache.sweep(10) == math.inf
    assert len(kept) == 0


def test_a_sweep_in_which_nothing_is_due_drops_nothing() -> None:
    kept = Kept()
    kept.put(*"abc")
    kept.clock.advance(EXPIRATION - 0.001)
    kept.cache.sweep(100)
    assert kept.held("abc") == "abc"
    assert kept.cache.statistics().expired == 0


def test_a_request_drops_a_few_in_passing_and_never_all_at_once() -> None:
    kept = Kept()
    many = 3 * SWEEP_GLANCE
    for number in range(many):
        kept.put(f"old{number}")
    kept.clock.advance(EXPIRATION)
    kept.put("new")
    lefts = []
    while kept.replies_to(key("new")) is None:
        lefts.append(len(kept))
        assert len(lefts) <= many, "the new entry is never found"
    assert lefts[0] == many + 1 - SWEEP_GLANCE
    assert lefts == sorted(lefts, reverse=True)
    assert kept.has("new"), "get need not wait for the old ones to go"


def test_what_has_expired_makes_room_like_everything_else() -> None:
    kept = Kept(max_files=2)
    kept.put("a", "b")
    kept.clock.advance(EXPIRATION)
    kept.put("c", "d")
    assert kept.held("abcd") == "cd"
    assert len(kept) == 2


# -- Chunks --


def test_a_chunk_gets_the_replies_of_its_lines_in_order() -> None:
    kept = Kept()
    kept.put(*"abc")
    chunk = [*"abcba"]
    assert kept.replies_to(b"".join(map(key, chunk))) == b"".join(map(reply, chunk))


def test_the_longest_chunk_and_one_more() -> None:
    kept = Kept()
    kept.put("a")
    assert kept.replies_to(key("a") * CHUNK_LINES) == reply("a") * CHUNK_LINES
    assert kept.replies_to(key("a") * (CHUNK_LINES + 1)) is None


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        b"\n",
        b"SHOW /a",
        b"SHOW /a\r\n",
        b"SHOW /a\r",
        b" SHOW /a\n",
        b"SHOW /a \n",
        b"show /a\n",
        b"\nSHOW /a\n",
        b"SHOW /a\n\n",
        b"SHOW /a\nSHOW /a",
        b"SHOW /a\n\nSHOW /a\n",
        b"SHOW /a\r\nSHOW /a\n",
        b"SHOW /a\rSHOW /a\n",
        b"SHOW /a\n\rSHOW /a\n",
        b"SHOW /a\x0bSHOW /a\n",
        b"SHOW /a\x1cSHOW /a\n",
        b"SHOW /a\xc2\x85SHOW /a\n",
        b"SHOW /a\xe2\x80\xa8SHOW /a\n",
    ],
)
def test_only_the_very_line_is_a_hit(chunk: bytes) -> None:
    kept = Kept()
    kept.put("a")
    assert kept.replies_to(chunk) is None
    assert kept.has("a")


# -- Forgetting and counting --


def test_dropping() -> None:
    kept = Kept()
    kept.put("a", "b")
    kept.cache.drop(key("a"))
    kept.cache.drop(key("a"))
    kept.cache.drop(key("never there"))
    assert kept.held("ab") == "b"
    assert kept.cache.statistics()[:2] == (1, len(reply("b")))
    assert kept.replies_to(key("b")) == reply("b")


def test_clearing() -> None:
    kept = Kept()
    kept.put("a", "b")
    kept.cache.clear()
    assert kept.cache.statistics()[:2] == (0, 0)
    assert kept.cache.sweep(10) == math.inf
    assert kept.held("ab") == ""
    kept.put("a")
    assert kept.replies_to(key("a")) == reply("a")


def test_hits_and_misses() -> None:
    kept = Kept()
    kept.put("a", "b")
    kept.has("a")
    kept.has("z")
    kept.replies_to(key("b"))
    kept.replies_to(key("a") + key("b") + key("a"))
    kept.replies_to(key("z"))  # the session then asks `get`, which counts the miss
    kept.clock.advance(EXPIRATION)
    kept.has("a")
    counted = kept.cache.statistics()
    assert (counted.hits, counted.misses) == (5, 2)
