"""What the lines of all logs have in common: how they tell the time, and that they are written whole.

They go to a file, a pipe, a terminal or a socket that other processes may write to as well.
What a pipe takes in one write of at most PIPE_BUF bytes is never mixed with what another process writes, and more may
be (pipe(7)). So lines go out in pieces of whole lines, none of them larger than that; a line that is longer goes alone.
A file takes any size at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
import time
from collections.abc import Iterator
from typing import Final

# What POSIX promises, where the system does not say.
_PIPE_BUF: Final = getattr(select, "PIPE_BUF", 512)


class LineWriter:
    """Writes to `descriptor`, which stays its owner's to close. Belongs to one thread at a time."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.lost = 0  # lines that could not be written
        self._is_file = False
        with contextlib.suppress(OSError):  # closed behind our back: the first write will tell
            self._is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        self._is_cut = False  # what has been written ends in the middle of a line

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """`data`, which is whole lines, in what may be written at once."""
        return iter((data,)) if self._is_file else pieces(data, _PIPE_BUF)

    def write(self, data: bytes) -> OSError | None:
        """Write these whole lines, waiting for as long as it takes. What a full disk keeps out is counted as `lost`."""
        prefix = b"\n" if self._is_cut and self._has_content() else b""
        at = 0
        try:
            for piece in self.pieces(data):
                at += self._write_all(prefix + piece) - len(prefix)
                prefix = b""
                self._is_cut = False
        except _Failed as failed:
            at += max(0, failed.written - len(prefix))
            self.lost += data.count(b"\n", at)
            if failed.written:
                self._is_cut = at > 0 and data[at - 1 : at] != b"\n"
            return failed.error
        return None

    def wait(self, seconds: float | None) -> bool:
        """Whether something can be written now, or within that time; None waits for ever."""
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        return bool(poll.poll(None if seconds is None else 1000 * seconds))

    def _has_content(self) -> bool:
        """A line that a full disk has cut stays a line of its own, unless somebody has emptied the file since."""
        try:
            return not self._is_file or os.fstat(self.descriptor).st_size > 0
        except OSError:
            return False

    def _write_all(self, data: bytes) -> int:
        written = 0
        while written < len(data):
            try:
                written += os.write(self.descriptor, data[written:])
            except BlockingIOError:
                self.wait(None)  # whoever shares the pipe or the terminal with us has made it so, for all of us
            except OSError as error:
                raise _Failed(error, written) from error
        return written


class _Failed(Exception):
    def __init__(self, error: OSError, written: int) -> None:
        super().__init__(error)
        self.error = error
        self.written = written


def pieces(data: bytes, most: int) -> Iterator[bytes]:
    """`data` cut behind line ends, into pieces of at most `most` bytes; a line that is longer is a piece of its own."""
    at = 0
    while at < len(data):
        end = len(data)
        if end - at > most:
            end = data.rfind(b"\n", at, at + most) + 1 or data.find(b"\n", at) + 1 or end
        yield data[at:end]
        at = end


def timestamp(now: float) -> str:
    """`2026-11-21T02:03:04.123Z`, of seconds since the epoch: UTC, so that logs of machines in two places, and of both
    sides of a change of clocks, can be laid beside each other."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
