"""What a proxy makes of servers that fail: a read is asked elsewhere, a write never; nobody gets another's reply."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable

import pytest
from ports import free_port
from proxied import HangUp, House, OddServer, address_of, until
from running import PATIENCE_SECONDS, Stopwatch, Sttpd, stopped

GOOD = b"200 /a OK\ntext\n"
# Each server gets every other request that is new.
IN_TURN = ("balance=round_robin", "upstream.connections=1")
NEVER_OUT = "health.eject_after=1000"


def hang_up(_line: bytes) -> bytes | None:
    raise HangUp


def answer_500(line: bytes) -> bytes | None:
    return b'500 %b SERVER ERROR "the disk is full"\n' % line.split()[1]


def garble(_line: bytes) -> bytes | None:
    return b"HTTP/1.1 200 OK\n"


def answer_another(_line: bytes) -> bytes | None:
    return b"200 /other OK\nsomebody else's\n"


def answer_half(_line: bytes) -> bytes | None:
    raise HangUp(b"200 /a OK\nte")


def answer_twice(_line: bytes) -> bytes | None:
    return b"200 /a OK\ntext\n200 /a OK\nanother text\n"


def be_silent(_line: bytes) -> bytes | None:
    return None


def answer_endlessly(_line: bytes) -> bytes | None:
    return b"x" * 100_000


LOSING: dict[str, Callable[[bytes], bytes | None]] = {
    "hangs up": hang_up,
    "garbles": garble,
    "is out of step": answer_another,
    "answers by half": answer_half,
    "is silent": be_silent,
    "sends no line end": answer_endlessly,
}


@pytest.fixture
def good(house: House) -> Sttpd:
    server = house.server()
    with server.connect() as wire:
        wire.ask(b"CREATE /a text")
    return server


@pytest.mark.parametrize("fault", [*LOSING, "answers 500"])
def test_a_read_is_asked_of_another_server(house: House, good: Sttpd, fault: str) -> None:
    odd = house.odd(LOSING.get(fault, answer_500))
    proxy = house.proxy([odd, good], *IN_TURN, NEVER_OUT, "upstream.read_timeout=0.3")
    with proxy.connect() as wire:
        for _ in range(6):
            assert wire.ask(b"SHOW /a") == GOOD
    assert odd.asked.count(b"SHOW /a\n") >= 2


@pytest.mark.parametrize("fault", LOSING)
@pytest.mark.parametrize("request_line", [b"CREATE /new text", b"UPDATE /a other", b"DELETE /a"])
def test_a_write_that_was_sent_is_never_asked_again(house: House, good: Sttpd, fault: str, request_line: bytes) -> None:
    odd = house.odd(LOSING[fault])
    proxy = house.proxy([odd, good], *IN_TURN, NEVER_OUT, "upstream.write_timeout=0.3", "upstream.read_timeout=0.3")
    path = request_line.split()[1]
    with proxy.connect() as wire:
        while not odd.asked:
            reply = wire.ask(request_line)
        assert reply.startswith(b'500 %b SERVER ERROR "outcome unknown: %b' % (path, odd.address.encode())), reply
        assert odd.asked == [request_line + b"\n"]


def test_the_answer_to_a_write_is_final_though_it_is_500(house: House, good: Sttpd) -> None:
    odd = house.odd(answer_500)
    proxy = house.proxy([odd, good], *IN_TURN, NEVER_OUT)
    with proxy.connect() as wire:
        while not odd.asked:
            reply = wire.ask(b"CREATE /new text")
        assert reply == b'500 /new SERVER ERROR "the disk is full"\n'
    assert len(odd.asked) == 1


def test_where_all_answer_500_that_is_the_answer(house: House) -> None:
    odds = [house.odd(answer_500) for _ in range(3)]
    with house.proxy(odds).connect() as wire:
        assert wire.ask(b"SHOW /a") == b'500 /a SERVER ERROR "the disk is full"\n'
    assert sum(len(each.asked) for each in odds) == 2  # once elsewhere, and no more


def test_what_was_never_sent_goes_elsewhere_whatever_it_is(house: House, good: Sttpd) -> None:
    """The one that takes no connection has been asked nothing."""
    proxy = house.proxy([f"127.0.0.1:{free_port()}", good], *IN_TURN, NEVER_OUT, "health.fall=100")
    with proxy.connect() as wire:
        for number in range(8):
            assert wire.ask(b"CREATE /n/%d x" % number) == b"100 /n/%d CREATED\n" % number


def test_a_server_that_is_full_has_carried_out_nothing(house: House, good: Sttpd) -> None:
    full = house.odd(be_silent, greeting=b'500 - SERVER ERROR "too many connections; try again later"\n')
    proxy = house.proxy([full, good], *IN_TURN, NEVER_OUT, "health.fall=100")
    with proxy.connect() as wire:
        for number in range(8):
            assert wire.ask(b"CREATE /n/%d x" % number) == b"100 /n/%d CREATED\n" % number


def test_pipelined_requests_each_get_their_own_reply_beside_a_server_that_fails(house: House) -> None:
    """A third of what it is asked it loses, and all that was behind it on its connection."""
    count = 0

    def sometimes(line: bytes) -> bytes | None:
        nonlocal count
        count += 1
        if count % 3 == 0:
            raise HangUp
        return b"200 %b OK\nodd %b\n" % (line.split()[1], line.split()[1])

    odd = house.odd(sometimes)

    def always(line: bytes) -> bytes | None:
        return b"200 %b OK\neven %b\n" % (line.split()[1], line.split()[1])

    proxy = house.proxy([odd, house.odd(always)], "balance=round_robin", NEVER_OUT, "upstream.retry_budget=1")
    paths = [b"/%d" % number for number in range(200)]
    with proxy.connect() as wire:
        for _ in range(3):
            wire.send(b"".join(b"SHOW %b\n" % path for path in paths))
            for path in paths:
                first, text = wire.reply().splitlines()
                assert first == b"200 %b OK" % path
                assert text in (b"odd " + path, b"even " + path)
    assert count


def test_a_reply_that_nobody_has_asked_for_reaches_nobody(house: House, good: Sttpd) -> None:
    odd = house.odd(answer_twice)
    proxy = house.proxy([odd, good], *IN_TURN, NEVER_OUT)
    with proxy.connect() as wire:
        for _ in range(10):
            assert wire.ask(b"SHOW /a") == GOOD


@pytest.mark.parametrize("line", [b"SHOW /a", b"CREATE /a x", b"LIST /x"])
def test_with_nobody_to_ask_the_answer_comes_at_once(house: House, line: bytes) -> None:
    path = line.split()[1]
    for servers in ([], [f"127.0.0.1:{free_port()}"]):
        proxy = house.proxy(servers)
        with proxy.connect() as wire, Stopwatch() as watch:
            for _ in range(3):
                assert wire.ask(line).startswith(b"500 %b SERVER ERROR" % path)
        assert watch.seconds < PATIENCE_SECONDS / 4


def test_one_request_too_many_is_refused_and_none_waits_for_ever(house: House) -> None:
    odd = house.odd(be_silent)
    proxy = house.proxy(
        [odd], "upstream.most_outstanding=2", "upstream.queue=2", "upstream.read_timeout=1", "upstream.tries=1"
    )
    wires = [proxy.connect() for _ in range(5)]
    try:
        for number, wire in enumerate(wires):
            wire.send(b"SHOW /%d\n" % number)
        replies = [wire.reply() for wire in wires]
    finally:
        for wire in wires:
            wire.close()
    assert all(reply.startswith(b"500") for reply in replies)
    assert sum(b"requests wait for a server already" in reply for reply in replies) == 1


# -- Health --


def state_of(proxy: Sttpd, server: Sttpd | OddServer | str) -> str:
    """As its report has it."""
    mark = len(proxy.log)
    proxy.send_signal(signal.SIGUSR2)
    pattern = re.compile(rf"server <Upstream {re.escape(address_of(server))}: (\w+),")
    while not (found := pattern.search(proxy.log, mark)):
        read_more(proxy)
    return found[1]


def read_more(proxy: Sttpd) -> None:
    assert proxy.process.stderr is not None
    piece = os.read(proxy.process.stderr.fileno(), 65536).decode()
    assert piece, proxy.log
    proxy.log += piece


QUICK = ("health.interval=0.1", "health.timeout=0.3", "upstream.read_timeout=0.5")


def test_a_server_that_hangs_is_left_out_and_comes_back(house: House, good: Sttpd) -> None:
    other = house.server()
    with other.connect() as wire:
        wire.ask(b"CREATE /a text")
    proxy = house.proxy([good, other], *QUICK)
    with proxy.connect() as wire:
        with stopped(good):
            until(lambda: wire.ask(b"SHOW /a") == GOOD and state_of(proxy, good) == "down", "it was never left out")
            with Stopwatch() as watch:
                for _ in range(50):
                    assert wire.ask(b"SHOW /a") == GOOD
            assert watch.seconds < PATIENCE_SECONDS / 2
        until(lambda: state_of(proxy, good) in ("up", "starting"), "it never came back")


def test_a_server_that_fails_request_by_request_is_left_out_for_a_while(house: House, good: Sttpd) -> None:
    """Its checks are answered well."""
    odd = house.odd(hang_up)
    proxy = house.proxy([odd, good], "health.eject_after=3")
    with proxy.connect() as wire:
        until(lambda: wire.ask(b"SHOW /a") == GOOD and state_of(proxy, odd) == "ejected", "it was never left out")


def test_the_last_server_is_never_left_out(house: House) -> None:
    count = 0

    def every_other(line: bytes) -> bytes | None:
        nonlocal count
        count += 1
        if count % 8:
            raise HangUp
        return GOOD

    odd = house.odd(every_other)
    proxy = house.proxy([odd], "health.eject_after=1")
    with proxy.connect() as wire:
        until(lambda: wire.ask(b"SHOW /a") == GOOD, "it was left out")


def test_a_killed_server_costs_no_read_and_a_restarted_one_is_asked_again(house: House) -> None:
    ports = [free_port() for _ in range(3)]
    servers = [house.server(port=port, docroot=f"d{place}") for place, port in enumerate(ports)]
    for server in servers:
        with server.connect() as wire:
            wire.ask(b"CREATE /a text")
    proxy = house.proxy(servers, *QUICK)
    wires = [proxy.connect() for _ in range(8)]
    try:
        for place, way in enumerate((signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)):
            for turn in range(60):
                for wire in wires:
                    wire.send(b"SHOW /a\n" * 4)
                if turn == 20:
                    servers[place].send_signal(way)
                for wire in wires:
                    assert [wire.reply() for _ in range(4)] == [GOOD] * 4
            servers[place].kill()
            servers[place] = house.server(port=ports[place], docroot=f"d{place}")
            until(lambda at=place: state_of(proxy, servers[at]) in ("up", "starting"), "it never came back")
    finally:
        for wire in wires:
            wire.close()


# -- Other servers by a reload --


def test_servers_come_and_go_by_a_reload_and_nobody_notices(house: House) -> None:
    servers = [house.server() for _ in range(3)]
    for place, server in enumerate(servers):
        with server.connect() as wire:
            wire.ask(b"CREATE /a text")
            wire.ask(b"CREATE /who %d" % place)
    names = [server.addresses[0] for server in servers]
    proxy = house.operated_proxy(f"servers: [{names[0]}, {names[1]}]")
    with proxy.connect() as wire:
        for chosen in ((names[1], names[2]), (names[2],), (names[0], names[2])):
            wire.send(b"SHOW /a\n" * 100)
            proxy.reload(f"servers: [{', '.join(chosen)}]")
            assert [wire.reply() for _ in range(100)] == [GOOD] * 100
            seen = {wire.ask(b"SHOW /who").splitlines()[1] for _ in range(40)}
            assert seen == {b"%d" % names.index(name) for name in chosen}
        proxy.reload("servers: [not an address]")
        assert "everything is as it was" in proxy.log
        assert wire.ask(b"SHOW /a") == GOOD
