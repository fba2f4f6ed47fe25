"""Whatever the two ends do, and in whatever order: no byte is lost, doubled or swapped, the protocol is told what
`net.protocol` promises (the recorder sees to it), and a connection that is closed ends."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

from hypothesis import event, given
from hypothesis import strategies as st
from net_support import End, Net, has_ended

from sttp_reactor.limits import HIGH_WATER_BYTES, LINGER_SECONDS

SIZES = st.one_of(st.integers(0, 20), st.integers(0, 40_000), st.integers(60_000, 3 * HIGH_WATER_BYTES))
PERIOD = 251  # fits no buffer's size
ALPHABET = bytes(range(PERIOD)) * 2000


class Conversation:
    """One connection, what each end has said, and what the other has heard of it."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.end: End = net.connect()
        self.written = 0  # bytes that write() was given before the connection was closed
        self.sent = 0  # bytes the peer has sent
        self.heard = bytearray()  # by the peer
        self.closed = self.aborted = self.peer_done = False

    def write(self, size: int) -> None:
        start = self.written % PERIOD
        self.end.connection.write(ALPHABET[start : start + size])
        if not self.closed and not self.aborted and "lost" not in self.end.protocol.heard:
            self.written += size

    def write_twice(self, size: int) -> None:
        self.write(size)
        self.write(7)

    def peer_sends(self, size: int) -> None:
        start = self.sent % PERIOD
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            self.sent += self.end.peer.send(ALPHABET[start : start + size])

    def peer_reads(self, size: int) -> None:
        with contextlib.suppress(BlockingIOError, ConnectionResetError):
            self.heard += self.end.peer.recv(size + 1)

    def peer_shuts_down(self, _: int) -> None:
        self.peer_done = True
        with contextlib.suppress(OSError):
            self.end.peer.shutdown(socket.SHUT_WR)

    def pause(self, _: int) -> None:
        self.end.connection.pause_reading()

    def resume(self, _: int) -> None:
        self.end.connection.resume_reading()

    def close(self, _: int) -> None:
        self.closed = True
        self.end.connection.close()

    def abort(self, _: int) -> None:
        self.aborted = True
        self.end.connection.abort()

    def turn(self, _: int) -> None:
        self.net.turns()


Step = Callable[[Conversation, int], None]
STEPS: st.SearchStrategy[Step] = st.sampled_from(
    [
        Conversation.write,
        Conversation.write_twice,
        Conversation.peer_sends,
        Conversation.peer_reads,
        Conversation.pause,
        Conversation.resume,
        Conversation.turn,
        Conversation.turn,
        Conversation.peer_shuts_down,
        Conversation.close,
        Conversation.abort,
    ]
)


@given(st.lists(st.tuples(STEPS, SIZES), max_size=40))
def test_any_order(steps: list[tuple[Step, int]]) -> None:
    with Net() as net:
        talk = Conversation(net)
        for step, size in steps:
            step(talk, size)
        connection, protocol, peer = talk.end
        if not talk.aborted:
            connection.resume_reading()
            for _ in range(400):
                talk.peer_reads(1 << 20)
                net.turns()
            assert len(talk.heard) == talk.written
            if not talk.closed:
                assert len(protocol.received) == talk.sent
                assert ("eof" in protocol.heard) is talk.peer_done
                assert "lost" not in protocol.heard
            else:
                assert has_ended(peer)
                net.pass_time(LINGER_SECONDS)
                net.turns()
                assert protocol.heard[-1] == "lost"
                assert protocol.error is None
        event("aborted" if talk.aborted else "closed" if talk.closed else "open")
        repeated = ALPHABET[:PERIOD] * (max(talk.written, talk.sent) // PERIOD + 1)
        assert repeated.startswith(bytes(talk.heard))
        assert repeated.startswith(protocol.received)
