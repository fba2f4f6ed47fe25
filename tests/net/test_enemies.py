"""What an enemy of the loop does, by mistake as a rule: the others go on, and so does the loop."""

from __future__ import annotations

import errno
import os
import random
import select
import socket
from functools import partial

import pytest
from net_support import Net, fail, fill, read_all

from sttp_reactor.net.connection import Connection
from sttp_reactor.net.poller import EpollSelector
from sttp_reactor.net.reactor import READ, WRITE


class Sink:
    """Reads what comes, and notes what it cannot."""

    def __init__(self, net: Net, sock: socket.socket) -> None:
        self.net = net
        self.sock = sock
        self.received = b""
        self.errors: list[int | None] = []
        net.reactor.register(sock, READ, self)

    def on_readable(self) -> None:
        try:
            self.received += self.sock.recv(100)
        except BlockingIOError:
            pass
        except OSError as error:
            self.errors.append(error.errno)
            self.net.reactor.unregister(self.sock)

    def on_writable(self) -> None:
        pass


def sink(net: Net) -> tuple[Sink, socket.socket]:
    near, far = net.socketpair()
    return Sink(net, near), far


# -- Descriptors --


def test_a_descriptor_closed_behind_the_loops_back_costs_the_others_nothing(any_net: Net) -> None:
    victim, _ = sink(any_net)
    other, far = sink(any_net)
    victim.sock.close()
    any_net.turns(3)
    far.send(b"hello")
    any_net.turns(3)
    assert other.received == b"hello"
    assert repr(any_net.reactor).startswith("<Reactor turn 6: ")
    any_net.reactor.unregister(victim.sock)
    any_net.reactor.unregister(victim.sock)
    del any_net.failures[:]  # what `select` says of it


def test_its_number_can_be_registered_by_the_next_who_gets_it(any_net: Net) -> None:
    victim, far = sink(any_net)
    near, other_far = any_net.socketpair()
    number = victim.sock.fileno()
    victim.sock.close()
    heir = any_net.will_close(near.dup())
    assert heir.fileno() == number
    other = Sink(any_net, heir)
    any_net.reactor.unregister(victim.sock)  # its first owner, late: this is nobody's any more
    other_far.send(b"hello")
    any_net.turns(2)
    assert (other.received, victim.received) == (b"hello", b"")
    far.close()


def test_a_number_that_is_registered_and_open_is_not_taken_away(net: Net) -> None:
    owner, _ = sink(net)
    with pytest.raises(KeyError):
        net.reactor.register(owner.sock, READ, owner)
    assert net.selector.get_map()[owner.sock].data is owner


def test_a_descriptor_duplicated_then_closed_costs_the_others_nothing(any_net: Net) -> None:
    """The open file lives on in its duplicate, and epoll reports it under a number that nobody has registered."""
    victim, victims_far = sink(any_net)
    writer, _ = sink(any_net)
    any_net.reactor.set_interest(writer.sock, READ | WRITE, writer)
    other, far = sink(any_net)
    any_net.will_close(victim.sock.dup())
    victim.sock.close()
    any_net.reactor.unregister(victim.sock)
    victims_far.send(b"for nobody")
    far.send(b"hello")
    any_net.turns(3)
    assert other.received == b"hello"
    any_net.reactor.set_interest(writer.sock, READ, writer)
    far.send(b" again")
    any_net.turns(2)
    assert other.received == b"hello again"


@pytest.mark.skipif(not hasattr(select, "epoll"), reason="epoll alone watches files, not descriptors")
def test_nor_does_it_make_the_loop_spin() -> None:
    """What epoll would report at every wait makes epoll itself readable, which is how this can be seen."""
    with EpollSelector() as inner, Net(inner) as net:
        victim, far = sink(net)
        net.will_close(victim.sock.dup())
        victim.sock.close()
        net.reactor.unregister(victim.sock)
        far.send(b"for nobody")
        assert select.select([inner.fileno()], [], [], 0)[0]
        net.turns()
        assert not select.select([inner.fileno()], [], [], 0)[0]


def test_a_connection_whose_socket_was_closed_by_another_ends_as_lost(any_net: Net) -> None:
    near, far = any_net.socketpair()
    protocol = any_net.recorder()
    connection = Connection(any_net.reactor, near, lambda: protocol)
    near.close()
    any_net.reactor.call_soon(lambda: connection.write(b"x"))
    any_net.turns(3)
    assert protocol.heard == ["made", "lost"]
    assert isinstance(protocol.error, OSError) or protocol.error is None
    del any_net.failures[:]
    far.close()


# -- The selector --


@pytest.mark.parametrize("code", [errno.EINTR, errno.ENOSPC, errno.EINVAL, errno.EBADF])
def test_a_wait_that_fails_once_is_tried_again(any_net: Net, code: int) -> None:
    other, far = sink(any_net)
    any_net.failures_expected = 1
    any_net.selector.failures = [OSError(code, os.strerror(code))]
    far.send(b"hello")
    any_net.turns(2)
    assert other.received == b"hello"


def test_a_wait_that_fails_in_a_lull_loses_nothing(net: Net) -> None:
    called: list[int] = []
    net.selector.failures = [OSError(errno.EINVAL, "no")]
    net.reactor.call_in_lull(lambda: called.append(1))
    net.turns(2)
    assert called == [1]


def test_a_selector_that_is_broken_for_good_ends_the_loop(net: Net) -> None:
    net.selector.failures = [OSError(errno.EINVAL, "no") for _ in range(1000)]
    with pytest.raises(OSError, match="no"):
        net.reactor.run()
    net.selector.failures = []
    del net.failures[:]


def test_a_change_of_interest_that_is_refused_ends_the_connection(any_net: Net) -> None:
    """What nobody watches would wait for ever: when there is something left to send, and when reading goes on."""
    sending, resuming = any_net.connect(), any_net.connect()
    resuming.connection.pause_reading()
    any_net.selector.refuse_after(0, errno.ENOSPC)
    fill(sending.peer, 0)
    any_net.reactor.call_soon(lambda: sending.connection.write(bytes(1_000_000)))
    any_net.reactor.call_soon(resuming.connection.resume_reading)
    any_net.turns(3)
    any_net.selector.refuse_after(None)
    for end in (sending, resuming):
        assert end.protocol.heard[-1] == "lost"
        assert isinstance(end.protocol.error, OSError)
        assert end.protocol.error.errno == errno.ENOSPC
    assert repr(any_net.reactor).endswith(": 0 sockets, 0 timers, 0 ready>")


# -- Callbacks --


def test_a_callback_that_raises_costs_the_others_nothing(any_net: Net) -> None:
    any_net.failures_expected = 3
    said: list[str] = []
    broken, served = any_net.connect(any_net.recorder(data=fail)), any_net.connect()
    any_net.reactor.call_later(0.0, fail)
    any_net.reactor.call_soon(fail)
    any_net.reactor.call_soon(lambda: said.append("soon"))
    any_net.reactor.call_later(0.0, lambda: said.append("later"))
    for end in (broken, served):
        end.peer.send(b"x")
    any_net.turns(2)
    assert served.protocol.received == b"x"
    assert sorted(said) == ["later", "soon"]
    assert broken.protocol.heard == ["made", "data", "lost"]


def test_a_callback_that_closes_its_neighbour(any_net: Net) -> None:
    """Both have something to read: whichever comes first closes the other, which hears no more."""
    ends = [any_net.connect() for _ in range(2)]
    for end, neighbour in zip(ends, reversed(ends), strict=True):
        end.protocol.reactions["data"] = lambda _, neighbour=neighbour: neighbour.connection.abort()
        end.peer.send(b"x")
    any_net.turns(2)
    assert sorted(end.protocol.heard for end in ends) == [["made", "data"], ["made", "lost"]]


def test_a_callback_that_closes_everybody_and_opens_others_in_their_place(any_net: Net) -> None:
    ends = [any_net.connect() for _ in range(20)]
    fresh = [any_net.recorder() for _ in ends]
    pairs = [any_net.socketpair() for _ in ends]

    def replace(_: object) -> None:
        for end in ends:
            end.connection.abort()
            end.protocol.reactions.clear()
        for protocol, (near, _far) in zip(fresh, pairs, strict=True):
            Connection(any_net.reactor, near.dup(), partial(lambda protocol: protocol, protocol))

    for end in ends:
        end.protocol.reactions["data"] = replace
        end.peer.send(b"x")
    any_net.turns(2)
    assert sum("data" in end.protocol.heard for end in ends) == 1
    for protocol, (_, far) in zip(fresh, pairs, strict=True):
        assert protocol.heard == ["made"]
        far.send(b"y")
    any_net.turns(2)
    assert all(protocol.received == b"y" for protocol in fresh)


def test_ten_thousand_timers_half_of_them_cancelled(any_net: Net) -> None:
    rng = random.Random(7)
    called: list[float] = []
    reactor = any_net.reactor
    delays = [rng.uniform(0, 10) for _ in range(10_000)]
    timers = [reactor.call_later(delay, lambda delay=delay: called.append(delay)) for delay in delays]  # type: ignore[misc]
    for timer in timers[::2]:
        timer.cancel()
    end = any_net.connect(any_net.recorder(data=lambda transport: transport.write(b"pong")))
    for _ in range(11):
        end.peer.send(b"ping")
        any_net.pass_time(1.0)
        assert read_all(end.peer) == b"pong"
    assert called == sorted(delays[1::2])
