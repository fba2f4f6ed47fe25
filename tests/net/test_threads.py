"""A thread that is started deaf takes no signal, whoever starts it, and changes nothing for who does."""

from __future__ import annotations

import signal
import threading

from sttp_reactor.net.threads import start_deaf


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
