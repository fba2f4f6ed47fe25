r"""RESP2, the protocol of Redis, without any I/O: bytes in, commands out (redis.io, "Redis serialization protocol").

    *2\r\n$3\r\nGET\r\n$4\r\nname\r\n      a command as clients send it: an array of byte strings
    GET name\r\n                           the same "inline", as a person types it into netcat

hiredis parses the first form, in C: 0.12 us a command where Python takes 2. It believes what a peer announces, though:
`*2000000000` makes it allocate a list of that length. So a chunk is handed to it only where nothing looks like such an
announcement; any other, and every inline command, is read by `_walk` in plain Python, exactly. Both give
the same commands (tests/services/test_resp.py feeds them the same bytes), so that a value which looks like an
announcement costs time and nothing else.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

import hiredis

MAX_VALUE_BYTES: Final = 1 << 20
MAX_ARGUMENTS: Final = 1 << 16
# One command, whole: a few of the largest values fit, a million small arguments do not.
MAX_COMMAND_BYTES: Final = 4 << 20
MAX_LINE_BYTES: Final = 64 << 10  # an inline command, or the line of an announcement: as Redis has it

# With all digits made 0, one look finds every announcement of a list of 100,000 and more.
_DIGITS: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_LIST: Final = b"*000000"
_BYTES_ALONE: Final = {bytes}
_LIST: Final = ord("*")

Command = list[bytes]


class Fault(Exception):
    """The peer does not speak RESP. The text is what it is told, in Redis's words, before the connection is closed."""


class CommandParser:
    """Feed it chunks; it gives the commands that are whole. Holds at most MAX_COMMAND_BYTES and one chunk."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._rest = bytearray()
        self._needed = 0  # as long as `_rest` is shorter, no command can be whole in it
        self.fault: Fault | None = None  # what came after the commands that `feed` gave; nothing is read after it

    @property
    def buffered(self) -> int:
        """Bytes of a command that is not whole yet."""
        return len(self._rest)

    def feed(self, chunk: bytes) -> list[Command]:
        """The commands that `chunk` completes; look at `fault` once they are carried out."""
        if self._rest:
            self._rest += chunk
            if len(self._rest) < self._needed:
                return []
            chunk = bytes(self._rest)
            self._rest.clear()
        if chunk[0] != _LIST or _LONG_LIST in chunk.translate(_DIGITS):
            return self._walk(chunk)
        commands = self._read_quickly(chunk)
        # Where a chunk ends behind an announcement, hiredis has no data left and a command begun all the same: then
        # there are more beginnings of lists than lists.
        if self._reader.has_data() or len(commands) <= chunk.count(b"\n*"):
            self._reader = hiredis.Reader()
            return self._walk(chunk)
        return commands

    def _read_quickly(self, chunk: bytes) -> list[Command]:
        """By hiredis. Nothing where it finds a fault, or what only replies may be, such as a number: `_walk` then finds
        it as well, and names it in Redis's words."""
        try:
            self._reader.feed(chunk)
            commands: list[Command] = list(iter(self._reader.gets, False))
            if all(commands) and {*map(type, itertools.chain.from_iterable(commands))} == _BYTES_ALONE:
                return commands
        except (hiredis.ProtocolError, TypeError):  # the latter: a number in the place of a list
            pass
        return []

    def _walk(self, data: bytes) -> list[Command]:
        commands: list[Command] = []
        at = 0
        try:
            while at < len(data):
                command, end = _multibulk(data, at) if data[at] == _LIST else _inline(data, at)
                if command is None:
                    self._needed = end - at
                    self._rest += data[at:]
                    break
                if command:
                    commands.append(command)
                at = end
        except Fault as fault:
            self.fault = fault
        return commands


def _multibulk(data: bytes, at: int) -> tuple[Command | None, int]:
    """The array at `at` and where it ends; or None and the least position where it can end. Raises Fault."""
    begin = at
    count, at = _announced(data, at, MAX_ARGUMENTS, "multibulk")
    command: Command = []
    while len(command) < count:
        if at >= len(data):
            return None, at + 1
        if data[at] != ord("$"):
            raise Fault(f"expected '$', got '{chr(data[at])}'")
        size, at = _announced(data, at, MAX_VALUE_BYTES, "bulk")
        if size < 0:
            return None, at
        if at + size + 2 - begin > MAX_COMMAND_BYTES:
            raise Fault("invalid multibulk length")
        if at + size + 2 > len(data):
            return None, at + size + 2
        command.append(data[at : at + size])
        at += size + 2
    return (None if count == _UNKNOWN else command), at


# The line of an announcement has not come to its end.
_UNKNOWN: Final = -2


def _announced(data: bytes, at: int, most: int, what: str) -> tuple[int, int]:
    """The number in the line at `at`, and where the next line begins. A count of lists may be -1, which is none."""
    end = data.find(b"\r\n", at)
    if end < 0:
        if len(data) - at > MAX_LINE_BYTES:
            raise Fault(f"too big {'mbulk' if what == 'multibulk' else what} count string")
        return _UNKNOWN, len(data) + 1
    digits = data[at + 1 : end]
    number = int(digits) if len(digits) < 20 and digits.removeprefix(b"-").isdigit() else most + 1
    if number > most or (number < 0 and what == "bulk"):
        raise Fault(f"invalid {what} length")
    return max(number, 0), end + 2


def _inline(data: bytes, at: int) -> tuple[Command | None, int]:
    end = data.find(b"\n", at)
    if end < 0 or end - at > MAX_LINE_BYTES:
        if len(data) - at > MAX_LINE_BYTES:
            raise Fault("too big inline request")
        return None, len(data) + 1
    return split_line(data[at:end].removesuffix(b"\r")), end + 1


# A run of plain bytes, "..." with escapes, '...' in which only \' is one, or white space. A quote ends its word. The
# possessive `*+` (Python 3.11) keeps a line of 64 KB linear.
_PIECE: Final = re.compile(
    rb"""([^\s"']+) | "((?:[^"\\]|\\.)*+)"(?=\s|\Z) | '((?:\\'|[^'])*+)'(?=\s|\Z) | (\s+)""", re.VERBOSE | re.DOTALL
)
_ESCAPE: Final = re.compile(rb"\\(x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED: Final = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"a": b"\a"}


def split_line(line: bytes) -> Command:
    """The words of an inline command, quoted as redis-cli and Redis itself understand it. Raises Fault."""
    words: Command = []
    at, inside = 0, False  # a word, begun already
    while at < len(line):
        piece = _PIECE.match(line, at)
        if piece is None:
            raise Fault("unbalanced quotes in request")
        at = piece.end()
        plain, double, single, space = piece.groups()
        if space is None:
            if not inside:
                words.append(b"")
            words[-1] += plain or _ESCAPE.sub(_unescape, double or b"") + (single or b"").replace(b"\\'", b"'")
        inside = space is None
    return words


def _unescape(match: re.Match[bytes]) -> bytes:
    letter = match[1]
    return bytes([int(letter[1:], 16)]) if len(letter) == 3 else _ESCAPED.get(letter, letter)
