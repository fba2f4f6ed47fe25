"""What goes wrong between a reply and its answer costs the one who asked a 500, and nobody behind him his turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sttp_reactor.gateway import writing
from sttp_reactor.gateway.asking import Asking
from sttp_reactor.gateway.writing import Writing
from sttp_reactor.http.messages import Request, Response


class Service:
    """Answers at once, as the store would in a moment."""

    def cached(self, _request: object) -> None:
        return None

    def start(self, request: Any, done: Callable[[bytes], None], _waiter: object) -> bool:
        done(b"100 %b CREATED\n" % request.path)
        return True


class Server:
    policy = None
    answerer = Service()


class Exchange:
    peer, peer_names, connection, is_gone = "", (), None, False

    def __init__(self) -> None:
        self.answers: list[int] = []

    def answer(self, response: Response) -> None:
        self.answers.append(response.status)


def test_a_failure_is_answered_and_the_next_one_has_its_turn(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asking: Any = Asking(Server())  # type: ignore[arg-type]
    routes = Writing(asking)
    request = Request("POST", "/files/a", "", "localhost", {}, b"text")

    def post() -> list[int]:
        exchange: Any = Exchange()
        routes._post(request, exchange, {})
        return list(exchange.answers)

    with monkeypatch.context() as patch:
        patch.setattr(writing, "location_of", lambda path: 1 / 0)
        assert post() == [500]
    assert "a reply could not be answered" in caplog.text
    assert post() == [201]
