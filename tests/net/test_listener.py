"""Accepting: in bounded bursts, past every mishap, and not for longer than wished."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from net_support import Net, Recorder, fail, has_ended, read_all

from sttp_reactor.limits import ACCEPT_PAUSE_SECONDS, ACCEPTS_PER_TURN
from sttp_reactor.net.address import Address
from sttp_reactor.net.listener import Listener, bind
from sttp_reactor.net.protocol import Transport

LOOPBACK = Address(socket.AF_INET, ("127.0.0.1", 0))


class Scripted(socket.socket):
    """A listening socket that raises what it is told to, before it accepts for real."""

    errors: list[OSError]

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


def scripted(*errors: OSError) -> Scripted:
    sock = Scripted(fileno=bind(LOOPBACK).detach())
    sock.setblocking(False)
    sock.errors = list(errors)
    return sock


class Door:
    """A listener, the protocols it made, and its callers."""

    def __init__(self, net: Net, sock: socket.socket | None = None, **reactions: Callable[[Transport], object]) -> None:
        self.net = net
        self.protocols: list[Recorder] = []
        self.reactions = reactions
        self.makers: list[Callable[[], object]] = []  # called in place of the next ones
        self.sock = bind(LOOPBACK) if sock is None else sock
        self.name = self.sock.getsockname()
        self.listener = net.will_close(Listener(net.reactor, self.sock, self.make_protocol))

    def make_protocol(self) -> Recorder:
        if self.makers:
            self.makers.pop(0)()
        protocol = self.net.recorder(**self.reactions)
        self.protocols.append(protocol)
        return protocol

    def call(self, text: bytes = b"") -> socket.socket:
        """A client, connected as far as the kernel is concerned."""
        client = self.net.will_close(socket.socket(self.sock.family))
        client.connect(self.name)
        client.setblocking(False)
        if text:
            client.send(text)
        return client


def test_each_connection_gets_a_protocol_of_its_own(any_net: Net) -> None:
    door = Door(any_net, data=lambda transport: transport.write(transport.peer.encode()))
    clients = [door.call(b"hello") for _ in range(3)]
    any_net.until(lambda: len(door.protocols) == 3 and all(protocol.chunks for protocol in door.protocols))
    for client in clients:
        host, port = client.getsockname()
        assert read_all(client).decode() == f"{host}:{port}"
    assert door.listener.accepted == 3
    assert repr(door.listener) == f"<Listener 127.0.0.1:{door.name[1]}: 3 accepted>"


def test_a_caller_that_does_not_read_holds_nobody_up(net: Net) -> None:
    door = Door(net, made=lambda transport: transport.write(bytes(20_000_000)))
    door.call()
    net.until(lambda: door.protocols and "paused" in door.protocols[0].heard)


def test_a_turn_accepts_so_many_and_no_more(any_net: Net) -> None:
    """A flood of connects gets a share of each turn; whoever is connected already is served in all of them."""
    door = Door(any_net, data=lambda transport: transport.write(b"pong"))
    first = door.call()
    any_net.until(lambda: door.listener.accepted)
    for _ in range(2 * ACCEPTS_PER_TURN + 10):
        door.call()
    accepted = []
    for _ in range(4):
        first.send(b"ping")
        any_net.turns()
        accepted.append(door.listener.accepted - 1)
        assert read_all(first) == b"pong"
    most = ACCEPTS_PER_TURN
    assert accepted == [most, 2 * most, 2 * most + 10, 2 * most + 10]


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EPERM])
def test_when_accepting_fails_it_pauses_and_the_others_are_served(any_net: Net, code: int) -> None:
    """EMFILE and its like; and anything else, such as a firewall's EPERM, that would come again at once."""
    sock = scripted()
    door = Door(any_net, sock, data=lambda transport: transport.write(b"pong"))
    before = door.call()
    any_net.until(lambda: door.listener.accepted)
    sock.errors = [OSError(code, os.strerror(code))] * 2
    client = door.call()
    any_net.until(lambda: door.listener.pauses)
    for _ in range(5):  # it does not spin meanwhile: the next wait is for its timer
        before.send(b"ping")
        any_net.turns()
        assert read_all(before) == b"pong"
    assert (door.listener.accepted, door.listener.pauses) == (1, 1)
    assert any_net.selector.waits[-1] == pytest.approx(ACCEPT_PAUSE_SECONDS)
    any_net.pass_time(ACCEPT_PAUSE_SECONDS)
    any_net.until(lambda: door.listener.pauses == 2)
    any_net.pass_time(ACCEPT_PAUSE_SECONDS)
    any_net.until(lambda: door.listener.accepted == 2)
    client.send(b"ping")
    any_net.until(lambda: read_all(client) == b"pong")


def test_connections_that_are_gone_before_they_are_accepted_are_passed_over(any_net: Net) -> None:
    door = Door(any_net, scripted(ConnectionAbortedError(), ConnectionResetError()))
    door.call()
    any_net.until(lambda: door.listener.accepted == 1)
    assert door.listener.pauses == 0


def test_out_of_descriptors_for_real(tmp_path: Path) -> None:
    """In a process of its own: it fills its table, is called, makes room, and answers."""
    script = textwrap.dedent("""
        import os, resource, socket
        from sttp_reactor.net.address import Address
        from sttp_reactor.net.listener import Listener, bind
        from sttp_reactor.net.reactor import Reactor
        from net_support import Clock, Recorder, WatchedSelector
        import selectors

        clock = Clock()
        selector = WatchedSelector(selectors.DefaultSelector(), patience=0.005)
        reactor = Reactor(selector, clock)
        made = []
        def factory():
            made.append(Recorder())
            return made[-1]
        sock = bind(Address(socket.AF_INET, ("127.0.0.1", 0)))
        listener = Listener(reactor, sock, factory)
        client = socket.create_connection(sock.getsockname())
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for _ in range(20):
            reactor.turn()
        assert (listener.accepted, listener.pauses) == (0, 1), listener
        clock.now += 1.0
        for _ in range(20):
            reactor.turn()
        assert (listener.accepted, listener.pauses) == (0, 2), listener
        os.close(held.pop())
        clock.now += 1.0
        for _ in range(20):
            reactor.turn()
        assert (listener.accepted, len(made)) == (1, 1), listener
        print("answered")
    """)
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 64
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=20
    )
    assert (done.stdout, done.returncode) == ("answered\n", 0), done.stderr


def test_an_accepted_connection_that_cannot_be_watched_makes_no_protocol_and_a_pause(any_net: Net) -> None:
    """The system's limit of watches is reached. Once there is room again, the next caller is served."""
    door = Door(any_net)
    refused = door.call()
    any_net.selector.refuse_after(0, errno.ENOSPC)
    any_net.until(lambda: door.listener.pauses)
    assert has_ended(refused)
    assert door.protocols == []
    any_net.pass_time(ACCEPT_PAUSE_SECONDS)
    assert door.listener.pauses == 2, "the listening socket cannot be watched either, and goes on to pause"
    any_net.selector.refuse_after(None)
    any_net.pass_time(ACCEPT_PAUSE_SECONDS)
    door.call(b"hello")
    any_net.until(lambda: door.protocols and door.protocols[0].chunks)


def test_closing_while_the_listening_socket_cannot_be_watched(net: Net) -> None:
    door = Door(net)
    door.call()
    net.selector.refuse_after(0, errno.ENOSPC)
    net.until(lambda: door.listener.pauses)
    door.listener.close()
    net.pass_time(2 * ACCEPT_PAUSE_SECONDS)
    assert (door.listener.pauses, net.failures) == (1, [])


def test_a_protocol_that_cannot_be_made_costs_its_own_caller_and_no_other(any_net: Net) -> None:
    any_net.failures_expected = 1
    door = Door(any_net)
    door.makers = [fail]
    refused, served = door.call(), door.call(b"hello")
    any_net.until(lambda: door.listener.accepted == 2 and door.protocols and door.protocols[0].chunks)
    assert has_ended(refused)
    assert not has_ended(served)


def test_a_connection_that_fails_at_once_is_closed_and_the_next_one_served(any_net: Net) -> None:
    any_net.failures_expected = 1
    door = Door(any_net, made=fail)
    failed = door.call()
    any_net.until(lambda: door.protocols and door.protocols[0].heard == ["made", "lost"])
    any_net.until(lambda: has_ended(failed))
    door.reactions = {}
    door.call(b"hello")
    any_net.until(lambda: len(door.protocols) == 2 and door.protocols[1].chunks)


# -- Closing --


def test_closing_refuses_newcomers_and_leaves_the_others_alone(any_net: Net) -> None:
    door = Door(any_net, data=lambda transport: transport.write(b"pong"))
    client = door.call()
    any_net.until(lambda: door.listener.accepted)
    door.listener.close()
    door.listener.close()
    with pytest.raises(ConnectionRefusedError):
        door.call()
    client.send(b"ping")
    any_net.until(lambda: read_all(client) == b"pong")


def test_closing_in_a_pause_ends_that_too(net: Net) -> None:
    door = Door(net, scripted(OSError(errno.EMFILE, "full")))
    door.call()
    net.until(lambda: door.listener.pauses)
    door.listener.close()
    net.pass_time(2 * ACCEPT_PAUSE_SECONDS)
    net.turns(2)
    assert (door.listener.accepted, net.selector.waits[-1]) == (0, None)


def test_closed_earlier_in_the_turn_it_does_nothing(any_net: Net) -> None:
    """As when SIGTERM and a new connection come at once."""
    door = Door(any_net)
    end = any_net.connect(any_net.recorder(data=lambda _: door.listener.close()))
    any_net.selector.order = lambda key: key.data is door.listener
    door.call()
    end.peer.send(b"x")
    any_net.turns(3)
    assert (door.listener.accepted, door.listener.pauses) == (0, 0)


def test_closed_by_a_connection_it_has_just_made_it_stops_there(any_net: Net) -> None:
    door = Door(any_net)
    door.reactions = {"made": lambda _: door.listener.close()}
    for _ in range(3):
        door.call()
    any_net.until(lambda: door.listener.accepted)
    any_net.turns(3)
    assert (door.listener.accepted, door.listener.pauses) == (1, 0)
