"""What the processes of one server tell each other of changed files (`sttp_reactor.sttp.team`): no process needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scripted import Bench, Gate, ScriptedStore, request

from sttp_reactor.limits import TEAM_RING_ENTRIES
from sttp_reactor.sttp.team import Member, Team


@pytest.fixture
def team() -> Iterator[Team]:
    team = Team(2)
    yield team
    team.close()


@pytest.fixture
def members(team: Team) -> Iterator[tuple[Member, Member]]:
    members = team.member(0), team.member(1)
    yield members
    for member in members:
        member.__dict__.clear()  # they hold views of memory that is about to go


def key(number: int) -> bytes:
    return b"SHOW /%d\n" % number


def announced(*numbers: int) -> set[int]:
    return {hash(key(number)) for number in numbers}


def change(member: Member, *numbers: int) -> None:
    member.begin([key(number) for number in numbers])
    member.settle()


def test_what_one_announces_all_hear_once(members: tuple[Member, Member]) -> None:
    one, other = members
    assert not other.has_news
    change(one, 1)
    change(one, 2, 3)
    for each in members:  # what `one` has cached itself is no truer
        assert each.has_news
        assert each.news() == announced(1, 2, 3)
        assert not each.has_news
        assert each.news() == set()


def test_a_file_is_unsettled_from_begin_to_settle(members: tuple[Member, Member]) -> None:
    one, _ = members
    one.begin([key(1), key(2)])
    for each in members:
        each.news()
        assert [each.is_settled(key(number)) for number in (1, 2, 3)] == [False, False, True]
    one.settle()
    for each in members:
        assert not each.has_news, "nothing more is to be forgotten"
        assert each.is_settled(key(1))
        assert each.unsettled == {}


def test_of_two_changes_that_overlap_both_end_together(members: tuple[Member, Member]) -> None:
    one, other = members
    one.begin([key(1)])
    one.begin([key(2)])
    other.news()
    one.settle()
    assert not other.is_settled(key(1))
    one.announce([key(3)])
    assert other.news() == announced(3)
    assert not other.is_settled(key(3)), "it has been put into the same ring"
    one.settle()
    assert all(other.is_settled(key(number)) for number in (1, 2, 3))


def test_each_process_settles_its_own(members: tuple[Member, Member]) -> None:
    one, other = members
    one.begin([key(1)])
    other.begin([key(1)])
    one.news()
    one.settle()
    assert not one.is_settled(key(1))
    other.settle()
    assert one.is_settled(key(1))


def test_who_comes_later_has_missed_nothing(team: Team, members: tuple[Member, Member]) -> None:
    change(members[0], 1)
    members[0].begin([key(2)])
    late = team.member(1)
    assert not late.has_news, "its cache is empty"
    assert late.is_settled(key(1))
    assert not late.is_settled(key(2)), "or it would cache what is just being changed"
    members[0].settle()
    change(members[0], 3)
    assert late.news() == announced(3)
    late.__dict__.clear()


def test_what_a_killed_process_had_begun_stays_unsettled_until_its_successor_has_recovered(
    team: Team, members: tuple[Member, Member]
) -> None:
    killed, other = members
    killed.begin([key(1)])
    successor = team.member(0)
    assert successor.has_inherited
    other.news()
    change(successor, 2)
    other.news()
    assert not other.is_settled(key(1))
    assert not other.is_settled(key(2)), "settling is up to a position"
    successor.settle_inherited()
    assert not successor.has_inherited
    assert other.is_settled(key(1))
    change(successor, 3)
    assert other.news() == announced(3)
    assert other.is_settled(key(3))
    successor.__dict__.clear()


def test_a_ring_may_be_full(members: tuple[Member, Member]) -> None:
    one, other = members
    for turn in range(3):
        numbers = range(turn * TEAM_RING_ENTRIES, (turn + 1) * TEAM_RING_ENTRIES)
        change(one, *numbers)
        assert other.news() == announced(*numbers)


@pytest.mark.parametrize("beyond", [1, TEAM_RING_ENTRIES, 10 * TEAM_RING_ENTRIES])
def test_who_has_fallen_behind_by_more_than_a_ring_forgets_everything(
    members: tuple[Member, Member], beyond: int
) -> None:
    one, other = members
    for number in range(TEAM_RING_ENTRIES + beyond):
        change(one, number)
    assert other.news() is None
    assert not other.has_news
    assert other.is_settled(key(TEAM_RING_ENTRIES))
    change(one, 0)
    assert other.news() == announced(0)


def test_more_unsettled_than_a_ring_holds_is_everything(members: tuple[Member, Member]) -> None:
    one, other = members
    one.begin([key(number) for number in range(TEAM_RING_ENTRIES + 1)])
    assert other.news() is None
    assert not other.is_settled(b"whatever")
    one.settle()
    assert other.is_settled(b"whatever")


@pytest.mark.parametrize("come", ["neither", "the hash", "the check"])
@pytest.mark.parametrize("before", [0, TEAM_RING_ENTRIES])
def test_a_position_may_be_seen_before_its_entry(
    team: Team, members: tuple[Member, Member], before: int, come: str
) -> None:
    """A processor with weak ordering may show us the words that another one writes in any order. The place of the
    entry holds zeros, or what was announced there a ring ago."""
    one, other = members
    change(one, *range(before))
    other.news()
    was = team.words.tolist()
    one.begin([key(TEAM_RING_ENTRIES)])
    entry = [at for at, word in enumerate(team.words.tolist()) if at >= 4 * team.size and word != was[at]]
    hidden = {"neither": entry, "the hash": entry[1:], "the check": entry[:1]}[come]
    assert len(entry) == 2
    whole = [team.words[at] for at in hidden]
    for at in hidden:
        team.words[at] = was[at]
    assert other.news() is None, "an old entry was taken for the new one"
    assert not other.is_settled(key(TEAM_RING_ENTRIES))
    for at, word in zip(hidden, whole, strict=True):
        team.words[at] = word
    one.settle()
    assert other.is_settled(key(TEAM_RING_ENTRIES))


def test_an_entry_that_is_written_over_is_not_mistaken(team: Team, members: tuple[Member, Member]) -> None:
    """Its owner has come as far as the next round's entry, and has not said so yet."""
    one, other = members
    change(one, *range(TEAM_RING_ENTRIES))
    positions = team.words[: team.size].tolist()
    change(one, TEAM_RING_ENTRIES)
    for index, position in enumerate(positions):
        team.words[index] = position
    assert other.news() is None


def test_when_nobody_knows_what_has_changed_everybody_forgets_everything(members: tuple[Member, Member]) -> None:
    one, other = members
    one.announce(None)
    assert other.has_news
    assert other.news() is None
    assert other.is_settled(key(1))
    one.announce([key(number) for number in range(TEAM_RING_ENTRIES + 1)])
    assert other.news() is None


# -- Two services on one store --

OLD, NEW = b"200 /a OK\nold\n", b"200 /a OK\nnew\n"


class Pair:
    """Two processes' services in one process: what `one` writes, `other` may have cached."""

    def __init__(self, team: Team) -> None:
        self.store = ScriptedStore({b"/a": b"old", b"/b": b"other"})
        self.members = team.member(0), team.member(1)
        self.one, self.other = (Bench(self.store, team=member) for member in self.members)

    def begin(self, line: bytes, point: str) -> Gate:
        """Have `one` write, as far as that point."""
        gate = self.store.gate(point)
        self.one.start(line)
        self.one.turn()
        gate.wait_until_reached()
        return gate

    def end(self, gate: Gate) -> None:
        gate.open()
        self.one.rest()


@pytest.fixture
def pair(team: Team) -> Iterator[Pair]:
    pair = Pair(team)
    with pair.one, pair.other:
        yield pair
    for member in pair.members:
        member.__dict__.clear()


def shows(bench: Bench, line: bytes = b"SHOW /a") -> bytes:
    cached = bench.service.cached(request(line))
    if cached is not None:
        return cached
    replies = bench.start(line)
    bench.until(lambda: bool(replies))
    return replies[0]


def is_cached(bench: Bench) -> bool:
    return bench.service.cached(request(b"SHOW /a")) is not None


@pytest.mark.parametrize("line", [b"UPDATE /a new", b"DELETE /a"])
def test_what_one_has_shown_before_its_acknowledgement_the_other_shows_too(pair: Pair, line: bytes) -> None:
    assert shows(pair.other) == shows(pair.one) == OLD
    assert is_cached(pair.other)
    gate = pair.begin(line, "after commit")
    truth = shows(pair.one)
    assert truth != OLD, "it is in the file"
    assert shows(pair.other) == truth
    pair.end(gate)
    assert shows(pair.other) == truth


def test_what_is_read_between_the_announcement_and_the_change_is_not_cached(pair: Pair) -> None:
    gate = pair.begin(b"UPDATE /a new", "before commit")
    for bench in (pair.one, pair.other):
        assert shows(bench) == OLD
        assert not is_cached(bench)
        assert shows(bench, b"SHOW /b") == b"200 /b OK\nother\n"
        assert bench.service.cached(request(b"SHOW /b")) is not None, "which is not changing"
    pair.end(gate)
    for bench in (pair.one, pair.other):
        assert shows(bench) == NEW
        assert is_cached(bench)


@pytest.mark.parametrize("begins", ["before the announcement", "after it"])
def test_a_read_that_has_seen_the_old_text_is_neither_joined_nor_cached(pair: Pair, begins: str) -> None:
    gate = pair.begin(b"UPDATE /a new", "before commit") if begins == "after it" else None
    looked = pair.store.gate("after show /a")
    early = pair.other.start(b"SHOW /a")
    pair.other.turn()
    looked.wait_until_reached()
    if gate is None:
        gate = pair.begin(b"UPDATE /a new", "before commit")
    done = pair.store.gate("after commit")
    gate.open()
    done.wait_until_reached()
    assert shows(pair.one) == NEW
    late = pair.other.start(b"SHOW /a")
    pair.other.wake_another_reader()
    pair.other.until(lambda: bool(late))
    assert late == [NEW]
    looked.open()
    pair.other.until(lambda: bool(early))
    assert early == [OLD], "it was asked before anybody could know better"
    assert not is_cached(pair.other)
    pair.end(done)
    assert shows(pair.other) == NEW


def test_a_read_that_no_worker_has_begun_is_joined_even_then(pair: Pair) -> None:
    """Or a file that is written all the time would be read from the disk once for each who asks."""
    gate = pair.begin(b"UPDATE /a new", "before commit")
    replies: list[bytes] = []
    for _ in range(10):
        pair.other.service.start(request(b"SHOW /a"), replies.append)
    pair.other.until(lambda: len(replies) == 10)
    assert set(replies) == {OLD}
    assert pair.store.shown.count(b"/a") == 1
    pair.end(gate)


def test_a_write_that_raises_leaves_nothing_unsettled(pair: Pair, caplog: pytest.LogCaptureFixture) -> None:
    pair.store.commit_error = RuntimeError("planted")
    replies = pair.one.start(b"UPDATE /a new")
    pair.one.until(lambda: bool(replies))
    assert replies[0].startswith(b"500")
    assert shows(pair.other) == NEW
    assert is_cached(pair.other)
    pair.one._mishaps.texts.clear()  # it was logged, as it should be


def test_what_a_recovery_changes_is_announced(pair: Pair) -> None:
    for paths in ([b"/a"], None):
        assert shows(pair.other) in (OLD, NEW)
        assert is_cached(pair.other)
        pair.store.files[b"/a"] = b"new"
        pair.one.service.changed_elsewhere(paths)
        assert not is_cached(pair.other)


def test_a_successor_recovers_and_settles(team: Team) -> None:
    team.member(0).begin([b"SHOW /a\n"])
    store = ScriptedStore({b"/a": b"old"})
    member = team.member(0)
    with Bench(store, team=member) as bench:
        assert shows(bench) == OLD
        bench.rest()
        assert not member.has_inherited
        assert shows(bench) == OLD
        assert is_cached(bench)
    member.__dict__.clear()


# -- One process alone --


@pytest.mark.parametrize("line", [b"DELETE /a", b"CREATE /c new"])
def test_what_a_list_has_shown_a_show_shows_too(line: bytes) -> None:
    """Before it is acknowledged, cached or not, and whoever has begun to look before."""
    path = line.split(b" ")[1]
    with Bench(ScriptedStore({b"/a": b"old"})) as bench:
        before = shows(bench, b"SHOW %b" % path)
        looked = bench.store.gate(f"after show {path.decode()}")
        if path == b"/c":
            early = bench.start(b"SHOW /c")
            bench.turn()
            looked.wait_until_reached()
        done = bench.store.gate("after commit")
        bench.start(line)
        bench.turn()
        done.wait_until_reached()
        listed = bench.start(b"LIST /")
        bench.until(lambda: bool(listed))
        assert (path[1:] in listed[0]) == line.startswith(b"CREATE")
        if path == b"/c":
            late = bench.start(b"SHOW /c")
            bench.wake_another_reader()
            bench.until(lambda: bool(late))
            assert late == [b"200 /c OK\nnew\n"]
            looked.open()
            bench.until(lambda: bool(early))
            assert early == [before]
        else:
            looked.open()
            assert shows(bench) == b"400 /a NOT FOUND\n"
        done.open()
        bench.rest()


def test_what_changes_by_nobodys_request_is_forgotten_alone_too() -> None:
    with Bench(ScriptedStore({b"/a": b"old"})) as bench:
        for paths in ([b"/a"], None):
            shows(bench)
            assert is_cached(bench)
            bench.service.changed_elsewhere(paths)
            bench.turn()
            assert not is_cached(bench)


# -- What else they share --


def test_connections_are_counted_together(members: tuple[Member, Member]) -> None:
    one, other = members
    one.set_connections(3)
    other.set_connections(4)
    assert one.connections == other.connections == 7
    one.forget_connections_of(1)
    assert other.connections == 3
