"""What ends a reactor's wait from outside: another thread's call, or a signal.

A socket pair carries wake-ups and nothing else. Which signals have come is kept apart from it: the pair holds some
hundred bytes, so while a callback runs for long, a burst of one signal fills it, and the byte of the next signal (a
SIGTERM, say) is dropped. Any byte wakes the reactor, and it then looks at what the handler has recorded.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any, Final

log = logging.getLogger(__name__)

_WAKE: Final = b"\0"


class Waker:
    """Readable as soon as somebody has called `wake`, or a watched signal has come.

    `wake` may be called by any thread; all else belongs to the reactor's thread, and signals to the main thread.
    """

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._arrived: deque[int] = deque()  # signals whose callbacks are due: each number once, in order of arrival
        self._replaced: dict[int, Any] = {}
        self._replaced_descriptor = -1

    def fileno(self) -> int:
        return self._receiver.fileno()

    def wake(self) -> None:
        try:
            self._sender.send(_WAKE)
        except BlockingIOError:
            pass  # the pair is full of bytes that will wake it just as well
        except OSError:
            pass  # the reactor is closed, and a thread that posts so late has nobody to wake

    def watch_signal(self, number: int, callback: Callable[[], None]) -> None:
        """Raises ValueError outside the main thread, OSError for a signal that cannot be caught."""
        previous = signal.signal(number, self._record)
        if not self._callbacks:
            self._replaced_descriptor = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._callbacks[number] = callback
        self._replaced.setdefault(number, previous)

    def _record(self, number: int, _frame: FrameType | None) -> None:
        """The handler. A signal that comes again before its callback has run is still one signal, as for the kernel.

        The interpreter has written a byte when the signal came, which is what ends the wait. It may have been read
        before this runs, where the reactor runs in another thread than this (the main one), so there is a second one.
        """
        if number not in self._arrived:
            self._arrived.append(number)
        self.wake()

    def on_readable(self) -> None:
        try:
            self._receiver.recv(4096)
        except (BlockingIOError, InterruptedError):
            return
        for _ in range(len(self._arrived)):
            callback = self._callbacks.get(self._arrived.popleft())
            if callback is not None:
                try:
                    callback()
                except Exception:  # the callbacks of the signals behind it are still to be called
                    log.exception("a signal's callback failed")

    def on_writable(self) -> None:
        pass

    def close(self) -> None:
        """Give back the signals' former handlers, and what the interpreter woke before."""
        if self._callbacks:
            ours, now = self._sender.fileno(), signal.set_wakeup_fd(-1)
            signal.set_wakeup_fd(self._replaced_descriptor if now == ours else now, warn_on_full_buffer=False)
            for number, previous in self._replaced.items():
                signal.signal(number, previous)
            self._callbacks.clear()
        self._receiver.close()
        self._sender.close()
