"""The three descriptors that every program takes for granted."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def hold_standard_descriptors() -> None:
    """Open 0, 1 and 2 on /dev/null where they are closed (`sttpd <&- 2>&-`), before anything else is opened.

    The first socket would take such a number otherwise, and a message to standard error would go to whoever is at its
    other end. `sys.stderr` is there afterwards: Python sets it to None, and `print(file=None)` means standard output.
    `sys.stdin` and `sys.stdout` stay None, for whoever needs them to tell that they are closed.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is the one that is given, for those below it are open by now.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = _into_nothing()


def _into_nothing() -> TextIO:
    return open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
