"""The journal's format: changes as bytes that can be told from damaged or older ones.

    header   magic, the first record's sequence number, CRC-32
    record   magic, sequence number, length, CRC-32 over both and the body; then the body: the changes
    change   what is to be (put, remove) and what was found there, the lengths of all that follows; the path, what the
             file is to hold, what it held

What was found is what recovery goes by: it makes a change again only where nobody else has changed the file since.
Journals of version 0.1.0 do not say it, and are applied as they were then.

A record counts only where the one before it ends and with the number that comes next. Nothing a client sends can pass
for one, because contents and paths hold no control character and a record's head holds NULs.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sttp_reactor.limits import MAX_CONTENTS_CHARACTERS
from sttp_reactor.text import RESERVED_PREFIX, is_contents, is_file_name, is_segment

_RECORD: Final = struct.Struct("<4sQII")
_RECORD_MAGIC: Final = b"STJr"
_CHECKED: Final = struct.Struct("<QI")
# One change: 1 put, 0 remove, and how it tells what was found; length of the path, length of the contents; then both.
_CHANGE: Final = struct.Struct("<BHH")
_PUT: Final = 1
# Then the length of what was found, and that: a text, or of a file too long for one of ours a digest.
_FOUND_NOTHING: Final = 2
_FOUND_TEXT: Final = 4
_FOUND_DIGEST: Final = 6
_FOUND: Final = _FOUND_NOTHING | _FOUND_TEXT | _FOUND_DIGEST
_LENGTH: Final = struct.Struct("<H")
_DIGEST: Final = struct.Struct("<QI")
_HEADER: Final = struct.Struct("<8sQI")
_HEADER_MAGIC: Final = b"STTPjrn1"

# Alone in its block, so that a record cut short by a power failure leaves it alone.
HEADER_BYTES: Final = 512
# What a record takes besides its changes, and each of these besides its path, its contents and what was found.
RECORD_BYTES: Final = _RECORD.size
CHANGE_BYTES: Final = _CHANGE.size + _LENGTH.size

# A file longer than this holds no text of ours, not even with an editor's line end: it is known by its digest, and
# replaced by rename, so that it is never half one thing and half the other.
MAX_FOUND_BYTES: Final = 4 * MAX_CONTENTS_CHARACTERS + 1
# More than the longest path that a system with names of 255 bytes and the grammar's 64 segments can have. The encoder
# could take no more than 65,535.
MAX_PATH_BYTES: Final = 32 << 10

# Numbers begin at 0 and count records: whatever has a larger one was not written by us, and could not be counted on.
MAX_SEQUENCE: Final = 1 << 62


class Digest(NamedTuple):
    """What is known of a long file: its size, and the CRC-32 of its beginning."""

    size: int
    checksum: int


class Unknown(enum.Enum):
    """What was found where nobody could look, or looked."""

    UNKNOWN = 0


UNKNOWN: Final = Unknown.UNKNOWN

# What there was before a change: a text, nothing (None), a long file.
Found = bytes | Digest | Unknown | None


class Change(NamedTuple):
    """What a file holds from now on: `contents`, or None when it is gone."""

    path: bytes
    contents: bytes | None
    found: Found = UNKNOWN


def found_in(data: bytes, size: int) -> Found:
    """What is to be remembered of a file of `size` bytes that begins with `data`, MAX_FOUND_BYTES and one if it has
    so many."""
    return data if len(data) <= MAX_FOUND_BYTES else Digest(size, zlib.crc32(data))


def encode_header(first: int) -> bytes:
    return _HEADER.pack(_HEADER_MAGIC, first, zlib.crc32(first.to_bytes(8, "little")))


def decode_header(data: bytes) -> int | None:
    """The first record's number; None where there is no header, or a damaged one."""
    if len(data) < _HEADER.size:
        return None
    magic, first, checksum = _HEADER.unpack_from(data)
    whole = magic == _HEADER_MAGIC and checksum == zlib.crc32(first.to_bytes(8, "little"))
    return int(first) if whole and first <= MAX_SEQUENCE else None


def encode_changes(changes: Sequence[Change]) -> bytes:
    """A record's body."""
    return b"".join([_encode(change) for change in changes])


def encode_record(sequence: int, body: bytes) -> bytes:
    checksum = zlib.crc32(body, zlib.crc32(_CHECKED.pack(sequence, len(body))))
    return _RECORD.pack(_RECORD_MAGIC, sequence, len(body), checksum) + body


def records(data: bytes, offset: int, first: int, before: int | None = None) -> Iterator[list[Change]]:
    """The changes of each whole record from `offset` on, numbered from `first` without a gap, up to the one that is
    numbered `before`. One that holds what no request can have asked for was not written by us, however well its sum
    fits: it counts as damaged."""
    sequence = first
    while sequence != before and (body := _body(data, offset, sequence)) is not None:
        changes = _decode(body)
        if changes is None:
            return
        yield changes
        offset += _RECORD.size + len(body)
        sequence += 1


def number_of_first(data: bytes) -> int | None:
    """The number of the record behind the header, whatever the header says; None where there is no whole one."""
    if len(data) < HEADER_BYTES + _RECORD.size:
        return None
    sequence = int(_RECORD.unpack_from(data, HEADER_BYTES)[1])
    return None if sequence > MAX_SEQUENCE or _body(data, HEADER_BYTES, sequence) is None else sequence


def _body(data: bytes, offset: int, sequence: int) -> bytes | None:
    if offset + _RECORD.size > len(data):
        return None
    magic, found, length, checksum = _RECORD.unpack_from(data, offset)
    body = data[offset + _RECORD.size : offset + _RECORD.size + length]
    if magic != _RECORD_MAGIC or found != sequence or len(body) != length:
        return None
    return body if zlib.crc32(body, zlib.crc32(_CHECKED.pack(found, length))) == checksum else None


def _encode(change: Change) -> bytes:
    path, contents, found = change
    put = 0 if contents is None else _PUT
    head = path if contents is None else path + contents
    size = len(head) - len(path)
    if isinstance(found, bytes):
        return _CHANGE.pack(put | _FOUND_TEXT, len(path), size) + head + _LENGTH.pack(len(found)) + found
    if found is None:
        return _CHANGE.pack(put | _FOUND_NOTHING, len(path), size) + head
    if isinstance(found, Digest):
        return _CHANGE.pack(put | _FOUND_DIGEST, len(path), size) + head + _DIGEST.pack(*found)
    return _CHANGE.pack(put, len(path), size) + head


def _decode(body: bytes) -> list[Change] | None:
    changes: list[Change] = []
    at = 0
    try:
        while at < len(body):
            flags, path_length, contents_length = _CHANGE.unpack_from(body, at)
            at += _CHANGE.size
            path = body[at : at + path_length]
            at += path_length
            contents = body[at : at + contents_length]
            at += contents_length
            found, at = _decode_found(body, at, flags)
            if at > len(body) or flags > _PUT | _FOUND or not _is_path_of_file(path) or not is_contents(contents):
                return None
            changes.append(Change(path, contents if flags & _PUT else None, found))
    except struct.error:
        return None  # it ends in the middle of one
    return changes


def _decode_found(body: bytes, at: int, flags: int) -> tuple[Found, int]:
    """What was found, and where it ends. Raises struct.error."""
    kind = flags & _FOUND
    if kind == _FOUND_TEXT:
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        return body[at : at + length], at + length
    if kind == _FOUND_DIGEST:
        return Digest(*_DIGEST.unpack_from(body, at)), at + _DIGEST.size
    return (None if kind == _FOUND_NOTHING else UNKNOWN), at


def _is_path_of_file(path: bytes) -> bool:
    root, *segments = path.split(b"/")
    return (
        not root
        and bool(segments)
        and not segments[0].startswith(RESERVED_PREFIX)
        and is_file_name(segments[-1])
        and all(is_segment(segment) and segment not in (b"", b".", b"..") for segment in segments)
    )
