"""The service: one read for many, no old text after a write, failures that stay with their own request.

Every interleaving of workers and loop is forced: a worker stops at a gate in the store until the test opens it.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
from scripted import PATIENCE_SECONDS, Bench, Gate, ScriptedStore, request

from sttp_reactor.errors import CannotCreatePath, FileMissing, PathMissing, Refused, StoreFailed
from sttp_reactor.limits import (
    CHECKPOINT_SECONDS,
    COMMIT_DIRECTORIES,
    QUEUED_JOBS,
    QUEUED_LISTS,
    SWEEP_SECONDS,
    SWEEP_SLICE,
)
from sttp_reactor.net.throttle import Throttle
from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.memory import MemoryStore
from sttp_reactor.sttp.cache import Cache

SHOW = b"SHOW /a"
OLD = b"200 /a OK\nold\n"
NEW = b"200 /a OK\nnew\n"

# A write of /a, what it is acknowledged with, and what a SHOW says from then on.
WRITES = {
    "update": (b"UPDATE /a new", NEW, NEW),
    "delete": (b"DELETE /a", b"600 /a DELETED\n", b"400 /a NOT FOUND\n"),
    "create": (b"CREATE /a new", b"100 /a CREATED\n", NEW),
}


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(ScriptedStore({b"/a": b"old", b"/b": b"other"})) as bench:
        yield bench


def is_cached(bench: Bench, line: bytes = SHOW) -> bool:
    return bench.service.cached(request(line)) is not None


def counted(bench: Bench) -> dict[tuple[str, ...], float]:
    """The samples by their names and the values of their labels."""
    return {(each.name, *(value for _, value in each.labels)): each.value for each in bench.service.samples()}


# -- A read and a write of one file, in every order --


class Race:
    """A SHOW and a write of /a, each in three steps, and a later SHOW.

    The steps of a SHOW: `asked` (the loop starts it), `looked` (the store has its text), `answered` (the reply is in
    the loop). Of a write: `asked`, `done` (the store holds the new text), `acknowledged`.
    """

    def __init__(self, bench: Bench, write: str) -> None:
        self.bench = bench
        self.write, self.acknowledgement, self.truth = WRITES[write]
        if write == "create":
            del bench.store.files[b"/a"]
        self.at: dict[str, Gate] = {}  # where the read ("show /a") and the write ("commit") stand
        self.shown: list[bytes] = []
        self.written: list[bytes] = []
        self.is_younger = False

    @property
    def is_joined_by_later_ones(self) -> bool:
        """Whether the SHOW is under way and younger than the write: then a later one does share its reply."""
        return self.is_younger and not self.shown

    def read_asked(self) -> None:
        self.is_younger = bool(self.written)
        # Each gate is set up only now, so that it stops this SHOW and not the later one.
        self.at["show /a"] = self.bench.store.gate("before show /a")
        self.shown = self.bench.start(SHOW)
        self.bench.wake_another_reader()
        self.at["show /a"].wait_until_reached()

    def read_looked(self) -> None:
        self._go_on("show /a")

    def read_answered(self) -> None:
        self.at["show /a"].open()
        self.bench.until(lambda: bool(self.shown))

    def write_asked(self) -> None:
        self.at["commit"] = self.bench.store.gate("before commit")
        self.written = self.bench.start(self.write)
        self.at["commit"].wait_until_reached()

    def write_done(self) -> None:
        self._go_on("commit")

    def _go_on(self, call: str) -> None:
        after = self.bench.store.gate(f"after {call}")
        self.at[call].open()
        after.wait_until_reached()
        self.at[call] = after

    def write_acknowledged(self) -> None:
        self.at["commit"].open()
        self.bench.until(lambda: bool(self.written))
        assert self.written == [self.acknowledgement]


def orders() -> Iterator[str]:
    """All 20 orders of three steps of a read (r) and three of a write (w)."""
    for places in itertools.combinations(range(6), 3):
        yield "".join("r" if place in places else "w" for place in range(6))


@pytest.mark.parametrize("order", list(orders()))
@pytest.mark.parametrize("write", list(WRITES))
def test_no_old_text_after_a_write_whatever_the_order(bench: Bench, write: str, order: str) -> None:
    race = Race(bench, write)
    steps: dict[str, Iterator[Callable[[], None]]] = {
        "r": iter([race.read_asked, race.read_looked, race.read_answered]),
        "w": iter([race.write_asked, race.write_done, race.write_acknowledged]),
    }
    for step in order:
        next(steps[step])()
        if race.written and not race.is_joined_by_later_ones:
            # Asked after the acknowledgement: the later SHOW must not share the earlier one's fate.
            later = bench.service.cached(request(SHOW))
            if later is None:
                replies = bench.start(SHOW)
                bench.wake_another_reader()
                bench.until(lambda replies=replies: bool(replies))  # type: ignore[misc]
                (later,) = replies
            assert later == race.truth
    bench.rest()
    assert bench.ask(SHOW) == race.truth
    assert bench.fast(SHOW + b"\n") in (None, race.truth)
    if order.index("r") > order.rindex("w"):
        assert race.shown == [race.truth]


def test_the_old_read_answers_those_who_asked_in_time_and_leaves_the_newer_text_cached(bench: Bench) -> None:
    gate = bench.store.gate("after show /a")
    early = bench.start(SHOW)
    gate.wait_until_reached()
    assert bench.ask(b"UPDATE /a new") == NEW
    late = bench.start(SHOW)
    bench.wake_another_reader()
    bench.until(lambda: bool(late))
    assert late == [NEW]
    assert early == []
    gate.open()
    bench.until(lambda: bool(early))
    assert early == [OLD], "it asked before the write was acknowledged"
    assert bench.service.cached(request(SHOW)) == NEW
    assert bench.store.shown == [b"/a", b"/a"]


def test_an_old_read_that_ends_while_a_newer_one_is_under_way(bench: Bench) -> None:
    older = bench.store.gate("after show /a")
    early = bench.start(SHOW)
    older.wait_until_reached()
    bench.ask(b"UPDATE /a new")
    newer = bench.store.gate("after show /a")
    late = [bench.start(SHOW)]
    bench.wake_another_reader()
    newer.wait_until_reached()
    older.open()
    bench.until(lambda: bool(early))
    assert early == [OLD]
    assert not is_cached(bench)
    late.append(bench.start(SHOW))
    newer.open()
    bench.until(lambda: all(late))
    assert late == [[NEW], [NEW]]
    assert bench.store.shown == [b"/a", b"/a"], "the last SHOW has joined the newer read"
    assert is_cached(bench)


def test_a_read_that_began_before_a_write_never_fills_the_cache(bench: Bench) -> None:
    gate = bench.store.gate("after show /a")
    early = bench.start(SHOW)
    gate.wait_until_reached()
    assert bench.ask(b"UPDATE /a new") == NEW
    gate.open()
    bench.until(lambda: bool(early))
    assert not is_cached(bench)
    assert bench.ask(SHOW) == NEW
    assert is_cached(bench)


def test_two_writes_during_one_read(bench: Bench) -> None:
    gate = bench.store.gate("after show /a")
    early = bench.start(SHOW)
    gate.wait_until_reached()
    bench.ask(b"DELETE /a")
    bench.ask(b"CREATE /a old")  # the very text it had: still not the read's to vouch for
    gate.open()
    bench.until(lambda: bool(early))
    assert not is_cached(bench)


def test_a_write_that_was_refused_costs_no_more_than_another_look(bench: Bench) -> None:
    bench.ask(SHOW)
    assert bench.ask(b"CREATE /a new").startswith(b'300 /a CLIENT ERROR "the file exists')
    assert bench.ask(SHOW) == OLD


def test_a_write_that_failed_half_way_leaves_nothing_old_in_the_cache(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.ask(SHOW)
    gate = bench.store.gate("after show /b")
    early = bench.start(b"SHOW /b")
    gate.wait_until_reached()
    bench.store.commit_error = OSError("after the files were written")
    for line in (b"UPDATE /a new", b"UPDATE /b new"):
        assert re.fullmatch(rb'500 /. SERVER ERROR "internal error[^"]*"\n', bench.ask(line))
    gate.open()
    bench.until(lambda: bool(early))
    assert not is_cached(bench, b"SHOW /b")
    assert bench.ask(SHOW) == NEW
    assert bench.ask(b"SHOW /b") == b"200 /b OK\nnew\n"
    assert "after the files were written" in caplog.text


def test_writes_of_other_files_disturb_nothing(bench: Bench) -> None:
    bench.ask(SHOW)
    bench.ask(b"UPDATE /b new")
    assert is_cached(bench)
    gate = bench.store.gate("after show /b")
    early = bench.start(b"SHOW /b")
    gate.wait_until_reached()
    bench.ask(b"UPDATE /a new")
    gate.open()
    bench.until(lambda: bool(early))
    assert is_cached(bench, b"SHOW /b")


# -- One read for many --


def test_concurrent_misses_of_one_path_read_once(bench: Bench) -> None:
    gate = bench.store.gate("before show /a")
    first = bench.start(SHOW)
    gate.wait_until_reached()
    others = [bench.start(SHOW) for _ in range(100)]
    assert bench.service.under_way == 1
    gate.open()
    bench.until(lambda: all(others))
    assert [first, *others] == [[OLD]] * 101
    assert bench.store.shown == [b"/a"]
    assert bench.ask(SHOW) == OLD
    assert bench.store.shown == [b"/a"], "the next one is a hit"


def test_concurrent_misses_of_a_missing_file_share_its_answer_too_and_nothing_is_kept(bench: Bench) -> None:
    gate = bench.store.gate("before show /none")
    replies = [bench.start(b"SHOW /none") for _ in range(3)]
    gate.wait_until_reached()
    gate.open()
    bench.until(lambda: all(replies))
    assert replies == [[b"400 /none NOT FOUND\n"]] * 3
    assert bench.store.shown == [b"/none"]
    bench.ask(b"SHOW /none")
    assert bench.store.shown == [b"/none", b"/none"]


def test_a_failing_read_answers_all_who_wait_and_the_next_one_tries_again(bench: Bench) -> None:
    gate = bench.store.gate("before show /a")
    bench.store.show_errors[b"/a"] = StoreFailed("input/output error")
    replies = [bench.start(SHOW) for _ in range(3)]
    gate.wait_until_reached()
    gate.open()
    bench.until(lambda: all(replies))
    assert replies == [[b'500 /a SERVER ERROR "input/output error"\n']] * 3
    bench.store.show_errors.clear()
    assert bench.ask(SHOW) == OLD


def test_different_paths_are_different_reads(bench: Bench) -> None:
    gate = bench.store.gate("before show /a")
    first = bench.start(SHOW)
    gate.wait_until_reached()
    second = bench.start(b"SHOW /b")
    bench.wake_another_reader()
    bench.until(lambda: bool(second))
    assert second == [b"200 /b OK\nother\n"]
    assert first == []
    gate.open()
    bench.until(lambda: bool(first))


def test_lists_are_not_cached(bench: Bench) -> None:
    for _ in range(2):
        assert bench.ask(b"LIST /") == b"200 / OK\na, b\n"
    assert bench.store.listed == 2
    bench.ask(b"CREATE /c x")
    assert bench.ask(b"LIST /") == b"200 / OK\na, b, c\n"


def test_lists_of_one_directory_share_a_reading_that_has_not_begun(bench: Bench) -> None:
    gate = bench.store.gate("before list")
    first = bench.start(b"LIST /")
    gate.wait_until_reached()
    others = [bench.start(b"LIST /") for _ in range(300)]
    assert bench.service.under_way == 2
    gate.open()
    bench.rest()
    assert [first, *others] == [[b"200 / OK\na, b\n"]] * 301
    assert bench.store.listed == 2


def test_a_list_never_shares_a_reading_that_may_have_missed_a_change(bench: Bench) -> None:
    """What was acknowledged before it was asked, it must show; and what another reply has shown, too."""
    gate = bench.store.gate("before list")
    first = bench.start(b"LIST /")
    gate.wait_until_reached()
    bench.ask(b"CREATE /c x")
    bench.store.files[b"/d"] = b"another program's"
    second = bench.start(b"LIST /")
    bench.wake_another_reader()
    bench.until(lambda: bool(second))
    assert second == [b"200 / OK\na, b, c, d\n"]
    assert first == []
    gate.open()
    bench.rest()


def test_lists_of_a_directory_by_its_two_names_have_two_replies(bench: Bench) -> None:
    """Each reply repeats the path as it came."""
    bench.start(b"LIST /")
    assert [bench.ask(b"LIST /x"), bench.ask(b"LIST /x/")] == [b"400 /x NOT FOUND\n", b"400 /x/ NOT FOUND\n"]


def test_few_directories_wait_to_be_read(bench: Bench) -> None:
    """Each may bring megabytes, and they may come at once."""
    gate = bench.store.gate("before list")
    replies: list[bytes] = []
    numbers = itertools.count()
    while bench.service.start(line := request(b"LIST /%d" % next(numbers)), replies.append):
        pass
    assert next(numbers) == QUEUED_LISTS + 1
    called: list[int] = []
    bench.service.when_room(line, lambda: called.append(1))
    bench.turn()
    gate.open()
    bench.rest()
    assert called == [1]
    assert len(replies) == QUEUED_LISTS


# -- LISTs, which may take long, and reads that nobody waits for --


class Waiter:
    """Who asks, and may leave."""

    is_gone = False
    addresses = ("", "")


def test_shows_do_not_queue_behind_lists(bench: Bench) -> None:
    gate = bench.store.gate("before list")
    lists: list[bytes] = []
    numbers = itertools.count()
    while bench.service.start(request(b"LIST /%d" % next(numbers)), lists.append):
        pass
    bench.turn()
    gate.wait_until_reached()
    assert bench.ask(SHOW) == OLD
    assert bench.ask(b"UPDATE /a new") == NEW
    assert lists == []
    gate.open()
    bench.until(lambda: len(lists) == QUEUED_LISTS)


@pytest.mark.parametrize("line", [b"SHOW /b", b"LIST /"])
def test_a_read_whose_waiters_are_all_gone_is_not_done(bench: Bench, line: bytes) -> None:
    gate = bench.store.gate("before show /a" if line.startswith(b"SHOW") else "before list")
    bench.start(SHOW if line.startswith(b"SHOW") else b"LIST /")
    gate.wait_until_reached()
    waiters = [Waiter(), Waiter()]
    for waiter in waiters:
        assert bench.service.start(request(line), lambda _: None, waiter)
    for waiter in waiters:
        waiter.is_gone = True
    gate.open()
    bench.rest()
    assert b"/b" not in bench.store.shown
    assert bench.store.listed <= 1
    assert bench.ask(b"SHOW /b") == b"200 /b OK\nother\n"


def test_a_read_is_done_for_the_one_who_stays(bench: Bench) -> None:
    gate = bench.store.gate("before show /a")
    bench.start(SHOW)
    gate.wait_until_reached()
    waiters = [Waiter(), Waiter(), Waiter()]
    replies: list[bytes] = []
    for waiter in waiters:
        bench.service.start(request(b"SHOW /b"), replies.append, waiter)
    waiters[0].is_gone = waiters[2].is_gone = True
    gate.open()
    bench.rest()
    assert replies == [b"200 /b OK\nother\n"] * 3


def test_what_a_slow_worker_has_shown_is_not_taken_back_by_a_quick_one(bench: Bench) -> None:
    """The slow one stops between being told to read and reading. So it reads what a second update has put there, before
    that is acknowledged, and while the quick one has what the first update had put there."""
    slow_gate = bench.store.gate("before show /a")
    slow = bench.start(SHOW)
    slow_gate.wait_until_reached()
    bench.ask(b"UPDATE /a first")
    quick_gate = bench.store.gate("after show /a")
    quick = bench.start(SHOW)
    bench.wake_another_reader()
    quick_gate.wait_until_reached()
    commit_gate = bench.store.gate("after commit")
    written = bench.start(b"UPDATE /a second")
    commit_gate.wait_until_reached()
    slow_gate.open()
    bench.until(lambda: bool(slow))
    assert slow == [b"200 /a OK\nsecond\n"], "it is in the file, and may be shown"
    later = [bench.start(SHOW)]
    quick_gate.open()
    bench.until(lambda: bool(quick))
    later.append([bench.ask(SHOW)])
    bench.until(lambda: all(later))
    assert later == [slow, slow]
    assert not written
    commit_gate.open()
    bench.until(lambda: bool(written))


def test_an_abandoned_read_is_not_joined(bench: Bench) -> None:
    gate = bench.store.gate("before show /a")
    bench.start(SHOW)
    gate.wait_until_reached()
    waiter = Waiter()
    bench.service.start(request(b"SHOW /b"), lambda _: None, waiter)
    waiter.is_gone = True
    replies = bench.start(b"SHOW /b")
    gate.open()
    bench.until(lambda: bool(replies))
    assert replies == [b"200 /b OK\nother\n"]
    assert bench.store.shown.count(b"/b") == 1


def test_a_change_is_made_though_its_waiter_is_gone(bench: Bench) -> None:
    waiter = Waiter()
    bench.service.start(request(b"UPDATE /a new"), lambda _: None, waiter)
    waiter.is_gone = True
    bench.rest()
    assert bench.store.files[b"/a"] == b"new"


# -- The cache --


def test_without_a_cache_every_show_reads() -> None:
    with Bench(ScriptedStore({b"/a": b"old"}), caching=False) as bench:
        assert [bench.ask(SHOW), bench.ask(SHOW)] == [OLD, OLD]
        assert bench.store.shown == [b"/a", b"/a"]
        assert bench.fast(SHOW + b"\n") is None
        assert bench.ask(b"UPDATE /a new") == NEW
        assert bench.ask(SHOW) == NEW


def test_the_line_that_hits_is_the_line_a_client_sends(bench: Bench) -> None:
    bench.ask(SHOW)
    assert bench.fast(b"SHOW /a\n") == OLD
    assert bench.fast(b"SHOW /a\nSHOW /a\n") == OLD + OLD
    assert bench.fast(b"LIST /a\n") is None


def test_age_counts_from_before_the_disk_was_read() -> None:
    with Bench(ScriptedStore({b"/a": b"old"}), expiration=10) as bench:
        gate = bench.store.gate("after show /a")
        replies = bench.start(SHOW)
        gate.wait_until_reached()
        bench.clock.advance(4)
        gate.open()
        bench.until(lambda: bool(replies))
        bench.clock.advance(5.9)
        assert is_cached(bench)
        bench.clock.advance(0.1)
        assert not is_cached(bench)


def test_a_file_changed_behind_our_back_shows_when_the_entry_expires() -> None:
    with Bench(ScriptedStore({b"/a": b"old"}), expiration=10) as bench:
        bench.ask(SHOW)
        bench.store.files[b"/a"] = b"new"
        bench.clock.advance(9.99)
        assert bench.ask(SHOW) == OLD
        bench.clock.advance(0.01)
        assert bench.ask(SHOW) == NEW


def entries(bench: Bench) -> int:
    assert bench.cache is not None
    return bench.cache.statistics().files


def test_what_has_expired_is_swept_a_slice_at_a_time_and_the_sockets_have_their_turns_between() -> None:
    many = 5 * SWEEP_SLICE + 10
    with Bench(expiration=10, max_files=many) as bench:
        assert bench.cache is not None
        for number in range(many - 1):
            bench.cache.put(b"SHOW /%d\n" % number, b"200 /%d OK\nx\n" % number, bench.clock.now)
        bench.store.files[b"/a"] = b"old"
        bench.ask(SHOW)
        assert entries(bench) == many
        bench.clock.advance(10)
        lefts = []
        while entries(bench):
            bench.turn()
            lefts.append(entries(bench))
        dropped = [before - after for before, after in itertools.pairwise([many, *lefts])]
        assert dropped[0] <= 2 * SWEEP_SLICE, "the timer's, and one that it queued"
        assert max(dropped[1:]) <= SWEEP_SLICE
        assert len(lefts) <= 6, "no second of waiting between slices"


def test_an_idle_cache_is_swept_without_anybody_asking() -> None:
    with Bench(ScriptedStore({b"/a": b"old", b"/b": b"other"}), expiration=10) as bench:
        bench.ask(SHOW)
        bench.advance(6)
        bench.ask(b"SHOW /b")
        bench.advance(4)
        assert entries(bench) == 1
        bench.advance(5.9)
        assert entries(bench) == 1
        bench.advance(SWEEP_SECONDS)
        assert entries(bench) == 0
        # And again, after it has once been empty.
        bench.ask(SHOW)
        bench.advance(10 + SWEEP_SECONDS)
        assert entries(bench) == 0


# -- Failures --


@pytest.mark.parametrize(
    ("error", "line", "reply"),
    [
        (FileMissing(), b"SHOW /a/b", b"400 /a/b NOT FOUND\n"),
        (PathMissing(), b"SHOW /a/b/c", b"410 /a/b/ PATH NOT FOUND\n"),
        (PathMissing(), b"SHOW /a", b"410 / PATH NOT FOUND\n"),
        (Refused("use LIST"), b"SHOW /a/b", b'300 /a/b CLIENT ERROR "use LIST"\n'),
        (StoreFailed("the disk is full"), b"SHOW /a/b", b'500 /a/b SERVER ERROR "the disk is full"\n'),
        (CannotCreatePath(), b"SHOW /a/b", b"510 /a/ CANNOT CREATE PATH\n"),
    ],
)
def test_every_store_error_has_its_reply(bench: Bench, error: Exception, line: bytes, reply: bytes) -> None:
    bench.store.show_errors[request(line).path] = error
    assert bench.ask(line) == reply
    assert not is_cached(bench, line)


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"LIST /none", b"400 /none NOT FOUND\n"),
        (b"DELETE /none", b"400 /none NOT FOUND\n"),
        (b"UPDATE /none x", b"400 /none NOT FOUND\n"),
    ],
)
def test_errors_of_lists_and_writes(bench: Bench, line: bytes, reply: bytes) -> None:
    assert bench.ask(line) == reply


@pytest.mark.parametrize(
    ("line", "reply"),
    [(b"LIST /a/b/", b"410 /a/ PATH NOT FOUND\n"), (b"LIST /a/b", b"410 /a/ PATH NOT FOUND\n")],
)
def test_a_list_names_the_parent_that_is_missing(
    bench: Bench, line: bytes, reply: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_path: bytes) -> Any:
        raise PathMissing

    monkeypatch.setattr(bench.store, "_list", missing)
    assert bench.ask(line) == reply


@pytest.mark.parametrize("error", [ValueError('a "quoted" secret'), RecursionError(), SystemExit(3)])
def test_a_read_that_raises_is_its_own_clients_500_and_nothing_more(
    bench: Bench, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    bench.store.show_errors[b"/a"] = error
    gate = bench.store.gate("before show /a")
    bad = bench.start(SHOW)
    gate.wait_until_reached()
    good = bench.start(b"SHOW /b")
    gate.open()
    bench.until(lambda: bool(bad and good))
    assert re.fullmatch(rb'500 /a SERVER ERROR "[^"]+"\n', bad[0])
    assert b"secret" not in bad[0]
    assert good == [b"200 /b OK\nother\n"]
    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert not is_cached(bench)
    del bench.store.show_errors[b"/a"]
    assert bench.ask(SHOW) == OLD


def test_a_store_that_cannot_begin_to_read(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.store.reader_error = RuntimeError("no descriptors")
    replies = [bench.start(SHOW), bench.start(b"LIST /")]
    bench.until(lambda: all(replies))
    assert [reply[0][:3] for reply in replies] == [b"500", b"500"]
    assert "no descriptors" in caplog.text
    bench.store.reader_error = None
    assert bench.ask(SHOW) == OLD


def test_what_is_answered_500_is_logged_with_its_reason(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.store.show_errors[b"/\xe2\x80\xae"] = StoreFailed("the disk is full")
    bench.ask(b"SHOW /\xe2\x80\xae")
    bench.ask(b"SHOW /none")
    bench.store.commit_error = RuntimeError("no")
    bench.ask(b"UPDATE /a x")
    answered = [record.getMessage() for record in caplog.records if not record.exc_info]
    assert answered == [
        r'answered 500 /\u202e SERVER ERROR "the disk is full"',
        'answered 500 /a SERVER ERROR "internal error; the server\'s log has more"',
    ]


def test_one_kind_of_500_does_not_hide_another(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Each cause, in each directory, has a line; the same again, of whatever file, is only counted."""
    throttle = Throttle(bench.reactor, logging.getLogger("sttp_reactor.test"))
    with mock.patch.object(bench.service, "_warn", throttle.warn):
        bench.store.show_errors[b"/a"] = StoreFailed("input/output error")
        bench.store.show_errors[b"/b"] = StoreFailed("permission denied")
        bench.store.show_errors[b"/c"] = StoreFailed("input/output error")
        bench.store.show_errors[b"/d/a"] = StoreFailed("input/output error")
        for path in (b"/a", b"/b", b"/a", b"/c", b"/d/a", b"/b"):
            bench.ask(b"SHOW " + path)
    assert caplog.messages == [
        'answered 500 /a SERVER ERROR "input/output error"',
        'answered 500 /b SERVER ERROR "permission denied"',
        'answered 500 /d/a SERVER ERROR "input/output error"',
    ]
    throttle.close()
    assert caplog.messages[3:] == [
        'answered 500 /c SERVER ERROR "input/output error" (2 more times within 60 s)',
        'answered 500 /b SERVER ERROR "permission denied" (1 more times within 60 s)',
    ]
    assert throttle.totals == {"server_error": 6}


@pytest.mark.parametrize("lines", [[SHOW, SHOW, b"SHOW /b"], [b"UPDATE /a 1", b"UPDATE /a 2", b"CREATE /c 3"]])
def test_a_client_that_fails_on_its_reply_costs_those_of_its_batch_nothing(
    bench: Bench, caplog: pytest.LogCaptureFixture, lines: list[bytes]
) -> None:
    def fail(_reply: bytes) -> None:
        raise RuntimeError("gone mad")

    replies: list[bytes] = []
    for line, done in zip(lines, (fail, replies.append, replies.append), strict=True):
        assert bench.service.start(request(line), done)
    bench.rest()
    assert [reply[:3] in (b"100", b"200") for reply in replies] == [True, True]
    assert caplog.text.count("RuntimeError: gone mad") == 1


# -- Batches of writes --


def start_together(bench: Bench, *lines: bytes) -> list[list[bytes]]:
    """Requests of one turn."""
    replies: list[list[bytes]] = [[] for _ in lines]
    for line, received in zip(lines, replies, strict=True):
        bench.service.start(request(line), received.append)
    bench.turn()
    return replies


def test_the_writes_of_a_turn_are_one_batch_in_their_order(bench: Bench) -> None:
    replies = start_together(bench, b"UPDATE /a 1", b"UPDATE /a 2", b"DELETE /b", b"CREATE /b 3", b"DELETE /none")
    bench.until(lambda: all(replies))
    assert [reply for (reply,) in replies] == [
        b"200 /a OK\n1\n",
        b"200 /a OK\n2\n",
        b"600 /b DELETED\n",
        b"100 /b CREATED\n",
        b"400 /none NOT FOUND\n",
    ]
    assert len(bench.store.committed) == 1
    assert bench.store.files == {b"/a": b"2", b"/b": b"3"}


def test_writes_that_wait_for_a_commit_share_the_next_one(bench: Bench) -> None:
    gate = bench.store.gate("before commit")
    first = bench.start(b"UPDATE /a 1")
    gate.wait_until_reached()
    others = [bench.start(b"UPDATE /b %d" % number) for number in range(5)]
    gate.open()
    bench.until(lambda: bool(first) and all(others))
    assert [len(batch) for batch in bench.store.committed] == [1, 5]


def test_reads_and_writes_do_not_wait_for_each_other(bench: Bench) -> None:
    gate = bench.store.gate("before commit")
    write = bench.start(b"UPDATE /a new")
    gate.wait_until_reached()
    assert bench.ask(b"SHOW /b") == b"200 /b OK\nother\n"
    assert bench.ask(SHOW) == OLD, "the write is not acknowledged"
    assert write == []
    gate.open()
    bench.until(lambda: bool(write))


# -- The checkpoint --


def test_after_a_quiet_time_the_journal_is_emptied_once(bench: Bench) -> None:
    bench.ask(b"UPDATE /a 1")
    bench.advance(CHECKPOINT_SECONDS - 1)
    bench.ask(b"UPDATE /a 2")
    bench.advance(CHECKPOINT_SECONDS - 0.1)
    bench.rest()
    assert bench.store.checkpoints == 0, "quiet counts from the last write"
    bench.advance(0.2)
    bench.rest()
    assert bench.store.checkpoints == 1
    bench.advance(10 * CHECKPOINT_SECONDS)
    bench.rest()
    assert bench.store.checkpoints == 1, "nothing was written since"
    bench.ask(b"UPDATE /a 3")
    bench.advance(CHECKPOINT_SECONDS)
    bench.rest()
    assert bench.store.checkpoints == 2


@pytest.mark.parametrize("error", [StoreFailed("the docroot is missing"), ValueError("a bug")])
def test_a_checkpoint_that_fails_costs_the_writes_beside_it_nothing(
    bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench.ask(b"UPDATE /a 1")
    bench.store.checkpoint_error = error
    gate = bench.store.gate("before commit")
    first = bench.start(b"UPDATE /a 2")
    gate.wait_until_reached()
    bench.advance(CHECKPOINT_SECONDS)  # collected, behind the commit that waits
    second = bench.start(b"UPDATE /a 3")
    gate.open()
    bench.until(lambda: bool(first and second))
    bench.rest()
    assert bench.store.checkpoints == 1
    assert second == [b"200 /a OK\n3\n"]
    assert bench.store.files[b"/a"] == b"3"
    assert str(error) in caplog.text
    if isinstance(error, StoreFailed):
        told = [record for record in caplog.records if "journal" in record.message]
        assert [record.levelno for record in told] == [logging.WARNING], "the disk's fault is no traceback"
    assert counted(bench)["sttp_store_errors_total", "checkpoint"] == 1


# -- What is counted --


def test_answers_are_counted_by_action_and_status_and_the_cache_s_are_among_them(bench: Bench) -> None:
    for line in (SHOW, SHOW, SHOW, b"SHOW /none", b"UPDATE /a 1", b"CREATE /a 1", b"DELETE /b", b"LIST /"):
        bench.ask(line)
    bench.store.show_errors[b"/a"] = StoreFailed("no")
    bench.ask(SHOW)
    found = counted(bench)
    requests = {key[1:]: value for key, value in found.items() if key[0] == "sttp_requests_total"}
    assert requests == {
        ("SHOW", "200"): 3,
        ("SHOW", "400"): 1,
        ("SHOW", "500"): 1,
        ("UPDATE", "200"): 1,
        ("CREATE", "300"): 1,
        ("DELETE", "600"): 1,
        ("LIST", "200"): 1,
    }
    assert found["sttp_request_duration_seconds_count",] == sum(requests.values())
    assert (found["sttp_cache_hits_total",], found["sttp_cache_files",]) == (2, 0)
    assert [found["sttp_store_errors_total", name] for name in ("read", "write", "checkpoint")] == [1, 0, 0]


def test_everybody_who_shares_a_read_is_counted_with_the_time_it_took(bench: Bench) -> None:
    gate = bench.store.gate("before show /a")
    replies = [bench.start(SHOW) for _ in range(3)]
    gate.wait_until_reached()
    assert counted(bench)["sttp_requests_waiting", "read"] == 1
    bench.advance(0.3)
    gate.open()
    bench.until(lambda: all(replies))
    found = counted(bench)
    assert found["sttp_requests_total", "SHOW", "200"] == 3
    assert found["sttp_request_duration_seconds_sum",] == pytest.approx(0.9)
    buckets = [found["sttp_request_duration_seconds_bucket", bound] for bound in ("0.25", "0.5", "+Inf")]
    assert buckets == [0, 3, 3]
    assert found["sttp_requests_waiting", "read"] == 0


def test_what_a_cache_has_counted_stays_when_another_takes_its_place(bench: Bench) -> None:
    for cache in (Cache(clock=bench.clock), None, Cache(clock=bench.clock)):
        for _ in range(3):
            bench.ask(SHOW)
        bench.service.use_cache(cache)
    found = counted(bench)
    assert found["sttp_cache_hits_total",] == 4  # two of the first, two of the second
    assert found["sttp_cache_misses_total",] == 2
    assert found["sttp_requests_total", "SHOW", "200"] == 9


@pytest.mark.parametrize(("seconds", "levels"), [(0.05, []), (0.2, [10]), (3.0, [10, 30])])
def test_what_waits_for_a_slow_disk_is_told_of(
    bench: Bench, caplog: pytest.LogCaptureFixture, seconds: float, levels: list[int]
) -> None:
    caplog.set_level(logging.DEBUG, logger="sttp_reactor.sttp.service")
    gate = bench.store.gate("before commit")
    replies = bench.start(b"UPDATE /a 1")
    gate.wait_until_reached()
    bench.advance(seconds)
    gate.open()
    bench.until(lambda: bool(replies))
    slow = [record for record in caplog.records if "UPDATE /a has waited" in record.message]
    assert [record.levelno for record in slow] == levels


# -- Room, and the end --


def test_reads_and_writes_have_their_own_queues(bench: Bench) -> None:
    gate = bench.store.gate("before commit")
    writes = [bench.start(b"UPDATE /a 0")]
    gate.wait_until_reached()
    for _ in range(QUEUED_JOBS - 1):
        replies: list[bytes] = []
        writes.append(replies)
        assert bench.service.start(request(b"UPDATE /a 1"), replies.append)
    called: list[bool] = []
    assert not bench.service.start(request(b"DELETE /a"), replies.append), "and nothing has been done"
    bench.service.when_room(request(b"UPDATE /a x"), lambda: called.append(True))
    assert bench.ask(b"SHOW /b") == b"200 /b OK\nother\n"
    assert called == []
    gate.open()
    bench.until(lambda: bool(called))
    bench.until(lambda: all(writes))
    assert bench.ask(b"DELETE /a") == b"600 /a DELETED\n"


def test_a_read_that_finds_no_room_leaves_no_trace(bench: Bench) -> None:
    gate = bench.store.gate("before show /b")
    shows = [bench.start(b"SHOW /b")]
    gate.wait_until_reached()
    others = bench.fill_queue()
    assert bench.service.under_way == QUEUED_JOBS
    refused: list[bytes] = []
    assert not bench.service.start(request(SHOW), refused.append)
    assert bench.service.start(request(b"SHOW /b"), refused.append), "it joins a read, and needs no room of its own"
    gate.open()
    bench.until(lambda: bool(refused))
    assert bench.ask(SHOW) == OLD, "no read that never began is waited for"
    assert refused == [*shows[0]]
    bench.until(lambda: len(others) == QUEUED_JOBS - 1)


def test_closing_finishes_what_was_asked(bench: Bench) -> None:
    write, read = bench.start(b"UPDATE /a new"), bench.start(b"SHOW /b")
    assert bench.service.close(PATIENCE_SECONDS)
    assert bench.store.files[b"/a"] == b"new"
    bench.turn()
    assert write == [NEW]
    assert read == [b"200 /b OK\nother\n"]


@pytest.mark.parametrize("point", ["before show /a", "before commit"])
def test_closing_gives_up_on_a_disk_that_does_not_answer(bench: Bench, point: str) -> None:
    gate: Gate = bench.store.gate(point)
    bench.start(SHOW if "show" in point else b"UPDATE /a new")
    gate.wait_until_reached()
    assert not bench.service.close(0)
    gate.open()


def test_a_list_at_the_greatest_depth_names_nothing() -> None:
    """PROTOCOL.md section 3: an entry that no request could name is left out. Another program may have put it there."""
    deepest = b"/d" * 64
    store = MemoryStore()
    store.commit([Write(Operation.CREATE, b"/d" * 63 + b"/f", b""), Write(Operation.CREATE, deepest + b"/f", b"")])
    with Bench(served=store) as bench:
        assert bench.ask(b"LIST " + b"/d" * 63 + b"/") == b"200 %b/ OK\nd/, f\n" % (b"/d" * 63)
        assert bench.ask(b"LIST " + deepest) == b"200 %b OK\n\n" % deepest
        assert bench.ask(b"LIST " + deepest + b"/") == b"200 %b/ OK\n\n" % deepest


def test_a_commit_makes_a_bounded_number_of_directories() -> None:
    """Everybody who shares a sync waits for all that is in it: one client's deep CREATEs are spread over several."""
    with Bench(ScriptedStore({b"/a": b"old"})) as bench:
        gate = bench.store.gate("before commit")
        bench.start(b"UPDATE /a first")
        gate.wait_until_reached()
        deep, honest = Waiter(), Waiter()
        replies: list[bytes] = []
        for number in range(12):
            line = b"CREATE /%d%b/f x" % (number, b"/d" * 62)
            assert bench.service.start(request(line), replies.append, deep)
        assert bench.service.start(request(b"UPDATE /a text"), replies.append, honest)
        gate.open()
        bench.rest()
        batches = [[write.path[:3] for write in batch] for batch in bench.store.committed]
        assert [len(batch) for batch in batches[1:]] == [1 + COMMIT_DIRECTORIES // 63 + 1, 3, 3, 3]
        assert b"/a" in batches[1], "it takes its turn among them"
        assert len(replies) == 13


def test_a_commit_counts_a_directory_once() -> None:
    with Bench() as bench:
        gate = bench.store.gate("before commit")
        bench.start(b"CREATE /a x")
        gate.wait_until_reached()
        for number in range(100):
            assert bench.service.start(request(b"CREATE /e%b/f%d x" % (b"/d" * 62, number)), lambda _: None)
        gate.open()
        bench.rest()
        assert [len(batch) for batch in bench.store.committed] == [1, 100]
