"""Target `recovery`: whatever stands in `.sttp/journal` and `.sttp/turn`, the store starts, takes writes, and has
touched nothing but files that a request could name.

A damaged journal is no more than a sum that does not fit, so scripts can have sums that do: what is behind them is
looked at as well.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple
from unittest import mock

from fuzz_config import scratch
from fuzz_script import Step, read_script
from store_support import DONE, abandon, commit, create, files_in, show
from wire_oracle import is_path

from sttp_reactor.store.disk import claim, journal
from sttp_reactor.store.disk.store import DiskStore

# H n  a header whose records begin with number n (0xF8 and above: see _number)
# R    a record begins, with the next number and a sum that fits; what follows is its body
# P    a change in it: the path follows, then = and the contents; X, a removal: the path follows
# F    what the next change has found: N nothing, T and a text, D and a digest's bytes; without it nothing is said
# S n  n + 1 numbers are left out
# ;    the record ends here; what follows stands behind it
# T    `turn` says what is true of this journal: state, and perhaps other numbers (sequence, last, end)
# U    `turn` holds what follows
LETTERS: Final = "HRPX=S;TUF"

FILES: Final = {"/a": b"text of a", "/d/e": b"text of e"}

# What every server of this target draws, so that it believes what the script says of the journal.
_TOKEN: Final = b"of this target".ljust(16)
_HEADER_BYTES: Final = 512
_LARGEST: Final = 2**64 - 1


def check_recovery(script: bytes) -> None:
    made = assemble(read_script(script, LETTERS))
    home = scratch() / "home"
    docroot = _lay_out(home, made)
    outside = _state_of(home)
    with (
        mock.patch.object(journal, "JOURNAL_BYTES", (8192, 8192)),
        mock.patch.object(claim, "draw_token", return_value=_TOKEN),
    ):
        with _started(docroot) as store:
            assert commit(store, create("/new", "is written")) in ([DONE], [300]), "no write is taken any more"
            assert show(store, "/new") != 400
        recovered = files_in(docroot)
        with _started(docroot):
            assert files_in(docroot) == recovered, "the next start changes something"
    assert _state_of(home) == outside, "something outside the docroot has changed"
    assert set(os.listdir(docroot / ".sttp")) == {"journal", "lock", "turn", "tmp"}
    assert os.readlink(docroot / "link") == "../outside"
    for path in recovered.keys() - FILES.keys():
        assert is_path(path), f"{path} is not for a request to name"
        assert len(path.split("/")[-1]) <= 32, f"{path} has too long a name"


@contextlib.contextmanager
def _started(docroot: Path) -> Iterator[DiskStore]:
    store = DiskStore(docroot, sync=False)
    try:
        store.open()
        yield store
        store.close()
    finally:
        abandon(store)


class Made(NamedTuple):
    journal: bytes
    turn: bytes


def assemble(steps: list[Step]) -> Made:
    """The two files that a script describes. A letter's operand is what stands between it and the next one."""
    data = bytearray(steps[0].data)
    turn = b""
    sequence, last, is_open, path = 0, _HEADER_BYTES, False, b""
    kind, found = 0, b""
    body = bytearray()

    def end_record() -> None:
        nonlocal sequence, last, is_open
        if is_open:
            last = len(data)
            data.extend(_record(sequence, bytes(body)))
            sequence = (sequence + 1) & _LARGEST
            is_open = False
        body.clear()

    for what, operand in _with_operands(steps):
        if what == "H":
            end_record()
            sequence = _number(operand)
            data += struct.pack("<8sQI", b"STTPjrn1", sequence, zlib.crc32(sequence.to_bytes(8, "little")))
            data += operand[1:]
            data += bytes(max(0, _HEADER_BYTES - len(data)))
        elif what == "R":
            end_record()
            is_open = True
            body += operand
        elif what == "S":
            end_record()
            sequence = (sequence + 1 + _number(operand)) & _LARGEST
        elif what == "P":
            path = operand
        elif what == "=":
            body += struct.pack("<BHH", 1 | kind, len(path) & 0xFFFF, len(operand) & 0xFFFF) + path + operand + found
            kind, found = 0, b""
        elif what == "X":
            body += struct.pack("<BHH", kind, len(operand) & 0xFFFF, 0) + operand + found
            kind, found = 0, b""
        elif what == "F":
            kind, found = _found(operand)
        elif what == ";":
            end_record()
            data += operand
        elif what == "T":
            end_record()
            state = operand[0] & 0x03 if operand else 0
            numbers = [sequence, last, len(data)]
            for place, byte in enumerate(operand[1:4]):
                numbers[place] = _number(bytes([byte]))
            turn = struct.pack("<8s16sQQQB", b"STTPtrn2", _TOKEN, *numbers, state)
        else:
            turn = operand
    end_record()
    return Made(bytes(data), turn)


def _found(operand: bytes) -> tuple[int, bytes]:
    """The flags of a change, and what stands behind it."""
    text = operand[1:]
    if operand[:1] == b"T":
        return 4, struct.pack("<H", len(text) & 0xFFFF) + text
    return (2, b"") if operand[:1] == b"N" else (6, text)


def _with_operands(steps: list[Step]) -> Iterator[tuple[str, bytes]]:
    for step, following in pairwise(steps):
        yield step.what, following.data


def _number(operand: bytes) -> int:
    """A small number, or one from the edges of 64 bits."""
    byte = operand[0] if operand else 0
    return byte if byte < 0xF8 else (_LARGEST - (byte - 0xF8) if byte < 0xFC else (1 << 63) - (byte - 0xFC))


def _record(sequence: int, body: bytes) -> bytes:
    checked = zlib.crc32(body, zlib.crc32(struct.pack("<QI", sequence, len(body))))
    return struct.pack("<4sQII", b"STJr", sequence, len(body), checked) + body


def _lay_out(home: Path, made: Made) -> Path:
    """A docroot with a link that leads out of it, and something to be reached there."""
    shutil.rmtree(home, ignore_errors=True)
    docroot = home / "docroot"
    for folder in ("outside", "docroot/d", "docroot/.sttp"):
        (home / folder).mkdir(parents=True)
    (home / "outside" / "theirs").write_bytes(b"not ours")
    (docroot / "link").symlink_to("../outside")
    for path, contents in FILES.items():
        (docroot / path[1:]).write_bytes(contents)
    (docroot / ".sttp" / "journal").write_bytes(made.journal)
    (docroot / ".sttp" / "turn").write_bytes(made.turn)
    return docroot


def _state_of(home: Path) -> list[tuple[str, bytes]]:
    """What is beside the docroot, and in what is beside it."""
    beside = [entry for entry in home.rglob("*") if "docroot" not in entry.relative_to(home).parts[:1]]
    return sorted((str(entry), entry.read_bytes() if entry.is_file() else b"") for entry in beside)
