"""A disk that is slow, or that hangs: who has to wait for it, who has not, and that it does not hold up a shutdown."""

from __future__ import annotations

import re
import signal
import sys
import time
from pathlib import Path

import pytest
from running import Start, Stopwatch, Sttpd, Wire

SCRIPT = str(Path(__file__).with_name("faulty_sttpd.py"))
FOR_EVER = 3600.0


def faulty(start: Start, calls: str, seconds: float, *arguments: str) -> Sttpd:
    return start(*arguments, command=[sys.executable, SCRIPT, calls, str(seconds)])


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[int(len(values) * share)]


@pytest.fixture(scope="module")
def slow(start_for_all: Start) -> Sttpd:
    """Reads take 200 ms; /hot is cached."""
    server = faulty(start_for_all, "show,list", 0.2, "-o", "shutdown_timeout=0.5")
    assert server.converse(b"CREATE /hot text\nSHOW /hot\n") == b"100 /hot CREATED\n200 /hot OK\ntext\n"
    return server


def test_a_slow_disk_answers_each_as_soon_as_it_can(slow: Sttpd) -> None:
    """Reads run side by side, and what is done does not wait for the others."""
    with slow.connect() as wire, Stopwatch() as watch:
        wire.send(b"".join(b"SHOW /cold/%d\n" % number for number in range(8)))
        assert wire.reply() == b"410 /cold/ PATH NOT FOUND\n"
        assert watch.so_far < 1, "one read takes 0.2 s, eight in a row would take 1.6 s"
        for _ in range(7):
            wire.reply()
        assert watch.so_far < 1.4


def test_a_hundred_clients_that_miss_one_file_wait_once(slow: Sttpd) -> None:
    slow.converse(b"CREATE /cold text\n")
    wires = [slow.connect() for _ in range(100)]
    with Stopwatch() as watch:
        for wire in wires:
            wire.send(b"SHOW /cold\n")
        for wire in wires:
            assert wire.reply() == b"200 /cold OK\ntext\n"
            wire.close()
    assert watch.seconds < 1.5, "a hundred reads on four threads would take five seconds"


def test_a_slow_disk_leaves_cached_shows_of_other_clients_alone(slow: Sttpd) -> None:
    waiting = [slow.connect() for _ in range(8)]
    for number, wire in enumerate(waiting):
        wire.send(b"".join(b"SHOW /cold/%d/%d\n" % (number, each) for each in range(5)))
    seconds = []
    with slow.connect() as wire:
        for _ in range(1000):
            began = time.perf_counter()
            assert wire.ask(b"SHOW /hot") == b"200 /hot OK\ntext\n"
            seconds.append(time.perf_counter() - began)
    still_waiting = [wire for wire in waiting if not has_received(wire, 5)]
    for wire in waiting:
        wire.close()
    assert still_waiting, "the disk was not busy while it was measured"
    assert percentile(seconds, 0.99) < 0.020


def has_received(wire: Wire, lines: int) -> bool:
    """Whether as many lines have come, as far as can be said without waiting."""
    wire.socket.setblocking(False)
    try:
        return wire.socket.recv(65536).count(b"\n") >= lines
    except BlockingIOError:
        return False


# -- The shutdown --


def test_a_request_that_is_under_way_is_answered_and_nobody_new_is_let_in(start: Start) -> None:
    server = faulty(start, "commit", 0.5)
    with server.connect() as wire:
        wire.send(b"CREATE /a text\nSHOW /a\n")
        let_it_read(server)
        server.send_signal(signal.SIGTERM)
        wait_until_refused(server)
        assert wire.reply() == b"100 /a CREATED\n"
        assert wire.reply() == b"200 /a OK\ntext\n"
        assert wire.rest() == b""
    server.ends()


def let_it_read(server: Sttpd) -> None:
    """What has been sent before has been read when another is answered, with no need of the disk."""
    assert server.converse(b"nonsense\n").startswith(b"300 ")


def wait_until_refused(server: Sttpd) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            server.connect().close()
        except ConnectionError:
            return
    raise AssertionError("still accepting connections")


def test_a_disk_that_hangs_does_not_hold_up_the_shutdown_beyond_its_time(start: Start) -> None:
    server = faulty(start, "show,commit", FOR_EVER, "-o", "shutdown_timeout=0.3", "-o", "disk_threads=16")
    with server.connect() as wire, server.connect() as other:
        other.send(b"CREATE /a text\n")
        wire.send(b"".join(b"SHOW /%d\n" % number for number in range(50)))
        let_it_read(server)
        server.send_signal(signal.SIGTERM)
        with Stopwatch() as watch:
            server.ends()
        assert 0.3 * 0.9 < watch.seconds < 1.5
        assert re.search(r"warning .*closing 2 connections", server.log)


def test_a_backlog_that_nobody_waits_for_does_not_hold_up_the_shutdown(start: Start) -> None:
    server = faulty(start, "show", 0.2, "-o", "shutdown_timeout=0.3", "-o", "disk_threads=2")
    with server.connect() as wire:
        wire.send(b"".join(b"SHOW /%d\n" % number for number in range(100)))
        let_it_read(server)
    server.send_signal(signal.SIGTERM)
    with Stopwatch() as watch:
        server.ends()
    assert watch.seconds < 1.5, "all of it would take ten seconds"


def test_a_second_signal_ends_it_at_once(start: Start) -> None:
    server = faulty(start, "commit", FOR_EVER, "-o", "shutdown_timeout=9")
    with server.connect() as wire:
        wire.send(b"CREATE /a text\n")
        let_it_read(server)
        server.send_signal(signal.SIGTERM)
        wait_until_refused(server)
        with Stopwatch() as watch:
            server.send_signal(signal.SIGTERM)
            server.ends()
        assert watch.seconds < 1.5


def test_a_second_signal_while_the_store_is_being_closed(start: Start) -> None:
    """No connection is left, only a worker that hangs: the loop has ended, and the signal must count all the same."""
    server = faulty(start, "commit", FOR_EVER, "-o", "shutdown_timeout=9")
    with server.connect() as wire:
        wire.send(b"CREATE /a text\n")
        let_it_read(server)
    server.send_signal(signal.SIGTERM)
    wait_until_refused(server)
    with Stopwatch() as watch:
        server.send_signal(signal.SIGTERM)
        server.ends()
    assert watch.seconds < 1.5
