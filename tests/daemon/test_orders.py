"""A reload of several processes, step by step: what a child does when it is told, and a parent when a child refuses."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from scripted import HandClock, ScriptedStore
from sttpd_settings import load

from sttp_reactor.config import Loaded
from sttp_reactor.daemon import logs
from sttp_reactor.daemon.child import APPLY, CANCEL, PREPARE, REPORT, Orders
from sttp_reactor.daemon.children import Child
from sttp_reactor.daemon.control import Control
from sttp_reactor.daemon.kind import FILES
from sttp_reactor.daemon.lifecycle import Lifecycle
from sttp_reactor.daemon.processes import Parent
from sttp_reactor.daemon.running import Running
from sttp_reactor.daemon.systemd import Notifier
from sttp_reactor.errors import StartError
from sttp_reactor.metrics import Registry
from sttp_reactor.net.address import Address
from sttp_reactor.net.endpoints import Endpoint, Sockets, bind_all, bind_here, names_of
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.listening import endpoints_of
from sttp_reactor.sttp.server import Server
from sttp_reactor.sttp.settings import Settings

PATIENCE_SECONDS = 10.0
ANY_PORT = Endpoint(Address(socket.AF_INET, ("127.0.0.1", 0)))


@pytest.fixture(autouse=True)
def _untouched_logger() -> Iterator[None]:
    logger = logging.getLogger(logs.ROOT)
    handlers, level = list(logger.handlers), logger.level
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)


def settings(tmp_path: Path, **changed: Any) -> Settings:
    overrides = {"docroot": str(tmp_path / "files"), "port": "0", "disk_threads": "1", "processes": "2"}
    overrides |= {name.replace("__", "."): str(value) for name, value in changed.items()}
    return load(None, [("--set", name, text) for name, text in overrides.items()]).settings


# -- A child --


class Told:
    """A child's server, and its parent's end of the line."""

    def __init__(self, tmp_path: Path) -> None:
        self.control, theirs = Control.pair()
        sockets = bind_all([ANY_PORT], bind_here)
        self.server = Server(
            settings(tmp_path), store=ScriptedStore(), reactor=Reactor(clock=HandClock()), sockets=sockets
        )
        self.server.start()
        running = Running(self.server.reactor, [self.server], lambda: 10.0)
        self.orders = Orders(running, self.server, theirs, Registry())
        self.serial = 0

    def tell(self, kind: str, content: Any = None, sockets: Sockets | None = None) -> str:
        """The child's answer. The sockets are handed over."""
        self.serial += 1
        handed = list((sockets or {}).values())
        self.control.send(self.serial, kind, content, handed, patience=PATIENCE_SECONDS)
        for sock in handed:
            sock.close()
        self.server.reactor.turn()
        while not select.select([self.control], [], [], 0)[0]:
            self.server.reactor.turn()  # what takes its time is done in a thread, which wakes the reactor
        message = self.control.receive(patience=PATIENCE_SECONDS)
        assert message[:2] == (self.serial, kind)
        return str(message.content)


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    told = Told(tmp_path)
    yield told
    told.orders.close()
    told.server.close()
    told.server.reactor.close()
    told.control.close()


def new_socket(tmp_path: Path) -> Sockets:
    return bind_all([Endpoint(Address(socket.AF_UNIX, str(tmp_path / "new")))], bind_here)


def is_listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(ConnectionRefusedError):
        client.connect(str(path))
        return True
    return False


def test_prepared_and_applied(told: Told, tmp_path: Path) -> None:
    wanted = settings(tmp_path, cache__max_files=5, log__access=tmp_path / "log")
    sockets = new_socket(tmp_path)
    (new,) = sockets
    assert told.tell(PREPARE, (wanted, [ANY_PORT, new], [new]), sockets) == ""
    assert told.server.settings != wanted
    assert list(told.server.listeners) == [ANY_PORT]
    assert told.tell(APPLY) == ""
    assert told.server.settings == wanted
    assert list(told.server.listeners) == [ANY_PORT, new]
    assert told.server.access_log is not None
    assert told.tell(PREPARE, (wanted, [new], [])) == ""
    assert told.tell(APPLY) == ""
    assert list(told.server.listeners) == [new]
    assert (tmp_path / "new").exists(), "the parent's to remove"


def test_prepared_and_cancelled(told: Told, tmp_path: Path) -> None:
    sockets = new_socket(tmp_path)
    (new,) = sockets
    wanted = settings(tmp_path, log__access=tmp_path / "log")
    assert told.tell(PREPARE, (wanted, [ANY_PORT, new], [new]), sockets) == ""
    assert is_listened_on(tmp_path / "new")
    assert told.tell(CANCEL) == ""
    assert not is_listened_on(tmp_path / "new")
    assert told.tell(APPLY) == "nothing is prepared"
    assert told.server.settings != wanted
    assert told.server.access_log is None


def test_what_cannot_be_prepared_is_told_and_let_go(told: Told, tmp_path: Path) -> None:
    sockets = new_socket(tmp_path)
    (new,) = sockets
    wanted = settings(tmp_path, log__access=tmp_path / "none" / "log")
    assert "No such file or directory" in told.tell(PREPARE, (wanted, [ANY_PORT, new], [new]), sockets)
    assert not is_listened_on(tmp_path / "new")


def test_prepared_twice_is_the_second_one(told: Told, tmp_path: Path) -> None:
    for name in ("one", "two"):
        wanted = settings(tmp_path, log__access=tmp_path / name)
        assert told.tell(PREPARE, (wanted, [ANY_PORT], [])) == ""
    assert told.tell(APPLY) == ""
    assert told.server.settings.log.access == tmp_path / "two"


def test_what_must_not_fail_and_does_ends_the_process_in_good_order(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(told.server, "listen", fail)
    assert told.tell(PREPARE, (settings(tmp_path), [ANY_PORT], [])) == ""
    assert told.tell(APPLY) == "MemoryError()"
    assert told.server.is_stopping


def test_it_reports(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    assert told.tell(REPORT) == ""
    assert caplog.messages[-1] == "the state of this process:"


def test_without_a_parent_it_stops(told: Told) -> None:
    told.control.close()
    told.server.reactor.turn()
    assert told.server.is_stopping


# -- A parent --


class Obedient:
    """In the place of a parent's children. `faults` are what goes wrong when they are told to prepare."""

    def __init__(self) -> None:
        self.starting: list[Child] = []
        self.told: list[str] = []
        self.faults: list[str] = []

    def order(self, kind: str, content: Any = None, make_sockets: Any = None) -> list[str]:
        self.told.append(kind)
        if make_sockets is not None:
            for sock in make_sockets():
                sock.close()
        return self.faults if kind == PREPARE else []


class Bound:
    """A parent that has bound its sockets and does not wait for signals."""

    def __init__(self, tmp_path: Path) -> None:
        start = settings(tmp_path)
        lifecycle = Lifecycle(
            FILES, start, "defaults", lambda: Loaded(TABLE, start, {}, ""), Notifier({}), activated=False
        )
        self.parent = cast(Any, Parent(lifecycle))
        self.children = Obedient()
        self.parent._children = self.children
        self.parent._held = self.parent._bind(endpoints_of(start), start)

    def change_over(self, settings: Settings) -> list[str]:
        return list(self.parent._change_over(self.parent._prepare(settings)))


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[Bound]:
    bound = Bound(tmp_path)
    yield bound
    bound.parent._release(bound.parent._held)


def test_all_children_or_none(bound: Bound, tmp_path: Path) -> None:
    before = dict(bound.parent._held)
    bound.children.faults = ["process 1: does not answer"]
    with pytest.raises(StartError, match="process 1: does not answer"):
        bound.change_over(settings(tmp_path, listen_address=tmp_path / "new"))
    assert bound.children.told == [PREPARE, CANCEL]
    assert bound.parent._held == before
    assert not (tmp_path / "new").exists()
    bound.children.faults = []
    assert bound.change_over(settings(tmp_path, listen_address=tmp_path / "new")) == [str(tmp_path / "new")]
    assert bound.children.told[2:] == [PREPARE, APPLY]
    assert all(sock.fileno() < 0 for sock in before.values())


def test_a_port_of_another_server_is_in_use_though_it_would_share(bound: Bound, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(StartError, match="Address already in use"):
            bound.change_over(settings(tmp_path, port=other.getsockname()[1]))
    assert bound.children.told == []


def test_each_child_has_a_socket_of_its_own_for_a_port(bound: Bound, tmp_path: Path) -> None:
    first, second = bound.parent._listening(bound.parent._held), bound.parent._listening(bound.parent._held)
    assert names_of(first) == names_of(second) == names_of(bound.parent._held)
    for sock in [*first.values(), *second.values()]:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        sock.close()
