"""RESP3, for clients that begin with HELLO 3: what differs from RESP2 among the replies that there are here.

Commands know RESP2 alone, as nearly every reply is the same in both; what is not is translated on its way out, so that
nobody else pays for it. (Redis, "RESP3 specification".)
"""

from __future__ import annotations

from typing import Final

from sttp_reactor.services.keyvalue_commands import NIL, Store, array
from sttp_reactor.services.resp import Command

NULL: Final = b"_\r\n"
_MAPS: Final = (b"hello", b"config", b"command")  # of the last, DOCS
_TEXTS: Final = (b"info", b"client")  # of the last, LIST


def translated(store: Store, words: Command, reply: bytes) -> bytes:
    """`reply` is the one of RESP2 to this command, which has just been carried out."""
    if reply == NIL:
        return NULL
    name = words[0].lower()
    if name == b"mget" and reply[:1] == b"*":
        return array([store.get(key) or NULL for key in words[1:]])
    if name in _MAPS and reply[:1] == b"*" and (name != b"command" or (words[1:2] and words[1].upper() == b"DOCS")):
        count, _, rest = reply[1:].partition(b"\r\n")
        return b"%%%d\r\n%b" % (int(count) // 2, rest)
    if name in _TEXTS and reply[:1] == b"$" and (name != b"client" or words[1].upper() == b"LIST"):
        size, _, rest = reply[1:].partition(b"\r\n")
        return b"=%d\r\ntxt:%b" % (int(size) + 4, rest)
    return reply
