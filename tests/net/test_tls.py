"""The TLS layer, between a real connection and a protocol that takes notes; the client is OpenSSL, driven by hand."""

from __future__ import annotations

import random
import socket
import ssl
import struct

import pytest
from certificates import client_context
from net_support import Net, fail, has_ended, read_all
from tls_support import BOTH_VERSIONS, TlsNet, TlsPeer, record_lengths

from sttp_reactor.limits import HIGH_WATER_BYTES, READ_BYTES
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.tls import State


@pytest.fixture
def tls(net: Net) -> TlsNet:
    return TlsNet(net)


def pattern(size: int) -> bytes:
    """Bytes that show when some are lost, doubled or swapped."""
    return b"".join(struct.pack(">I", number) for number in range(size // 4 + 1))[:size]


# -- Both ways --


@pytest.mark.parametrize("version", BOTH_VERSIONS)
def test_what_one_side_says_the_other_hears(tls: TlsNet, version: str) -> None:
    end = tls.connect(client_context(version=version), data=lambda transport: transport.write(b"pong"))
    end.peer.send(b"ping")
    tls.net.turns()
    assert (end.protocol.heard, end.protocol.received) == (["made", "data"], b"ping")
    assert end.peer.receive() == b"pong"
    assert end.protocol.transport.peer == "peer"
    assert end.protocol.transport.peer_names == ()
    assert repr(end.layer) == "<TlsLayer peer OPEN 0 bytes to send>"
    assert repr(tls.handshakes) == "<Handshakes: 0 under way, 1 completed, 0 failed>"


def test_what_a_turn_writes_is_one_record(tls: TlsNet) -> None:
    end = tls.connect()
    for text in (b"one ", b"", b"two ", b"three"):
        tls.net.reactor.call_soon(lambda text=text: end.protocol.transport.write(text))  # type: ignore[misc]
    tls.net.turns()
    records = end.peer.sock.recv(1000)
    assert len(record_lengths(records)) == 1
    end.peer.feed(records)
    assert end.peer.received == b"one two three"


def test_a_thousand_echoes_leave_the_selector_alone(tls: TlsNet) -> None:
    end = tls.connect(data=lambda transport: transport.write(b"pong"))
    with tls.net.selector.changes() as changes:
        for _ in range(1_000):
            end.peer.send(b"ping")
            tls.net.turns()
            assert end.peer.receive() == b"pong"
    assert changes == []


def test_the_records_of_one_segment_are_handed_on_in_one_piece(tls: TlsNet) -> None:
    end = tls.connect()
    end.peer.sock.send(b"".join(end.peer.encrypt(b"SHOW /%d\n" % number) for number in range(30)))
    tls.net.turns()
    assert end.protocol.heard == ["made", "data"]
    assert end.protocol.received == b"".join(b"SHOW /%d\n" % number for number in range(30))


@pytest.mark.parametrize("seed", range(20))
def test_any_split_of_the_records_gives_the_same_bytes(tls: TlsNet, seed: int) -> None:
    chance = random.Random(seed)
    end = tls.connect(data=lambda transport: transport.write(b"."))
    texts = [pattern(chance.choice([1, 20, 300, 5000, 16384, 20000])) for _ in range(4)]
    records = b"".join(map(end.peer.encrypt, texts)) + end.peer.end()
    cuts = sorted(chance.randrange(len(records)) for _ in range(chance.choice([1, 5, 30])))
    for start, stop in zip([0, *cuts], [*cuts, len(records)], strict=True):
        for at in range(start, stop, READ_BYTES):
            end.peer.sock.send(records[at : min(stop, at + READ_BYTES)])
            tls.net.turns()
    assert end.protocol.received == b"".join(texts)
    assert end.protocol.heard[-1] == "eof"
    assert len(end.peer.receive()) == end.protocol.heard.count("data")


@pytest.mark.parametrize("size", [1, 7, 100, 100_000])
@pytest.mark.parametrize("version", BOTH_VERSIONS)
def test_any_split_of_the_handshake_will_do(tls: TlsNet, version: str, size: int) -> None:
    """The first request comes in one segment with the last of the handshake, and nothing after it."""
    raw = tls.connect_raw()
    peer = TlsPeer(raw.sock, client_context(version=version))
    peer.step()
    said = b""
    while not said:
        records = peer.take()
        if peer.is_established:
            said = b"hello"
            records += peer.encrypt(said)
        for start in range(0, len(records), size):
            raw.sock.send(records[start : start + size])
            tls.net.turns(2)
        peer.receive()
    tls.net.turns()
    (protocol,) = tls.made
    assert protocol.received == b"hello"
    protocol.transport.write(b"and hello")
    tls.net.turns()
    assert peer.receive() == b"and hello"


def test_the_client_hears_in_any_split_too(tls: TlsNet) -> None:
    end = tls.connect(tcp=True)
    sent = pattern(150_000)
    end.protocol.transport.write(sent)
    tls.net.turns()
    received = bytearray()
    while len(received) < len(sent):
        tls.net.turns()
        records = read_all(end.peer.sock)
        for start in range(0, len(records), 977):
            end.peer.feed(records[start : start + 977])
        received += end.peer.received
        end.peer.received.clear()
    assert received == sent


def test_a_connection_is_as_alive_as_what_it_says_and_not_as_its_records(tls: TlsNet) -> None:
    """Half a record is no byte for anybody, so it does not put off an idle timeout."""
    end = tls.connect()
    records = end.peer.encrypt(b"hello")
    end.peer.sock.send(records[:9])
    tls.net.pass_time(5.0)
    assert end.protocol.transport.last_received == 1000.0
    end.peer.sock.send(records[9:])
    tls.net.pass_time(5.0)
    assert end.protocol.transport.last_received == 1010.0


# -- Pauses --


def test_nothing_is_read_or_decrypted_while_paused_and_nothing_is_lost(tls: TlsNet) -> None:
    end = tls.connect()
    transport = end.protocol.transport
    transport.pause_reading()
    transport.pause_reading()
    end.peer.send(b"first ")
    tls.net.turns(3)
    assert end.protocol.heard == ["made"]
    assert transport.bytes_unread() > 6
    end.peer.send(b"second")
    transport.resume_reading()
    transport.resume_reading()
    tls.net.turns()
    assert (end.protocol.heard, end.protocol.received) == (["made", "data"], b"first second")
    assert transport.bytes_unread() == 0


def test_a_protocol_that_pauses_at_once_hears_what_came_with_the_handshake_when_it_resumes(tls: TlsNet) -> None:
    raw = tls.connect_raw(made=lambda transport: transport.pause_reading())
    peer = TlsPeer(raw.sock)
    peer.step()
    raw.sock.send(peer.take())
    tls.net.turns(2)
    peer.receive()
    raw.sock.send(peer.take() + peer.encrypt(b"early") + peer.end())
    raw.sock.shutdown(socket.SHUT_WR)
    tls.net.turns(3)
    (protocol,) = tls.made
    transport = protocol.transport
    assert protocol.heard == ["made"]
    assert transport.bytes_unread() > 0
    transport.resume_reading()
    assert protocol.heard == ["made"]  # not from within its own call
    transport.pause_reading()
    tls.net.turns(2)
    assert protocol.heard == ["made"]
    protocol.reactions["data"] = lambda transport: transport.pause_reading()
    transport.resume_reading()
    tls.net.turns(2)
    assert (protocol.heard, protocol.received) == (["made", "data"], b"early")
    transport.resume_reading()
    tls.net.turns(2)
    assert protocol.heard == ["made", "data", "eof"]


def test_what_comes_after_what_was_held_back_is_heard_too(tls: TlsNet) -> None:
    raw = tls.connect_raw(made=lambda transport: transport.pause_reading())
    peer = TlsPeer(raw.sock)
    peer.shake_hands(tls.net)
    (protocol,) = tls.made
    protocol.transport.resume_reading()
    tls.net.turns()
    peer.send(b"hello")
    tls.net.turns()
    assert (protocol.heard, protocol.received) == (["made", "data"], b"hello")


def test_the_end_of_the_stream_waits_while_reading_is_paused(tls: TlsNet) -> None:
    end = tls.connect(data=lambda transport: transport.pause_reading())
    end.peer.sock.send(end.peer.encrypt(b"last words") + end.peer.end())
    end.peer.sock.shutdown(socket.SHUT_WR)
    tls.net.turns(3)
    assert end.protocol.heard == ["made", "data"]
    end.protocol.transport.resume_reading()
    tls.net.turns(3)
    assert end.protocol.heard == ["made", "data", "eof"]


def test_a_protocol_that_closes_while_something_is_held_back_hears_no_more_of_it(tls: TlsNet) -> None:
    end = tls.connect(data=lambda transport: transport.pause_reading())
    end.peer.sock.send(end.peer.encrypt(b"last words") + end.peer.end())
    tls.net.turns()
    end.protocol.transport.resume_reading()
    end.protocol.transport.abort()
    tls.net.turns(2)
    assert end.protocol.heard == ["made", "data", "lost"]


def test_a_large_reply_waits_for_its_reader(tls: TlsNet) -> None:
    end = tls.connect()
    transport = end.protocol.transport
    sent = pattern(1_000_000)
    transport.write(sent)
    tls.net.turns()
    assert end.protocol.heard == ["made", "paused"]
    assert transport.bytes_unsent() > HIGH_WATER_BYTES
    end.peer.send(b"not read while that waits")
    tls.net.turns(2)
    assert end.protocol.heard == ["made", "paused"]
    received = bytearray()
    while len(received) < len(sent):
        received += end.peer.receive()
        tls.net.turns()
    assert received == sent
    assert end.protocol.heard == ["made", "paused", "resumed", "data"]


def test_who_writes_until_told_to_pause_is_told(tls: TlsNet) -> None:
    end = tls.connect()
    transport = end.protocol.transport
    written = 0
    while "paused" not in end.protocol.heard:
        transport.write(b"x" * 100)
        written += 100
        assert written < 4 * HIGH_WATER_BYTES
    assert transport.bytes_unsent() < 3 * HIGH_WATER_BYTES


def test_many_small_writes_in_one_turn_cost_their_bytes_and_not_their_square(tls: TlsNet) -> None:
    """Copying all that waits at each write would hold the turn for longer than any test here allows."""
    end = tls.connect(tcp=True)
    piece = bytes(64)

    def write() -> None:
        for _ in range(8_000):
            end.protocol.transport.write(piece)

    tls.net.reactor.call_soon(write)
    tls.net.turns()
    received = 0
    while received < 8_000 * 64:
        received += len(end.peer.receive())
        tls.net.turns()


# -- Half-close and close --


@pytest.mark.parametrize("version", BOTH_VERSIONS)
@pytest.mark.parametrize("by", ["close_notify", "close_notify and FIN", "FIN"])
def test_after_the_peers_half_close_we_still_answer(tls: TlsNet, by: str, version: str) -> None:
    end = tls.connect(client_context(version=version))
    records = end.peer.encrypt(b"request")
    if "close_notify" in by:
        records += end.peer.end()
    end.peer.sock.send(records)
    if "FIN" in by:
        end.peer.sock.shutdown(socket.SHUT_WR)
    tls.net.turns(2)
    assert end.protocol.heard == ["made", "data", "eof"]
    assert end.layer.state is State.HALF_CLOSED
    end.protocol.transport.write(b"reply")
    end.protocol.transport.write(pattern(40_000))
    end.protocol.transport.close()
    received = bytearray()
    while not end.peer.has_ended:
        received += end.peer.receive()
        tls.net.turns()
    assert received == b"reply" + pattern(40_000)
    assert has_ended(end.peer.sock)
    end.peer.sock.close()
    tls.net.turns(2)
    assert end.protocol.heard == ["made", "data", "eof", "lost"]
    assert end.protocol.error is None


def test_what_comes_after_a_close_notify_is_dropped(tls: TlsNet) -> None:
    end = tls.connect()
    end.peer.sock.send(end.peer.end() + b"whatever")
    tls.net.turns()
    end.peer.sock.send(b"x" * 10_000)
    tls.net.turns(3)
    assert end.protocol.heard == ["made", "eof"]
    end.protocol.transport.write(b"still here")
    tls.net.turns()
    assert end.peer.receive() == b"still here"


def test_a_close_sends_what_waits_then_a_close_notify_then_a_fin(tls: TlsNet) -> None:
    end = tls.connect()
    transport = end.protocol.transport
    transport.write(b"goodbye")
    transport.close()
    transport.close()
    transport.write(b"never sent")
    tls.net.turns()
    assert end.peer.receive() == b"goodbye"
    assert end.peer.has_ended
    assert has_ended(end.peer.sock)
    end.peer.send(b"heard by nobody")
    end.peer.sock.close()
    tls.net.turns(3)
    assert (end.protocol.heard, end.protocol.error) == (["made", "lost"], None)


def test_an_abort_loses_what_waits(tls: TlsNet) -> None:
    end = tls.connect()
    end.protocol.transport.write(b"never sent")
    end.protocol.transport.abort()
    end.protocol.transport.abort()
    tls.net.turns(2)
    assert end.peer.receive() == b""
    assert not end.peer.has_ended
    assert (end.protocol.heard, end.protocol.error) == (["made", "lost"], None)


@pytest.mark.parametrize(
    "call", ["write", "pause_reading", "resume_reading", "close", "abort", "bytes_unread", "bytes_unsent"]
)
def test_every_call_is_harmless_on_a_connection_that_is_gone(tls: TlsNet, call: str) -> None:
    end = tls.connect()
    end.protocol.transport.abort()
    tls.net.turns(2)
    method = getattr(end.protocol.transport, call)
    assert not (method(b"x") if call == "write" else method())
    tls.net.turns(2)
    assert end.protocol.heard == ["made", "lost"]


# -- Failures --


@pytest.mark.parametrize("where", ["made", "data", "eof", "paused", "resumed"])
def test_a_protocol_that_fails_costs_its_own_connection_and_no_other(tls: TlsNet, where: str) -> None:
    tls.net.failures_expected = 1
    other = tls.connect()
    end = tls.connect(**{where: fail})
    other.peer.send(b"hello")
    if where in ("data", "eof"):
        end.peer.sock.send(end.peer.encrypt(b"x") + end.peer.end())
    tls.net.turns()
    end.protocol.transport.write(bytes(3 * HIGH_WATER_BYTES))
    tls.net.turns()
    while read_all(end.peer.sock):
        tls.net.turns()
    tls.net.turns(2)
    assert end.protocol.heard[-2:] == [where, "lost"]
    assert (other.protocol.heard, other.protocol.received) == (["made", "data"], b"hello")


def test_a_protocol_that_fails_on_what_was_held_back_is_lost_too(tls: TlsNet) -> None:
    tls.net.failures_expected = 1
    end = tls.connect(data=lambda transport: transport.pause_reading(), eof=fail)
    end.peer.sock.send(end.peer.encrypt(b"x") + end.peer.end())
    tls.net.turns()
    end.protocol.transport.resume_reading()
    tls.net.turns(2)
    assert end.protocol.heard == ["made", "data", "eof", "lost"]


def test_a_broken_record_ends_the_connection_after_the_sound_ones(tls: TlsNet) -> None:
    end = tls.connect()
    sound, broken = end.peer.encrypt(b"sound"), bytearray(end.peer.encrypt(b"broken"))
    broken[-1] ^= 1
    end.peer.sock.send(sound + broken)
    tls.net.turns()
    assert (end.protocol.heard, end.protocol.received) == (["made", "data"], b"sound")
    end.protocol.transport.write(b"never sent")
    tls.net.turns()
    with pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
        end.peer.receive()
    end.peer.sock.close()
    tls.net.turns(2)
    assert end.protocol.heard == ["made", "data", "lost"]
    assert isinstance(end.protocol.error, ssl.SSLError)


def test_a_protocol_that_closed_for_itself_is_not_told_that_it_broke(tls: TlsNet) -> None:
    end = tls.connect(data=lambda transport: transport.abort())
    end.peer.sock.send(end.peer.encrypt(b"sound") + b"\x17\x03\x03\x00\x10" + bytes(16))
    tls.net.turns(2)
    assert (end.protocol.heard, end.protocol.error) == (["made", "data", "lost"], None)


def test_a_reset_reaches_the_protocol_as_what_broke_the_connection(tls: TlsNet) -> None:
    end = tls.connect(tcp=True)
    end.peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.peer.sock.close()
    tls.net.until(lambda: "lost" in end.protocol.heard)
    assert end.protocol.heard == ["made", "lost"]
    assert isinstance(end.protocol.error, ConnectionResetError)


def test_a_peer_that_reads_nothing_is_given_up_after_the_write_timeout(tls: TlsNet) -> None:
    end = tls.connect()
    end.protocol.transport.write(bytes(1_000_000))
    tls.net.turns()
    tls.net.pass_time(30.0)
    tls.net.turns()
    assert end.protocol.heard == ["made", "paused", "lost"]
    assert isinstance(end.protocol.error, TimeoutError)


def test_a_failed_write_during_a_callback_is_reported_after_it(tls: TlsNet) -> None:
    def write_twice(transport: Transport) -> None:
        transport.write(bytes(2 * HIGH_WATER_BYTES))
        transport.write(b"more")
        transport.pause_reading()
        transport.close()

    end = tls.connect(data=write_twice)
    end.peer.send(b"x")
    end.peer.sock.close()
    tls.net.turns(3)
    assert end.protocol.heard[-1] == "lost"  # and Recorder sees to it that it was not inside
