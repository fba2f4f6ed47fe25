"""The turn: what is called when, and who pays when something fails."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from net_support import Net, fail, fill

from sttp_reactor.limits import LULL_SECONDS, LULL_TURNS
from sttp_reactor.net.connection import Connection
from sttp_reactor.net.reactor import READ, WRITE


class Handler:
    """Notes its events; then does what it was given."""

    def __init__(self, name: str, log: list[str], act: Callable[[], object] = lambda: None) -> None:
        self.name = name
        self.log = log
        self.act = act

    def on_readable(self) -> None:
        self.log.append(f"{self.name} readable")
        self.act()

    def on_writable(self) -> None:
        self.log.append(f"{self.name} writable")
        self.act()


def watch(net: Net, name: str, log: list[str], act: Callable[[], object] = lambda: None, events: int = READ) -> Handler:
    """A handler of a socket that is readable and writable."""
    near, far = net.socketpair()
    far.send(b"x")
    handler = Handler(name, log, act)
    net.reactor.register(near, events, handler)
    return handler


def by_name(net: Net) -> None:
    """Let the reactor meet its handlers in the order of their names, on every selector."""
    net.selector.order = lambda key: getattr(key.data, "name", "")


# -- Order --


def test_a_turn_runs_sockets_inbox_timers_ready_and_turn_end_in_this_order(any_net: Net) -> None:
    said: list[str] = []
    reactor = any_net.reactor

    def at_the_socket() -> None:
        reactor.call_at_turn_end(lambda: said.append("turn end"))
        reactor.call_soon(lambda: said.append("soon"))
        reactor.call_soon_threadsafe(lambda: said.append("posted"))
        reactor.call_later(0.0, lambda: said.append("timer"))
        reactor.call_later(0.0, lambda: reactor.call_soon(lambda: said.append("soon, by the timer")))

    handler = watch(any_net, "socket", said, at_the_socket)
    reactor.call_soon(lambda: said.append("soon, from before"))
    any_net.turns()
    # The inbox joins the ready queue before the timers add to it, so "posted" keeps its place in that queue.
    order = ["socket readable", "timer", "soon, from before", "soon", "posted", "soon, by the timer", "turn end"]
    assert said == order
    handler.act = lambda: None


def test_what_a_ready_callback_queues_waits_a_turn(any_net: Net) -> None:
    said: list[int] = []

    def chain() -> None:
        said.append(any_net.reactor.turns)
        any_net.reactor.call_soon(chain)

    any_net.reactor.call_soon(chain)
    any_net.reactor.call_soon(lambda: said.append(-1))
    any_net.turns(3)
    assert said == [1, -1, 2, 3]
    assert any_net.selector.waits == [0, 0, 0]  # a turn that leaves something ready does not sleep


def test_a_chain_of_ready_callbacks_starves_no_socket(net: Net) -> None:
    end = net.connect()

    def chain() -> None:
        net.reactor.call_soon(chain)

    chain()
    net.turns(3)
    end.peer.send(b"hello")
    net.turns()
    assert end.protocol.received == b"hello"


def test_what_is_put_off_to_the_next_turn_does_not_run_in_this_one(any_net: Net) -> None:
    """Whoever asks: a socket's handler, another callback, the turn's end."""
    called_in: list[int] = []
    reactor = any_net.reactor

    def put_off() -> None:
        reactor.call_next_turn(lambda: called_in.append(reactor.turns))

    watch(any_net, "a", [], lambda: put_off() if reactor.turns == 1 else None)
    reactor.call_soon(put_off)
    reactor.call_at_turn_end(put_off)
    any_net.turns(3)
    assert called_in == [2, 2, 2]


def test_what_a_flush_leaves_for_the_turns_end_lets_nobody_sleep(any_net: Net) -> None:
    said: list[str] = []
    end = any_net.connect(any_net.recorder(paused=lambda _: any_net.reactor.call_at_turn_end(lambda: said.append("x"))))
    any_net.reactor.call_soon(lambda: end.connection.write(bytes(10_000_000)))
    any_net.turns(2)
    assert said == ["x"]
    assert any_net.selector.slept == 0


def test_turn_end_comes_once_and_after_what_was_collected_during_turn_end(net: Net) -> None:
    said: list[str] = []
    net.reactor.call_soon(lambda: net.reactor.call_at_turn_end(first))

    def first() -> None:
        said.append("first")
        net.reactor.call_at_turn_end(lambda: said.append("by the first"))
        net.reactor.call_soon(lambda: said.append("next turn"))

    net.turns()
    assert said == ["first", "by the first"]
    net.turns(2)
    assert said == ["first", "by the first", "next turn"]


def test_the_time_stands_still_within_a_turn(net: Net) -> None:
    seen: list[float] = []

    def tick() -> None:
        net.clock.now += 0.25
        seen.append(net.reactor.now)

    for _ in range(3):
        net.reactor.call_soon(tick)
    net.turns()
    assert seen == [1000.0] * 3
    net.turns()
    assert net.reactor.now == 1000.75


def test_run_ends_with_the_turn_in_which_stop_was_called(net: Net) -> None:
    said: list[str] = []
    net.reactor.call_soon(net.reactor.stop)
    net.reactor.call_soon(lambda: net.reactor.call_at_turn_end(lambda: said.append("turn end")))
    net.reactor.run()
    assert (said, net.reactor.turns) == (["turn end"], 1)


def test_run_can_be_called_again(net: Net) -> None:
    for turns in (1, 2):
        net.reactor.call_soon(net.reactor.stop)
        net.reactor.run()
        assert net.reactor.turns == turns
    said: list[int] = []
    net.reactor.call_soon(lambda: net.reactor.call_soon(net.reactor.stop))
    net.reactor.call_at_turn_end(lambda: said.append(net.reactor.turns))
    net.reactor.run()
    assert (said, net.reactor.turns) == ([3], 4)


def test_a_reactor_says_what_it_holds(net: Net) -> None:
    net.connect()
    net.reactor.call_later(1.0, lambda: None)
    net.reactor.call_soon(lambda: None)
    assert repr(net.reactor) == "<Reactor turn 0: 1 sockets, 1 timers, 1 ready>"


# -- Sockets, on every selector --


def test_readiness_comes_for_what_was_asked(any_net: Net) -> None:
    said: list[str] = []
    near, far = any_net.socketpair()
    handler = Handler("h", said)
    any_net.reactor.register(near, READ, handler)
    any_net.turns()
    assert said == []
    any_net.reactor.set_interest(near, WRITE, handler)
    any_net.turns()
    far.send(b"x")
    any_net.turns()
    assert said == ["h writable"] * 2
    said.clear()
    any_net.reactor.set_interest(near, READ | WRITE, handler)
    any_net.turns()
    assert said == ["h readable", "h writable"]
    said.clear()
    any_net.reactor.set_interest(near, READ, handler)
    any_net.turns()
    assert said == ["h readable"]
    fill(near)
    any_net.reactor.set_interest(near, WRITE, handler)
    any_net.turns()
    assert said == ["h readable"]
    any_net.reactor.unregister(near)
    any_net.turns()
    assert said == ["h readable"]


@pytest.mark.parametrize("events", [READ, WRITE, READ | WRITE])
def test_a_hang_up_reaches_whoever_is_interested_in_anything(any_net: Net, events: int) -> None:
    said: list[str] = []
    near, far = any_net.socketpair()
    fill(near)
    any_net.reactor.register(near, events, Handler("h", said))
    any_net.turns()
    assert said == []
    far.close()
    any_net.turns()
    assert said
    assert all(("readable" in event) <= bool(events & READ) for event in said)
    assert all(("writable" in event) <= bool(events & WRITE) for event in said)


def test_the_end_of_a_pipe_will_do_for_a_socket(any_net: Net) -> None:
    said: list[str] = []
    reading, writing = os.pipe()
    with open(reading, "rb") as end:
        handler = Handler("h", said)
        any_net.reactor.register(end, READ, handler)
        any_net.turns()
        os.write(writing, b"x")
        any_net.turns()
        os.close(writing)
        any_net.reactor.unregister(end)
    assert said == ["h readable"]


def test_every_ready_socket_is_called_once_a_turn(any_net: Net) -> None:
    said: list[str] = []
    for number in range(100):
        watch(any_net, str(number), said)
    any_net.turns()
    assert sorted(said) == sorted(f"{number} readable" for number in range(100))


def test_a_handler_that_fails_costs_the_others_nothing(any_net: Net) -> None:
    said: list[str] = []
    by_name(any_net)
    any_net.failures_expected = 3
    failing = [
        watch(any_net, "a", said, fail),
        watch(any_net, "c", said, fail, READ | WRITE),
        watch(any_net, "d", said, fail),
    ]
    watch(any_net, "b", said)
    watch(any_net, "e", said)
    any_net.reactor.call_soon(lambda: said.append("ready"))
    any_net.turns()
    assert said == ["a readable", "b readable", "c readable", "d readable", "e readable", "ready"]
    for handler in failing:
        handler.act = lambda: None


def test_a_failing_callback_of_each_kind_costs_the_others_nothing(net: Net) -> None:
    said: list[str] = []
    net.failures_expected = 3
    for queue in (net.reactor.call_soon, net.reactor.call_soon_threadsafe, net.reactor.call_at_turn_end):
        queue(fail)
        queue(lambda: said.append("called"))
    net.turns()
    assert said == ["called"] * 3


# -- Sockets that close while their events are on the way --


def test_a_connection_closed_earlier_in_the_turn_gets_nothing(any_net: Net) -> None:
    victim = any_net.connect()
    victim.connection.pause_reading()
    said: list[str] = []
    watch(any_net, "a", said, victim.connection.abort)
    any_net.selector.order = lambda key: key.data is victim.connection
    victim.connection.resume_reading()
    victim.peer.send(b"too late")
    any_net.turns()
    assert victim.protocol.heard == ["made", "lost"]


def test_a_paused_connection_gets_nothing_more_even_in_the_same_turn(any_net: Net) -> None:
    """As when the other side of a proxy fills up: its events are already on the way."""
    paused = any_net.connect()
    first = watch(any_net, "a", [], paused.connection.pause_reading)
    any_net.selector.order = lambda key: key.data is not first
    paused.peer.send(b"wait")
    any_net.turns()
    assert paused.protocol.heard == ["made"]
    first.act = paused.connection.resume_reading
    any_net.turns(2)
    assert paused.protocol.received == b"wait"


def test_a_descriptor_number_that_is_reused_within_a_turn_brings_the_new_owner_nothing(any_net: Net) -> None:
    old, fresh = any_net.connect(), any_net.recorder()
    near, far = any_net.socketpair()
    numbers: list[int] = []

    def replace() -> None:
        old.connection.abort()
        sock = near.dup()  # takes the lowest number, the one that has just become free
        numbers.append(sock.fileno())
        Connection(any_net.reactor, sock, lambda: fresh)
        first.act = lambda: None

    first = watch(any_net, "a", [], replace)
    numbers += [key.fd for key in any_net.selector.get_map().values() if key.data is old.connection]
    any_net.selector.order = lambda key: key.data is not first
    old.peer.send(b"for the old one")
    any_net.turns()
    assert numbers[0] == numbers[1]
    assert (old.protocol.heard, fresh.heard) == (["made", "lost"], ["made"])
    far.send(b"for the new one")
    any_net.turns()
    assert fresh.received == b"for the new one"


def test_what_waits_for_a_lull_waits_until_no_socket_is_ready(net: Net) -> None:
    """Chatty sockets put it off, but not for ever."""
    called_in: list[int] = []
    first = net.reactor.turns
    busy = net.connect(net.recorder())
    net.reactor.call_in_lull(lambda: called_in.append(net.reactor.turns - first))
    for _ in range(LULL_TURNS + 2):
        busy.peer.send(b"x")
        net.reactor.call_soon(lambda: None)
        net.reactor.turn()
    assert called_in == [LULL_TURNS]


def test_nor_for_longer_than_so_many_seconds(net: Net) -> None:
    called_in: list[int] = []
    first = net.reactor.turns
    busy = net.connect(net.recorder())
    net.reactor.call_in_lull(lambda: called_in.append(net.reactor.turns - first))
    for _ in range(LULL_TURNS):
        busy.peer.send(b"x")
        net.clock.now += 0.6 * LULL_SECONDS
        net.reactor.call_soon(lambda: None)
        net.reactor.turn()
    assert called_in == [2]


def test_a_turn_says_how_many_share_it(net: Net) -> None:
    shared_by: list[int] = []
    for _ in range(3):
        net.connect(net.recorder(data=lambda _: shared_by.append(net.reactor.busy))).peer.send(b"x")
    net.reactor.call_soon(lambda: None)
    net.reactor.turn()
    assert shared_by == [4, 4, 4]


def test_a_lull_that_is_there_is_not_waited_for(net: Net) -> None:
    called_in: list[int] = []
    first = net.reactor.turns
    net.reactor.call_in_lull(lambda: called_in.append(net.reactor.turns - first))
    net.reactor.call_soon(lambda: None)
    net.reactor.turn()
    assert called_in == [0], "before the turn counts"
