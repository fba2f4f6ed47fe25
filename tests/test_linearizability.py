"""The checker of histories: what it must accept, and that every kind of fault planted in a server is refuted."""

from __future__ import annotations

import math
import random

import pytest
from linearizability import Call, History, violations

PATH = b"/a"


def call(
    client: int, action: str, contents: bytes | None, reply: bytes | None, called: float, returned: float = math.inf
) -> Call:
    return Call(client, action, PATH, contents, reply, called, returned)


def show(client: int, contents: bytes | None, called: float, returned: float) -> Call:
    reply = b"400 /a NOT FOUND\n" if contents is None else b"200 /a OK\n%b\n" % contents
    return call(client, "SHOW", None, reply, called, returned)


def update(client: int, contents: bytes, called: float, returned: float) -> Call:
    return call(client, "UPDATE", contents, b"200 /a OK\n%b\n" % contents, called, returned)


def create(client: int, contents: bytes, called: float, returned: float, *, refused: bool = False) -> Call:
    reply = b'300 /a CLIENT ERROR "it exists already; use UPDATE"\n' if refused else b"100 /a CREATED\n"
    return call(client, "CREATE", contents, reply, called, returned)


def delete(client: int, called: float, returned: float, *, refused: bool = False) -> Call:
    return call(client, "DELETE", None, b"400 /a NOT FOUND\n" if refused else b"600 /a DELETED\n", called, returned)


OLD = {PATH: b"old"}

EXPLAINED = {
    "nothing": [],
    "one after the other": [create(1, b"x", 0, 1), show(2, b"x", 2, 3), delete(1, 4, 5), show(2, None, 6, 7)],
    "shown before it is acknowledged": [create(1, b"x", 0, 9), show(2, b"x", 1, 2), show(3, b"x", 3, 4)],
    "not shown yet, then shown": [create(1, b"x", 0, 9), show(2, None, 1, 2), show(3, b"x", 3, 4)],
    "overlapping SHOWs need not agree": [create(1, b"x", 0, 9), show(2, b"x", 1, 4), show(3, None, 2, 5)],
    "two UPDATEs in the order that the SHOWs tell": [
        create(1, b"x", 0, 1),
        update(1, b"y", 2, 9),
        update(2, b"z", 3, 8),
        show(3, b"z", 4, 5),
        show(3, b"y", 6, 7),
        show(3, b"y", 10, 11),
    ],
    "of two CREATEs one": [create(1, b"x", 0, 5), create(2, b"y", 1, 4, refused=True), show(3, b"x", 6, 7)],
    "an unknown outcome: done, and late": [
        create(1, b"x", 0, 1),
        call(2, "UPDATE", b"y", None, 2),
        show(3, b"x", 3, 4),
        show(3, b"y", 5, 6),
    ],
    "an unknown outcome: never": [create(1, b"x", 0, 1), call(2, "DELETE", None, None, 2), show(3, b"x", 8, 9)],
    "a refusal that a DELETE under way explains": [
        create(1, b"x", 0, 1),
        delete(1, 2, 5),
        delete(2, 3, 4, refused=True),
    ],
    "the same instant counts as overlapping": [create(1, b"x", 0, 1), show(2, None, 1, 2)],
}

REFUTED = {
    "a stale read after the acknowledgement": [create(1, b"x", 0, 1), update(1, b"y", 2, 3), show(2, b"x", 4, 5)],
    "reads that go back before it": [
        create(1, b"x", 0, 1),
        update(1, b"y", 2, 9),
        show(2, b"y", 3, 4),
        show(3, b"x", 5, 6),
    ],
    "a lost write": [create(1, b"x", 0, 1), show(2, None, 2, 3)],
    "a lost DELETE": [create(1, b"x", 0, 1), delete(1, 2, 3), show(2, b"x", 4, 5)],
    "a double effect": [
        create(1, b"x", 0, 1),
        update(1, b"y", 2, 3),
        update(2, b"z", 4, 5),
        show(3, b"y", 6, 7),
    ],
    "a double effect of an unknown outcome": [
        create(1, b"x", 0, 1),
        call(2, "UPDATE", b"y", None, 2),
        show(3, b"y", 3, 4),
        update(1, b"z", 5, 6),
        show(3, b"z", 7, 8),
        show(3, b"y", 9, 10),
    ],
    "two CREATEs that both succeed": [create(1, b"x", 0, 5), create(2, b"y", 1, 4)],
    "a DELETE that succeeds twice": [create(1, b"x", 0, 1), delete(1, 2, 5), delete(2, 3, 4)],
    "a text that nobody wrote": [create(1, b"x", 0, 1), show(2, b"y", 2, 3)],
    "a file out of nowhere": [show(2, b"y", 2, 3)],
    "a refused CREATE of what is not there": [create(1, b"x", 0, 1, refused=True)],
    "an unknown outcome before it was asked for": [
        create(1, b"x", 0, 1),
        show(3, b"y", 2, 3),
        call(2, "UPDATE", b"y", None, 4),
    ],
    "another path's text": [Call(1, "SHOW", PATH, None, b"200 /b OK\nx\n", 2, 3), create(1, b"x", 0, 1)],
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_what_can_be_explained(name: str) -> None:
    assert violations(EXPLAINED[name]) == []


@pytest.mark.parametrize("name", REFUTED)
def test_what_cannot(name: str) -> None:
    (violation,) = violations(REFUTED[name])
    assert "no order of effects explains" in str(violation)


def test_files_that_were_there_at_the_beginning() -> None:
    history = [show(1, b"old", 0, 1)]
    assert violations(history, OLD) == []
    assert len(violations(history)) == 1


def test_each_path_is_checked_by_itself() -> None:
    lost = [each._replace(path=b"/b") for each in REFUTED["a lost write"]]
    (violation,) = violations([*EXPLAINED["one after the other"], *lost])
    assert violation.call.path == b"/b"
    assert violation.possible == [b"x"]


# -- A server with planted faults --


class Simulated:
    """A server of one file with `clients` clients, each with one request under way: it takes effect at one instant
    between the two events. With `fault`, some of them go wrong in that way."""

    def __init__(self, seed: int, fault: str = "") -> None:
        self.random = random.Random(seed)
        self.fault = fault
        self.states: list[bytes | None] = [None]  # all that there have been, the present one last
        self.calls: list[Call] = []
        self.time = 0.0
        self.late: list[tuple[str, bytes | None]] = []  # changes that will be made once more

    def tick(self) -> float:
        self.time += 1.0
        return self.time

    def run(self, clients: int, requests: int) -> list[Call]:
        under_way: dict[int, Call] = {}
        for number in range(requests):
            client = self.random.randrange(clients)
            begun = under_way.pop(client, None)
            if begun is None:
                action = self.random.choice(["CREATE", "UPDATE", "UPDATE", "DELETE", "SHOW", "SHOW", "SHOW"])
                contents = b"%d" % number if action in ("CREATE", "UPDATE") else None
                under_way[client] = call(client, action, contents, None, self.tick())
            else:
                self.finish(begun)
        self.calls += under_way.values()
        return self.calls

    def finish(self, begun: Call) -> None:
        if self.random.random() < 0.02:  # the connection is lost, and with it half of the requests
            if self.random.random() < 0.5:
                self.carry_out(begun.action, begun.contents)
            self.calls.append(begun)
            return
        reply = self.carry_out(begun.action, begun.contents)
        self.calls.append(begun._replace(reply=reply, returned=self.tick()))

    def is_faulty(self, fault: str) -> bool:
        return self.fault == fault and self.random.random() < 0.1

    def carry_out(self, action: str, contents: bytes | None) -> bytes:
        state = self.states[-1]
        if action == "SHOW":
            if self.is_faulty("stale read"):
                state = self.random.choice(self.states[-3:])
            return b"400 /a NOT FOUND\n" if state is None else b"200 /a OK\n%b\n" % state
        if (state is None) != (action == "CREATE"):
            return b'300 /a CLIENT ERROR "no"\n' if action == "CREATE" else b"400 /a NOT FOUND\n"
        if not self.is_faulty("lost write"):
            self.states.append(contents)
            if self.late and self.fault == "double effect":
                self.states.append(self.late.pop()[1])
            elif self.is_faulty("double effect"):
                self.late.append((action, contents))
        return {"CREATE": b"100 /a CREATED\n", "UPDATE": b"200 /a OK\n%b\n" % (contents or b"")}.get(
            action, b"600 /a DELETED\n"
        )


@pytest.mark.parametrize("seed", range(20))
def test_a_server_without_fault_is_never_refuted(seed: int) -> None:
    assert violations(Simulated(seed).run(clients=8, requests=800)) == []


@pytest.mark.parametrize("fault", ["stale read", "lost write", "double effect"])
@pytest.mark.parametrize("seed", range(5))
def test_a_planted_fault_is_refuted(fault: str, seed: int) -> None:
    assert len(violations(Simulated(seed, fault).run(clients=8, requests=1500))) == 1


# -- Recording --


def test_a_history_records_what_was_asked_and_when() -> None:
    times = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    history = History(lambda: next(times))

    def lose(_: bytes) -> bytes:
        raise ConnectionResetError

    assert history.ask(7, b"CREATE /a some text", lambda _: b"100 /a CREATED\n") == b"100 /a CREATED\n"
    assert history.ask(8, b"DELETE /a", lose) is None
    assert history.ask(8, b"SHOW /a", lambda _: b'500 /a SERVER ERROR "outcome unknown"\n') is None
    assert history.calls == [
        Call(7, "CREATE", b"/a", b"some text", b"100 /a CREATED\n", 1.0, 2.0),
        Call(8, "DELETE", b"/a", None, None, 3.0, math.inf),
        Call(8, "SHOW", b"/a", None, None, 4.0, math.inf),
    ]
    history.check()
    history.ask(9, b"SHOW /a", lambda _: b"200 /a OK\nsome other text\n")
    with pytest.raises(AssertionError, match=r"no order of effects explains .*SHOW /a"):
        history.check()
