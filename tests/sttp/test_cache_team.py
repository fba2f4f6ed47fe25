"""What the processes of one server tell each other of changed files (`sttp_reactor.sttp.team`): no process needed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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


def test_what_one_announces_the_other_hears_once(members: tuple[Member, Member]) -> None:
    one, other = members
    assert not other.has_news
    one.announce(key(1))
    one.announce(key(2))
    assert other.has_news
    assert other.news() == {hash(key(1)), hash(key(2))}
    assert not other.has_news
    assert other.news() == set()


def test_nobody_hears_himself(members: tuple[Member, Member]) -> None:
    one, other = members
    one.announce(key(1))
    assert not one.has_news
    other.announce(key(2))
    assert one.news() == {hash(key(2))}


def test_who_comes_later_has_missed_nothing(team: Team, members: tuple[Member, Member]) -> None:
    members[0].announce(key(1))
    late = team.member(1)
    assert not late.has_news, "its cache is empty"
    members[0].announce(key(2))
    assert late.news() == {hash(key(2))}
    late.__dict__.clear()


def test_a_ring_may_be_nearly_full(members: tuple[Member, Member]) -> None:
    one, other = members
    for turn in range(3):
        numbers = range(turn * TEAM_RING_ENTRIES, (turn + 1) * TEAM_RING_ENTRIES - 1)
        for number in numbers:
            one.announce(key(number))
        assert other.news() == {hash(key(number)) for number in numbers}


@pytest.mark.parametrize("beyond", [1, TEAM_RING_ENTRIES, 10 * TEAM_RING_ENTRIES])
def test_who_has_fallen_behind_by_more_than_a_ring_forgets_everything(
    members: tuple[Member, Member], beyond: int
) -> None:
    one, other = members
    for number in range(TEAM_RING_ENTRIES + beyond):
        one.announce(key(number))
    assert other.news() is None
    assert not other.has_news
    one.announce(key(0))
    assert other.news() == {hash(key(0))}


def test_an_entry_that_is_being_written_over_is_not_mistaken(team: Team, members: tuple[Member, Member]) -> None:
    """The owner writes the entry first and its position after; here it has come as far as the entry."""
    one, other = members
    for number in range(TEAM_RING_ENTRIES):
        one.announce(key(number))
    positions = team.words[: team.size].tolist()
    one.announce(key(TEAM_RING_ENTRIES))
    for index, position in enumerate(positions):
        team.words[index] = position
    news = other.news()
    assert news is None or {hash(key(number)) for number in range(TEAM_RING_ENTRIES)} <= news


def test_when_nobody_knows_what_has_changed_everybody_forgets_everything(members: tuple[Member, Member]) -> None:
    one, other = members
    one.announce_everything()
    assert other.has_news
    assert other.news() is None


def test_connections_are_counted_together(members: tuple[Member, Member]) -> None:
    one, other = members
    one.set_connections(3)
    other.set_connections(4)
    assert one.connections == other.connections == 7
    one.forget_connections_of(1)
    assert other.connections == 3
