"""`sttpc ping` tells a server that serves from one that only runs, and is counted as the request that it is."""

from __future__ import annotations

import shutil

import pytest
from running import Start

from sttp_reactor.client import Client
from sttp_reactor.errors import ServerFailed


def test_ping_touches_the_store(start: Start) -> None:
    server = start("--access-log", "access.log")
    with Client("127.0.0.1", server.port) as client:
        assert client.ping() > 0
        shutil.rmtree(server.docroot)
        with pytest.raises(ServerFailed):
            client.ping()
    server.stop()
    log = (server.docroot.parent / "access.log").read_text()
    assert [line.split()[2:5] for line in log.splitlines()] == [["LIST", "/", "200"], ["LIST", "/", "500"]]
