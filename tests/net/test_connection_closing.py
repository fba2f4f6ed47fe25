"""How a connection ends: every event in every state, then lingering, then calls at awkward moments."""

from __future__ import annotations

import contextlib
import socket
import struct
from collections.abc import Callable

import pytest
from net_support import End, Net, has_ended, read_all

from sttp_reactor.limits import LINGER_SECONDS
from sttp_reactor.net.connection import TRANSITIONS, Event, State
from sttp_reactor.net.protocol import Transport

# More than the kernel takes, so that something waits; less than the high mark, so that reading goes on.
MUCH = 60_000

EXPECTED = {
    "OPEN": {"PEER_EOF": "HALF_CLOSED", "CLOSE": "DRAINING", "LOST": "CLOSED"},
    "HALF_CLOSED": {"CLOSE": "FLUSHING", "LOST": "CLOSED"},
    "DRAINING": {"PEER_EOF": "FLUSHING", "FLUSHED": "LINGERING", "LOST": "CLOSED"},
    "FLUSHING": {"FLUSHED": "CLOSED", "LOST": "CLOSED"},
    "LINGERING": {"PEER_EOF": "CLOSED", "PATIENCE_OVER": "CLOSED", "LOST": "CLOSED"},
    "CLOSED": {},
}


def state_of(end: End) -> str:
    return repr(end.connection).split()[2]


def bring_to(net: Net, end: End, state: str) -> None:
    """By the shortest way; with `MUCH` waiting to be sent, where the state allows it."""
    if state != "LINGERING":
        end.connection.write(bytes(MUCH))
        net.turns()
    if state in ("HALF_CLOSED", "FLUSHING"):
        end.peer.shutdown(socket.SHUT_WR)
        net.turns()
    if state in ("DRAINING", "FLUSHING", "LINGERING"):
        end.connection.close()
    if state == "CLOSED":
        end.connection.abort()
        net.turns()
    assert state_of(end) == state


def peer_eof(net: Net, end: End) -> None:
    with contextlib.suppress(OSError):
        end.peer.shutdown(socket.SHUT_WR)


def close(net: Net, end: End) -> None:
    end.connection.close()


def flushed(net: Net, end: End) -> None:
    for _ in range(100):
        with contextlib.suppress(ConnectionResetError):
            read_all(end.peer)
        net.turns()


def patience_over(net: Net, end: End) -> None:
    net.pass_time(LINGER_SECONDS + 0.1)


def lost(net: Net, end: End) -> None:
    end.connection.abort()


HAPPEN: dict[str, Callable[[Net, End], None]] = {
    "PEER_EOF": peer_eof,
    "CLOSE": close,
    "FLUSHED": flushed,
    "PATIENCE_OVER": patience_over,
    "LOST": lost,
}


def test_the_table_is_the_one_written_here() -> None:
    assert {name: set(events) for name, events in EXPECTED.items()}.keys() == {state.name for state in State}
    written = {(State[state], Event[event]): State[to] for state, row in EXPECTED.items() for event, to in row.items()}
    assert written == TRANSITIONS


@pytest.mark.parametrize("event", HAPPEN)
@pytest.mark.parametrize("state", EXPECTED)
def test_every_event_in_every_state(net: Net, state: str, event: str) -> None:
    end = net.connect()
    bring_to(net, end, state)
    heard = list(end.protocol.heard)
    HAPPEN[event](net, end)
    net.turns(2)
    to = EXPECTED[state].get(event, state)
    assert state_of(end) == to
    news = end.protocol.heard[len(heard) :]
    assert news == (["eof"] if to == "HALF_CLOSED" != state else ["lost"] if to == "CLOSED" != state else [])
    assert sees_end(end) is (to in ("LINGERING", "CLOSED"))


def sees_end(end: End) -> bool:
    """Read on to the end, which an abort may have cut short."""
    with contextlib.suppress(ConnectionResetError):
        read_all(end.peer)
    return has_ended(end.peer)


@pytest.mark.parametrize("state", ["OPEN", "HALF_CLOSED", "DRAINING", "FLUSHING", "LINGERING"])
def test_a_reset_ends_it_in_every_state(any_net: Net, state: str) -> None:
    """In HALF_CLOSED and FLUSHING nothing is read, so it is the sending that meets it."""
    end = any_net.connect(tcp=True)
    if state in ("HALF_CLOSED", "FLUSHING"):
        end.peer.shutdown(socket.SHUT_WR)
        any_net.until(lambda: "eof" in end.protocol.heard)
    if state != "LINGERING":
        end.connection.write(bytes(20_000_000))
        any_net.turns()
    if state in ("DRAINING", "FLUSHING", "LINGERING"):
        end.connection.close()
    assert state_of(end) == state
    end.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.peer.close()
    any_net.until(lambda: "lost" in end.protocol.heard)
    assert isinstance(end.protocol.error, OSError)


# -- In good order --


def test_a_half_closed_peer_still_gets_everything(any_net: Net) -> None:
    def answer(transport: Transport) -> None:
        transport.write(bytes(MUCH))
        any_net.reactor.call_later(5.0, lambda: transport.write(b"late"))
        any_net.reactor.call_later(5.0, transport.close)

    end = any_net.connect(any_net.recorder(eof=answer))
    end.peer.send(b"question")
    end.peer.shutdown(socket.SHUT_WR)
    received = bytearray()
    any_net.turns(3)
    received += read_all(end.peer)
    any_net.pass_time(5.0)
    while not has_ended(end.peer):
        received += read_all(end.peer)
        any_net.turns()
    assert received == bytes(MUCH) + b"late"
    assert (end.protocol.heard, end.protocol.error) == (["made", "data", "eof", "lost"], None)


def test_close_sends_what_was_written_before_it_in_the_same_turn(any_net: Net) -> None:
    end = any_net.connect()

    def say_goodbye() -> None:
        end.connection.write(b"good")
        end.connection.write(b"bye")
        end.connection.close()
        end.connection.write(b"not this")

    any_net.reactor.call_soon(say_goodbye)
    any_net.turns()
    assert end.peer.recv(100) == b"goodbye"
    assert has_ended(end.peer)
    assert state_of(end) == "LINGERING"
    end.peer.close()
    any_net.turns(2)
    assert (end.protocol.heard, end.protocol.error) == (["made", "lost"], None)


@pytest.mark.parametrize("tcp", [False, True])
def test_the_reply_survives_though_the_peer_sent_more_than_was_read(any_net: Net, tcp: bool) -> None:
    """A reset would throw away what the peer has not read yet: here, most of the reply."""
    reply = bytes(range(256)) * 2000

    def refuse(transport: Transport) -> None:
        transport.write(reply)
        transport.close()

    end = any_net.connect(any_net.recorder(data=refuse), tcp=tcp)
    flood(end.peer)
    any_net.turns()
    received = bytearray()
    for _ in range(2000):
        flood(end.peer)
        with contextlib.suppress(BlockingIOError):
            data = end.peer.recv(1000)  # slowly, and never a ConnectionResetError
            if not data:
                break
            received += data
        any_net.turns()
    assert received == reply
    assert len(end.protocol.received) <= 8192  # the rest was dropped, not handed on
    assert state_of(end) == "LINGERING"
    end.peer.close()
    any_net.until(lambda: "lost" in end.protocol.heard)
    assert end.protocol.error is None


def flood(peer: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        while True:
            peer.send(bytes(65536))


def test_lingering_ends_even_if_the_peer_never_does(any_net: Net) -> None:
    end = any_net.connect()
    end.connection.close()
    any_net.turns()
    assert has_ended(end.peer)
    for _ in range(9):
        flood(end.peer)
        any_net.pass_time(LINGER_SECONDS / 10)
    assert "lost" not in end.protocol.heard
    any_net.pass_time(LINGER_SECONDS)
    any_net.turns()
    assert (end.protocol.heard, end.protocol.error) == (["made", "lost"], None)
    with pytest.raises(OSError, match=r"pipe|reset"):
        end.peer.send(b"x")


def test_closing_drops_what_comes_even_if_reading_was_paused(any_net: Net) -> None:
    end = any_net.connect()
    end.connection.pause_reading()
    flood(end.peer)
    end.connection.close()
    any_net.turns(100)
    end.peer.shutdown(socket.SHUT_WR)
    any_net.turns(100)
    assert end.protocol.heard == ["made", "lost"]


# -- Awkward moments --

CALLS: dict[str, Callable[[Transport], object]] = {
    "write": lambda transport: transport.write(b"x"),
    "close": lambda transport: transport.close(),
    "abort": lambda transport: transport.abort(),
    "pause_reading": lambda transport: transport.pause_reading(),
    "resume_reading": lambda transport: transport.resume_reading(),
    "bytes_unread": lambda transport: transport.bytes_unread(),
    "bytes_unsent": lambda transport: transport.bytes_unsent(),
}


@pytest.mark.parametrize("again", CALLS)
@pytest.mark.parametrize("ending", ["close", "abort"])
def test_every_call_is_harmless_on_a_connection_that_is_closing_or_closed(
    any_net: Net, ending: str, again: str
) -> None:
    end = any_net.connect()
    CALLS[ending](end.connection)
    CALLS[again](end.connection)
    any_net.turns()
    assert read_all(end.peer) == b""
    end.peer.close()
    any_net.turns(2)
    CALLS[again](end.connection)
    CALLS[again](end.connection)
    any_net.turns(2)
    assert end.protocol.heard == ["made", "lost"]
    assert end.protocol.error is None


@pytest.mark.parametrize("ending", ["close", "abort"])
@pytest.mark.parametrize("where", ["made", "data", "eof", "lost"])
def test_a_connection_may_be_ended_from_any_of_its_own_calls(any_net: Net, where: str, ending: str) -> None:
    end = any_net.connect(any_net.recorder(**{where: CALLS[ending]}))
    with contextlib.suppress(OSError):
        end.peer.send(b"x")
    with contextlib.suppress(OSError):
        end.peer.shutdown(socket.SHUT_WR)
    any_net.turns(3)
    if where == "lost":
        end.connection.abort()
        any_net.turns(2)
    words = ["made", "data", "eof", "lost"]
    assert end.protocol.heard == (words if where == "lost" else [*words[: words.index(where) + 1], "lost"])


def test_an_abort_drops_what_waits_and_says_so_once(any_net: Net) -> None:
    end = any_net.connect()
    end.connection.write(bytes(MUCH))
    any_net.turns()
    end.connection.write(b"never")
    end.connection.abort()
    end.connection.abort()
    assert end.protocol.heard == ["made"]  # not from within the protocol's own call
    any_net.turns(3)
    assert (end.protocol.heard, end.protocol.error) == (["made", "lost"], None)
    assert (end.connection.bytes_unsent(), len(any_net.reactor._timers)) == (0, 0)


def test_one_may_abort_another_that_has_something_to_send_in_the_same_turn(any_net: Net) -> None:
    victim, other = any_net.connect(), any_net.connect()

    def act() -> None:
        victim.connection.write(b"never")
        other.connection.write(b"sent")
        victim.connection.abort()

    any_net.reactor.call_soon(act)
    any_net.turns(2)
    assert (read_all(victim.peer), read_all(other.peer)) == (b"", b"sent")


def test_a_reset_before_the_close_could_shut_down_is_a_loss(any_net: Net) -> None:
    end = any_net.connect(tcp=True)
    end.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.peer.close()
    end.connection.close()
    any_net.until(lambda: "lost" in end.protocol.heard)
    assert isinstance(end.protocol.error, OSError)
