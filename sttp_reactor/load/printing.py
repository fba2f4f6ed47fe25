"""Printing on streams that are not ours: one may be closed, have lost its reader, or lack a character's encoding."""

from __future__ import annotations

import contextlib
from typing import TextIO

# What stands for a sign that an encoding lacks; any other character is shown as its escape, such as \xe9.
_SUBSTITUTES = str.maketrans({"µ": "u", "\u2013": "-", "\u2026": "..."})


def can_show(text: str, out: TextIO) -> bool:
    """Whether the encoding of `out` has every character of `text`. A stream without an encoding keeps text as it is."""
    try:
        text.encode(out.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def fitting(text: str, out: TextIO | None) -> str:
    """`text` in characters that the encoding of `out` has."""
    if out is None or can_show(text, out):
        return text
    encoding = out.encoding
    return text.translate(_SUBSTITUTES).encode(encoding, "backslashreplace").decode(encoding)


def tell(text: str, out: TextIO | None, end: str = "\n") -> None:
    """Prints `text` for a person who may be watching. A load is not given up because nobody is: where `out` is closed
    (None) or cannot be written, the text is lost. `print` would write to standard output where its file is None."""
    if out is not None:
        with contextlib.suppress(OSError):
            print(fitting(text, out), end=end, file=out, flush=True)
