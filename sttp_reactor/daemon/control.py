"""Orders from a parent process to its children and their answers, with sockets along.

One pair of connected Unix sockets for each child. A message is its length and then its parts, pickled: both ends are
one program, forked, and nobody else holds either. Descriptors travel with the length. Whoever reads waits for the
whole message, which is safe for a child's reactor too: its parent sends each in one go, and stands still meanwhile.
"""

from __future__ import annotations

import pickle
import socket
import struct
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

_LENGTH: Final = struct.Struct("=Q")

# Descriptors that Linux takes with one message (SCM_MAX_FD).
MAX_DESCRIPTORS: Final = 253


class Message(NamedTuple):
    """`serial` is that of the order, in the answer too: so an answer that comes too late is known as such."""

    serial: int
    kind: str
    content: Any
    sockets: list[socket.socket]


class Control:
    """One end. Every method raises OSError when the other end is gone or `patience` seconds were not enough."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    @classmethod
    def pair(cls) -> tuple[Control, Control]:
        """The parent's end and the child's."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(
        self,
        serial: int,
        kind: str,
        content: Any = None,
        sockets: Sequence[socket.socket] = (),
        *,
        patience: float,
    ) -> None:
        """The sockets are duplicated on their way; the sender's own stay its own."""
        if len(sockets) > MAX_DESCRIPTORS:
            raise OSError(f"{len(sockets)} sockets are too many for one message")
        self._sock.settimeout(patience)
        body = pickle.dumps((serial, kind, content))
        length = _LENGTH.pack(len(body))
        if sockets:
            socket.send_fds(self._sock, [length], [sock.fileno() for sock in sockets])
        else:
            self._sock.sendall(length)
        self._sock.sendall(body)

    def receive(self, *, patience: float | None) -> Message:
        """`patience` None waits for ever."""
        deadline = None if patience is None else time.monotonic() + patience
        self._sock.settimeout(patience)
        length, descriptors, _, _ = socket.recv_fds(self._sock, _LENGTH.size, MAX_DESCRIPTORS)
        sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        try:
            for sock in sockets:
                sock.set_inheritable(False)
            if len(length) < _LENGTH.size:
                length += self._receive_exactly(_LENGTH.size - len(length), deadline)
            body = self._receive_exactly(_LENGTH.unpack(length)[0], deadline)
        except BaseException:
            for sock in sockets:
                sock.close()
            raise
        serial, kind, content = pickle.loads(body)
        return Message(serial, kind, content, sockets)

    def close(self) -> None:
        self._sock.close()

    def _receive_exactly(self, count: int, deadline: float | None) -> bytes:
        received = bytearray()
        while len(received) < count:
            if deadline is not None:
                self._sock.settimeout(max(0.001, deadline - time.monotonic()))
            piece = self._sock.recv(count - len(received))
            if not piece:
                raise ConnectionResetError("the other end is gone")
            received += piece
        return bytes(received)
