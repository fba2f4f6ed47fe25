"""Water marks and the peer that will not read. The clock is moved by hand."""

from __future__ import annotations

import pytest
from net_support import End, Net, read_all

from sttp_reactor.limits import HIGH_WATER_BYTES, LOW_WATER_BYTES
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import READ, WRITE


def blocked(net: Net, waiting: int, write_timeout: float = 30.0) -> End:
    """A connection whose peer reads nothing, with `waiting` bytes that the kernel has not taken."""
    end = net.connect(write_timeout=write_timeout)
    end.connection.write(bytes(taken_at_once(net) + waiting))
    net.turns()
    assert end.connection.bytes_unsent() == waiting
    return end


def taken_at_once(net: Net) -> int:
    """How many bytes one send of a fresh socket pair takes."""
    return net.socketpair()[0].send(bytes(1 << 20))


def read_until_waiting(net: Net, end: End, most: int) -> None:
    while end.connection.bytes_unsent() > most:
        read_all(end.peer)
        net.turns()


def test_above_the_high_mark_writing_and_reading_stop_and_below_the_low_one_they_go_on(any_net: Net) -> None:
    end = blocked(any_net, HIGH_WATER_BYTES)
    assert end.protocol.heard == ["made"]
    end.connection.write(b"x")
    assert end.protocol.heard == ["made", "paused"]
    end.peer.send(b"unread")
    any_net.turns(3)
    assert end.protocol.heard == ["made", "paused"]
    read_until_waiting(any_net, end, LOW_WATER_BYTES)
    assert end.protocol.heard == ["made", "paused", "resumed"]
    any_net.turns()
    assert end.protocol.received == b"unread"


def test_the_high_mark_itself_does_not_count(net: Net) -> None:
    end = blocked(net, HIGH_WATER_BYTES - 1)
    end.connection.write(b"x")
    net.turns()
    assert end.protocol.heard == ["made"]
    end.connection.write(b"x")
    assert end.protocol.heard == ["made", "paused"]


@pytest.mark.parametrize("over", range(0, 40_000, 2500))
def test_writing_goes_on_at_the_low_mark_and_not_above(net: Net, over: int) -> None:
    """From many a start, since the kernel takes what waits in leaps of its own."""
    end = blocked(net, HIGH_WATER_BYTES + 1 + over)
    for _ in range(100):
        assert ("resumed" in end.protocol.heard) is (end.connection.bytes_unsent() <= LOW_WATER_BYTES)
        read_all(end.peer)
        net.turns()
    assert end.protocol.heard == ["made", "paused", "resumed"]


def test_each_crossing_tells_the_selector_once(net: Net) -> None:
    end = net.connect()
    end.connection.write(bytes(4 * HIGH_WATER_BYTES))
    with net.selector.changes() as changes:
        net.turns()
        end.connection.write(b"more")
        read_until_waiting(net, end, 0)
    # From reading to sending alone, and on the way down to both and back; or at one stroke, if the peer was quick.
    assert changes in (
        [("modify", WRITE), ("modify", READ | WRITE), ("modify", READ)],
        [("modify", WRITE), ("modify", READ)],
    )


def test_a_single_write_above_the_mark_pauses_when_the_kernel_has_refused_it(net: Net) -> None:
    end = net.connect()
    end.connection.write(bytes(3 * HIGH_WATER_BYTES))
    net.turns()
    assert end.protocol.heard == ["made", "paused"]


def test_a_large_write_that_the_kernel_takes_pauses_nobody(net: Net) -> None:
    end = net.connect(tcp=True)
    for _ in range(4):
        end.connection.write(bytes(HIGH_WATER_BYTES // 2))
        net.turns()
        net.until(lambda: read_all(end.peer))
    assert "paused" not in end.protocol.heard


def test_a_protocol_that_writes_until_it_is_told_to_pause_is_told(net: Net) -> None:
    end = net.connect()

    def produce(transport: Transport) -> None:
        for _ in range(100_000):  # an end, for a connection that would never tell
            if end.protocol.heard.count("paused") > end.protocol.heard.count("resumed"):
                break
            transport.write(bytes(1000))

    end.protocol.reactions["resumed"] = produce
    net.reactor.call_soon(lambda: produce(end.connection))
    received = 0
    for round_ in range(1, 10):
        net.turns()
        assert end.protocol.heard.count("paused") == round_
        assert end.connection.bytes_unsent() <= HIGH_WATER_BYTES + 1000
        while end.protocol.heard.count("resumed") < round_:
            received += len(read_all(end.peer))
            net.turns()
    assert received > 9 * (HIGH_WATER_BYTES - LOW_WATER_BYTES)


def test_going_over_the_mark_in_resume_writing_pauses_again(any_net: Net) -> None:
    end = any_net.connect()
    end.protocol.reactions["resumed"] = lambda transport: transport.write(bytes(3 * HIGH_WATER_BYTES))
    end.connection.write(bytes(3 * HIGH_WATER_BYTES))
    any_net.turns()
    received = 0
    while received < 9 * HIGH_WATER_BYTES:
        received += len(read_all(end.peer))
        any_net.turns()
    assert end.protocol.heard[:5] == ["made", "paused", "resumed", "paused", "resumed"]


def test_a_pause_of_the_protocol_s_own_outlasts_the_marks(any_net: Net) -> None:
    end = any_net.connect()
    end.connection.write(bytes(3 * HIGH_WATER_BYTES))
    any_net.turns()
    end.connection.pause_reading()
    end.peer.send(b"unread")
    read_until_waiting(any_net, end, 0)
    any_net.turns(2)
    assert end.protocol.heard == ["made", "paused", "resumed"]
    end.connection.resume_reading()
    any_net.turns()
    assert end.protocol.received == b"unread"


def test_resume_reading_does_not_lift_the_mark(any_net: Net) -> None:
    end = any_net.connect()
    end.connection.write(bytes(3 * HIGH_WATER_BYTES))
    any_net.turns()
    end.peer.send(b"unread")
    end.connection.pause_reading()
    end.connection.resume_reading()
    any_net.turns(2)
    assert end.protocol.received == b""


@pytest.mark.parametrize("where", ["paused", "resumed"])
@pytest.mark.parametrize("ending", ["abort", "close"])
def test_a_connection_may_be_ended_by_either_call_about_the_marks(any_net: Net, where: str, ending: str) -> None:
    end = any_net.connect(any_net.recorder(**{where: lambda transport: getattr(transport, ending)()}))
    end.connection.write(bytes(3 * HIGH_WATER_BYTES))
    end.connection.write(b"the end")
    any_net.turns(2)
    received = bytearray()
    for _ in range(100):
        received += read_all(end.peer)
        any_net.turns()
    if ending == "close":
        assert len(received) == 3 * HIGH_WATER_BYTES + len(b"the end")
        assert "lost" not in end.protocol.heard  # it lingers until the peer has closed as well
        end.peer.close()
        any_net.turns(2)
    assert end.protocol.heard == ["made", "paused", "lost"] or where == "resumed"
    assert end.protocol.heard[-1] == "lost"
    assert end.protocol.error is None


# -- The peer that reads nothing --


def test_a_peer_that_reads_nothing_is_cut_off_at_write_timeout(any_net: Net) -> None:
    end = blocked(any_net, 10, write_timeout=30.0)
    any_net.pass_time(29.9)
    assert end.protocol.heard == ["made"]
    any_net.pass_time(0.2)
    any_net.turns()
    assert end.protocol.heard == ["made", "lost"]
    assert isinstance(end.protocol.error, TimeoutError)


def test_progress_extends_the_time(any_net: Net) -> None:
    end = blocked(any_net, 3 * HIGH_WATER_BYTES, write_timeout=30.0)
    for _ in range(5):
        any_net.pass_time(29.0)
        assert "lost" not in end.protocol.heard
        before = end.connection.bytes_unsent()
        while end.connection.bytes_unsent() == before:
            end.peer.recv(1000)
            any_net.turns()
    any_net.pass_time(29.9)
    assert "lost" not in end.protocol.heard
    any_net.pass_time(0.2)
    any_net.turns()
    assert end.protocol.heard[-1] == "lost"
    assert isinstance(end.protocol.error, TimeoutError)


def test_further_writes_are_no_progress(net: Net) -> None:
    end = blocked(net, 10, write_timeout=30.0)
    for _ in range(30):
        net.pass_time(1.0)
        end.connection.write(b"x")
    net.turns(2)
    assert end.protocol.heard == ["made", "lost"]


def test_a_connection_with_nothing_to_send_may_be_silent_for_ever(net: Net) -> None:
    end = blocked(net, 10, write_timeout=30.0)
    read_until_waiting(net, end, 0)
    for _ in range(10):
        net.pass_time(100.0)
    assert end.protocol.heard == ["made"]
    assert len(net.reactor._timers) == 0  # and costs no wake-up


def test_the_time_is_counted_anew_for_what_blocks_later(net: Net) -> None:
    end = blocked(net, 10, write_timeout=30.0)
    net.pass_time(20.0)
    read_until_waiting(net, end, 0)
    net.pass_time(5.0)
    end.connection.write(bytes(3 * HIGH_WATER_BYTES))
    net.turns()
    net.pass_time(29.0)  # 54 s after the first timer was set, 29 s after it blocked
    assert "lost" not in end.protocol.heard
    net.pass_time(1.1)
    net.turns()
    assert end.protocol.heard[-1] == "lost"


@pytest.mark.parametrize("half_closed", [False, True])
def test_the_time_holds_while_closing_too(any_net: Net, half_closed: bool) -> None:
    end = blocked(any_net, 10, write_timeout=30.0)
    if half_closed:
        end.peer.shutdown(1)
        any_net.turns()
    end.connection.close()
    any_net.pass_time(29.9)
    assert "lost" not in end.protocol.heard
    any_net.pass_time(0.2)
    any_net.turns()
    assert end.protocol.heard[-1] == "lost"
    assert isinstance(end.protocol.error, TimeoutError)
