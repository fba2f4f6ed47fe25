"""SIGTERM while a hundred clients are in the middle of pipelines: what had come is answered, and no reply is cut."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from operating import Operated, operated
from running import PATIENCE_SECONDS, Wire, freeze

CLIENTS = 100
ROUNDS = 25
WINDOW = 10


@pytest.fixture(params=[1, 2], ids=["alone", "two processes"])
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Operated]:
    # Without syncing: how long a disk takes is none of this test's business.
    with operated(tmp_path, f"processes: {request.param}\nsync: false\nshutdown_timeout: 60") as server:
        yield server


def pipeline(name: str, rounds: int) -> bytes:
    """Requests of every kind. Their replies are the same each time, if there is a file of that name."""
    requests = "UPDATE {0} {1}\nSHOW {0}\nSHOW {0}\nSHOW /nobody\nLIST /none\nnonsense\nCREATE {0} x\nSHOW {0}\n"
    return "".join(requests.format(f"/{name}", turn) for turn in range(rounds)).encode()


def servers_of(server: Operated) -> list[int]:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return [int(pid) for pid in children] or [server.pid]


def descriptors(server: Operated) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def wait_until_told(server: Operated, descriptors_before: int) -> None:
    """A server that stands still has a SIGTERM waiting for it; the parent of several, which does not, lets go of its
    addresses, and in the same breath tells its children, who will read it once they go on."""
    is_alone = servers_of(server) == [server.pid]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        status = Path(f"/proc/{server.pid}/status").read_text()
        pending = int(status.partition("ShdPnd:")[2].split()[0], 16)
        if pending >> (signal.SIGTERM - 1) & 1 if is_alone else descriptors(server) < descriptors_before:
            return
        time.sleep(0.001)
    pytest.fail("it was not told to stop")


@contextlib.contextmanager
def clients_of(server: Operated) -> Iterator[list[Wire]]:
    """Everybody has been accepted, and has a file."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(CLIENTS)]
        for number, client in enumerate(clients):
            assert client.ask(b"CREATE /c%d 0" % number).startswith(b"100")
        yield clients


def test_every_request_that_had_come_is_answered(server: Operated) -> None:
    """The servers stand still while the clients ask, so that everything is in the kernel when the signal comes."""
    server.converse(b"CREATE /model x\n")
    expected = server.converse(pipeline("model", ROUNDS))
    assert expected.count(b"\n") == 12 * ROUNDS
    with clients_of(server) as clients, contextlib.ExitStack() as going_on:
        for pid in servers_of(server):
            freeze(pid)
            going_on.callback(os.kill, pid, signal.SIGCONT)
        for number, client in enumerate(clients):
            client.send(pipeline(f"c{number}", ROUNDS) + b"UPDATE /half a li")
        with server.connect() as late:
            late.send(b"SHOW /nobody\n")
            before = descriptors(server)
            server.send_signal(signal.SIGTERM)
            wait_until_told(server, before)
            going_on.close()
            assert late.rest() == b"400 /nobody NOT FOUND\n", "who had connected, and was not accepted yet"
        for number, client in enumerate(clients):
            replies = client.rest().replace(b"/c%d " % number, b"/model ")
            assert replies[: len(expected)] == expected
            assert replies[len(expected) :].count(b"\n") <= 1, "the half line is refused, if it is answered at all"
            client.close()
    server.ends()


def replies_for(number: int, values: range) -> bytes:
    return b"".join(b"200 /c%d OK\n%d\n" % (number, each) * 2 for each in values)


class Client(threading.Thread):
    """Asks without a pause, some requests ahead of the replies, until the server closes."""

    def __init__(self, number: int, wire: Wire, halfway: threading.Barrier) -> None:
        super().__init__()
        self.number = number
        self.wire = wire
        self.halfway = halfway
        self.received = bytearray()
        self.error: OSError | None = None
        self.start()

    def run(self) -> None:
        try:
            for value in itertools.count(1, WINDOW):
                if value == 1 + 2 * WINDOW:
                    self.halfway.wait(PATIENCE_SECONDS)
                values = range(value, value + WINDOW)
                request = b"UPDATE /c%d %d\nSHOW /c%d\n"
                self.wire.send(b"".join(request % (self.number, each, self.number) for each in values))
                awaited = len(replies_for(self.number, range(1, value)))  # those of the window before
                while len(self.received) < awaited:
                    piece = self.wire.socket.recv(65536)
                    if not piece:
                        return
                    self.received += piece
        except OSError as error:
            # The server has closed, and we were quicker with asking than with reading: what it said before is here.
            self.error = error
            with contextlib.suppress(OSError):
                self.received += self.wire.rest()

    @property
    def acknowledged(self) -> int:
        """The value of the last UPDATE that was answered; the replies are whole, and those that were due."""
        replies = bytes(self.received).split(b"\n")
        assert replies.pop() == b""
        assert len(replies) % 2 == 0, "a 200 without its contents"
        answered = len(replies) // 2
        whole = replies_for(self.number, range(1, 1 + (answered + 1) // 2))
        assert whole.startswith(self.received)
        return (answered + 1) // 2


def test_no_reply_is_cut_and_what_is_acknowledged_is_kept(server: Operated) -> None:
    halfway = threading.Barrier(CLIENTS + 1)
    with clients_of(server) as wires:
        clients = [Client(number, wire, halfway) for number, wire in enumerate(wires)]
        try:
            halfway.wait(PATIENCE_SECONDS)
        finally:
            server.send_signal(signal.SIGTERM)
            for client in clients:
                client.join()
        assert [client.error for client in clients if isinstance(client.error, ConnectionResetError)] == []
        for client in clients:
            assert client.acknowledged >= WINDOW
            assert int((server.docroot / f"c{client.number}").read_text()) >= client.acknowledged
    server.ends()
