"""One call in a thread of its own: what may take its time, or never come back, such as a resolver or a file on a
network's disk. Nobody waits for it, not even the end of the process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from sttp_reactor.net.threads import start_deaf

T = TypeVar("T")


class Background(Generic[T]):
    """Calls `call`, then `on_end`, both in that thread; then `result` may be asked, in any."""

    def __init__(self, call: Callable[[], T], on_end: Callable[[], None]) -> None:
        self.began_at = time.monotonic()
        self.is_over = False
        self._call = call
        self._on_end = on_end
        self._returned: list[T] = []
        self._error: BaseException | None = None
        start_deaf(threading.Thread(target=self._run, name="sttp-reload", daemon=True))

    def result(self) -> T:
        """What `call` has returned; raises what it has raised. Once it is over."""
        if self._error is not None:
            raise self._error
        return self._returned[0]

    def _run(self) -> None:
        try:
            self._returned.append(self._call())
        except BaseException as error:
            self._error = error
        self.is_over = True
        self._on_end()
