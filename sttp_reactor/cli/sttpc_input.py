"""The contents of a CREATE or UPDATE: from the command line, or one line of standard input."""

from __future__ import annotations

import sys

from sttp_reactor.errors import LocalError
from sttp_reactor.limits import MAX_LINE_BYTES


def read_contents(argument: str | None) -> str:
    """`argument`, or, where it is `-` or None, the one line of standard input without its line end.

    Raises LocalError for no line and for more than one, and where nobody asked for standard input and it is a terminal.
    """
    if argument is not None and argument != "-":
        return argument
    if sys.stdin is None:
        raise LocalError("CONTENT is missing, and standard input is closed")
    is_terminal = sys.stdin.isatty()
    if is_terminal and argument is None:
        raise LocalError("CONTENT is missing; give the text, or - to type it")
    line = _read_line(is_terminal)
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise LocalError("standard input is not UTF-8") from None


def _read_line(is_terminal: bool) -> bytes:
    stdin = sys.stdin.buffer
    try:
        # No request holds more, so more need not be read.
        line = stdin.readline(MAX_LINE_BYTES)
        # Whoever types a line ends it with one key, not with two.
        more = line.endswith(b"\n") and not is_terminal and stdin.read(1)
    except OSError as error:
        raise LocalError(f"cannot read standard input: {error.strerror}") from None
    if more:
        raise LocalError("standard input has more than one line, and a text is one line; nothing was sent")
    if not line:
        raise LocalError('standard input is empty; for an empty text give ""')
    if line.endswith(b"\n"):
        return line[:-2] if line.endswith(b"\r\n") else line[:-1]
    if len(line) == MAX_LINE_BYTES:
        raise LocalError("the line on standard input is too long; nothing was sent")
    return line
