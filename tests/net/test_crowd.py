"""Connections counted by address: who is the same, and that every one that is gone is counted out."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from net_support import Net, Recorder, fail, has_ended, read_all

from sttp_reactor.net.address import Address
from sttp_reactor.net.crowd import Crowd, address_of
from sttp_reactor.net.listener import Listener, bind
from sttp_reactor.net.protocol import Transport

LOOPBACK = Address(socket.AF_INET, ("127.0.0.1", 0))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("192.0.2.7:51234", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:51234", "192.0.2.7"),
        ("[2001:db8:0:1::7]:51234", "2001:db8:0:1::/64"),
        ("[2001:db8:0:1:ffff::8]:1", "2001:db8:0:1::/64"),
        ("[2001:db8:0:2::7]:51234", "2001:db8:0:2::/64"),
        ("[::1]:5", "::/64"),
        ("[fe80::1%eth0]:5", "fe80::/64"),
        ("[::ffff:0:1]:5", "::/64"),
        ("unix:pid=7,uid=1000", ""),
        ("unix:", ""),
        ("", ""),
    ],
)
def test_what_is_one_address(peer: str, address: str) -> None:
    assert address_of(peer) == address


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(["192.0.2.7", "192.0.2.8", "[2001:db8::1]"]))), st.integers(0, 3)
)
def test_it_counts(steps: list[tuple[bool, str]], limit: int) -> None:
    crowd = Crowd(limit)
    here: Counter[str] = Counter()
    for number, (comes, host) in enumerate(steps):
        if comes:
            has_room = limit == 0 or here[host] < limit
            assert crowd.enter(f"{host}:{number}") is has_room
            here[host] += has_room
        elif here[host]:
            crowd.leave(f"{host}:{number}")
            here[host] -= 1
    addresses = sum(count > 0 for count in here.values())
    assert repr(crowd) == f"<Crowd: {here.total()} connections from {addresses} addresses>"


def test_unix_sockets_are_not_counted() -> None:
    crowd = Crowd(1)
    assert [crowd.enter("unix:pid=7,uid=1000") for _ in range(3)] == [True] * 3
    crowd.leave("unix:pid=7,uid=1000")
    assert repr(crowd) == "<Crowd: 0 connections from 0 addresses>"


def test_a_limit_that_is_changed_counts_those_who_are_there() -> None:
    crowd = Crowd()
    assert all(crowd.enter(f"192.0.2.7:{port}") for port in range(5))
    crowd.limit = 3
    assert not crowd.enter("192.0.2.7:9")
    for port in range(3):
        crowd.leave(f"192.0.2.7:{port}")
    assert crowd.enter("192.0.2.7:9")
    assert not crowd.enter("192.0.2.7:10")


# -- On a listener --


class Door:
    """A listener that lets so many in from one address, with what it made for those and for the others."""

    def __init__(
        self, net: Net, limit: int, *, refuses: bool = True, **reactions: Callable[[Transport], object]
    ) -> None:
        self.net = net
        self.crowd = Crowd(limit)
        self.reactions = reactions
        self.let_in: list[Recorder] = []
        self.refused: list[Recorder] = []
        self.peers: list[str] = []
        sock = bind(LOOPBACK)
        self.port = sock.getsockname()[1]
        self.listener = net.will_close(
            Listener(net.reactor, sock, self.make, crowd=self.crowd, refuse=self.refuse if refuses else None)
        )

    def make(self) -> Recorder:
        protocol = self.net.recorder(**self.reactions)
        self.let_in.append(protocol)
        return protocol

    def refuse(self, peer: str) -> Recorder:
        self.peers.append(peer)
        protocol = self.net.recorder(made=lambda transport: (transport.write(b"no\n"), transport.close()))
        self.refused.append(protocol)
        return protocol

    def call(self, source: str = "127.0.0.1") -> socket.socket:
        """A client from this address, once it has been accepted."""
        client = self.net.will_close(socket.create_connection(("127.0.0.1", self.port), source_address=(source, 0)))
        client.setblocking(False)
        before = self.listener.accepted
        self.net.until(lambda: self.listener.accepted > before)
        return client


def test_one_too_many_of_an_address_is_refused(any_net: Net) -> None:
    door = Door(any_net, 2)
    clients = [door.call() for _ in range(3)]
    any_net.until(lambda: has_ended(clients[2]) or door.refused)
    any_net.turns(2)
    assert read_all(clients[2]) == b"no\n"
    assert [has_ended(client) for client in clients] == [False, False, True]
    host, port = clients[2].getsockname()
    assert door.peers == [f"{host}:{port}"]
    other = door.call("127.0.0.2")
    assert (len(door.let_in), has_ended(other)) == (3, False)


@pytest.mark.parametrize("way", ["the peer closes", "it is reset", "we close", "we abort"])
def test_who_leaves_makes_room_however_that_goes(any_net: Net, way: str) -> None:
    door = Door(any_net, 1)
    client = door.call()
    protocol = door.let_in[0]
    if way == "it is reset":
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    if way in ("the peer closes", "it is reset"):
        client.close()
        protocol.reactions["eof"] = lambda transport: transport.close()
    elif way == "we close":
        protocol.transport.close()
        any_net.until(lambda: has_ended(client))
        client.close()
    else:
        protocol.transport.abort()
    any_net.until(lambda: "lost" in protocol.heard)
    door.call()
    assert len(door.let_in) == 2
    assert repr(door.crowd) == "<Crowd: 1 connections from 1 addresses>"


def test_refused_ones_are_not_counted(any_net: Net) -> None:
    door = Door(any_net, 1)
    first = door.call()
    for _ in range(3):
        door.call()
    assert len(door.refused) == 3
    first.close()
    door.let_in[0].transport.abort()
    any_net.turns(2)
    door.call()
    assert (len(door.let_in), len(door.refused)) == (2, 3)


def test_without_a_word_they_are_closed(any_net: Net) -> None:
    door = Door(any_net, 1, refuses=False)
    door.call()
    second = door.call()
    any_net.until(lambda: has_ended(second))
    assert repr(door.crowd) == "<Crowd: 1 connections from 1 addresses>"


@pytest.mark.parametrize("stage", ["its protocol cannot be made", "its protocol fails at once"])
def test_a_connection_that_comes_to_nothing_is_counted_out(
    any_net: Net, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    any_net.failures_expected = 1
    door = Door(any_net, 1)
    if stage == "its protocol fails at once":
        door.reactions = {"made": fail}
    else:
        monkeypatch.setattr(door.listener, "_factory", fail)
    failed = door.call()
    any_net.until(lambda: has_ended(failed))
    assert repr(door.crowd) == "<Crowd: 0 connections from 0 addresses>"
    monkeypatch.undo()
    door.reactions = {}
    door.call()
    assert repr(door.crowd) == "<Crowd: 1 connections from 1 addresses>"


def test_closing_the_listener_forgets_nobody(any_net: Net) -> None:
    door = Door(any_net, 1)
    door.call()
    door.listener.close()
    assert repr(door.crowd) == "<Crowd: 1 connections from 1 addresses>"
    door.let_in[0].transport.abort()
    any_net.turns(2)
    assert repr(door.crowd) == "<Crowd: 0 connections from 0 addresses>"
