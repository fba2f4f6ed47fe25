"""Where a reply ends. A tool that judges servers does not borrow the server's parser: its mistakes would hide."""

from __future__ import annotations

import re

# No reply that we ask for comes near this: a LIST names at most KEYS_PER_DIRECTORY files of ours. What is longer
# without an end is not STTP, and reading on would only fill the memory.
MAX_REPLY_BYTES = 1 << 20

_REFUSAL = re.compile(rb'500 - SERVER ERROR "([^"\n]*connection[^"\n]*)"')


def reply_end(data: bytes, start: int) -> int:
    """The index behind the reply that begins at `start`, or 0 while it is incomplete (PROTOCOL.md section 3)."""
    end = data.find(b"\n", start) + 1
    if end and data.startswith(b"200 ", start):
        end = data.find(b"\n", end) + 1
    return end


def is_reply_like(data: bytes, start: int) -> bool:
    """False where the bytes at `start` cannot begin a reply: three digits and a space, as far as they have come."""
    head = data[start : start + 4]
    digits, space = head[:3], head[3:]
    return digits.isdigit() and space in (b"", b" ") if head else True


def refusal_of(data: bytes, start: int = 0) -> str:
    """Why a server would not serve the connection at all, in its words; "" for any other reply that begins at `start`.

    A 500 without a path is about no request: PROTOCOL.md section 2 has a server that is full say so and close. One that
    does not speak of connections is no more than a wrong reply.
    """
    match = _REFUSAL.match(data, start)
    return match[1].decode("utf-8", "replace") if match else ""


def status_of(reply: bytes) -> int:
    """The status of a whole reply, or 0 where it has none."""
    return int(reply[:3]) if reply[:3].isdigit() and reply[3:4] == b" " else 0
