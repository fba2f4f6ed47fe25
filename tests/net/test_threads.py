"""A thread that is started deaf takes no signal, whoever starts it, and changes nothing for who does."""

from __future__ import annotations

import signal
import threading

import pytest

from sttp_reactor.errors import ToldToStop
from sttp_reactor.net.threads import start_deaf, wait_unless_told_to_stop


def masked() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def test_it_blocks_all_signals_but_those_of_its_own_faults() -> None:
    before = masked()
    seen: list[set[int]] = []
    thread = threading.Thread(target=lambda: seen.append(masked()))
    start_deaf(thread)
    thread.join()
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2} <= seen[0]
    assert not {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE} & seen[0]
    assert masked() == before


def test_what_it_waits_for_is_returned_or_raised() -> None:
    assert wait_unless_told_to_stop(lambda: 7, "nobody") == 7
    with pytest.raises(ZeroDivisionError):
        wait_unless_told_to_stop(lambda: 1 // 0, "nobody")


def test_what_hangs_is_left_behind_when_a_signal_says_so() -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    end = threading.Event()
    try:
        signal.raise_signal(signal.SIGTERM)  # to this thread, and to no other
        with pytest.raises(ToldToStop, match="while the oracle did not answer"):
            wait_unless_told_to_stop(end.wait, "the oracle")
    finally:
        end.set()
        signal.sigtimedwait({signal.SIGTERM}, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
