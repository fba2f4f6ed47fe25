"""Connecting: success, refusal, time-out and cancellation, each told once and from a later turn."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from net_support import Net, Recorder, fail

from sttp_reactor.net.address import Address, format_sockaddr, resolve
from sttp_reactor.net.connector import Connector
from sttp_reactor.net.listener import bind
from sttp_reactor.net.protocol import Transport

TIMEOUT = 5.0


class Attempt:
    """A connector and what came of it."""

    def __init__(self, net: Net, address: Address, make: Callable[[], object] = lambda: None) -> None:
        self.protocol = net.recorder()
        self.failures: list[OSError] = []
        self._make = make
        self.connector = Connector(net.reactor, address, self._factory, self.failures.append, timeout=TIMEOUT)
        net.will_close(self)

    def _factory(self) -> Recorder:
        self._make()
        return self.protocol

    @property
    def is_over(self) -> bool:
        return bool(self.failures or self.protocol.heard)

    def close(self) -> None:
        self.connector.cancel()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with bind(resolve("127.0.0.1", 0)[0]) as sock:
        yield sock


@pytest.fixture
def address(listening: socket.socket) -> Address:
    return Address(socket.AF_INET, listening.getsockname())


@pytest.fixture
def nobody() -> Iterator[Address]:
    """An address where nobody listens: it is bound, so that nobody else can have it meanwhile."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield Address(socket.AF_INET, sock.getsockname())


def test_a_connection_talks_both_ways(any_net: Net, listening: socket.socket, address: Address) -> None:
    attempt = Attempt(any_net, address)
    assert not attempt.is_over  # nothing from within the constructor
    any_net.until(lambda: attempt.is_over)
    assert (attempt.protocol.heard, attempt.failures) == (["made"], [])
    assert attempt.protocol.transport.peer == str(address)
    listening.setblocking(True)
    accepted, _ = listening.accept()
    with accepted:
        attempt.protocol.transport.write(b"ping")
        any_net.turns()
        assert accepted.recv(100) == b"ping"
        accepted.send(b"pong")
        any_net.until(lambda: attempt.protocol.received == b"pong")
    any_net.pass_time(2 * TIMEOUT)
    assert attempt.failures == []


def test_a_unix_socket_can_be_connected_to(any_net: Net, tmp_path: Path) -> None:
    (address,) = resolve(str(tmp_path / "s"), 0)
    with bind(address) as listening:
        attempt = Attempt(any_net, address)
        assert not attempt.is_over
        any_net.turns()
        assert attempt.protocol.heard == ["made"]
        with listening.accept()[0] as accepted:
            accepted.send(b"hello")
            any_net.turns()
        assert attempt.protocol.received == b"hello"


def test_a_greeting_written_at_once_is_sent(any_net: Net, listening: socket.socket, address: Address) -> None:
    attempt = Attempt(any_net, address)
    attempt.protocol.reactions["made"] = lambda transport: transport.write(b"hello")
    any_net.until(lambda: attempt.is_over)
    with listening.accept()[0] as accepted:
        accepted.setblocking(True)
        assert accepted.recv(100) == b"hello"


def test_a_refusal_is_told_once_and_later(any_net: Net, nobody: Address) -> None:
    attempt = Attempt(any_net, nobody)
    assert not attempt.is_over
    any_net.until(lambda: attempt.is_over)
    any_net.pass_time(2 * TIMEOUT)
    assert attempt.protocol.heard == []
    assert [type(error) for error in attempt.failures] == [ConnectionRefusedError]


@pytest.mark.parametrize("path", ["missing", "s" * 120])
def test_what_fails_at_once_is_told_later_too(any_net: Net, tmp_path: Path, path: str) -> None:
    attempt = Attempt(any_net, resolve(str(tmp_path / path), 0)[0])
    assert not attempt.is_over
    any_net.turns()
    any_net.pass_time(2 * TIMEOUT)
    assert len(attempt.failures) == 1
    assert attempt.protocol.heard == []


def test_out_of_descriptors_is_a_failure_like_any_other(
    net: Net, address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "full")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "socket", refuse)
        attempt = Attempt(net, address)
    assert not attempt.is_over
    net.turns()
    assert [error.errno for error in attempt.failures] == [errno.EMFILE]


def test_nobody_answers_in_time(any_net: Net, address: Address) -> None:
    """The kernel connects at once, on the loopback; so its news is kept back."""
    attempt = Attempt(any_net, address)
    any_net.selector.hidden.append(attempt.connector)
    any_net.turns()
    any_net.pass_time(TIMEOUT - 0.1)
    assert not attempt.is_over
    any_net.pass_time(0.1)
    any_net.turns(2)
    assert attempt.protocol.heard == []
    assert [(type(error), error.errno) for error in attempt.failures] == [(TimeoutError, errno.ETIMEDOUT)]


@pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere a full backlog refuses")
def test_a_full_backlog_answers_nobody(net: Net) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as busy:
        address = Address(socket.AF_INET, busy.getsockname())
        for _ in range(4):  # the backlog takes one or two; who comes then waits for an answer
            client = net.will_close(socket.socket())
            client.setblocking(False)
            client.connect_ex(address.sockaddr)
        attempt = Attempt(net, address)
        net.turns(5)
        assert not attempt.is_over
        net.pass_time(TIMEOUT)
        assert [type(error) for error in attempt.failures] == [TimeoutError]


def test_success_in_the_turn_of_the_deadline_is_success(any_net: Net, address: Address) -> None:
    attempt = Attempt(any_net, address)
    any_net.selector.hidden.append(attempt.connector)
    any_net.until(lambda: any_net.selector.inner.select(0))
    any_net.selector.hidden.clear()
    any_net.pass_time(TIMEOUT)
    any_net.turns(2)
    assert (attempt.protocol.heard, attempt.failures) == (["made"], [])


def test_cancelled_it_tells_nobody(any_net: Net, address: Address, nobody: Address) -> None:
    attempts = [Attempt(any_net, address), Attempt(any_net, nobody), Attempt(any_net, resolve("/no/such", 0)[0])]
    for attempt in attempts:
        attempt.connector.cancel()
        attempt.connector.cancel()
    any_net.turns(3)
    any_net.pass_time(2 * TIMEOUT)
    assert [attempt.is_over for attempt in attempts] == [False] * 3


def test_cancelled_while_its_event_is_on_the_way_it_tells_nobody(any_net: Net, address: Address) -> None:
    attempt = Attempt(any_net, address)
    end = any_net.connect(any_net.recorder(data=lambda _: attempt.connector.cancel()))
    any_net.selector.order = lambda key: key.data is attempt.connector
    end.peer.send(b"x")
    any_net.turns(3)
    assert (end.protocol.received, attempt.is_over) == (b"x", False)


def test_cancelling_after_success_leaves_the_connection_alone(any_net: Net, address: Address) -> None:
    attempt = Attempt(any_net, address)
    any_net.until(lambda: attempt.is_over)
    attempt.connector.cancel()
    any_net.turns(2)
    assert attempt.protocol.heard == ["made"]


def test_a_protocol_that_cannot_be_made_leaves_nothing_open(any_net: Net, address: Address) -> None:
    any_net.failures_expected = 1
    attempt = Attempt(any_net, address, make=fail)
    any_net.until(lambda: attempt.is_over)
    any_net.pass_time(2 * TIMEOUT)
    assert ([type(error) for error in attempt.failures], attempt.protocol.heard) == ([ConnectionAbortedError], [])
    assert repr(any_net.reactor).endswith(": 0 sockets, 0 timers, 0 ready>")


@pytest.mark.parametrize("watched", [0, 1], ids=["while it connects", "once it has connected"])
def test_a_socket_that_cannot_be_watched_is_a_failure_told_once(any_net: Net, address: Address, watched: int) -> None:
    """The system's limit of watches is reached: before the connection is there, or just then."""
    any_net.selector.refuse_after(watched, errno.ENOSPC)
    attempt = Attempt(any_net, address)
    any_net.until(lambda: attempt.is_over)
    any_net.pass_time(2 * TIMEOUT)
    assert ([error.errno for error in attempt.failures], attempt.protocol.heard) == ([errno.ENOSPC], [])
    any_net.selector.refuse_after(None)
    assert repr(any_net.reactor).endswith(": 0 sockets, 0 timers, 0 ready>")


def test_a_failure_may_be_answered_with_the_next_attempt(any_net: Net, address: Address, nobody: Address) -> None:
    """As for a name with several addresses."""
    protocol = any_net.recorder()
    addresses = [nobody, nobody, address]

    def try_next(_: object = None) -> None:
        Connector(any_net.reactor, addresses.pop(0), lambda: protocol, try_next, timeout=TIMEOUT)

    try_next()
    any_net.until(lambda: protocol.heard)
    assert addresses == []


def test_a_peer_that_never_reads_is_cut_off_at_the_write_timeout_it_was_given(net: Net, address: Address) -> None:
    protocol = net.recorder()

    def flood(transport: Transport) -> None:
        transport.write(bytes(20_000_000))

    protocol.reactions["made"] = flood
    Connector(net.reactor, address, lambda: protocol, fail, timeout=TIMEOUT, write_timeout=3.0)
    net.until(lambda: "paused" in protocol.heard)
    net.turns(100)
    net.pass_time(3.1)
    net.turns(2)
    net.pass_time(3.1)
    net.turns(2)
    assert isinstance(protocol.error, TimeoutError)


def test_the_interface_of_an_address_is_shown() -> None:
    index, name = socket.if_nameindex()[0]
    assert format_sockaddr(socket.AF_INET6, ("fe80::1", 8080, 0, index)) == f"[fe80::1%{name}]:8080"
    assert format_sockaddr(socket.AF_INET6, ("fe80::1", 8080, 0, 98765)) == "[fe80::1%98765]:8080"
    assert format_sockaddr(socket.AF_INET6, ("2001:db8::1", 8080, 0, 0)) == "[2001:db8::1]:8080"
