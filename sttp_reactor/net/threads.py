"""Threads beside the reactor's, which leave signals to it; and waiting for one of them before there is a reactor."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from typing import Final, TypeVar

from sttp_reactor.errors import ToldToStop

T = TypeVar("T")

STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_LOOK_SECONDS: Final = 0.05

# What a thread's own fault raises is its own, and `faulthandler` tells of it.
_FAULTS: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGSYS, signal.SIGTRAP}


def start_deaf(thread: threading.Thread) -> None:
    """Start it with all signals blocked, whoever starts it.

    The kernel gives a signal to any thread that does not block it. A process that ends blocks signals in its main
    thread, so that a late one does not kill it on its last steps; a thread that lives on, because its disk or its
    resolver does not answer, would take that signal instead, and the process would die of it.
    """
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def wait_unless_told_to_stop(work: Callable[[], T], what: str) -> T:
    """What `work` returns or raises, done in a thread of its own. Raises ToldToStop, with `what` was waited for, where
    SIGTERM or SIGINT, which the caller holds back, have come and it takes long.

    A start holds signals back until somebody can hear them, and a resolver or a network's disk that does not answer
    would leave it deaf for as long. Nothing can end such a call, so its thread is left behind.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def do() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=do, name="sttp-start", daemon=True)
    start_deaf(thread)
    while True:
        thread.join(_LOOK_SECONDS)
        if not thread.is_alive():
            break
        if signal.sigpending() & STOPPING:
            raise ToldToStop(f"told to stop, while {what} did not answer")
    if errors:
        raise errors[0]
    return results[0]
