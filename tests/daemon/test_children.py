"""Orders from a parent and answers from its children: over a socket pair, by hand, and with nobody at the other end."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from sttp_reactor.daemon import children as children_module
from sttp_reactor.daemon.children import Child, Children
from sttp_reactor.daemon.control import MAX_DESCRIPTORS, Control, Message

PATIENCE_SECONDS = 10.0


@pytest.fixture
def ends() -> Iterator[tuple[Control, Control]]:
    ours, theirs = Control.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def test_a_message_arrives_whole_with_its_sockets(ends: tuple[Control, Control]) -> None:
    ours, theirs = ends
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sender = threading.Thread(
            target=lambda: ours.send(7, "prepare", {"large": "x" * 3_000_000}, [sock], patience=PATIENCE_SECONDS)
        )
        sender.start()
        message = theirs.receive(patience=PATIENCE_SECONDS)
        sender.join()
        assert message[:3] == (7, "prepare", {"large": "x" * 3_000_000})
        (received,) = message.sockets
        with received:
            assert received.getsockname() == sock.getsockname()
            assert not received.get_inheritable()


def test_messages_keep_apart(ends: tuple[Control, Control]) -> None:
    ours, theirs = ends
    for serial in range(3):
        ours.send(serial, "kind", [serial], patience=PATIENCE_SECONDS)
    assert [theirs.receive(patience=None) for _ in range(3)] == [Message(each, "kind", [each], []) for each in range(3)]


def test_the_end_of_the_other_is_an_error(ends: tuple[Control, Control]) -> None:
    ours, theirs = ends
    theirs.close()
    with pytest.raises(ConnectionResetError):
        ours.receive(patience=None)
    with pytest.raises(BrokenPipeError):
        ours.send(1, "kind", patience=PATIENCE_SECONDS)


def test_an_end_in_the_middle_of_a_message_leaves_no_socket_behind() -> None:
    here, there = socket.socketpair()
    with there, socket.socket() as sent:
        socket.send_fds(here, [b"\x09\0\0\0\0\0\0\0half"], [sent.fileno()])
        here.close()
        with pytest.raises(ConnectionResetError):
            Control(there).receive(patience=PATIENCE_SECONDS)


def test_too_many_sockets(ends: tuple[Control, Control]) -> None:
    with socket.socket() as sock, pytest.raises(OSError, match="too many for one message"):
        ends[0].send(1, "kind", None, [sock] * (MAX_DESCRIPTORS + 1), patience=PATIENCE_SECONDS)


# -- Children, each a thread at the other end --


class Family:
    def __init__(self) -> None:
        self.children = Children()
        self.ends: list[Control] = []
        self.threads: list[threading.Thread] = []

    def add(self, answer: Callable[[Message], str] | None) -> None:
        """One that answers every order like that; None for one that never does."""
        ours, theirs = Control.pair()
        self.ends.append(theirs)
        self.children.add(Child(len(self.ends) - 1, len(self.ends) + 1_000_000, ours))

        def obey() -> None:
            while True:
                try:
                    message = theirs.receive(patience=None)
                except OSError:
                    return
                assert answer is not None
                theirs.send(message.serial, message.kind, answer(message), patience=PATIENCE_SECONDS)

        if answer is not None:
            self.threads.append(threading.Thread(target=obey))
            self.threads[-1].start()


@pytest.fixture
def family(monkeypatch: pytest.MonkeyPatch) -> Iterator[Family]:
    family = Family()
    yield family
    family.children.forget()
    for thread in family.threads:
        thread.join()
    for end in family.ends:
        end.close()


def test_every_child_gets_the_order_and_sockets_of_its_own(family: Family) -> None:
    carried_out: list[tuple[str, object, int]] = []

    def carry_out(message: Message) -> str:
        for sock in message.sockets:
            sock.close()
        carried_out.append((message.kind, message.content, len(message.sockets)))
        return ""

    family.add(carry_out)
    family.add(carry_out)
    made: list[socket.socket] = []

    def make() -> list[socket.socket]:
        made.append(socket.socket())
        return made[-1:]

    assert family.children.order("prepare", "plan", make) == []
    assert carried_out == [("prepare", "plan", 1)] * 2
    assert [sock.fileno() for sock in made] == [-1, -1], "the sender's are closed"


def test_refusals_and_failures_are_told_by_process(family: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children_module, "CONTROL_SECONDS", 0.2)
    family.add(lambda _: "")
    family.add(lambda _: "no such file")
    family.add(None)
    family.add(None)
    family.ends[3].close()
    faults = family.children.order("prepare")
    assert faults[0] == "process 1: no such file"
    assert faults[1].startswith("process 2: does not answer: ")
    assert faults[2].startswith("process 3: ")
    assert len(faults) == 3


def test_an_answer_that_comes_too_late_is_not_taken_for_the_next_one(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children_module, "CONTROL_SECONDS", 0.05)
    family.add(None)
    (end,) = family.ends
    assert len(family.children.order("first")) == 1
    monkeypatch.setattr(children_module, "CONTROL_SECONDS", PATIENCE_SECONDS)
    late = end.receive(patience=PATIENCE_SECONDS)
    end.send(late.serial, late.kind, "late", patience=PATIENCE_SECONDS)

    def answer_the_second() -> None:
        message = end.receive(patience=PATIENCE_SECONDS)
        end.send(message.serial, message.kind, "in time", patience=PATIENCE_SECONDS)

    thread = threading.Thread(target=answer_the_second)
    thread.start()
    assert family.children.order("second") == ["process 0: in time"]
    thread.join()


def test_in_turn_one_after_the_other_and_past_whoever_does_not_answer(
    family: Family, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children_module, "CONTROL_SECONDS", 0.1)
    at_once: list[int] = []
    busy = threading.Semaphore(1)

    def carry_out(message: Message) -> str:
        at_once.append(busy.acquire(blocking=False))
        busy.release()
        return "whatever"

    family.add(carry_out)
    family.add(None)
    family.add(carry_out)
    family.children.order_in_turn("report")
    assert at_once == [True, True]


def test_the_dead_are_found_with_how_they_died(family: Family) -> None:
    ours, theirs = Control.pair()
    pid = os.fork()
    if pid == 0:
        os._exit(3)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    theirs.close()
    children = Children()
    children.add(Child(0, pid, ours))
    assert [(child.index, code) for child, code in children.reap()] == [(0, 3)]
    assert (len(children), ours.fileno()) == (0, -1)
