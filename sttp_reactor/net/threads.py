"""Threads beside the reactor's, which leave signals to it."""

from __future__ import annotations

import signal
import threading
from typing import Final

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
