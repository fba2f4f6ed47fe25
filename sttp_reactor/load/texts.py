"""Keys' paths and texts. A text names its key, writer and version, so a reply proves which write it comes from."""

from __future__ import annotations

import base64
import hashlib

KEYS_PER_DIRECTORY = 100  # so that a LIST, and its check, stay small however many keys there are
_FILLER = "the quick brown fox jumps over the lazy dog while the load generator counts every reply it gets; " * 2


def directory_of(base: str, shard: int, key: int) -> str:
    """`base` ends with "/"; a shard's directories are touched by one process only, which so knows all that is there."""
    return f"{base}{shard}.{key // KEYS_PER_DIRECTORY}/"


def name_of(key: int) -> str:
    """Of one width: the order of the bytes, in which LIST answers, is then the order of the numbers."""
    return f"{key % KEYS_PER_DIRECTORY:02d}"


def text_of(key: int, writer: str, version: int, size: int) -> bytes:
    """`size` characters, all ASCII. Below about 20 the tag does not fit, and a digest of it, as long as fits, stands
    for it: two versions may then look alike, which can only make the check milder, never wrong."""
    tag = f"{key}:{writer}.{version} "
    if len(tag) <= size + 1:
        return (tag + _FILLER)[:size].rstrip().ljust(size, ".").encode()
    digest = hashlib.blake2b(tag.encode(), digest_size=40).digest()
    return base64.b32encode(digest)[:size]


def describe(text: bytes, key: int) -> str:
    """What a text that is not the expected one says about itself, for a message."""
    tag = text.split(b" ", 1)[0].rstrip(b".").decode("ascii", "replace")
    owner, colon, version = tag.partition(":")
    if not (colon and owner.isdigit() and "." in version):
        return "a text that no writer of this run has sent"
    if int(owner) != key:
        return f"the text of key {owner}"
    writer, _, number = version.partition(".")
    return f"version {number} of writer {writer}"
