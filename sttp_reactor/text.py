"""What text is in STTP (PROTOCOL.md section 1): the few rules that the wire and the store must agree on.

Text is handled as UTF-8 bytes. Only a length in characters needs the decoded form, and ASCII does not need it even
for that.
"""

from __future__ import annotations

import re
from typing import Final

from sttp_reactor.limits import MAX_CONTENTS_CHARACTERS, MAX_NAME_CHARACTERS

# "Names beginning with `.sttp` at the top of the docroot are the server's own."
RESERVED_PREFIX: Final = b".sttp"

# Category Cc without TAB. Cc is U+0000-001F and U+007F-009F; the upper part is C2 80 to C2 9F in UTF-8, and no other
# valid sequence has C2 before such a byte. U+2028 and U+2029 are ordinary characters.
_LOWER_CONTROLS: Final = bytes({*range(0x20), 0x7F} - {0x09})
_UPPER_CONTROL: Final = re.compile(rb"\xc2[\x80-\x9f]")


def is_utf8(data: bytes) -> bool:
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def has_control_but_tab(data: bytes) -> bool:
    # Leaving bytes out is ten times as quick as searching for them: 8 us for the longest line.
    if len(data.translate(None, _LOWER_CONTROLS)) != len(data):
        return True
    return b"\xc2" in data and _UPPER_CONTROL.search(data) is not None


def is_text(data: bytes) -> bool:
    """Whether `data` is UTF-8 without control characters but TAB: what contents may hold."""
    return is_utf8(data) and not has_control_but_tab(data)


def characters(text: bytes) -> int:
    """Length in code points of what is known to be UTF-8."""
    return len(text) if text.isascii() else len(text.decode())


def is_contents(data: bytes) -> bool:
    """Whether `data`, outer quotes gone, may stand in a file."""
    if data.isascii() and data.decode("ascii").isprintable():  # usual, and a quarter of the time
        return len(data) <= MAX_CONTENTS_CHARACTERS
    return is_text(data) and characters(data) <= MAX_CONTENTS_CHARACTERS


def is_segment(name: bytes) -> bool:
    """Whether a request could name `name` as one segment of a path; its length is not looked at."""
    return is_text(name) and b" " not in name and b"\t" not in name


def is_file_name(name: bytes) -> bool:
    return is_segment(name) and characters(name) <= MAX_NAME_CHARACTERS
