"""A connection's everyday life: reading, sending, and what happens when its protocol or its peer fails."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest
from net_support import Net, fail, fill, read_all

from sttp_reactor.limits import HIGH_WATER_BYTES, READ_BYTES
from sttp_reactor.net.connection import Connection
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import READ, WRITE


def pattern(size: int) -> bytes:
    """Bytes that show when some are lost, doubled or swapped."""
    return b"".join(struct.pack(">I", number) for number in range(size // 4 + 1))[:size]


# -- Sending --


def test_what_a_turn_writes_arrives_in_one_piece_and_asks_the_selector_nothing(any_net: Net) -> None:
    end = any_net.connect()
    any_net.reactor.call_soon(lambda: end.connection.write(b"one "))
    any_net.reactor.call_soon(lambda: end.connection.write(b"two "))
    with any_net.selector.changes() as changes:
        any_net.turns()
    assert end.peer.recv(100) == b"one two "
    assert changes == []


def test_what_is_written_outside_of_a_turn_is_sent_by_the_next_one_without_waiting(net: Net) -> None:
    end = net.connect(net.recorder(made=lambda transport: transport.write(b"hello")))
    net.turns()
    assert read_all(end.peer) == b"hello"
    assert net.selector.waits == [0]


def test_a_thousand_echoes_leave_the_selector_alone(net: Net) -> None:
    end = net.connect()
    end.protocol.reactions["data"] = lambda transport: transport.write(b"pong")
    with net.selector.changes() as changes:
        for _ in range(1_000):
            end.peer.send(b"ping")
            net.turns()
            assert end.peer.recv(100) == b"pong"
    assert changes == []


def test_what_the_kernel_does_not_take_follows_when_there_is_room(any_net: Net) -> None:
    end = any_net.connect()
    sent = pattern(50_000)
    end.connection.write(sent)
    with any_net.selector.changes() as changes:
        any_net.turns()
        received = bytearray()
        for _ in range(200):
            received += end.peer.recv(700) if len(received) < len(sent) else b""
            any_net.turns()
    assert received == sent
    assert changes == [("modify", READ | WRITE), ("modify", READ)]


def test_writes_behind_a_blocked_one_keep_their_order(any_net: Net) -> None:
    end = any_net.connect()
    pieces = [pattern(30_000), b"second ", b"", b"third", pattern(30_000)]
    received = bytearray()
    for piece in pieces:
        end.connection.write(piece)
        any_net.turns()
    while len(received) < sum(map(len, pieces)):
        received += read_all(end.peer)
        any_net.turns()
    assert received == b"".join(pieces)


def test_an_empty_write_is_nothing(net: Net) -> None:
    end = net.connect()
    end.connection.write(b"")
    net.turns()
    end.connection.write(b"")
    end.connection.write(b"x")
    net.turns(2)
    assert read_all(end.peer) == b"x"
    assert end.protocol.heard == ["made"]


def test_many_small_writes_in_one_turn_cost_their_bytes_and_not_their_square(net: Net) -> None:
    """Copying all that waits at each write would hold the turn for longer than any test here allows."""
    end = net.connect(tcp=True)
    piece = bytes(64)

    def write() -> None:
        for _ in range(8_000):
            end.connection.write(piece)

    net.reactor.call_soon(write)
    net.turns()
    received = 0
    while received < 8_000 * 64:
        received += len(read_all(end.peer))
        net.turns()


# -- Receiving --


def test_data_arrives_in_order_a_bounded_piece_a_turn(any_net: Net) -> None:
    end = any_net.connect(tcp=True)
    sent = pattern(6 * READ_BYTES + 17)
    end.peer.setblocking(True)
    end.peer.sendall(sent)
    any_net.until(lambda: len(end.protocol.received) == len(sent))
    assert end.protocol.received == sent
    assert max(map(len, end.protocol.chunks)) == READ_BYTES
    assert len(end.protocol.chunks) <= any_net.reactor.turns


def test_nothing_is_read_while_paused_and_nothing_is_lost(any_net: Net) -> None:
    end = any_net.connect()
    end.connection.pause_reading()
    end.connection.pause_reading()
    end.peer.send(b"first ")
    any_net.turns(3)
    assert end.protocol.heard == ["made"]
    assert end.connection.bytes_unread() == 6
    end.peer.send(b"second")
    end.connection.resume_reading()
    end.connection.resume_reading()
    any_net.turns()
    assert (end.protocol.heard, end.protocol.received) == (["made", "data"], b"first second")
    assert end.connection.bytes_unread() == 0


def test_pausing_tells_the_selector_once(net: Net) -> None:
    end = net.connect()
    with net.selector.changes() as changes:
        for _ in range(3):
            end.connection.pause_reading()
        for _ in range(3):
            end.connection.resume_reading()
    assert changes == [("unregister", 0), ("register", READ)]


def test_the_end_of_the_stream_waits_while_reading_is_paused(any_net: Net) -> None:
    end = any_net.connect()
    end.connection.pause_reading()
    end.peer.send(b"last words")
    end.peer.close()
    any_net.turns(3)
    assert end.protocol.heard == ["made"]
    end.connection.resume_reading()
    any_net.turns(3)
    assert end.protocol.heard == ["made", "data", "eof"]


def test_the_time_of_the_last_byte_is_known(net: Net) -> None:
    end = net.connect()
    assert end.connection.last_received == 1000.0
    net.pass_time(5.0)
    assert end.connection.last_received == 1000.0
    end.peer.send(b"x")
    net.pass_time(2.0)
    assert end.connection.last_received == 1007.0
    assert repr(end.connection) == "<Connection peer OPEN 0 bytes to send>"


# -- Failures --


@pytest.mark.parametrize("where", ["made", "data", "eof", "paused", "resumed"])
def test_a_protocol_that_fails_costs_its_own_connection_and_no_other(any_net: Net, where: str) -> None:
    any_net.failures_expected = 1
    other = any_net.connect()
    end = any_net.connect(any_net.recorder(**{where: fail}))
    other.peer.send(b"hello")
    with contextlib.suppress(BrokenPipeError):
        end.peer.send(b"x")
    any_net.turns()
    end.connection.write(bytes(3 * HIGH_WATER_BYTES))
    any_net.turns()
    while read_all(end.peer):
        any_net.turns()
    if where == "eof":
        end.peer.shutdown(socket.SHUT_WR)
    any_net.turns(2)
    assert end.protocol.heard[-2:] == [where, "lost"]
    assert repr(end.connection).startswith("<Connection peer CLOSED")
    assert (other.protocol.heard, other.protocol.received) == (["made", "data"], b"hello")


def test_a_protocol_that_fails_when_it_is_lost_harms_nobody(net: Net) -> None:
    net.failures_expected = 1
    end, other = net.connect(net.recorder(lost=fail)), net.connect()
    end.connection.abort()
    other.connection.abort()
    net.turns()
    assert (end.protocol.heard, other.protocol.heard) == (["made", "lost"], ["made", "lost"])


def test_a_reset_reaches_the_protocol_as_what_broke_the_connection(any_net: Net) -> None:
    end = any_net.connect(tcp=True)
    end.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.peer.close()
    any_net.until(lambda: "lost" in end.protocol.heard)
    assert end.protocol.heard == ["made", "lost"]
    assert isinstance(end.protocol.error, ConnectionResetError)


def test_a_peer_that_went_away_is_noticed_by_writing(any_net: Net) -> None:
    end = any_net.connect()
    end.peer.close()
    any_net.turns()
    assert end.protocol.heard == ["made", "eof"]
    end.connection.write(b"anybody?")
    any_net.turns(2)
    assert end.protocol.heard == ["made", "eof", "lost"]
    assert isinstance(end.protocol.error, BrokenPipeError)


def test_a_peer_that_goes_away_while_much_waits_to_be_sent_is_noticed(any_net: Net) -> None:
    end = any_net.connect()
    end.connection.write(bytes(3 * HIGH_WATER_BYTES))
    any_net.turns()
    end.peer.close()
    any_net.turns(2)
    assert end.protocol.heard == ["made", "paused", "lost"]
    assert isinstance(end.protocol.error, OSError)


def test_a_failed_write_during_a_callback_is_reported_after_it(any_net: Net) -> None:
    def write_twice(transport: Transport) -> None:
        transport.write(bytes(2 * HIGH_WATER_BYTES))
        transport.write(b"more")  # over the mark: this one meets the broken pipe, inside data_received
        transport.write(b"and more")
        transport.pause_reading()
        transport.close()

    end = any_net.connect(any_net.recorder(data=write_twice))
    end.peer.send(b"x")
    end.peer.close()
    any_net.turns(2)
    assert end.protocol.heard == ["made", "data", "lost"]  # and Recorder sees to it that it was not inside
    assert isinstance(end.protocol.error, OSError)


def test_a_turn_bounds_what_a_connection_that_floods_may_take(any_net: Net) -> None:
    """A peer that sends without end gets one recv a turn; another is answered in the turn after it asked."""
    flood, quiet = any_net.connect(tcp=True), any_net.connect()
    quiet.protocol.reactions["data"] = lambda transport: transport.write(b"pong")
    flood.protocol.reactions["data"] = lambda transport: transport.write(b"x" * 50)
    for _ in range(100):
        fill(flood.peer, 200_000)
        quiet.peer.send(b"ping")
        before = len(flood.protocol.received)
        any_net.turns()
        assert len(flood.protocol.received) - before <= READ_BYTES
        assert quiet.peer.recv(100) == b"pong"
        read_all(flood.peer)
    assert len(flood.protocol.received) > 50 * READ_BYTES  # it did get its share


def test_a_connection_takes_over_a_socket_that_is_already_talked_to(net: Net) -> None:
    near, far = net.socketpair()
    far.send(b"early")
    protocol = net.recorder()
    connection = Connection(net.reactor, near, lambda: protocol)
    net.turns()
    assert (connection.peer, protocol.received) == ("", b"early")
