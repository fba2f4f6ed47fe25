"""The journal's format: changes as bytes that can be told from damaged or older ones.

    header   magic, the first record's sequence number, CRC-32
    record   magic, sequence number, length, CRC-32 over both and the body; then the body: the changes

A record counts only where the one before it ends and with the number that comes next. Nothing a client sends can pass
for one, because contents and paths hold no control character and a record's head holds NULs.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sttp_reactor.text import RESERVED_PREFIX, is_contents, is_file_name, is_segment

_RECORD: Final = struct.Struct("<4sQII")
_RECORD_MAGIC: Final = b"STJr"
_CHECKED: Final = struct.Struct("<QI")
# One change: 1 put, 0 remove; length of the path, length of the contents; then both.
_CHANGE: Final = struct.Struct("<BHH")
_HEADER: Final = struct.Struct("<8sQI")
_HEADER_MAGIC: Final = b"STTPjrn1"

# Alone in its block, so that a record cut short by a power failure leaves it alone.
HEADER_BYTES: Final = 512
# What a record and each of its changes take besides paths and contents.
RECORD_BYTES: Final = _RECORD.size
CHANGE_BYTES: Final = _CHANGE.size


# Numbers begin at 0 and count records: whatever has a larger one was not written by us, and could not be counted on.
MAX_SEQUENCE: Final = 1 << 62


class Change(NamedTuple):
    """What a file holds from now on: `contents`, or None when it is gone."""

    path: bytes
    contents: bytes | None


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
    path, contents = change
    if contents is None:
        return _CHANGE.pack(0, len(path), 0) + path
    return _CHANGE.pack(1, len(path), len(contents)) + path + contents


def _decode(body: bytes) -> list[Change] | None:
    changes: list[Change] = []
    at = 0
    while at < len(body):
        if at + _CHANGE.size > len(body):
            return None
        put, path_length, contents_length = _CHANGE.unpack_from(body, at)
        at += _CHANGE.size
        path = body[at : at + path_length]
        at += path_length
        contents = body[at : at + contents_length]
        at += contents_length
        if at > len(body) or not _is_path_of_file(path) or not is_contents(contents):
            return None
        changes.append(Change(path, contents if put else None))
    return changes


def _is_path_of_file(path: bytes) -> bool:
    root, *segments = path.split(b"/")
    return (
        not root
        and bool(segments)
        and not segments[0].startswith(RESERVED_PREFIX)
        and is_file_name(segments[-1])
        and all(is_segment(segment) and segment not in (b"", b".", b"..") for segment in segments)
    )
