"""Every limit of a connection, with a server set up to reach it soon (PROTOCOL.md section 2)."""

from __future__ import annotations

import contextlib
import re
import select
import socket
import time

import pytest
from running import PATIENCE_SECONDS, Start, Stopwatch, Sttpd, Wire

SHORT = 0.4  # seconds: the shortest wait that a busy machine cannot mistake for none
FULL = rb'500 - SERVER ERROR "[^"]+"\n'


def test_one_connection_too_many_is_told_so_and_closed(start: Start) -> None:
    server = start("-o", "limits.max_connections=3")
    wires = [server.connect() for _ in range(3)]
    for wire in wires:
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"
    with Stopwatch() as watch:
        for script in (b"", b"LIST /\n", b"LIST /\n" * 1000):
            with server.connect() as refused:
                refused.send(script)
                assert re.fullmatch(FULL, refused.rest())
    assert watch.seconds < 2, "at once"
    for wire in wires:
        assert wire.ask(b"LIST /") == b"200 / OK\n\n", "the others have not noticed"
    wires.pop().close()
    wires.append(connect_when_there_is_room(server))
    for wire in wires:
        wire.close()


def connect_when_there_is_room(server: Sttpd) -> Wire:
    """The server learns of a close when its turn comes, a moment later."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        wire = server.connect()
        wire.send(b"LIST /\n")
        if wire.reply().startswith(b"200"):
            return wire
        wire.close()
    raise AssertionError("a place that was left is not given to anybody")


def test_many_refusals_at_once(start: Start) -> None:
    """More than the server is willing to see off politely; it must live, and have its descriptors back."""
    server = start("-o", "limits.max_connections=1")
    with server.connect() as first:
        assert first.ask(b"LIST /") == b"200 / OK\n\n"
        refused = [server.connect() for _ in range(200)]
        for wire in refused[:50]:
            assert re.fullmatch(FULL, wire.rest())
        for wire in refused:
            wire.close()
        assert first.ask(b"LIST /") == b"200 / OK\n\n"


@pytest.fixture(scope="module")
def hasty(start_for_all: Start) -> Sttpd:
    """A server with all three time limits short."""
    names = ("idle_timeout", "request_timeout", "write_timeout")
    return start_for_all(*(word for name in names for word in ("-o", f"limits.{name}={SHORT}")))


def test_the_times_of_idle_dripping_and_unfinished_clients(hasty: Sttpd) -> None:
    idle, answered, unfinished, dripping = (hasty.connect() for _ in range(4))
    with idle, answered, unfinished, dripping, Stopwatch() as watch:
        assert answered.ask(b"LIST /").startswith(b"200 ")
        unfinished.send(b"LIST /")
        drip(dripping)
        assert idle.rest() == b""
        assert answered.rest() == b""
        assert re.fullmatch(rb'300 - CLIENT ERROR "[^"]+"\n', unfinished.rest())
        assert re.fullmatch(rb'300 - CLIENT ERROR "[^"]+"\n', dripping.rest())
    assert SHORT * 0.9 < watch.seconds < SHORT + 2


def drip(wire: Wire) -> None:
    """A byte now and then, until the server has had enough."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not select.select([wire.socket], [], [], SHORT / 8)[0]:
        wire.send(b"x")
        assert time.monotonic() < deadline, "drips extend the time for a line"


def test_a_client_that_does_not_read_its_replies_is_cut_off(hasty: Sttpd) -> None:
    with hasty.connect() as wire:
        wire.ask(b"CREATE /x " + b"x" * 160)
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with Stopwatch() as watch, pytest.raises(ConnectionError):
            wire.send(b"SHOW /x\n" * (4 << 20))
        assert SHORT * 0.9 < watch.seconds < SHORT + 2
        # What had been sent may still be read; then there is an end, or a reset, and no more waiting.
        with Stopwatch() as watch, contextlib.suppress(ConnectionError):
            wire.rest()
        assert watch.seconds < 1
    with hasty.connect() as other:
        assert other.ask(b"LIST /") == b"200 / OK\nx\n"


def test_a_shorter_line_limit(start: Start) -> None:
    server = start("-o", "limits.max_line=256")
    path = b"/" + b"d" * 248 + b"/"
    assert server.converse(b"LIST " + path + b"\n") == b"400 %b NOT FOUND\n" % path
    assert re.fullmatch(rb'300 - CLIENT ERROR "[^"]*256[^"]*"\n', server.converse(b"LIST /" + path + b"\n"))
