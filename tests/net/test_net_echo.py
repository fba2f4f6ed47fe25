"""The reactor as a library: an echo server and its client in a few dozen lines, on one reactor, over real sockets.

This is also the example to start from: a protocol is a small object; backpressure is two lines; nothing here is STTP.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from sttp_reactor.net.address import Address, resolve
from sttp_reactor.net.connector import Connector
from sttp_reactor.net.listener import Listener, bind
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import Reactor


class Echo:
    """Sends back what it gets, in the order it came, and closes when the peer has no more to say."""

    transport: Transport

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> None:
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        pass

    def pause_writing(self) -> None:
        pass  # the peer reads too slowly; the connection has stopped reading from it, and there will be no more

    def resume_writing(self) -> None:
        pass


class Client:
    """Sends `text` as fast as the other side takes it, and calls `done` with what has come back."""

    transport: Transport

    def __init__(self, text: bytes, done: Callable[[bytes], None]) -> None:
        self._text = text
        self._sent = 0
        self._paused = False
        self._received = bytearray()
        self._done = done

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) == len(self._text):
            self.transport.close()

    def eof_received(self) -> None:
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self._done(bytes(self._received))

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send()

    def _send(self) -> None:
        while self._sent < len(self._text) and not self._paused:
            piece = self._text[self._sent : self._sent + 1000]
            self._sent += len(piece)
            self.transport.write(piece)


@pytest.mark.parametrize("host", ["127.0.0.1", "unix"])
@pytest.mark.parametrize("clients", [1, 20])
def test_every_client_gets_back_what_it_sent(host: str, clients: int, tmp_path: Path) -> None:
    reactor = Reactor()
    (address,) = resolve(str(tmp_path / "echo") if host == "unix" else host, 0)
    listening = bind(address)
    bound = Address(address.family, listening.getsockname())
    listener = Listener(reactor, listening, Echo)
    texts = [bytes([65 + number]) * 300_000 for number in range(clients)]
    echoed: list[bytes] = []

    def done(text: bytes) -> None:
        echoed.append(text)
        if len(echoed) == clients:
            listener.close()
            reactor.call_later(0.0, reactor.stop)

    def failed(error: OSError) -> None:
        raise error

    for text in texts:
        Connector(reactor, bound, partial(Client, text, done), failed, timeout=5.0)
    reactor.run()
    # The server's ends are told by the turns that follow; then nothing is left but the reactor itself.
    while not repr(reactor).endswith(" 0 sockets, 0 timers, 0 ready>"):
        reactor.call_later(0.01, lambda: None)
        reactor.turn()
    reactor.close()
    assert sorted(echoed) == texts


def test_timers_run_on_the_system_s_clock_never_early_and_without_spinning() -> None:
    reactor = Reactor()
    began = reactor.now
    lateness: list[float] = []

    def fire(delay: float) -> None:
        lateness.append(time.monotonic() - began - delay)

    for delay in (0.001, 0.003, 0.002):
        reactor.call_later(delay, partial(fire, delay))
    reactor.call_later(0.004, reactor.stop)
    reactor.run()
    reactor.close()
    assert len(lateness) == 3
    assert min(lateness) >= 0
    assert reactor.turns <= 12
