r"""One input of a fuzzer as a script: what arrives, and what happens between two pieces of it.

All bytes stand for themselves but 0xFF, which no text holds. The byte behind it says what happens at this place (each
target has its own letters), or is one of these two:

    FF FF       the byte 0xFF itself
    FF 2A n n   (`*`) the byte before it, n times more, so that few bytes say that a line has 8,193

So a fuzzer that cuts, copies and joins inputs does the same to what a client does, and an input can be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

MARK: Final = 0xFF
_REPEAT: Final = ord("*")

# Enough for some lines that are too long. Everything that is said of larger inputs is said of these, too.
MAX_BYTES: Final = 32768

_T = TypeVar("_T")


class Step(NamedTuple):
    """`data` arrives, then `what` happens; "" at the end of the script."""

    data: bytes
    what: str


def read_script(script: bytes, letters: str) -> list[Step]:
    """The steps of a script in which `letters` mean something."""
    steps: list[Step] = []
    data = bytearray()
    room = MAX_BYTES
    at = 0
    while at < len(script):
        byte, following = script[at], script[at + 1 : at + 2]
        at += 1
        if byte == MARK and following:
            at += 1
            if following.decode("latin-1") in letters:
                steps.append(Step(bytes(data), following.decode("latin-1")))
                data.clear()
                continue
            if following[0] == _REPEAT:
                count = min(int.from_bytes(script[at : at + 2], "big"), room)
                at += 2
                data += data[-1:] * count
                room -= count
                continue
            at -= following[0] != MARK  # a mark that means nothing is data like any other
        data.append(byte)
    return [*steps, Step(bytes(data), "")]


def write_script(steps: Iterable[bytes | str]) -> bytes:
    """The inverse, for seeds and strategies: texts are letters, bytes are data."""
    return b"".join(
        bytes([MARK, ord(step)]) if isinstance(step, str) else step.replace(b"\xff", b"\xff\xff") for step in steps
    )


def in_linear_time(function: Callable[[], _T], *, size: int, lines: int = 0, pieces: int = 0) -> _T:
    """What `function` returns. Fails where it takes CPU time out of all proportion to what it is given, three times in
    a row; a busy machine is no reason, and an instrumented program is some times slower."""
    limit = 0.1 + 5e-6 * size + 400e-6 * lines + 20e-6 * pieces
    took = []
    while True:
        start = time.thread_time()
        result = function()
        took.append(time.thread_time() - start)
        if took[-1] <= limit:
            return result
        assert len(took) < 3, f"{size} bytes, {lines} lines in {pieces} pieces took {min(took):.2f} s"
