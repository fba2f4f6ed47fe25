"""A client's connection: asking, and proving what comes back, whole or in part."""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Sequence

from soak.talk import Question
from sttp_reactor.load.faults import Mistakes, shown
from sttp_reactor.load.replies import reply_end

# For one answer. A server that takes longer, on the busiest machine, has forgotten it.
_PATIENCE_SECONDS = 30.0
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time


class Broken(Exception):
    """The connection cannot be used further; what was wrong is among the mistakes."""


class Tally:
    """One thread's counts."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()  # by action
        self.done: Counter[str] = Counter()  # by behaviour
        self.mistakes = Mistakes()


class Wire:
    def __init__(self, address: tuple[str, int], tally: Tally, receive_buffer: int | None = None) -> None:
        self._tally = tally
        self.sock = socket.socket()
        self.sock.settimeout(_PATIENCE_SECONDS)
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.connect(address)
        self._asked: deque[Question] = deque()
        self._rest = b""
        self.last_used = time.monotonic()

    def send(self, questions: Sequence[Question], end: bytes = b"") -> None:
        """Raises Broken."""
        self._asked.extend(questions)
        try:
            self.sock.sendall(b"".join([question.request for question in questions]) + end)
        except OSError as error:
            raise self._broken(f"cannot send: {error}") from error

    def receive(self, size: int = 65536) -> bool:
        """Take in what has come. False at the end of the stream. Raises Broken."""
        try:
            data = self.sock.recv(size)
        except OSError as error:
            raise self._broken(f"{len(self._asked)} requests are unanswered: {error}") from error
        if data:
            self._digest(self._rest + data)
        return bool(data)

    def receive_all(self, size: int = 65536, pause: float = 0.0) -> None:
        """Until everything is answered. Raises Broken."""
        while self._asked:
            if not self.receive(size):
                raise self._broken(f"closed, with {len(self._asked)} requests unanswered")
            if pause:
                time.sleep(pause)
        self.last_used = time.monotonic()

    def receive_end(self) -> None:
        """The server's close, once everything is answered. Raises Broken."""
        self.receive_all()
        if self.receive():
            raise self._broken("not closed though it should be")

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.sock.close()

    def _digest(self, data: bytes) -> None:
        start = 0
        while end := reply_end(data, start):
            reply, start = data[start:end], end
            if not self._asked:
                raise self._broken(f"nobody asked for '{shown(reply)}'")
            request, fits, changed = self._asked.popleft()
            if not (reply == fits if isinstance(fits, bytes) else fits(reply)):
                expected = f", expected '{shown(fits)}'" if isinstance(fits, bytes) else ""
                raise self._broken(f"{shown(request.rstrip())}: got '{shown(reply)}'{expected}")
            if changed is not None:
                changed.acknowledge()
            self._tally.answered[_action(request)] += 1
        self._rest = data[start:]

    def _broken(self, sentence: str) -> Broken:
        self._tally.mistakes.note(sentence)
        return Broken(sentence)


def _action(request: bytes) -> str:
    word = request.split(b" ", 1)[0].decode("ascii", "replace")
    return word if word in ("CREATE", "SHOW", "LIST", "UPDATE", "DELETE") else "refused"
