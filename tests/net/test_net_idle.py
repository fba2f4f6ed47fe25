"""Many connections that say nothing cost those that do next to nothing."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator

import pytest
from net_support import Net, read_all
from test_net_echo import Echo

from sttp_reactor.net.address import resolve
from sttp_reactor.net.listener import Listener, bind
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import Reactor

IDLE = 5_000
DESCRIPTORS = 2 * IDLE + 500  # both ends are in this process


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < DESCRIPTORS:
        pytest.skip(f"the system allows {hard} open files; this needs {DESCRIPTORS}")
    if soft != resource.RLIM_INFINITY and soft < DESCRIPTORS:
        resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class WatchfulEcho(Echo):
    """An echo that gives up on a silent peer, as every real protocol does."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(transport)
        self._timer = self._reactor.call_later(60.0, transport.abort)

    def connection_lost(self, error: Exception | None) -> None:
        self._timer.cancel()


def ask(net: Net, speaker: socket.socket, question: bytes) -> bytes:
    speaker.send(question)
    answer = bytearray()

    def answered() -> bool:
        answer.extend(read_all(speaker))
        return len(answer) >= len(question)

    net.until(answered)
    return bytes(answer)


def test_five_thousand_idle_connections_leave_an_echo_answering(net: Net, many_descriptors: None) -> None:
    """And then they all time out together. No turn takes long, neither then nor before: the fixture sees to it."""
    sock = bind(resolve("127.0.0.1", 0)[0])
    listener = net.will_close(Listener(net.reactor, sock, lambda: WatchfulEcho(net.reactor)))
    clients = []
    for number in range(IDLE):
        clients.append(net.will_close(socket.create_connection(sock.getsockname())))
        if number % 50 == 0:
            net.turns()
    net.until(lambda: listener.accepted == IDLE)

    speaker = clients[IDLE // 2]
    speaker.setblocking(False)
    turns, processor = net.reactor.turns, time.thread_time()
    for number in range(200):
        question = b"%d\n" % number
        assert ask(net, speaker, question) == question
    assert net.reactor.turns - turns <= 2 * 200  # one turn a question; two, if TCP took a moment
    assert (time.thread_time() - processor) / 200 < 0.005

    net.clock.now += 61.0
    net.until(lambda: repr(net.reactor).endswith(": 1 sockets, 0 timers, 0 ready>"))
