"""Several servers on one reactor: started together or not at all, drained one by one or together."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from scripted import HandClock
from sttpd_settings import load

from sttp_reactor.daemon.running import Running
from sttp_reactor.errors import StartError
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.store.memory import MemoryStore
from sttp_reactor.sttp.last_requests import LONGEST_SECONDS, SILENT_SECONDS
from sttp_reactor.sttp.server import Server

SHUTDOWN_SECONDS = 3.0


class Talk:
    """A client of one server, and the turns of the reactor that it takes to be answered."""

    def __init__(self, server: Server) -> None:
        (listener,) = server.listeners.values()
        self._reactor = server.reactor
        self.socket = socket.create_connection(listener.sock.getsockname(), 5)
        self.socket.setblocking(False)

    def ask(self, line: bytes) -> bytes:
        self.socket.sendall(line)
        return self.answer()

    def answer(self) -> bytes:
        while True:
            self._reactor.call_soon(lambda: None)
            self._reactor.turn()
            with contextlib.suppress(BlockingIOError):
                return self.socket.recv(4096)


Make = Callable[..., Server]


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def reactor(clock: HandClock) -> Iterator[Reactor]:
    reactor = Reactor(clock=clock)
    yield reactor
    reactor.close()


@pytest.fixture
def make(reactor: Reactor, tmp_path: Path) -> Iterator[Make]:
    """`make(port)` gives a server on the reactor, not yet started; all are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(port: int = 0) -> Server:
            settings = load(None, [("-p", "port", str(port)), ("-d", "docroot", str(tmp_path))]).settings
            server = Server(settings, store=MemoryStore(), reactor=reactor)
            stack.callback(server.close)
            return server

        yield make


@pytest.fixture
def talk() -> Iterator[Callable[[Server], Talk]]:
    with contextlib.ExitStack() as stack:

        def talk(server: Server) -> Talk:
            client = Talk(server)
            stack.callback(client.socket.close)
            return client

        yield talk


def test_one_drains_and_the_other_goes_on(
    make: Make, talk: Callable[[Server], Talk], reactor: Reactor, clock: HandClock
) -> None:
    going, staying = make(), make()
    for each in (going, staying):
        each.start()
    one, other = talk(going), talk(staying)
    assert one.ask(b"CREATE /a x\n") == b"100 /a CREATED\n"
    told: list[str] = []
    one.socket.sendall(b"SHOW /a\n")
    going.drain(lambda: told.append("drained"))
    assert one.answer() == b"200 /a OK\nx\n", "what has been asked is answered"
    assert one.ask(b"SHOW /a\n") == b"200 /a OK\nx\n", "and what was on its way"
    clock.advance(SILENT_SECONDS)
    assert one.answer() == b"", "and then it closes"
    one.socket.close()
    while not told:
        reactor.call_soon(lambda: None)
        reactor.turn()
    assert told == ["drained"]
    assert other.ask(b"SHOW /a\n") == b"400 /a NOT FOUND\n"
    assert talk(staying).ask(b"LIST /\n") == b"200 / OK\n\n", "and accepts others"
    assert going.close(1.0)
    assert other.ask(b"CREATE /b y\n") == b"100 /b CREATED\n", "even when the other one is closed"


def test_a_connection_that_nobody_has_used_is_closed_first(make: Make, talk: Callable[[Server], Talk]) -> None:
    """A proxy holds one, to know in time."""
    going = make()
    going.start()
    used, unused = talk(going), talk(going)
    used.ask(b"LIST /\n")
    going.drain(lambda: None)
    assert unused.answer() == b""
    assert used.ask(b"LIST /\n") == b"200 / OK\n\n"


def test_a_client_that_never_pauses_does_not_hold_up_a_drain(
    make: Make, talk: Callable[[Server], Talk], clock: HandClock
) -> None:
    going = make()
    going.start()
    client = talk(going)
    client.ask(b"LIST /\n")
    going.drain(lambda: None)
    answered = 0
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while client.ask(b"LIST /\n"):
            answered += 1
            clock.advance(SILENT_SECONDS / 2)
    assert 1 < answered <= 2 * LONGEST_SECONDS / SILENT_SECONDS + 4, "what had come by then is answered, too"


def test_the_reactor_stops_when_the_last_one_is_drained(
    make: Make, talk: Callable[[Server], Talk], reactor: Reactor
) -> None:
    servers = [make(), make()]
    running = Running(reactor, servers, lambda: SHUTDOWN_SECONDS)
    running.start()
    clients = [talk(each) for each in servers]
    for client in clients:
        client.ask(b"LIST /\n")
        client.socket.sendall(b"LIST /\n")
        client.socket.shutdown(socket.SHUT_WR)
    running.stop("SIGTERM")
    assert running.is_stopping
    reactor.run()  # returns
    assert [client.socket.recv(100) for client in clients] == [b"200 / OK\n\n"] * 2


def test_who_is_not_done_in_time_is_cut_off(
    make: Make, talk: Callable[[Server], Talk], reactor: Reactor, clock: HandClock
) -> None:
    servers = [make(), make()]
    running = Running(reactor, servers, lambda: SHUTDOWN_SECONDS)
    running.start()
    client = talk(servers[1])
    client.ask(b"LIST /\n")
    client.socket.sendall(b"LIST ")  # and no more
    running.stop()
    for _ in range(5):
        reactor.call_soon(lambda: None)
        reactor.turn()
    assert servers[1].sessions
    clock.advance(SHUTDOWN_SECONDS)
    reactor.run()
    assert not servers[1].sessions


def test_told_a_second_time_it_ends_at_once(make: Make, talk: Callable[[Server], Talk], reactor: Reactor) -> None:
    servers = [make(), make()]
    running = Running(reactor, servers, lambda: SHUTDOWN_SECONDS)
    running.start()
    client = talk(servers[0])
    client.ask(b"LIST /\n")
    client.socket.sendall(b"LIST ")
    running.stop()
    running.stop()
    reactor.run()


def test_all_start_or_none(make: Make, reactor: Reactor) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        fine, failing = make(), make(taken.getsockname()[1])
        with pytest.raises(StartError, match="in use"):
            Running(reactor, [fine, failing], lambda: SHUTDOWN_SECONDS).start()
    assert fine.listeners == {}
