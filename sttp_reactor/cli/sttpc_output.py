"""What sttpc prints: data to standard output, all else to standard error, and nothing that could steer a terminal."""

from __future__ import annotations

import json
import os
import sys
import unicodedata
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from sttp_reactor.client import Timing
from sttp_reactor.printable import printable

# Joiners decide how letters of Persian or Hindi and some emoji are drawn, and can do nothing else. (Other characters
# of their category turn the direction of the text around or hide parts of it.)
_JOINERS = "\u200c\u200d"


class CannotPrint(Exception):
    """Standard output is gone. `reason` is None where its reader has left (`| head`), which is no mistake."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.reason = None if isinstance(error, BrokenPipeError) else error.strerror or str(error)

    def silence(self) -> None:
        """Have the interpreter's last flush, at its exit, go nowhere: it would fail too, and noisily."""
        with suppress(OSError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Output:
    def __init__(
        self,
        *,
        as_json: bool = False,
        include: bool = False,
        no_newline: bool = False,
        quiet: bool = False,
        timed: bool = False,
    ) -> None:
        self.as_json = as_json
        self.include = include
        self.quiet = quiet
        self._timed = timed
        self._no_newline = no_newline
        self._owes_newline = False

    def line(self, text: str) -> None:
        """One line of data. Raises CannotPrint."""
        if not self._no_newline:
            self._write(text + "\n")
            return
        # The line end comes before the next line, so that the last line has none.
        self._write(f"\n{text}" if self._owes_newline else text)
        self._owes_newline = True

    def object(self, fields: dict[str, Any], timing: Timing) -> None:
        """One JSON object. Raises CannotPrint."""
        if self._timed:
            fields["time"] = {name: round(seconds, 6) for name, seconds in timing._asdict().items()}
        self.line(_as_json(fields))

    def records(self, records: Iterable[Mapping[str, str]]) -> None:
        """A line of JSON for each, all in one write. Raises CannotPrint."""
        text = "".join([_as_json(fields) + "\n" for fields in records])
        if text:
            self._write(text)

    def local_error(self, kind: str, sentence: str) -> None:
        """The object of what was not sent to anybody. Raises CannotPrint."""
        fields = {"server": None, "action": None, "path": None, "ok": False, "status": None, "error": kind}
        self.object({**fields, "message": sentence}, Timing())

    def problem(self, sentence: str) -> None:
        if not self.quiet:
            say(f"sttpc: {sentence}")

    def timing(self, label: str, timing: Timing) -> None:
        if self._timed:
            parts = (f"{name} {1000 * seconds:.2f} ms" for name, seconds in timing._asdict().items())
            say(f"sttpc: {label}: {', '.join(parts)}")

    def _write(self, text: str) -> None:
        """To a terminal what it can show safely, to anything else the bytes as they are stored."""
        try:
            if sys.stdout is None:
                raise OSError("it is closed")
            if sys.stdout.isatty():
                sys.stdout.write(_on_terminal(text, sys.stdout.encoding))
            else:
                sys.stdout.buffer.write(text.encode())
            sys.stdout.flush()
        except OSError as error:
            raise CannotPrint(error) from error


def _as_json(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, ensure_ascii=False)
    if text.isprintable():  # nearly always, and a look at each character takes twenty times as long
        return text
    # JSON's own escapes keep it valid, and the same whatever reads it.
    return "".join(c if _is_safe(c) else json.dumps(c)[1:-1] for c in text)


def say(line: str) -> None:
    """One line to standard error, always escaped: it may end up in a log, or in a terminal later."""
    if sys.stderr is not None:
        with suppress(OSError):
            print(printable(line), file=sys.stderr, flush=True)


def _on_terminal(text: str, encoding: str) -> str:
    if not text.isprintable():
        text = "".join(c if c in "\n\t" or _is_safe(c) else printable(c) for c in text)
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _is_safe(character: str) -> bool:
    # str.isprintable takes the space for the only one of its category.
    return character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs"
