"""Text of unknown origin made safe to print: in the log, in mistakes of the configuration, in a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Return `text` with everything but printable characters escaped as Python writes it (`\n`, `\x1b`, `\u202e`).

    Line breaks, terminal escapes, bidirectional overrides and lone surrogates (bytes of the command line that are not
    UTF-8) all go. A backslash stays as it is: what comes out cannot forge a line, but is not meant to be read back.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
