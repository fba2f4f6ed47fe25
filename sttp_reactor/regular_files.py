"""Opening files that are read whole while others wait, such as a configuration or a certificate at a reload."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path
from typing import BinaryIO, Final

# A file that was changed longer ago is not being written now. One that was is looked at again, but not for ever.
_LONG_AT_REST_SECONDS: Final = 1.0
_LOOK_AGAIN_SECONDS: Final = 0.02
_LOOKS: Final = 10


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file to read. Raises OSError, for a pipe, a socket or a device as well: opening a pipe waits until
    somebody writes to it, and reading one takes away what it holds, so that it can be read but once."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        if not is_regular(descriptor):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_at_rest(path: Path, most: int) -> bytes:
    """Its first `most` bytes, once it has come to rest: who writes a file in place shows, for a moment, none of it or a
    half that looks like a whole. May take some hundredths of a second, so it is not for a reactor's thread. Raises
    OSError as `open_regular` does."""
    data = b""
    for _ in range(_LOOKS):
        with open_regular(path) as file:
            before = os.fstat(file.fileno())
            data = file.read(most)
        if time.time() - before.st_mtime > _LONG_AT_REST_SECONDS:
            break
        time.sleep(_LOOK_AGAIN_SECONDS)
        if _version_of(os.stat(path)) == _version_of(before):
            break
    return data


def _version_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def is_regular(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)
