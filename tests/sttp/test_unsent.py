"""The budget of what is asked for and not read: what counts, who waits, who goes; and sessions that go by it."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from fake_loop import FakeLoop
from scripted import Bench, FakeTransport, ScriptedStore, Talk

from sttp_reactor.limits import HIGH_WATER_BYTES, LOW_WATER_BYTES, PIECE_BYTES, UNSENT_PATIENCE_SECONDS
from sttp_reactor.sttp.access_log import Access
from sttp_reactor.sttp.session import Session, SessionLimits
from sttp_reactor.sttp.unsent import Unsent

MOST = 1000


class Peer:
    """Owes something, until the budget gives it up."""

    is_given_up = False

    def give_up(self) -> None:
        assert not self.is_given_up
        self.is_given_up = True


class Ledger:
    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.unsent = Unsent(self.loop, MOST)
        self.called: list[str] = []

    def wait(self, name: str) -> None:
        self.unsent.when_room(lambda: self.called.append(name))

    def after(self, seconds: float) -> None:
        self.loop.now += seconds
        self.loop.fire_timers()  # one that comes early finds nothing to do and is set again


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


def peers(count: int) -> list[Peer]:
    return [Peer() for _ in range(count)]


# -- The budget --


def test_a_reply_that_several_owe_counts_once(ledger: Ledger) -> None:
    reply, one, two = bytes(500), *peers(2)
    ledger.unsent.owe(one, 10, reply)
    ledger.unsent.owe(two, 20, reply)
    assert ledger.unsent.total == 530
    ledger.unsent.settle(one)
    assert ledger.unsent.total == 520
    ledger.unsent.settle(one)
    ledger.unsent.settle(two)
    assert ledger.unsent.total == 0


def test_what_is_owed_anew_replaces_what_was_owed(ledger: Ledger) -> None:
    (peer,) = peers(1)
    ledger.unsent.owe(peer, 10, bytes(500))
    ledger.unsent.owe(peer, 20, bytes(400))
    assert ledger.unsent.total == 420
    ledger.unsent.owe(peer, 30)
    assert ledger.unsent.total == 30


def test_the_sum_is_right_after_any_sequence(ledger: Ledger) -> None:
    chance = random.Random(5)
    everybody, replies = peers(6), [bytes(chance.randrange(1, 50)) for _ in range(4)]
    owed: dict[Peer, tuple[int, bytes]] = {}
    for _ in range(500):
        peer = chance.choice(everybody)
        if chance.random() < 0.3:
            ledger.unsent.settle(peer)
            owed.pop(peer, None)
        else:
            owed[peer] = chance.randrange(20), chance.choice([*replies, b""])
            ledger.unsent.owe(peer, *owed[peer])
        distinct = {id(reply): len(reply) for _, reply in owed.values()}
        assert ledger.unsent.total == sum(buffered for buffered, _ in owed.values()) + sum(distinct.values())


def test_those_who_wait_are_told_when_there_is_room(ledger: Ledger) -> None:
    one, two = peers(2)
    ledger.unsent.owe(one, MOST)
    assert ledger.unsent.has_room
    ledger.unsent.owe(two, 1)
    assert not ledger.unsent.has_room
    ledger.wait("a")
    ledger.wait("b")
    assert ledger.called == []
    ledger.unsent.settle(two)
    assert ledger.called == ["a", "b"]


def test_one_who_finds_no_room_again_waits_again(ledger: Ledger) -> None:
    one, two = peers(2)
    ledger.unsent.owe(one, MOST + 1)

    def take_room() -> None:
        ledger.called.append("a")
        ledger.unsent.owe(two, MOST + 1)

    ledger.unsent.when_room(take_room)
    ledger.wait("b")
    ledger.unsent.settle(one)
    assert ledger.called == ["a"]
    ledger.unsent.settle(two)
    assert ledger.called == ["a", "b"]


def test_the_largest_go_when_they_have_had_their_time(ledger: Ledger) -> None:
    small, large, new = peers(3)
    ledger.unsent.owe(small, 200)
    ledger.unsent.owe(large, 900)
    ledger.wait("a")
    ledger.after(UNSENT_PATIENCE_SECONDS / 2)
    ledger.unsent.owe(new, 950)
    ledger.after(UNSENT_PATIENCE_SECONDS / 2)
    assert (small.is_given_up, large.is_given_up, new.is_given_up) == (True, True, False)
    assert ledger.called == ["a"]
    assert ledger.unsent.has_room
    assert ledger.loop.timers == []


def test_nobody_goes_while_there_is_room(ledger: Ledger) -> None:
    slow, brief = peers(2)
    ledger.unsent.owe(slow, 500)
    ledger.unsent.owe(brief, 600)
    ledger.after(1.0)
    ledger.unsent.settle(brief)
    for _ in range(3):
        ledger.after(UNSENT_PATIENCE_SECONDS)
    assert not slow.is_given_up
    assert ledger.loop.timers == []


# -- Sessions --


class NarrowTransport(FakeTransport):
    """Takes so many bytes and then pauses its writer, until the peer reads."""

    room = 100_000
    owner: Session
    is_paused = False

    def write(self, data: bytes) -> None:
        super().write(data)
        if not self.is_paused and self.bytes_unsent() > HIGH_WATER_BYTES:
            self.is_paused = True
            self.owner.pause_writing()

    def bytes_unsent(self) -> int:
        return max(0, len(self.sent) - self.room)

    def read(self, count: int) -> None:
        """The peer reads `count` bytes more than before."""
        self.room += count
        if self.is_paused and self.bytes_unsent() <= LOW_WATER_BYTES:
            self.is_paused = False
            self.owner.resume_writing()


class Log:
    def __init__(self) -> None:
        self.lines: list[Access] = []

    def record(self, access: Access) -> None:
        self.lines.append(access)


Join = Callable[..., Talk]
NAMES = 40_000
LISTED = b"200 / OK\n%b\n" % b", ".join(b"%031d" % number for number in range(NAMES))


@pytest.fixture
def bench() -> Bench:
    with Bench(ScriptedStore({b"/%031d" % number: b"" for number in range(NAMES)})) as bench:
        yield bench


def join(bench: Bench, unsent: Unsent, timeouts: list[str] | None = None, log: Log | None = None) -> Talk:
    talk = Talk(bench)
    told = [] if timeouts is None else timeouts
    talk.session = Session(
        bench.reactor,
        bench.service,
        SessionLimits(),
        talk.lost.append,
        log,
        lambda _, name: told.append(name),
        None,
        unsent,
    )
    talk.transport = NarrowTransport(bench.reactor)
    talk.transport.owner = talk.session
    talk.session.connection_made(talk.transport)
    return talk


def test_a_long_reply_is_written_as_the_peer_reads(bench: Bench) -> None:
    unsent, log = Unsent(bench.reactor), Log()
    talk = join(bench, unsent, log=log)
    talk.send(b"LIST /\nSHOW /none\nLIST /none\n")
    bench.rest()
    transport = talk.transport
    while len(transport.sent) < len(LISTED):
        assert transport.bytes_unsent() <= HIGH_WATER_BYTES + 2 * PIECE_BYTES
        assert len(transport.sent) == transport.room + transport.bytes_unsent()
        assert unsent.total == len(LISTED) + transport.bytes_unsent()
        before = len(transport.sent)
        transport.read(transport.bytes_unsent())
        assert len(transport.sent) > before
    assert not log.lines or transport.sent.startswith(LISTED)
    transport.read(len(LISTED))
    bench.rest()
    assert transport.sent == LISTED + b"400 /none NOT FOUND\n400 /none NOT FOUND\n"
    assert unsent.total == 0
    assert [line.status for line in log.lines] == [200, 400, 400]
    assert (log.lines[0].action, log.lines[0].reply_bytes) == (b"LIST", len(LISTED))


def test_peers_who_read_nothing_share_the_reply(bench: Bench) -> None:
    unsent = Unsent(bench.reactor)
    talks = [join(bench, unsent) for _ in range(50)]
    gate = bench.store.gate("before list")
    talks[0].send(b"LIST /\n")
    bench.turn()
    gate.wait_until_reached()
    for talk in talks[1:]:
        talk.send(b"LIST /\n")
    gate.open()
    bench.rest()
    buffered = sum(talk.transport.bytes_unsent() for talk in talks)
    assert unsent.total == 2 * len(LISTED) + buffered
    assert buffered < 50 * 3 * HIGH_WATER_BYTES
    for talk in talks:
        talk.lose()
    assert unsent.total == 0


def test_a_list_waits_while_too_much_is_unsent(bench: Bench) -> None:
    unsent = Unsent(bench.reactor, MOST)
    debtor, other = join(bench, unsent), join(bench, unsent)
    debtor.send(b"LIST /\n")
    bench.rest()
    listed = bench.store.listed
    assert other.ask(b"SHOW /%031d\n" % 0) == b"200 /%031d OK\n\n" % 0
    assert other.ask(b"LIST /none\nSHOW /none\n") == b""
    assert bench.store.listed == listed
    debtor.transport.read(2 * len(LISTED))
    bench.rest()
    assert other.received() == b"400 /none NOT FOUND\n400 /none NOT FOUND\n"
    assert bytes(debtor.transport.sent) == LISTED


def test_a_peer_who_reads_nothing_goes_when_others_need_the_room(bench: Bench) -> None:
    unsent, timeouts = Unsent(bench.reactor, MOST), []
    debtor, other = join(bench, unsent, timeouts), join(bench, unsent)
    debtor.send(b"LIST /\n")
    bench.rest()
    assert other.ask(b"LIST /none\n") == b""
    bench.advance(UNSENT_PATIENCE_SECONDS)
    assert debtor.transport.is_aborted
    assert timeouts == ["unsent"]
    bench.rest()
    assert other.received() == b"400 /none NOT FOUND\n"


def test_a_peer_who_leaves_amid_a_long_reply_owes_nothing(bench: Bench) -> None:
    unsent = Unsent(bench.reactor, MOST)
    talk = join(bench, unsent)
    talk.send(b"LIST /\n")
    bench.rest()
    assert unsent.total > len(LISTED)
    talk.lose()
    assert (unsent.total, unsent.has_room) == (0, True)
    assert talk.lost == [talk.session]


def test_pipelining_that_nobody_reads_counts(bench: Bench) -> None:
    """Not only LISTs: each write buffer has its bound, and all of them together have one, too."""
    unsent = Unsent(bench.reactor)
    talk = join(bench, unsent)
    talk.transport.room = 0
    line = b"SHOW /%031d\n" % 1
    talk.ask(line * 200)
    while talk.transport.is_reading and not talk.transport.is_paused:
        talk.session.data_received(line * 200)
    assert unsent.total == talk.transport.bytes_unsent() > HIGH_WATER_BYTES
