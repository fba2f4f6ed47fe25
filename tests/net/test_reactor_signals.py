"""Signals are ordinary events: they end the wait, and their callbacks run as any other."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from net_support import Net, fail

from sttp_reactor.net.reactor import Reactor

HANDLED = signal.SIGUSR1
OTHER = signal.SIGUSR2


def send(number: int) -> None:
    os.kill(os.getpid(), number)


def test_a_signal_is_delivered_by_the_next_turn_and_not_from_the_handler(any_net: Net) -> None:
    heard: list[int] = []
    any_net.reactor.on_signal(HANDLED, lambda: heard.append(any_net.reactor.turns))
    send(HANDLED)
    assert heard == []
    any_net.turns(2)
    assert heard == [1]
    send(HANDLED)
    any_net.turns()
    assert heard == [1, 3]


def test_a_signal_ends_a_sleep(any_net: Net) -> None:
    any_net.reactor.on_signal(HANDLED, any_net.reactor.stop)
    any_net.selector.patience = 10.0
    asleep = threading.Event()
    any_net.selector.before_select = asleep.set

    def kill() -> None:
        asleep.wait(5.0)
        send(HANDLED)

    thread = threading.Thread(target=kill)
    thread.start()
    any_net.reactor.run()
    thread.join()
    assert any_net.selector.slept == 0


def test_each_signal_has_its_callback_and_the_latest_one_counts(net: Net) -> None:
    heard: list[str] = []
    net.reactor.on_signal(HANDLED, lambda: heard.append("replaced"))
    net.reactor.on_signal(HANDLED, lambda: heard.append("handled"))
    net.reactor.on_signal(OTHER, lambda: heard.append("other"))
    send(OTHER)
    send(HANDLED)
    net.turns()
    assert heard == ["other", "handled"]


def test_a_signal_that_comes_again_before_its_callback_has_run_is_one(net: Net) -> None:
    heard: list[str] = []
    net.reactor.on_signal(HANDLED, lambda: heard.append("handled"))
    net.reactor.on_signal(OTHER, lambda: heard.append("other"))
    for number in (OTHER, HANDLED, OTHER):
        send(number)
    net.turns()
    assert heard == ["other", "handled"]
    send(OTHER)
    net.turns()
    assert heard == ["other", "handled", "other"]


def test_no_number_of_signals_during_a_long_callback_hides_the_one_behind_them(any_net: Net) -> None:
    """What wakes the reactor holds some hundred bytes; one signal's must not push another's out."""
    heard: list[str] = []
    any_net.reactor.on_signal(HANDLED, lambda: heard.append("handled"))
    any_net.reactor.on_signal(signal.SIGTERM, lambda: heard.append("term"))

    def take_long() -> None:
        for _ in range(2000):
            send(HANDLED)
        send(signal.SIGTERM)

    any_net.reactor.call_soon(take_long)
    any_net.turns(2)
    assert heard == ["handled", "term"]


def test_a_signal_wakes_a_reactor_of_another_thread() -> None:
    heard = threading.Event()
    reactor = Reactor()
    reactor.on_signal(HANDLED, heard.set)
    thread = threading.Thread(target=reactor.run)
    thread.start()
    for _ in range(100):
        heard.clear()
        send(HANDLED)
        assert heard.wait(5.0)
    reactor.call_soon_threadsafe(reactor.stop)
    thread.join(5.0)
    assert not thread.is_alive()
    reactor.close()


def test_a_second_reactor_gives_the_signals_back_to_the_first(net: Net) -> None:
    heard: list[str] = []
    net.reactor.on_signal(HANDLED, lambda: heard.append("first"))
    second = Reactor()
    second.on_signal(HANDLED, lambda: heard.append("second"))
    send(HANDLED)
    second.turn()
    second.close()
    net.selector.patience = 5.0
    send(HANDLED)
    net.turns()
    assert heard == ["second", "first"]
    assert net.selector.slept == 0


def test_a_signal_callback_that_fails_costs_the_next_signal_nothing(net: Net) -> None:
    heard: list[str] = []
    net.failures_expected = 1
    net.reactor.on_signal(OTHER, fail)
    net.reactor.on_signal(HANDLED, lambda: heard.append("handled"))
    send(OTHER)
    send(HANDLED)
    net.turns()
    assert heard == ["handled"]


def test_signals_of_others_wake_and_do_no_more(net: Net) -> None:
    heard: list[str] = []
    previous = signal.signal(OTHER, lambda *_: heard.append("theirs"))
    try:
        net.reactor.on_signal(HANDLED, lambda: heard.append("ours"))
        send(OTHER)
        net.turns(2)
    finally:
        signal.signal(OTHER, previous)
    assert heard == ["theirs"]


def test_wake_ups_and_signals_do_not_hide_each_other(net: Net) -> None:
    heard: list[str] = []
    net.reactor.on_signal(HANDLED, lambda: heard.append("signal"))

    def both() -> None:
        net.selector.before_select = lambda: None
        net.reactor.call_soon_threadsafe(lambda: heard.append("posted"))
        send(HANDLED)
        net.reactor.call_soon_threadsafe(lambda: heard.append("posted"))

    net.selector.before_select = both
    net.turns()
    assert sorted(heard) == ["posted", "posted", "signal"]


@pytest.mark.parametrize("original", [signal.SIG_IGN, signal.SIG_DFL])
def test_closing_gives_the_handlers_and_the_wakeup_descriptor_back(original: signal.Handlers) -> None:
    before = signal.signal(HANDLED, original)
    try:
        reactor = Reactor()
        reactor.on_signal(HANDLED, lambda: None)
        reactor.on_signal(HANDLED, lambda: None)
        assert signal.getsignal(HANDLED) is not original
        reactor.close()
        assert signal.getsignal(HANDLED) is original
        assert signal.set_wakeup_fd(-1) == -1
    finally:
        signal.signal(HANDLED, before)


def test_a_reactor_without_signals_touches_no_handler() -> None:
    before = [signal.getsignal(number) for number in (HANDLED, OTHER, signal.SIGTERM, signal.SIGINT)]
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup)
    reactor = Reactor()
    reactor.call_soon(lambda: None)
    reactor.turn()
    assert signal.set_wakeup_fd(wakeup) == wakeup
    reactor.close()
    assert [signal.getsignal(number) for number in (HANDLED, OTHER, signal.SIGTERM, signal.SIGINT)] == before
