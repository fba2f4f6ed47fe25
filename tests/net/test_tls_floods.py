"""Records without end: the work of a turn is bounded, and whoever sends much that carries nothing is given up."""

from __future__ import annotations

import ssl
from itertools import pairwise

import pytest
from certificates import client_context
from key_update import IS_AVAILABLE, NOT_REQUESTED, REQUESTED, key_update
from net_support import Net, has_ended
from tls_support import TlsNet, TlsPeer, record_lengths

from sttp_reactor.limits import EMPTY_RECORDS, RECORDS_PER_TURN
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.tls import State

needs_key_update = pytest.mark.skipif(not IS_AVAILABLE, reason="this OpenSSL cannot be asked for a KeyUpdate")
KEY_UPDATE_BYTES = 27  # of a record: 5 for its head, 5 for the message, 1 for its type, 16 for the tag


@pytest.fixture
def tls(net: Net) -> TlsNet:
    return TlsNet(net)


def updates(peer: TlsPeer, count: int, kind: int = REQUESTED) -> bytes:
    for _ in range(count):
        key_update(peer.ssl, kind)
    return peer.take()


@needs_key_update
def test_a_key_update_is_answered_in_its_turn(tls: TlsNet) -> None:
    """Although the protocol has nothing to say. OpenSSL keeps its last answer until it has something to do again."""
    end = tls.connect()
    end.peer.sock.send(updates(end.peer, 3))
    tls.net.turns()
    answer = end.peer.sock.recv(1000)
    assert record_lengths(answer) in ([KEY_UPDATE_BYTES - 5] * 2, [KEY_UPDATE_BYTES - 5] * 3)
    end.peer.feed(answer)
    end.peer.send(b"with the new key")
    tls.net.turns()
    assert end.protocol.received == b"with the new key"
    end.protocol.transport.write(b"and back")
    tls.net.turns()
    assert end.peer.receive() == b"and back"


@needs_key_update
@pytest.mark.parametrize("kind", [NOT_REQUESTED, REQUESTED])
@pytest.mark.parametrize("size", [KEY_UPDATE_BYTES, 1000, 1 << 16])
def test_who_sends_key_updates_without_end_is_given_up(tls: TlsNet, kind: int, size: int) -> None:
    end = tls.connect()
    flood = updates(end.peer, 1000, kind)
    sent = 0
    for _ in range(EMPTY_RECORDS + 1):
        sent += end.peer.sock.send(flood[sent : sent + size])
        tls.net.turns()
    assert end.layer.state is State.CLOSED
    tls.net.turns(2)
    tls.net.pass_time(60)
    assert end.protocol.heard == ["made", "lost"]
    assert str(end.protocol.error) == "too many TLS records without data"
    # What is answered is sent, and not kept for a peer that never reads.
    answers = end.peer.sock.recv(1 << 20)
    assert len(answers) <= (EMPTY_RECORDS + RECORDS_PER_TURN) * KEY_UPDATE_BYTES
    assert has_ended(end.peer.sock)


@needs_key_update
def test_a_long_conversation_may_change_its_keys_now_and_then(tls: TlsNet) -> None:
    """One record in twenty; ten times as many in all as a flood is allowed."""
    end = tls.connect(data=lambda transport: transport.write(b"."))
    for _ in range(10 * EMPTY_RECORDS):
        end.peer.sock.send(updates(end.peer, 1) + b"".join(end.peer.encrypt(b"x") for _ in range(19)))
        tls.net.turns()
        assert end.peer.receive() == b"."
    assert len(end.protocol.received) == 190 * EMPTY_RECORDS


@needs_key_update
def test_a_long_conversation_saves_nothing_up_for_a_flood(tls: TlsNet) -> None:
    end = tls.connect()
    for _ in range(100):
        end.peer.sock.send(b"".join(end.peer.encrypt(b"x") for _ in range(20)))
        tls.net.turns()
    end.peer.sock.send(updates(end.peer, EMPTY_RECORDS + 1))
    tls.net.turns(3)
    tls.net.pass_time(60)
    assert end.protocol.heard[-1] == "lost"


def test_a_turn_decrypts_a_bounded_number_of_records(tls: TlsNet) -> None:
    """However small they are; what is left does not keep others waiting, and comes whole and in order."""
    end, neighbour = tls.connect(), tls.net.connect()
    texts = [b"%5d" % number for number in range(500)]
    end.peer.sock.send(b"".join(map(end.peer.encrypt, texts)))
    slept = tls.net.selector.slept
    tls.net.turns()
    assert end.protocol.received == b"".join(texts[:RECORDS_PER_TURN])
    neighbour.peer.send(b"hello")
    tls.net.turns()
    assert neighbour.protocol.received == b"hello"
    assert end.protocol.received == b"".join(texts[: 2 * RECORDS_PER_TURN])
    tls.net.turns(500 // RECORDS_PER_TURN)
    assert end.protocol.received == b"".join(texts)
    end.peer.send(b"and more")  # reading goes on
    tls.net.turns()
    assert end.protocol.received.endswith(b"and more")
    assert tls.net.selector.slept == slept


def test_the_end_waits_for_the_records_before_it(tls: TlsNet) -> None:
    end = tls.connect()
    end.peer.sock.send(b"".join(end.peer.encrypt(b"x") for _ in range(100)) + end.peer.end())
    end.peer.sock.close()
    tls.net.turns(10)
    assert len(end.protocol.received) == 100
    assert end.protocol.heard[-1] == "eof"
    assert end.protocol.heard.count("eof") == 1


@pytest.mark.parametrize("resumes_after", [0, 1, 5])
def test_reading_that_is_paused_amid_many_records_stays_so(tls: TlsNet, resumes_after: int) -> None:
    """Who pauses and resumes does not get more a turn than others, and never two pieces at once."""
    turns: list[int] = []

    def pause(transport: Transport) -> None:
        turns.append(tls.net.reactor.turns)
        for _ in range(3):
            transport.pause_reading()
            transport.resume_reading()
        transport.pause_reading()
        if resumes_after:
            tls.net.reactor.call_later(0.0 if resumes_after == 1 else 1.0, transport.resume_reading)
        else:
            transport.resume_reading()

    end = tls.connect(data=pause)
    end.peer.sock.send(b"".join(end.peer.encrypt(b"x") for _ in range(300)))
    for _ in range(30):
        tls.net.pass_time(1.0)
    assert len(end.protocol.received) == 300
    assert len(end.protocol.chunks) == -(-300 // RECORDS_PER_TURN)
    assert all(before < after for before, after in pairwise(turns))


def test_a_hello_in_tiny_records_takes_turns(tls: TlsNet) -> None:
    raw = tls.connect_raw()
    peer = TlsPeer(raw.sock, client_context(version="TLSv1_2"))
    peer.step()
    hello = peer.take()
    head, body = hello[:3], hello[5:]
    pieces = b"".join(head + b"\0\1" + body[at : at + 1] for at in range(len(body)))
    began = tls.net.reactor.turns
    raw.sock.send(pieces)
    while not (answer := _received(raw.sock)):
        tls.net.turns()
        assert tls.net.reactor.turns < began + len(body)
    assert tls.net.reactor.turns - began >= len(body) // RECORDS_PER_TURN
    peer.feed(answer)
    for _ in range(4):
        raw.sock.send(peer.take())
        tls.net.turns(2)
        peer.feed(_received(raw.sock))
    assert peer.is_established


def test_a_record_that_cannot_be_is_refused_at_its_head(tls: TlsNet) -> None:
    """Nobody waits for the 65,535 bytes that it announces."""
    end = tls.connect()
    end.peer.sock.send(b"\x17\x03\x03\xff\xff")
    tls.net.turns(2)
    tls.net.pass_time(60)
    assert end.protocol.heard == ["made", "lost"]
    assert isinstance(end.protocol.error, ssl.SSLError)


def _received(sock: object) -> bytes:
    try:
        return sock.recv(1 << 16)  # type: ignore[attr-defined, no-any-return]
    except BlockingIOError:
        return b""
