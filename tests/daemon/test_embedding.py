"""A server inside a program of one's own: started, run and closed, it leaves nothing behind, however that ends.

conftest.py compares threads and descriptors, and a socket that nobody closes is a warning, which is an error here.
"""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from running import Wire

from sttp_reactor import config
from sttp_reactor.config import Override
from sttp_reactor.errors import StartError
from sttp_reactor.store.faulty import FaultyStore, fail, on
from sttp_reactor.store.memory import MemoryStore
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.server import Server
from sttp_reactor.sttp.settings import Settings


def settings(tmp_path: Path, **changes: str) -> Settings:
    given = {"listen_address": "127.0.0.1", "port": "0", "docroot": str(tmp_path / "files")}
    given |= {key.replace("__", "."): value for key, value in changes.items()}
    return config.load(TABLE, None, [Override("--set", key, value) for key, value in given.items()]).settings


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """While the block runs, a thread turns the reactor. Then it is stopped as a signal would stop it."""
    server.start()
    thread = threading.Thread(target=server.reactor.run)
    thread.start()
    try:
        yield server
    finally:
        server.reactor.call_soon_threadsafe(server.stop)
        thread.join(10)
        server.close()
        gc.collect()
    assert not thread.is_alive()


def test_a_server_on_a_store_of_its_own(tmp_path: Path) -> None:
    with running(Server(settings(tmp_path), store=MemoryStore())) as server, Wire(server.addresses[0]) as wire:
        assert wire.ask(b"CREATE /a/b text") == b"100 /a/b CREATED\n"
        assert wire.ask(b"SHOW /a/b") == b"200 /a/b OK\ntext\n"
    assert not (tmp_path / "files").exists()


def test_closing_with_connections_open(tmp_path: Path) -> None:
    server = Server(settings(tmp_path, limits__max_connections="1"), store=MemoryStore())
    server.start()
    with Wire(server.addresses[0]) as wire, Wire(server.addresses[0]) as refused, Wire(server.addresses[0]):
        wire.send(b"LIST /\nLIS")
        refused.send(b"LIST /\n")
        for _ in range(10):
            server.reactor.call_soon(lambda: None)
            server.reactor.turn()
        # One is open, two have been refused and linger.
        server.close()
        gc.collect()


def test_closing_what_was_never_started(tmp_path: Path) -> None:
    Server(settings(tmp_path)).close()


def test_a_start_that_fails_leaves_nothing_open(tmp_path: Path) -> None:
    wanted = settings(tmp_path, log__access=str(tmp_path / "log"))
    server = Server(wanted, store=FaultyStore(MemoryStore(), on("open", fail(StartError("no")))))
    with pytest.raises(StartError, match=r"^no$"):
        server.start()


def test_an_address_that_cannot_be_had_leaves_nothing_open(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    server = Server(settings(tmp_path, listen_address=f"{path},192.0.2.77"), store=MemoryStore())
    with pytest.raises(StartError, match=r"192\.0\.2\.77"):
        server.start()
    assert not path.exists()


def test_a_store_that_fails_answers_500_and_says_nothing_of_this_machine(tmp_path: Path) -> None:
    secret = OSError(5, "Input/output error", "/secret/place")
    store = FaultyStore(MemoryStore(), on("show list commit", fail(secret)))
    with running(Server(settings(tmp_path), store=store)) as server, Wire(server.addresses[0]) as wire:
        for request in (b"SHOW /a", b"LIST /", b"CREATE /a x", b"UPDATE /a x", b"DELETE /a"):
            reply = wire.ask(request)
            assert re.fullmatch(rb'500 \S+ SERVER ERROR "[^"]+"\n', reply)
            assert b"secret" not in reply
        wire.send(b"nonsense\n\n")
        assert wire.rest().startswith(b"300 - "), "the connection has survived it all"
