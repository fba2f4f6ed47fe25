"""What the tests of `sttp_reactor.http` stand on: a session on a transport that is no socket, and a clock by hand."""

from __future__ import annotations

import re
from typing import NamedTuple

from scripted import HandClock

from sttp_reactor.http.exchange import Exchange, Handler, Site
from sttp_reactor.http.messages import Request, Response, sentence
from sttp_reactor.http.session import Session
from sttp_reactor.net.reactor import Reactor


class Answer(NamedTuple):
    """`headers` have lower-case names."""

    status: int
    headers: dict[str, str]
    body: bytes


class Bench:
    """A site on a reactor. Close it."""

    def __init__(self, handle: Handler | None = None, **options: float) -> None:
        self.clock = HandClock()
        self.reactor = Reactor(clock=self.clock)
        self.seen: list[Request] = []
        self.exchanges: list[Exchange] = []
        self._handle = handle or self.echo
        self.site = Site(self.reactor, self._noted, **options)  # type: ignore[arg-type]

    def _noted(self, request: Request, exchange: Exchange) -> Response | None:
        self.seen.append(request)
        self.exchanges.append(exchange)
        return self._handle(request, exchange)

    @staticmethod
    def echo(request: Request, _exchange: Exchange) -> Response:
        return sentence(200, f"{request.method} {request.path} {request.body.decode()}")

    def talk(self) -> Talk:
        return Talk(self)

    def turns(self, count: int = 1) -> None:
        for _ in range(count):
            self.reactor.call_soon(lambda: None)  # so that it waits for nothing
            self.reactor.turn()

    def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.turns(2)


class Talk:
    """A connection of a bench's site: the peer's side, and the transport."""

    peer = "192.0.2.1:5000"
    peer_names: tuple[str, ...] = ()

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.last_received = bench.reactor.now
        self.written = b""
        self.is_reading = True
        self.is_closed = False
        self.unread = 0
        self.session = Session(bench.site)
        self.session.connection_made(self)

    # -- The peer --

    def send(self, data: bytes) -> None:
        """What arrives, in chunks as the connection reads them, while it is read."""
        for at in range(0, len(data), 8192):
            assert self.is_reading
            self.last_received = self.bench.reactor.now
            self.session.data_received(data[at : at + 8192])

    def received(self) -> bytes:
        data, self.written = self.written, b""
        return data

    def ask(self, data: bytes, *, of_head: bool = False) -> Answer:
        self.send(data)
        [answer] = answers_in(self.received(), of_head=of_head)
        return answer

    def hang_up(self) -> None:
        self.is_closed = True
        self.session.connection_lost(None)

    # -- The transport --

    def write(self, data: bytes) -> None:
        if not self.is_closed:
            self.written += data

    def pause_reading(self) -> None:
        self.is_reading = False

    def resume_reading(self) -> None:
        self.is_reading = True

    def local_address(self) -> str:
        return "203.0.113.1:8081"

    def bytes_unread(self) -> int:
        return self.unread

    def bytes_unsent(self) -> int:
        return 0

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        if not self.session.is_gone:
            self.hang_up()


def answers_in(data: bytes, *, of_head: bool = False) -> list[Answer]:
    """Parsed by hand, and strictly: whatever is not exactly as it should be fails."""
    answers = []
    while data:
        head, mark, data = data.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.1 (\d{3}) [A-Za-z -]+", first)
        assert mark, head
        assert match, first
        pairs = [line.split(": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in pairs}
        assert len(headers) == len(pairs), lines
        length = 0 if of_head else int(headers.get("content-length", 0))
        assert len(data) >= length
        answers.append(Answer(int(match[1]), headers, data[:length]))
        data = data[length:]
    return answers


def get(path: str = "/", *headers: str, method: str = "GET", body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
