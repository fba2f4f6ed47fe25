"""Datagrams: whole or not at all, so many a turn, answered from the address that was asked, and no error is the end."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from net_support import Net, fail

from sttp_reactor.net.address import Address
from sttp_reactor.net.datagrams import DatagramProtocol, Datagrams, open_datagrams

V4 = Address(socket.AF_INET, ("127.0.0.1", 0))
V6 = Address(socket.AF_INET6, ("::1", 0))

linux_only = pytest.mark.skipif("sys.platform != 'linux'", reason="elsewhere the system is not asked")


class Notes:
    """A protocol that writes down what it hears, and answers what it was given a way to answer."""

    def __init__(self, datagrams: Datagrams, answer: Callable[[bytes], bytes] | None = None) -> None:
        self.datagrams = datagrams
        self.answer = answer
        self.heard: list[tuple[bytes, str]] = []
        self.errors: list[OSError] = []

    def datagram_received(self, data: bytes, peer: Any) -> None:
        self.heard.append((data, self.datagrams.peer_name(peer)))
        if self.answer is not None:
            self.datagrams.send(self.answer(data), peer)

    def error_received(self, error: OSError) -> None:
        self.errors.append(error)


def opened(net: Net, local: Address | None = V4, echo: bool = False, **arguments: Any) -> Notes:
    notes: list[Notes] = []

    def make(datagrams: Datagrams) -> DatagramProtocol:
        notes.append(Notes(datagrams, (lambda data: data) if echo else None))
        return notes[0]

    net.will_close(open_datagrams(net.reactor, make, local, **arguments))
    return notes[0]


def peer_of(net: Net, notes: Notes, bind_to: Any = None) -> socket.socket:
    """A plain socket connected to where `notes` is bound."""
    host, _, port = notes.datagrams.address.rpartition(":")
    family = socket.AF_INET6 if "[" in host else socket.AF_INET
    sock = net.will_close(socket.socket(family, socket.SOCK_DGRAM))
    sock.settimeout(5.0)
    if bind_to is not None:
        sock.bind(bind_to)
    sock.connect((host.strip("[]"), int(port)))
    return sock


@pytest.fixture(params=[V4, V6], ids=["IPv4", "IPv6"])
def address(request: pytest.FixtureRequest) -> Address:
    address: Address = request.param
    try:
        with socket.socket(address.family, socket.SOCK_DGRAM) as probe:
            probe.bind(address.sockaddr)
    except OSError:
        pytest.skip("this system has no IPv6")
    return address


def test_datagrams_come_whole_and_are_answered(any_net: Net, address: Address) -> None:
    echo = opened(any_net, address, echo=True)
    peer = peer_of(any_net, echo)
    sent = [b"one", b"", b"x" * 20_000]
    for data in sent:
        peer.send(data)
    any_net.until(lambda: len(echo.heard) == 3)
    assert [peer.recv(65536) for _ in sent] == sent
    host, port = peer.getsockname()[:2]
    name = f"[{host}]:{port}" if address is V6 else f"{host}:{port}"
    assert echo.heard == [(data, name) for data in sent]


def test_unix_datagrams_and_their_file(any_net: Net, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
        dead.bind(str(path))  # and leaves its file behind
    echo = opened(any_net, Address(socket.AF_UNIX, str(path)), echo=True)
    named = any_net.will_close(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    named.bind(str(tmp_path / "peer"))
    nameless = any_net.will_close(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    for sock in (named, nameless):
        sock.settimeout(5.0)
        sock.sendto(b"hello", str(path))
    any_net.turns(2)
    assert named.recv(100) == b"hello"
    assert echo.heard == [(b"hello", str(tmp_path / "peer")), (b"hello", "unix:")]
    assert echo.datagrams.dropped == 1, "there is no way back to one without a name"
    echo.datagrams.close()
    echo.datagrams.close()
    assert not path.exists()


def test_the_file_of_another_who_has_bound_the_path_since_stays(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "s"
    first = opened(net, Address(socket.AF_UNIX, str(path)))
    path.unlink()
    opened(net, Address(socket.AF_UNIX, str(path)))
    first.datagrams.close()
    assert path.is_socket()


@pytest.mark.parametrize("what", ["a live socket", "a file"])
def test_a_path_that_is_taken_is_refused_and_left_alone(net: Net, tmp_path: Path, what: str) -> None:
    path = tmp_path / "s"
    if what == "a file":
        path.write_text("precious")
    else:
        opened(net, Address(socket.AF_UNIX, str(path)))
    with pytest.raises(OSError, match="in use"):
        opened(net, Address(socket.AF_UNIX, str(path)))
    assert path.exists()


def test_a_turn_reads_so_many_and_the_others_come_between(any_net: Net) -> None:
    flooded = opened(any_net, per_turn=10)
    peer = peer_of(any_net, flooded)
    end = any_net.connect()
    for _ in range(35):
        peer.send(b"x")
    any_net.until(lambda: flooded.heard)
    counts = []
    for _ in range(3):
        end.peer.send(b"y")
        any_net.turns()
        counts.append((len(flooded.heard), len(end.protocol.received)))
    assert counts == [(20, 1), (30, 2), (35, 3)]


def test_a_full_socket_buffer_drops_and_counts(any_net: Net, tmp_path: Path) -> None:
    """A Unix socket's receiver that does not read fills up for certain."""
    deaf = any_net.will_close(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    deaf.bind(str(tmp_path / "deaf"))
    sender = opened(any_net, None, remote=Address(socket.AF_UNIX, str(tmp_path / "deaf")))
    taken = [sender.datagrams.send(b"x" * 1000) for _ in range(5000)]
    assert taken[0]
    assert not taken[-1]
    assert sender.datagrams.dropped == taken.count(False)
    any_net.turns(3)
    assert sender.errors == []
    deaf.recv(1000)
    assert sender.datagrams.send(b"x")


def test_one_longer_than_asked_for_is_told_and_dropped(any_net: Net, address: Address) -> None:
    notes = opened(any_net, address, most_bytes=100)
    peer = peer_of(any_net, notes)
    for size in (100, 101, 5000, 99):
        peer.send(bytes(size))
    any_net.until(lambda: len(notes.heard) == 2)
    assert [len(data) for data, _ in notes.heard] == [100, 99]
    assert [error.errno for error in notes.errors] == [errno.EMSGSIZE] * 2
    assert notes.datagrams.truncated == 2


@linux_only
def test_the_same_on_a_wildcard(any_net: Net) -> None:
    notes = opened(any_net, Address(socket.AF_INET, ("0.0.0.0", 0)), most_bytes=100)
    port = int(notes.datagrams.address.rpartition(":")[2])
    peer = any_net.will_close(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    for size in (100, 101, 99):
        peer.sendto(bytes(size), ("127.0.0.1", port))
    any_net.until(lambda: len(notes.heard) == 2)
    assert [error.errno for error in notes.errors] == [errno.EMSGSIZE]


def test_one_that_is_too_long_to_send_is_told_and_dropped(any_net: Net) -> None:
    notes = opened(any_net)
    peer = peer_of(any_net, notes)
    assert not notes.datagrams.send(bytes(70_000), peer.getsockname())
    assert notes.errors == []  # not from within the call
    any_net.turns(2)
    assert [error.errno for error in notes.errors] == [errno.EMSGSIZE]
    assert notes.datagrams.dropped == 1


@linux_only
@pytest.mark.parametrize("host", ["127.0.0.2", "127.0.0.77"])
def test_a_reply_of_a_wildcard_socket_leaves_from_the_address_that_was_asked(any_net: Net, host: str) -> None:
    """The kernel alone would answer from 127.0.0.1, and a connected client would not hear it."""
    echo = opened(any_net, Address(socket.AF_INET, ("0.0.0.0", 0)), echo=True)
    port = int(echo.datagrams.address.rpartition(":")[2])
    peer = any_net.will_close(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    peer.settimeout(5.0)
    peer.bind(("127.0.0.1", 0))
    peer.connect((host, port))
    peer.send(b"hello")
    any_net.until(lambda: echo.heard)
    assert peer.recv(100) == b"hello"
    assert peer.getpeername() == (host, port)


@linux_only
def test_the_same_over_ipv6(any_net: Net) -> None:
    echo = opened(any_net, Address(socket.AF_INET6, ("::", 0)), echo=True)
    port = int(echo.datagrams.address.rpartition(":")[2])
    peer = any_net.will_close(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    peer.settimeout(5.0)
    peer.connect(("::1", port))
    peer.send(b"hello")
    any_net.until(lambda: echo.heard)
    assert peer.recv(100) == b"hello"


def nobody() -> tuple[str, int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        name: tuple[str, int] = sock.getsockname()
    return name


@linux_only
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_an_icmp_answer_reaches_the_protocol_names_the_peer_and_ends_nothing(any_net: Net, host: str) -> None:
    notes = opened(any_net, Address(socket.AF_INET, (host, 0)), echo=True)
    port = int(notes.datagrams.address.rpartition(":")[2])
    absent = nobody()
    assert notes.datagrams.send(b"is anybody there?", absent)
    any_net.until(lambda: notes.errors)
    any_net.turns(3)
    assert [(type(error), error.filename) for error in notes.errors] == [
        (ConnectionRefusedError, f"{absent[0]}:{absent[1]}")
    ]
    slept = any_net.selector.slept
    any_net.turns(2)
    assert any_net.selector.slept == slept + 2, "the error goes on to wake the loop"
    peer = any_net.will_close(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    peer.settimeout(5.0)
    peer.sendto(b"I am", ("127.0.0.1", port))
    any_net.until(lambda: notes.heard)
    assert peer.recv(100) == b"I am"


@linux_only
def test_an_icmp_answer_to_one_datagram_does_not_cost_another_peer_its_own(any_net: Net) -> None:
    """The kernel tells an error to whatever call comes next on that socket; here that is a send to somebody else."""
    notes = opened(any_net)
    peer = peer_of(any_net, notes)
    for _ in range(20):
        notes.datagrams.send(b"to nobody", nobody())
        assert notes.datagrams.send(b"to somebody", peer.getsockname())
    assert [peer.recv(100) for _ in range(20)] == [b"to somebody"] * 20
    any_net.until(lambda: len(notes.errors) == 20)
    assert {type(error) for error in notes.errors} == {ConnectionRefusedError}
    slept = any_net.selector.slept
    any_net.turns(2)
    assert any_net.selector.slept == slept + 2


def test_a_connected_socket_says_that_it_was_refused(any_net: Net) -> None:
    notes = opened(any_net, None, remote=Address(socket.AF_INET, nobody()))
    assert notes.datagrams.send(b"is anybody there?")
    any_net.until(lambda: notes.errors)
    assert isinstance(notes.errors[0], ConnectionRefusedError)
    assert notes.datagrams.send(b"and now?")


def test_a_connected_socket_hears_its_peer_alone(any_net: Net) -> None:
    server = opened(any_net, echo=True)
    host, port = server.datagrams.address.split(":")
    client = opened(any_net, V4, remote=Address(socket.AF_INET, (host, int(port))))
    stranger = any_net.will_close(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    near = client.datagrams.address.split(":")
    stranger.sendto(b"psst", (near[0], int(near[1])))
    client.datagrams.send(b"hello")
    any_net.until(lambda: client.heard)
    assert client.heard == [(b"hello", server.datagrams.address)]


def test_a_protocol_that_raises_costs_the_next_datagram_nothing(any_net: Net) -> None:
    notes = opened(any_net)
    peer = peer_of(any_net, notes)
    any_net.failures_expected = 1
    notes.answer = lambda data: fail() if data == b"bad" else data  # type: ignore[func-returns-value]
    for data in (b"bad", b"good"):
        peer.send(data)
    any_net.until(lambda: len(notes.heard) == 2)
    assert peer.recv(100) == b"good"


def test_closed_by_its_protocol_it_says_no_more(any_net: Net) -> None:
    notes = opened(any_net)
    peer = peer_of(any_net, notes)

    def close(data: bytes) -> bytes:
        notes.datagrams.close()
        return data

    notes.answer = close
    for _ in range(3):
        peer.send(b"x")
    any_net.until(lambda: notes.heard)
    any_net.turns(3)
    assert (len(notes.heard), notes.errors) == (1, [])
    assert not notes.datagrams.send(b"x", peer.getsockname())
    any_net.turns(2)
    assert notes.errors == []


def test_closed_behind_its_back_it_ends_and_the_loop_goes_on(any_net: Net) -> None:
    notes = opened(any_net)
    peer_of(any_net, notes).send(b"x")
    notes.datagrams._sock.close()
    any_net.turns(3)
    assert notes.heard == []
    notes.datagrams.close()
    any_net.reactor.unregister(notes.datagrams._sock)
    del any_net.failures[:]


def test_what_cannot_be_opened_leaves_nothing_open(net: Net) -> None:
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    taken = opened(net)
    host, port = taken.datagrams.address.split(":")
    with pytest.raises(OSError, match="in use"):
        open_datagrams(net.reactor, Notes, Address(socket.AF_INET, (host, int(port))))
    with pytest.raises(ZeroDivisionError):
        open_datagrams(net.reactor, fail, V4)
    net.selector.refuse_after(0, errno.ENOSPC)
    with pytest.raises(OSError, match="space"):
        open_datagrams(net.reactor, Notes, V4)
    net.selector.refuse_after(None)
    with pytest.raises(ValueError, match="needs"):
        open_datagrams(net.reactor, Notes)
    if before:
        assert len(os.listdir("/proc/self/fd")) == before + 1
