"""One question for all who wait: has everything been told that was acknowledged before they asked?

Asked while an earlier question is under way, the next one is for everybody who came meanwhile: it must be asked after
them, and one is enough for any number.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from functools import partial

from sttp_reactor.net.loop import Loop
from sttp_reactor.net.threads import start_deaf

log = logging.getLogger(__name__)

Answered = Callable[[bool], None]


class Barrier:
    """All methods belong to the loop's thread."""

    def __init__(self, loop: Loop, ask_store: Callable[[], bool]) -> None:
        """`ask_store` is `store.base.Store.barrier`, which blocks: a thread of its own calls it."""
        self._loop = loop
        self._ask_store = ask_store
        self._waiting: list[Answered] = []
        self._asked: list[Answered] = []  # for whom a question is under way
        self._bell: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._is_due = False
        self._thread = threading.Thread(target=self._run, name="sttp-barrier", daemon=True)
        start_deaf(self._thread)

    @property
    def under_way(self) -> int:
        """Who waits for an answer."""
        return len(self._waiting) + len(self._asked)

    def ask(self, answered: Answered) -> None:
        """Have `answered(is_told)` called once, later."""
        self._waiting.append(answered)
        if not self._is_due and not self._asked:
            self._is_due = True
            self._loop.call_in_lull(self._begin)

    def close(self, timeout: float) -> bool:
        """End the thread. False where it was still busy after `timeout` seconds."""
        self._bell.put(False)
        self._thread.join(max(0.0, timeout))
        return not self._thread.is_alive()

    def _begin(self) -> None:
        self._is_due = False
        self._asked, self._waiting = self._waiting, []
        self._bell.put(True)

    def _run(self) -> None:
        while self._bell.get():
            try:
                is_told = self._ask_store()
            except Exception:  # who waits is answered whatever happens
                log.exception("the store could not be asked")
                is_told = False
            self._loop.call_soon_threadsafe(partial(self._end, is_told))

    def _end(self, is_told: bool) -> None:
        asked, self._asked = self._asked, []
        for answered in asked:
            try:
                answered(is_told)
            except Exception:  # what goes wrong with one must not cost the others their answers
                log.exception("an answer could not be delivered")
        if self._waiting and not self._is_due:
            self._begin()
