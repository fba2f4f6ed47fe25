"""What the Python peers share: one line in, one reply out; a least-recently-used cache whose entries expire.

They answer SHOW of files and refuse the rest. That is lighter than sttpd's rules in the ways that cost time: no check
of UTF-8, lengths or control characters, symbolic links are followed, there are no time limits, and a file that two ask
for at once is read twice. The cache is what `collections.OrderedDict` is made for, and has no lock: a server with
threads adds its own.
"""

from __future__ import annotations

import time
from collections import OrderedDict

CACHE_FILES = 100_000
EXPIRATION_SECONDS = 300.0

REFUSED = b'300 - CLIENT ERROR "expected SHOW <path>"\n'


class Cache:
    """Ready replies by path."""

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    def get(self, path: bytes) -> bytes | None:
        entry = self._entries.get(path)
        if entry is None:
            return None
        if entry[0] < time.monotonic():
            del self._entries[path]
            return None
        self._entries.move_to_end(path)
        return entry[1]

    def put(self, path: bytes, reply: bytes) -> None:
        self._entries[path] = time.monotonic() + EXPIRATION_SECONDS, reply
        if len(self._entries) > CACHE_FILES:
            self._entries.popitem(last=False)


def path_of(line: bytes) -> bytes | None:
    """The path that `line` (without its LF) asks to be shown; None where it is no SHOW."""
    action, _, path = line.rstrip(b"\r").partition(b" ")
    return path if action == b"SHOW" and path.startswith(b"/") else None


def read_reply(docroot: bytes, path: bytes) -> bytes:
    if b"/." in path or b" " in path:
        return b'300 %b CLIENT ERROR "not a path"\n' % path
    try:
        with open(docroot + path, "rb") as file:
            contents = file.read()
    except FileNotFoundError:
        return b"400 %b NOT FOUND\n" % path
    except (OSError, ValueError):
        return b'500 %b SERVER ERROR "the file cannot be read"\n' % path
    return b"200 %b OK\n%b\n" % (path, contents.removesuffix(b"\n"))


class Snippets:
    """The whole server but its sockets, for a server of one thread. `is_cached` False: every SHOW reads its file."""

    def __init__(self, docroot: str, is_cached: bool) -> None:
        self._docroot = docroot.encode()
        self._cache = Cache() if is_cached else None

    def reply_to(self, line: bytes) -> bytes:
        path = path_of(line)
        if path is None:
            return REFUSED
        cache = self._cache
        if cache is None:
            return read_reply(self._docroot, path)
        reply = cache.get(path)
        if reply is None:
            reply = read_reply(self._docroot, path)
            if reply.startswith(b"200"):
                cache.put(path, reply)
        return reply
