"""The echo client's arithmetic, beside a relay of ours that loses, doubles, delays and reorders by a seed."""

from __future__ import annotations

import random
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

sys.path.append(str(Path(__file__).parent.parent / "net"))  # for a reactor whose clock is moved by hand

from net_support import Net

from sttp_reactor.net import Address, Datagrams, open_datagrams
from sttp_reactor.services.echo import serve_datagrams
from sttp_reactor.services.echo_client import Client, DatagramClient, Plan
from sttp_reactor.services.echo_tally import FOREIGN, Tally, milliseconds, percentile

LOCAL = Address(socket.AF_INET, ("127.0.0.1", 0))
TICK = 1 / 128  # seconds; all times here are multiples of it, which add up without rounding


class Delivery(NamedTuple):
    """What the relay has handed to the client."""

    number: int
    at: float


class Relay:
    """Between a client and an echo service; `deliveries` is what it did, in order, `asked_at` when each was sent."""

    def __init__(self, net: Net, seed: int, service: Address) -> None:
        self._net = net
        self._chance = random.Random(seed)
        self.deliveries: list[Delivery] = []
        self.asked_at: dict[int, float] = {}
        self._client: Any = None
        self.front = net.will_close(open_datagrams(net.reactor, lambda _: Side(self._asked), LOCAL))
        self._back = net.will_close(open_datagrams(net.reactor, lambda _: Side(self._answered), remote=service))

    @property
    def address(self) -> Address:
        return Address(socket.AF_INET, ("127.0.0.1", self.front.port))

    def _asked(self, data: bytes, peer: Any) -> None:
        self._client = peer
        self.asked_at[number_of(data)] = self._net.clock.now
        if self._chance.random() > 0.1:
            self._back.send(data)

    def _answered(self, data: bytes, _peer: Any) -> None:
        if self._chance.random() < 0.1:
            return
        for _ in range(self._chance.choice([1, 1, 1, 1, 2, 3])):
            # Some of them beyond the timeout, which is 40; and some behind later ones, which come every 8.
            ticks = self._chance.choice([0, 0, 0, 1, 5, 13, 30, 39, 40, 41, 90])
            self._net.reactor.call_later(ticks * TICK, lambda: self._deliver(data))

    def _deliver(self, data: bytes) -> None:
        self.deliveries.append(Delivery(number_of(data), self._net.clock.now))
        self.front.send(data, self._client)


class Side:
    def __init__(self, received: Any) -> None:
        self.datagram_received = received

    def error_received(self, error: OSError) -> None:
        raise error


def number_of(message: bytes) -> int:
    (number,) = struct.unpack_from(">Q", message, 8)
    return int(number)


def expected(relay: Relay, plan: Plan) -> dict[str, Any]:
    """By looking at the whole list for each number: what one line of the report says of it, in the plainest words."""
    firsts: dict[int, Delivery] = {}
    for delivery in relay.deliveries:
        firsts.setdefault(delivery.number, delivery)
    order = [delivery.number for delivery in firsts.values()]
    trips = {number: first.at - relay.asked_at[number] for number, first in firsts.items()}
    return {
        "sent": plan.messages,
        "received": len(firsts),
        "late": sum(trip > plan.timeout for trip in trips.values()),
        "duplicated": len(relay.deliveries) - len(firsts),
        "out_of_order": sum(any(before > number for before in order[:place]) for place, number in enumerate(order)),
        "foreign": 0,
        "round_trips": list(trips.values()),
    }


@pytest.mark.parametrize("seed", range(8))
def test_the_client_knows_what_a_relay_has_done(net: Net, seed: int) -> None:
    service = net.will_close(serve_datagrams(net.reactor, LOCAL))
    relay = Relay(net, seed, Address(socket.AF_INET, ("127.0.0.1", service.port)))
    plan = Plan(messages=200, interval=8 * TICK, size=64, timeout=40 * TICK)
    client = Client(net.reactor, plan)
    ours = net.will_close(DatagramClient(client, [relay.address]))
    tally = ours.tally
    for _ in range(200 * 8 + 40 + 1):
        net.turns(5)  # to the service, and back
        net.pass_time(TICK)
    known = expected(relay, plan)
    assert {name: getattr(tally, name) for name in known} == known
    assert min(known["late"], known["duplicated"], known["out_of_order"], 200 - known["received"]) > 5
    # What comes after the end is not waited for.
    lost = 200 - known["received"]
    counts, trips = tally.report(net.clock.now)
    assert counts == (
        f"sent 200, received {known['received']}, lost {lost} ({lost / 200:.1%}), late {known['late']}, "
        f"duplicated {known['duplicated']}, out of order {known['out_of_order']}"
    )
    trip = sorted(known["round_trips"])
    assert trips.startswith(f"round trips: min {1000 * trip[0]:.3f} ms, p50 ")
    assert client.has_received


@pytest.fixture
def net() -> Any:
    with Net() as net:
        yield net


def test_a_number_is_awaited_then_lost_then_late() -> None:
    tally = Tally(timeout=1.0)
    assert [tally.send(0.0), tally.send(0.5)] == [0, 1]
    tally.receive(1, 0.75)
    assert tally.report(1.0)[0] == ("sent 2, received 1, lost 0, awaited 1, late 0, duplicated 0, out of order 0")
    assert tally.report(1.1)[0] == "sent 2, received 1, lost 1 (50.0%), late 0, duplicated 0, out of order 0"
    tally.receive(0, 1.5)
    tally.receive(0, 1.5)
    assert tally.report(2.0)[0] == "sent 2, received 2, lost 0, late 1, duplicated 1, out of order 1"


def test_what_was_never_sent_is_none_of_ours() -> None:
    tally = Tally(timeout=1.0)
    tally.send(0.0)
    for number in (1, FOREIGN, 1 << 63):
        tally.receive(number, 0.5)
    assert tally.report(0.5) == ["sent 1, received 0, lost 0, awaited 1, late 0, duplicated 0, out of order 0, wrong 3"]


@pytest.mark.parametrize(
    ("share", "count", "place"), [(50, 1, 1), (50, 2, 1), (50, 3, 2), (99, 100, 99), (99, 101, 100), (99, 10, 10)]
)
def test_a_percentile_is_a_value_that_was_seen(share: int, count: int, place: int) -> None:
    assert percentile(range(1, count + 1), share) == place


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0000421, "0.042 ms"), (0.00999, "9.990 ms"), (0.0123, "12.3 ms"), (1.234, "1234 ms")]
)
def test_times_are_in_milliseconds(seconds: float, text: str) -> None:
    assert milliseconds(seconds) == text


def test_what_another_client_asked_for_is_not_counted(net: Net) -> None:
    """Nor a message of ours that has changed on the way."""
    received: list[tuple[bytes, Any]] = []
    service: Datagrams = net.will_close(
        open_datagrams(net.reactor, lambda _: Side(lambda data, peer: received.append((data, peer))), LOCAL)
    )
    client = Client(net.reactor, Plan(messages=1, interval=1.0, size=64, timeout=1.0))
    address = Address(socket.AF_INET, ("127.0.0.1", service.port))
    ours = net.will_close(DatagramClient(client, [address]))
    net.turns(2)
    ((data, peer),) = received
    for wrong in (b"", data[:-1], data + b"x", b"\0" * 64, data[:-1] + b"x", data[:15] + b"\1" + data[16:]):
        service.send(wrong, peer)
    net.turns(2)
    assert (ours.tally.foreign, ours.tally.received) == (6, 0)
    service.send(data, peer)
    net.turns(2)
    assert (ours.tally.foreign, ours.tally.received) == (6, 1)


def test_an_address_where_nobody_answers_is_left_for_the_next(net: Net) -> None:
    """And what was sent there is not counted."""
    silent = net.will_close(open_datagrams(net.reactor, lambda _: Side(lambda data, peer: None), LOCAL))
    service = net.will_close(serve_datagrams(net.reactor, LOCAL))
    client = Client(net.reactor, Plan(messages=5, interval=0.25, size=64, timeout=1.0))
    addresses = [Address(socket.AF_INET, ("127.0.0.1", each.port)) for each in (silent, service)]
    ours = net.will_close(DatagramClient(client, addresses))
    for _ in range(12):
        net.turns(3)
        net.pass_time(0.25)
    assert client.peer == f"udp 127.0.0.1:{service.port}"
    assert (ours.tally.sent, ours.tally.received) == (5, 5)


def test_a_service_that_goes_away_and_comes_back_is_told(net: Net) -> None:
    service = net.will_close(serve_datagrams(net.reactor, LOCAL))
    address = Address(socket.AF_INET, ("127.0.0.1", service.port))
    client = Client(net.reactor, Plan(messages=6, interval=0.25, size=64, timeout=1.0))
    ours = net.will_close(DatagramClient(client, [address]))
    for number in range(12):
        net.turns(3)
        if number == 1:
            service.close()
        if number == 3:
            net.will_close(serve_datagrams(net.reactor, address))
        net.pass_time(0.25)
    assert (ours.tally.sent, ours.tally.received) == (6, 4)
    assert client.trouble == f"{address}: connection refused, 2 times"
