"""`Reactor.observer`: how long each phase of a turn took, for whoever watches the loop."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net_support import Net

from sttp_reactor.net.observing import PHASES
from sttp_reactor.net.reactor import Reactor

_NO_TIME = dict.fromkeys(PHASES, 0.0)


@pytest.fixture
def seen(net: Net) -> list[tuple[str, float]]:
    seen: list[tuple[str, float]] = []
    net.reactor.observer = lambda phase, seconds: seen.append((phase, seconds))
    return seen


def _takes(net: Net, seconds: float) -> Callable[..., None]:
    """Work of so many seconds, by the clock that the test moves."""

    def work(*_: object) -> None:
        net.clock.now += seconds

    return work


def test_each_phase_is_told_once_a_turn_and_in_order(net: Net, seen: list[tuple[str, float]]) -> None:
    net.turns(2)
    assert [phase for phase, _ in seen] == list(PHASES) * 2
    assert PHASES == ("lull", "wait", "sockets", "inbox", "timers", "ready", "turn end", "flush")


def test_time_is_told_of_the_phase_that_spent_it(net: Net, seen: list[tuple[str, float]]) -> None:
    """Powers of two, which add up without rounding: each phase's work takes another one."""
    reactor = net.reactor
    end = net.connect(net.recorder(data=_takes(net, 4)))
    end.peer.send(b"x")

    class Unsent:
        flush = staticmethod(_takes(net, 64))

    reactor.call_in_lull(_takes(net, 1))
    reactor.call_later(0.0, _takes(net, 8))
    reactor.call_soon(_takes(net, 16))
    reactor.call_at_turn_end(_takes(net, 32))
    reactor.unsent.append(Unsent())
    net.selector.hidden = [end.connection]  # there is a lull only while no socket is ready

    def wait() -> None:
        if len(net.selector.waits) == 2:  # the first one has looked whether there is a lull
            net.selector.hidden.clear()
            net.clock.now += 2

    net.selector.before_select = wait
    net.turns()
    assert dict(seen) == {
        "lull": 1,
        "wait": 2,
        "sockets": 4,
        "inbox": 0,
        "timers": 8,
        "ready": 16,
        "turn end": 32,
        "flush": 64,
    }
    assert sum(seconds for _, seconds in seen) == net.clock.now - 1000.0


def test_a_lull_that_finds_sockets_ready_was_the_wait(net: Net, seen: list[tuple[str, float]]) -> None:
    end = net.connect()
    end.peer.send(b"x")
    net.reactor.call_in_lull(lambda: None)
    net.selector.before_select = _takes(net, 2)
    net.turns()
    assert dict(seen) == _NO_TIME | {"lull": 2}
    assert end.protocol.received == b"x"


def test_whoever_begins_to_watch_in_a_turn_is_told_of_whole_turns_only(net: Net) -> None:
    seen: list[str] = []

    def watch() -> None:
        net.reactor.observer = lambda phase, _: seen.append(phase)

    def look_away() -> None:
        net.reactor.observer = None

    net.reactor.call_soon(watch)
    net.turns()
    assert seen == []
    net.reactor.call_soon(look_away)
    net.turns(2)
    assert seen == list(PHASES)


def test_an_observer_that_fails_is_logged_once_and_told_no_more(net: Net) -> None:
    told: list[str] = []

    def fail(phase: str, _: float) -> None:
        told.append(phase)
        raise ZeroDivisionError

    net.reactor.observer = fail
    end = net.connect()
    end.peer.send(b"x")
    net.turns(2)
    assert told == ["lull"]
    assert end.protocol.received == b"x"
    assert net.reactor.observer is None
    net.failures_expected = 1


def test_a_callback_that_fails_has_its_time_told(net: Net, seen: list[tuple[str, float]]) -> None:
    def work() -> None:
        net.clock.now += 1
        raise ZeroDivisionError

    net.reactor.call_soon(work)
    net.turns()
    assert dict(seen) == _NO_TIME | {"ready": 1}
    net.failures_expected = 1


def test_without_an_observer_a_turn_reads_the_clock_once(net: Net) -> None:
    """Watching is paid for by those who watch."""
    reads: list[None] = []
    net.clock.when_read = lambda: reads.append(None)
    net.turns()
    assert len(reads) == 1


def test_nobody_watches_a_new_reactor() -> None:
    reactor = Reactor()
    assert reactor.observer is None
    reactor.close()
