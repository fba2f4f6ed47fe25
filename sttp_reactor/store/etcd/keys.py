"""Which key holds what.

    file       /notes/work/r.txt    <prefix>t/notes/work//r.txt    its text
    directory  /notes/work          <prefix>t/notes//work/         empty; never deleted, so "it exists" stays true
    the last write                  <prefix>w                      empty; put by every transaction that writes

`//` cannot occur in a path, so it marks where the directory ends: what is directly in `/notes` is one range of keys,
from `…/notes//` to `…/notes/0`, and the trailing `/` tells its directories from its files. The root has no key.

A directory's key implies the keys of all directories above it, and that none of them is a file: CREATE keeps it so.
The key of the last write tells how new the tree is: its `mod_revision` is that of the newest change, whatever others
keep in the same cluster.
"""

from __future__ import annotations

from typing import NamedTuple


class KeyRange(NamedTuple):
    """From `first`, which belongs to it, to `end`, which does not."""

    first: bytes
    end: bytes


class Keys:
    """The keys below one prefix. Paths are absolute; a directory's has no trailing `/`, so the root's is empty."""

    def __init__(self, prefix: str) -> None:
        whole = prefix.encode()
        self.everything = KeyRange(whole, whole[:-1] + bytes([whole[-1] + 1]))
        self.last_write = whole + b"w"
        self._tree = whole + b"t"

    def file(self, path: bytes) -> bytes:
        cut = path.rfind(b"/")
        return b"%b%b//%b" % (self._tree, path[:cut], path[cut + 1 :])

    def directory(self, path: bytes) -> bytes:
        """Not the root."""
        return self.file(path) + b"/"

    def children(self, directory: bytes) -> KeyRange:
        stem = self._tree + directory
        return KeyRange(stem + b"//", stem + b"/0")

    def path_of(self, key: bytes) -> bytes | None:
        """The path of the file that `key` belongs to; None where it is no file's."""
        directory, separator, name = key.removeprefix(self._tree).partition(b"//")
        if not key.startswith(self._tree) or not separator or not name or b"/" in name:
            return None
        return b"%b/%b" % (directory, name)


def parent_of(path: bytes) -> bytes:
    """The directory that holds the file or directory `path`."""
    return path[: path.rfind(b"/")]


def ancestors_of(path: bytes) -> list[bytes]:
    """The directories above `path`, the root left out, the outermost first."""
    found = []
    while path := parent_of(path):
        found.append(path)
    return found[::-1]
