"""Water marks, the size of a read, and how long a close lingers are arguments, of servers and of our connections."""

from __future__ import annotations

import socket

import pytest
from net_support import End, Net, Recorder, fail, fill, has_ended

from sttp_reactor.net import Connection, Server, StreamLimits, connect, resolve, serve

LOOPBACK = resolve("127.0.0.1", 0)


def connected(net: Net, limits: StreamLimits) -> End:
    near, far = net.socketpair()
    protocol = net.recorder()
    return End(Connection(net.reactor, near, lambda: protocol, limits=limits), protocol, far)


def caller(net: Net, server: Server) -> socket.socket:
    port = int(server.addresses[0].rpartition(":")[2])
    sock = net.will_close(socket.create_connection(("127.0.0.1", port), timeout=5))
    sock.setblocking(False)
    return sock


@pytest.mark.parametrize(("high", "is_paused"), [(0, True), (99, True), (100, False)])
def test_above_the_high_mark_it_pauses(net: Net, high: int, is_paused: bool) -> None:
    end = connected(net, StreamLimits(high_water=high, low_water=0))
    fill(end.connection._sock)
    end.connection.write(bytes(100))
    net.turns()
    assert end.connection.bytes_unsent() == 100
    assert ("paused" in end.protocol.heard) is is_paused


@pytest.mark.parametrize("low", [0, 50_000])
def test_at_the_low_mark_it_resumes(net: Net, low: int) -> None:
    end = connected(net, StreamLimits(high_water=50_000, low_water=low))
    end.connection.write(bytes(200_000))
    net.turns()
    assert end.protocol.heard[-1] == "paused"
    unsent = [end.connection.bytes_unsent()]
    while end.protocol.heard[-1] == "paused":
        end.peer.recv(1000)
        net.turns()
        unsent.append(end.connection.bytes_unsent())
    assert unsent[-1] <= low < unsent[-2]


@pytest.mark.parametrize("size", [1, 100, 479, 480, 8192, 12_000])
def test_a_turn_reads_so_much(net: Net, size: int) -> None:
    end = connected(net, StreamLimits(read_bytes=size))
    fill(end.peer, 12_000)
    net.turns(3)
    whole = min(3, 12_000 // size)
    assert [len(chunk) for chunk in end.protocol.chunks][:whole] == [size] * whole


@pytest.mark.parametrize("linger", [0.0, 5.0, 500.0])
def test_a_close_lingers_so_long(net: Net, linger: float) -> None:
    end = connected(net, StreamLimits(linger=linger))
    end.connection.close()
    net.turns()
    if linger:
        net.pass_time(linger - 0.5)
        assert "lost" not in end.protocol.heard
    net.pass_time(1.0)
    net.turns(2)
    assert end.protocol.heard[-1] == "lost"


@pytest.mark.parametrize("most", [0, 5])
def test_serve_and_connect_pass_them_on(net: Net, most: int) -> None:
    limits = StreamLimits(read_bytes=7)
    theirs = net.recorder(data=lambda transport: transport.write(bytes(20)))
    ours = net.recorder(made=lambda transport: transport.write(bytes(20)))
    server = net.will_close(serve(net.reactor, lambda: theirs, LOOPBACK, limits=limits, most_connections=most))
    port = int(server.addresses[0].rpartition(":")[2])
    connect(net.reactor, lambda: ours, "127.0.0.1", port, on_failure=fail, limits=limits)
    net.until(lambda: len(ours.received) >= 60)
    for protocol in (theirs, ours):
        assert max(map(len, protocol.chunks)) == 7


def test_all_together_are_so_many(net: Net) -> None:
    made: list[Recorder] = []

    def make() -> Recorder:
        made.append(net.recorder(eof=lambda transport: transport.close()))
        return made[-1]

    server = net.will_close(serve(net.reactor, make, LOOPBACK, most_connections=2))
    first, second, third = (caller(net, server) for _ in range(3))
    net.until(lambda: has_ended(third))
    assert not has_ended(first)
    first.close()
    net.until(lambda: any(protocol.heard[-1] == "lost" for protocol in made))
    fourth = caller(net, server)
    net.until(lambda: server.accepted == 4)
    net.turns()
    assert not has_ended(second)
    assert not has_ended(fourth)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"high_water": 10, "low_water": 11}, "water marks need 0 <= low <= high, and are 11 and 10"),
        ({"low_water": -1}, "water marks need"),
        ({"read_bytes": 0}, "read_bytes is at least 1, not 0"),
        ({"linger": -1.0}, r"linger is 0 or more seconds, not -1\.0"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        StreamLimits(**wrong)
