"""The client where `select.poll` has been taken away, as libraries do that make blocking calls cooperative."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest
from certificates import CA, server_files
from scripted_server import ScriptedServer, silence, table

from sttp_reactor.client import Client, make_request
from sttp_reactor.client.tls import ClientTls
from sttp_reactor.errors import CannotConnect, ReplyTimedOut
from sttp_reactor.net.tls_context import TlsContext

Serve = Callable[..., ScriptedServer]

TEXTS = table({"SHOW /a": "200 /a OK\nBuy milk\n", f'UPDATE /a "{"x" * 160}"': f"200 /a OK\n{'x' * 160}\n"})


@pytest.fixture(autouse=True)
def _no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("poll", "POLLIN", "POLLOUT"):
        monkeypatch.delattr(select, name)


@pytest.mark.parametrize("tls", [False, True])
def test_it_asks_pipelines_and_asks_again(serve: Serve, tls: bool) -> None:
    context = TlsContext(server_files("server")).context if tls else None
    server = serve(TEXTS, tls=context)
    with Client("localhost", server.port, tls=ClientTls(cacert=str(CA)) if tls else None) as client:
        assert client.show("/a") == "Buy milk"
        # More than fits into the sockets' buffers, so that it has to wait for room, too.
        replies = client.pipeline([make_request("UPDATE", "/a", "x" * 160)] * 20_000)
        assert {reply.contents for reply in replies} == {b"x" * 160}
        assert client.show("/a") == "Buy milk"
    assert server.accepted == 1


def test_it_times_out(serve: Serve) -> None:
    with Client("127.0.0.1", serve(silence).port, timeout=0.05) as client, pytest.raises(ReplyTimedOut):
        client.show("/a")


def test_it_says_that_nobody_is_there() -> None:
    with Client("127.0.0.1", 1) as client, pytest.raises(CannotConnect, match="refused"):
        client.show("/a")
