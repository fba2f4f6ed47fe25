"""The PROXY protocol, versions 1 and 2: what a proxy says of its client before the first byte that it passes on.

The text is HAProxy's proxy-protocol.txt; its sections are named here. This is without I/O: bytes in, a `Header` out.
A parser that guessed would be one that can be fooled, so whatever the text does not allow is malformed. What it allows
and means no address of a stream's peer (LOCAL, UNKNOWN, AF_UNSPEC, and AF_UNIX, whose path means something only where
the proxy runs) leaves the connection to whom it comes from: the proxy itself.
"""

from __future__ import annotations

import re
import socket
import struct
from typing import Final, NamedTuple

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""The beginning of version 2 (section 2.2): no line of any protocol that is made of lines."""

_V1: Final = b"PROXY "
_V1_BYTES: Final = 107  # the longest there can be, with its line end (section 2.1)
_V2_FIXED: Final = 16
# The addresses of a Unix socket take 216; what else comes are TLVs, of which a client's certificate is the longest.
MAX_V2_BYTES: Final = 16 * 1024

_V1_LINE: Final = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]+) ([0-9A-Fa-f:.]+) (0|[1-9][0-9]*) (0|[1-9][0-9]*)")
_V1_UNKNOWN: Final = re.compile(rb"PROXY UNKNOWN(?: .*)?", re.DOTALL)
_V1_FAMILIES: Final = {b"TCP4": socket.AF_INET, b"TCP6": socket.AF_INET6}
_MOST_PORT: Final = 65535

_LOCAL: Final = 0x20
_PROXY: Final = 0x21
_UNSPEC: Final = 0x00
_TCP4: Final = 0x11
_TCP6: Final = 0x21
_UNIX_STREAM: Final = 0x31
# How many bytes of addresses each has. Datagrams (0x12, 0x22, 0x32) are of no use for what is a stream.
_ADDRESS_BYTES: Final = {_UNSPEC: 0, _TCP4: 12, _TCP6: 36, _UNIX_STREAM: 216}
_TLV_FIXED: Final = 3


class MalformedHeader(Exception):
    """The bytes are no header, and nothing that follows could make them one. The message says what is wrong."""


class Header(NamedTuple):
    """`source` is the client as a transport would name its peer, such as `192.0.2.7:51234`; "" where the proxy speaks
    for itself. `size` is how many bytes the header has."""

    source: str
    size: int


def parse_header(data: bytes | bytearray) -> Header | None:
    """The header that `data` begins with; None while it may be the beginning of one.

    Takes at most MAX_V2_BYTES to say. Raises MalformedHeader as soon as that is known.
    """
    if data[: len(_V1)] == _V1[: len(data)]:
        return _parse_v1(data)
    if data[: len(SIGNATURE)] == SIGNATURE[: len(data)]:
        return _parse_v2(data)
    raise MalformedHeader("it begins with something else")


def encode_v2(source: tuple[str, int] | None = None, destination: tuple[str, int] | None = None) -> bytes:
    """A header of version 2 for a client at `source` (an IP address without a zone, and a port) that has connected to
    `destination`; without, LOCAL: the proxy itself asks. Where only one of the two is IPv4, it is written as IPv6."""
    if source is None or destination is None:
        return SIGNATURE + struct.pack("!BBH", _LOCAL, _UNSPEC, 0)
    if ":" not in source[0] and ":" not in destination[0]:
        family, kind, hosts = socket.AF_INET, _TCP4, [source[0], destination[0]]
    else:
        family, kind = socket.AF_INET6, _TCP6
        hosts = [host if ":" in host else f"::ffff:{host}" for host, _ in (source, destination)]
    addresses = b"".join(socket.inet_pton(family, host) for host in hosts)
    addresses += struct.pack("!HH", source[1], destination[1])
    return SIGNATURE + struct.pack("!BBH", _PROXY, kind, len(addresses)) + addresses


def _parse_v1(data: bytes | bytearray) -> Header | None:
    end = data.find(b"\r\n", 0, _V1_BYTES)
    if end < 0:
        if len(data) >= _V1_BYTES:
            raise MalformedHeader(f"a line of version 1 has {_V1_BYTES} bytes at most, and ends with CR LF")
        return None
    line = bytes(data[:end])
    size = end + 2
    if _V1_UNKNOWN.fullmatch(line):
        return Header("", size)
    match = _V1_LINE.fullmatch(line)
    if match is None:
        raise MalformedHeader("the line of version 1 has another form")
    family = _V1_FAMILIES[match[1]]
    host, _ = (_packed(family, each.decode()) for each in (match[2], match[3]))
    port, other_port = int(match[4]), int(match[5])
    if port > _MOST_PORT or other_port > _MOST_PORT:
        raise MalformedHeader(f"a port is a number up to {_MOST_PORT}")
    return Header(_named(family, host, port), size)


def _packed(family: socket.AddressFamily, host: str) -> bytes:
    try:
        return socket.inet_pton(family, host)
    except OSError:
        raise MalformedHeader(f"{host} is no address of its family") from None


def _named(family: socket.AddressFamily, host: bytes, port: int) -> str:
    text = socket.inet_ntop(family, host)
    return f"[{text}]:{port}" if family == socket.AF_INET6 else f"{text}:{port}"


def _parse_v2(data: bytes | bytearray) -> Header | None:
    if len(data) > len(SIGNATURE) and data[len(SIGNATURE)] not in (_LOCAL, _PROXY):
        raise MalformedHeader("version 2 has the commands LOCAL and PROXY")
    if len(data) < _V2_FIXED:
        return None
    command, kind, length = struct.unpack_from("!BBH", data, len(SIGNATURE))
    size = _V2_FIXED + length
    if size > MAX_V2_BYTES:
        raise MalformedHeader(f"it has more than {MAX_V2_BYTES} bytes")
    addresses = 0
    if command == _PROXY:  # of LOCAL, all else is to be ignored
        addresses = _ADDRESS_BYTES.get(kind, -1)
        if addresses < 0:
            raise MalformedHeader("its addresses are of no stream")
        if length < addresses:
            raise MalformedHeader("its addresses are cut short")
    if len(data) < size:
        return None
    if command == _PROXY and kind != _UNSPEC:
        _check_tlvs(data, _V2_FIXED + addresses, size)
    return Header(_source_of(data, command, kind), size)


def _source_of(data: bytes | bytearray, command: int, kind: int) -> str:
    if command == _PROXY and kind == _TCP4:
        host, port = struct.unpack_from("!4s4xH", data, _V2_FIXED)
        return _named(socket.AF_INET, host, port)
    if command == _PROXY and kind == _TCP6:
        host, port = struct.unpack_from("!16s16xH", data, _V2_FIXED)
        return _named(socket.AF_INET6, host, port)
    return ""


def _check_tlvs(data: bytes | bytearray, start: int, end: int) -> None:
    """What they say is of no use here; but one that runs over the end means that the header was not what it seemed."""
    while start < end:
        if start + _TLV_FIXED > end:
            raise MalformedHeader("a TLV is cut short")
        start += _TLV_FIXED + int.from_bytes(data[start + 1 : start + _TLV_FIXED], "big")
    if start > end:
        raise MalformedHeader("a TLV is longer than the header")
