"""Other settings for a server in this process: sessions and listeners that go on, and what is left when it fails."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port
from scripted import Bench, FakeTransport, HandClock, ScriptedStore, Talk
from sttpd_settings import load

from sttp_reactor.config import ConfigError, differences, keep
from sttp_reactor.daemon import logs
from sttp_reactor.daemon.reload import prepare, take_over
from sttp_reactor.daemon.report import details
from sttp_reactor.errors import StartError
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.server import Server
from sttp_reactor.sttp.session import Session, SessionLimits
from sttp_reactor.sttp.settings import Settings


@pytest.fixture(autouse=True)
def _untouched_logger() -> Iterator[None]:
    logger = logging.getLogger(logs.ROOT)
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def settings(tmp_path: Path, **changed: Any) -> Settings:
    overrides = {"docroot": str(tmp_path / "files"), "port": "0", "disk_threads": "1"}
    overrides |= {name.replace("__", "."): str(value) for name, value in changed.items()}
    return load(None, [("--set", name, text) for name, text in overrides.items()]).settings


def change_over(server: Server, settings: Settings) -> None:
    take_over(server, prepare(server, settings))


class Running:
    """A server on a clock by hand, and on a store that answers from memory."""

    def __init__(self, tmp_path: Path) -> None:
        self.clock = HandClock()
        self.store = ScriptedStore({b"/a": b"x"})
        self.server = Server(
            settings(tmp_path),
            store=self.store,
            reactor=Reactor(clock=self.clock),
        )
        self.server.start()

    @property
    def address(self) -> tuple[str, int]:
        (listener,) = self.server.listeners.values()
        host, port = listener.sock.getsockname()
        return host, port

    def until_read(self) -> None:
        """Turns until the store has been asked, and the answer sent."""
        while not self.server.backend.service.counts.reads:
            self.turns(1)
        self.turns()

    def until_received(self, client: socket.socket) -> bytes:
        """Turns until something has come to `client`, which does not block."""
        while True:
            self.turns(1)
            with contextlib.suppress(BlockingIOError):
                return client.recv(4096)

    def turns(self, count: int = 3) -> None:
        for _ in range(count):
            self.server.reactor.call_soon(lambda: None)
            self.server.reactor.turn()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    running = Running(tmp_path)
    yield running
    running.server.close()
    running.server.reactor.close()


# -- What changes, and what cannot --


def test_differences_are_named_as_in_the_file(tmp_path: Path) -> None:
    before = settings(tmp_path)
    after = settings(tmp_path, cache__max_files=5, log__access="-", limits__idle_timeout="90s")
    assert [str(each) for each in differences(TABLE, before, after)] == [
        "cache.max_files is 5 (was 100)",
        "limits.idle_timeout is 90 (was 60)",
        'log.access is "-" (was false)',
    ]
    assert differences(TABLE, before, before) == []


def test_what_cannot_change_is_kept_and_named(tmp_path: Path) -> None:
    current = settings(tmp_path)
    wanted = settings(tmp_path, docroot="/elsewhere", sync="false", disk_threads=7, processes=3, cache__max_files=5)
    kept, refused = keep(TABLE, current, wanted, TABLE.fixed)
    assert kept == dataclasses.replace(current, cache=wanted.cache)
    assert {each.key for each in refused} == {key for key in TABLE.fixed if not key.startswith("store.")}


def test_where_the_files_are_cannot_change(tmp_path: Path) -> None:
    current = settings(tmp_path)
    store = {"engine": "etcd", "endpoints": "http://a:1", "prefix": "/a/", "reads": "cached", "user": "u"}
    files = {"password_file": "p", "tls__ca": "c", "tls__certificate": "c", "tls__key": "k"}
    times = {f"timeout__{name}": "7s" for name in ("connect", "read", "write", "stale")}
    wanted = settings(tmp_path, **{f"store__{key}": value for key, value in {**store, **files, **times}.items()})
    kept, refused = keep(TABLE, current, wanted, TABLE.fixed)
    assert kept == current
    assert {each.key for each in refused} == {name for name in TABLE.keys if name.startswith("store.")}


def test_a_fixed_key_of_a_section(tmp_path: Path) -> None:
    current, wanted = settings(tmp_path), settings(tmp_path, limits__max_line=100, limits__max_connections=7)
    kept, refused = keep(TABLE, current, wanted, ["limits.max_line"])
    assert (kept.limits.max_line, kept.limits.max_connections) == (8192, 7)
    assert [each.after for each in refused] == [100]


def test_what_is_kept_may_contradict_what_is_wanted(tmp_path: Path) -> None:
    wanted = settings(tmp_path, docroot="/elsewhere", log__access=tmp_path / "files" / "log")
    with pytest.raises(ConfigError, match=r"log\.access: lies in the docroot"):
        keep(TABLE, settings(tmp_path), wanted, TABLE.fixed)


# -- Listeners --


def test_who_waits_in_the_backlog_of_a_listener_that_goes_is_served(running: Running, tmp_path: Path) -> None:
    with socket.create_connection(running.address, 5) as waiting:
        waiting.sendall(b"SHOW /a\n")
        old = running.address
        change_over(running.server, settings(tmp_path, port=free_port()))
        assert running.address != old
        running.until_read()
        assert waiting.recv(100) == b"200 /a OK\nx\n"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(old, 5)


def test_a_listener_that_stays_is_the_same_one(running: Running, tmp_path: Path) -> None:
    (before,) = running.server.listeners.values()
    change_over(running.server, settings(tmp_path, limits__write_timeout="7s"))
    (after,) = running.server.listeners.values()
    assert after is before
    assert after.write_timeout == 7


def test_who_waits_when_the_server_stops_is_served_too(running: Running) -> None:
    with socket.create_connection(running.address, 5) as waiting:
        waiting.sendall(b"SHOW /a\n")
        running.server.stop()
        running.until_read()
        assert waiting.recv(100) == b"200 /a OK\nx\n"


def test_an_access_log_that_is_not_used_any_more_ends(running: Running, tmp_path: Path) -> None:
    for name in ("one", "two"):
        change_over(running.server, settings(tmp_path, log__access=tmp_path / name))
    change_over(running.server, settings(tmp_path))
    for thread in threading.enumerate():
        if thread.name == "sttp-access-log":
            thread.join(5)
            assert not thread.is_alive()


def test_nothing_is_bound_when_one_address_fails(running: Running, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        before = running.server.settings, dict(running.server.listeners), running.server.access_log
        path = tmp_path / "socket"
        with pytest.raises(StartError, match="Address already in use"):
            change_over(
                running.server,
                settings(tmp_path, listen_address=f"{path},127.0.0.1", port=taken, log__access=tmp_path / "log"),
            )
    assert (running.server.settings, running.server.listeners, running.server.access_log) == before
    assert not path.exists()


# -- Sessions --


@pytest.fixture
def talk() -> Iterator[Talk]:
    with Bench(ScriptedStore({b"/a": b"x"})) as bench:
        yield Talk(bench)


class Notes:
    """In the place of an access log."""

    def __init__(self) -> None:
        self.taken: list[Any] = []

    def record(self, access: Any) -> None:
        self.taken.append((access.action, access.path))


def test_a_shorter_idle_timeout_counts_from_the_last_request(talk: Talk) -> None:
    talk.ask(b"SHOW /a\n")
    talk.bench.advance(20)
    talk.session.reconfigure(SessionLimits(idle_timeout=30), None)
    talk.bench.advance(9)
    assert not talk.transport.is_closed
    talk.bench.advance(1)
    assert talk.transport.is_closed


def test_one_that_has_passed_already_closes_at_once(talk: Talk) -> None:
    talk.bench.advance(20)
    talk.session.reconfigure(SessionLimits(idle_timeout=10), None)
    assert talk.transport.is_closed


def test_a_longer_one_counts_too(talk: Talk) -> None:
    talk.bench.advance(59)
    talk.session.reconfigure(SessionLimits(idle_timeout=100), None)
    talk.bench.advance(40)
    assert not talk.transport.is_closed
    talk.bench.advance(1)
    assert talk.transport.is_closed


def test_a_half_received_line_goes_by_the_new_request_timeout(talk: Talk) -> None:
    talk.send(b"SHO")
    talk.bench.advance(4)
    talk.session.reconfigure(SessionLimits(request_timeout=5), None)
    talk.send(b"W")
    talk.bench.advance(1)
    assert talk.received() == b'300 - CLIENT ERROR "the request line did not end within 5 s"\n'


def test_a_session_that_has_timed_out_does_not_again(talk: Talk) -> None:
    told: list[str] = []
    reactor, service = talk.bench.reactor, talk.bench.service
    session = Session(reactor, service, SessionLimits(), talk.lost.append, None, lambda _, name: told.append(name))
    session.connection_made(FakeTransport(reactor))
    talk.bench.advance(60)
    session.reconfigure(SessionLimits(idle_timeout=5), None)
    talk.bench.advance(10)
    assert told == ["idle_timeout"]


def test_a_session_that_is_ending_is_not_refused_twice(talk: Talk) -> None:
    gate = talk.bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nSHO")
    talk.bench.turn()
    gate.wait_until_reached()
    talk.bench.advance(10)
    talk.session.reconfigure(SessionLimits(request_timeout=5), None)
    talk.bench.advance(10)
    gate.open()
    talk.bench.rest()
    assert talk.received() == b'200 /a OK\nx\n300 - CLIENT ERROR "the request line did not end within 10 s"\n'


def test_an_access_log_is_used_from_the_next_request_on(talk: Talk) -> None:
    notes: Any = Notes()
    talk.ask(b"SHOW /a\n")
    talk.session.reconfigure(SessionLimits(), notes)
    talk.ask(b"SHOW /a\n")
    talk.session.reconfigure(SessionLimits(), None)
    talk.ask(b"SHOW /a\n")
    assert notes.taken == [(b"SHOW", b"/a")]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (TimeoutError("the peer reads nothing"), ["write_timeout"]),
        (TimeoutError(110, "Connection timed out"), []),
        (ConnectionResetError(), []),
        (None, []),
    ],
)
def test_only_our_own_write_timeout_counts_as_one(talk: Talk, error: Exception | None, expected: list[str]) -> None:
    told: list[str] = []
    reactor, service = talk.bench.reactor, talk.bench.service
    session = Session(reactor, service, SessionLimits(), talk.lost.append, None, lambda _, name: told.append(name))
    session.connection_made(FakeTransport(reactor))
    session.connection_lost(error)
    assert told == expected


# -- The cache, and the report --


def test_the_cache_is_swept_by_its_new_expiration(running: Running, tmp_path: Path) -> None:
    service = running.server.backend.service
    assert service.cache is not None
    service.cache.put(b"SHOW /a\n", b"x", running.clock.now)
    change_over(running.server, settings(tmp_path, cache__expiration="2s"))
    for _ in range(4):
        running.clock.advance(1)
        running.turns()
    assert service.cache.statistics().expired == 1, "dropped by the background task, not by a request"


def test_open_connections_go_on_with_the_cache_that_there_is(running: Running, tmp_path: Path) -> None:
    with socket.create_connection(running.address) as client:
        client.setblocking(False)
        shown = []
        for text, enabled in ((b"1", True), (b"2", True), (b"3", False), (b"4", False), (b"5", True), (b"6", True)):
            change_over(running.server, settings(tmp_path, cache__enabled=enabled))
            running.store.files[b"/a"] = text  # behind the server's back, so that what is cached can be told
            client.sendall(b"SHOW /a\n")
            shown.append(running.until_received(client))
    assert shown == [b"200 /a OK\n%b\n" % text for text in (b"1", b"1", b"3", b"4", b"5", b"5")]


def test_a_cache_that_is_off_has_nothing_to_sweep(
    running: Running, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service = running.server.backend.service
    assert service.cache is not None
    service.cache.put(b"SHOW /a\n", b"x", running.clock.now)
    service.use_cache(service.cache)
    change_over(running.server, settings(tmp_path, cache__enabled="false"))
    running.clock.advance(10)
    running.turns()
    change_over(running.server, settings(tmp_path))
    running.clock.advance(10)
    running.turns()
    assert service.cache.statistics().files == 0
    assert "a callback failed" not in caplog.text


def test_a_report_shows_twenty_connections_those_with_the_most_unread(running: Running) -> None:
    class Peer(FakeTransport):
        unsent = 0

        def bytes_unsent(self) -> int:
            return self.unsent

        def __repr__(self) -> str:
            return f"<Peer {self.unsent}>"

    server = running.server
    for number in range(1003):
        protocol: Any = server._make_protocol()
        peer = Peer(server.reactor, peer="192.0.2.7:1\n\x1b[31m")
        protocol.connection_made(peer)
        peer.last_received += number % 7
        if number == 500:
            peer.unsent = 1
    lines = list(details(server))
    shown = [line for line in lines if line.startswith("connection <")]
    assert len(shown) == 20
    assert shown[0].endswith("<Peer 1>")
    assert len({re.search(r"silent for (.*) s", line)[1] for line in shown[1:]}) == 1  # type: ignore[index]
    assert len(lines) < 100
    assert "20 of 1003 connections: those with the most unread, then the longest silent" in lines
    server.sessions.clear()
