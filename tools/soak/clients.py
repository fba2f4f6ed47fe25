"""Threads that talk to the server, well and badly, and stand aside when they are told to."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable

from soak.talk import Question, Talk
from soak.wire import Broken, Tally, Wire

# The server's limits, in the file that `server` writes; short, so that a soak meets them often.
IDLE_SECONDS = 4.0
WRITE_SECONDS = 2.0

_MOST_AT_ONCE = 200  # requests in a burst; all of them and their replies fit into the sockets' buffers
_REST_SECONDS = IDLE_SECONDS / 2  # a connection that has rested for longer may be closed just when it is used
_GRACE_SECONDS = 10.0  # beyond a limit, on a busy machine
_PARK_SECONDS = 60.0
_MORE_THAN_BUFFERS_HOLD = 60_000  # replies of the hoarder's: 10 MB, where Linux gives a socket 4 MB at most


class Gate:
    """Where clients stop while the server is looked at."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._is_closed = False
        self._parked = 0
        self.is_over = False

    def close(self, clients: int) -> bool:
        """Wait until so many have stopped. False if they do not."""
        with self._condition:
            self._is_closed = True
            return self._condition.wait_for(lambda: self._parked == clients, _PARK_SECONDS)

    def open(self) -> None:
        with self._condition:
            self._is_closed = False
            self._condition.notify_all()

    def end(self) -> None:
        with self._condition:
            self.is_over = True
            self._condition.notify_all()

    @property
    def is_closed(self) -> bool:
        return self._is_closed or self.is_over

    def wait(self) -> None:
        with self._condition:
            self._parked += 1
            self._condition.notify_all()
            self._condition.wait_for(lambda: not self._is_closed or self.is_over)
            self._parked -= 1

    def sleep(self, seconds: float) -> None:
        """Or until the gate is closed."""
        deadline = time.monotonic() + seconds
        while not self.is_closed and time.monotonic() < deadline:
            time.sleep(0.05)


class Person(threading.Thread):
    """Does something again and again. With the gate closed it holds no connection."""

    def __init__(self, name: str, address: tuple[str, int], rng: random.Random, gate: Gate) -> None:
        super().__init__(name=name, daemon=True)
        self.tally = Tally()
        self._address = address
        self._rng = rng
        self._gate = gate

    def run(self) -> None:
        try:
            while not self._gate.is_over:
                if self._gate.is_closed:
                    self.stand_aside()
                    self._gate.wait()
                else:
                    self.act()
        except Exception as error:
            self.tally.mistakes.note(f"{self.name} has ended: {error!r}")
            raise

    def act(self) -> None:
        raise NotImplementedError

    def stand_aside(self) -> None:
        pass

    def _connect(self, receive_buffer: int | None = None) -> Wire:
        self.tally.done["connections"] += 1
        return Wire(self._address, self.tally, receive_buffer)


class Client(Person):
    """One with files of its own; every reply is known beforehand."""

    def __init__(self, number: int, address: tuple[str, int], rng: random.Random, gate: Gate) -> None:
        super().__init__(f"client {number}", address, rng, gate)
        self.talk = Talk(number, rng)
        self._wire: Wire | None = None
        self._is_new = True
        self._ways: dict[Callable[[], None], float] = {
            self._one_by_one: 30,
            self._burst: 40,
            self._half_close: 6,
            self._empty_line: 6,
            self._reset: 6,
            self._half_a_line: 4,
            self._look_from_elsewhere: 6,
            self._slow_reader: 1,
        }

    def act(self) -> None:
        way = self._rng.choices(list(self._ways), list(self._ways.values()))[0]
        try:
            if self._is_new:
                self._ask_all(self.talk.first())
                self._is_new = False
            if settling := self.talk.settle():
                self._ask_all(settling)
            way()
        except (Broken, OSError) as error:
            if not isinstance(error, Broken):
                self.tally.mistakes.note(f"{self.name}: {error}")
            self._lose()
            time.sleep(0.2)  # a server that is gone would be asked without a pause
        self.tally.done[way.__name__.strip("_").replace("_", " ")] += 1

    def stand_aside(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    def finish(self) -> None:
        """Afterwards every file is certain. By the main thread, with the gate closed. Raises Broken."""
        time.sleep(self.talk.seconds_of_doubt)
        if not self._is_new:
            self._ask_all(self.talk.settle(all_of_them=True))
            self._ask_all(self.talk.look())
        self.stand_aside()

    # -- Ways to behave --

    def _one_by_one(self) -> None:
        for question in self.talk.questions(self._rng.randint(1, 20)):
            self._ask_all([question])

    def _burst(self) -> None:
        self._ask_all(self.talk.questions(self._rng.randint(2, _MOST_AT_ONCE)))

    def _half_close(self) -> None:
        wire = self._ready()
        wire.send(self.talk.questions(self._rng.randint(0, 60)))
        wire.sock.shutdown(socket.SHUT_WR)
        self._end(wire)

    def _empty_line(self) -> None:
        wire = self._ready()
        # What stands behind the empty line is not carried out; a file that would come of it is in no model.
        wire.send(self.talk.questions(self._rng.randint(1, 60)), b"\nCREATE /never text\n")
        self._end(wire)

    def _reset(self) -> None:
        """In the middle of a reply, often; and with requests that the server has not seen yet, or has half done."""
        wire = self._ready()
        wire.send(self.talk.questions(self._rng.randint(1, _MOST_AT_ONCE)))
        if self._rng.random() < 0.7:
            wire.receive(self._rng.randint(1, 2000))
        wire.reset()
        self._lose()

    def _half_a_line(self) -> None:
        wire = self._ready()
        wire.send(self.talk.questions(self._rng.randint(1, 20)))
        wire.receive_all()
        wire.send([], b"CREATE /never te")
        if self._rng.random() < 0.5:
            wire.reset()
        self._lose()

    def _look_from_elsewhere(self) -> None:
        """Whatever was acknowledged here is seen there, cached or not, in another process perhaps."""
        self._ask_all(self.talk.questions(self._rng.randint(1, 60)))
        other = self._connect()
        try:
            other.send(self.talk.look())
            other.receive_all()
        finally:
            other.close()

    def _slow_reader(self) -> None:
        other = self._connect(receive_buffer=4096)
        try:
            other.send(self.talk.shows(1500))
            other.receive_all(size=2048, pause=0.005)
        finally:
            other.close()

    # -- Within --

    def _ask_all(self, questions: list[Question]) -> None:
        wire = self._ready()
        wire.send(questions)
        wire.receive_all()

    def _ready(self) -> Wire:
        if self._wire is not None and time.monotonic() - self._wire.last_used > _REST_SECONDS:
            self.stand_aside()
        if self._wire is None:
            self._wire = self._connect()
        return self._wire

    def _end(self, wire: Wire) -> None:
        wire.receive_end()
        self.stand_aside()

    def _lose(self) -> None:
        self.stand_aside()
        self.talk.lose()


class Idler(Person):
    """Connects and says nothing, until the server has had enough."""

    def act(self) -> None:
        wires = [self._connect() for _ in range(self._rng.randint(1, 10))]
        began = time.monotonic()
        for wire in wires:
            wire.sock.settimeout(IDLE_SECONDS + _GRACE_SECONDS)
            try:
                said = wire.sock.recv(100)
                if said or time.monotonic() - began < IDLE_SECONDS * 0.9:
                    self.tally.mistakes.note(f"an idle connection got {said!r} after {time.monotonic() - began:.1f} s")
            except OSError as error:
                self.tally.mistakes.note(f"an idle connection was not closed: {error}")
            wire.close()
            self.tally.done["idle until closed"] += 1


class Hoarder(Person):
    """Asks for more than all buffers hold, and reads nothing until it must have been cut off."""

    _LINE = b"SHOW /hoard\n"
    _REPLY = b"200 /hoard OK\n" + b"x" * 160 + b"\n"

    def act(self) -> None:
        with self._connect().sock as sock:
            sock.sendall(b"CREATE /hoard " + b"x" * 160 + b"\n")
            sock.recv(200)  # created, or there already
        wire = self._connect(receive_buffer=4096)
        with wire.sock as sock:
            asked = self._ask_on(sock)
            self._gate.sleep(WRITE_SECONDS + 1.0)
            is_judged = asked > _MORE_THAN_BUFFERS_HOLD and not self._gate.is_closed
            received = self._read_to_the_end(sock) if is_judged else b""
        replies = self._REPLY * (1 + len(received) // len(self._REPLY))
        if not replies.startswith(received):
            self.tally.mistakes.note("a client that does not read got something else than its replies")
        if is_judged:
            if len(received) >= asked * len(self._REPLY):
                self.tally.mistakes.note(f"a client that does not read was not cut off: {asked} requests")
            self.tally.done["unread until cut off"] += 1

    def _ask_on(self, sock: socket.socket) -> int:
        """Until nothing more is taken; how many whole requests went out."""
        sock.settimeout(0.3)
        data, sent = self._LINE * 5000, 0
        try:
            while not self._gate.is_closed:
                sent += sock.send(data[sent % len(self._LINE) :])
        except OSError:
            pass
        return sent // len(self._LINE)

    def _read_to_the_end(self, sock: socket.socket) -> bytes:
        received = bytearray()
        sock.settimeout(_GRACE_SECONDS)
        try:
            while piece := sock.recv(1 << 20):
                received += piece
        except ConnectionError:
            pass
        except OSError as error:
            self.tally.mistakes.note(f"a client that does not read was not cut off: {error}")
        return bytes(received)
