"""The PROXY protocol's headers: which are taken, which are not, and in whatever pieces they come."""

from __future__ import annotations

import socket
import struct

import pytest

from sttp_reactor.net.proxy_protocol import MAX_V2_BYTES, SIGNATURE, Header, MalformedHeader, encode_v2, parse_header

V4 = socket.inet_aton("192.0.2.7") + socket.inet_aton("203.0.113.1") + struct.pack("!HH", 51234, 8080)
V6 = socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + struct.pack("!HH", 51234, 8080)
UNIX = b"/client".ljust(108, b"\0") + b"/server".ljust(108, b"\0")


def v2(command: int, family: int, body: bytes, length: int | None = None) -> bytes:
    return SIGNATURE + struct.pack("!BBH", command, family, len(body) if length is None else length) + body


TLVS = b"\x04\x00\x03abc" + b"\x20\x00\x00" + b"\x03\x00\x04\0\0\0\0"
LONGEST_TLV = b"\x04" + struct.pack("!H", MAX_V2_BYTES - 31) + bytes(MAX_V2_BYTES - 31)
LONGEST_V1 = b"PROXY UNKNOWN " + b":".join([b"ffff"] * 8) + b" " + b":".join([b"ffff"] * 8) + b" 65535 65535\r\n"

WELL_FORMED = {
    "1, IPv4": (b"PROXY TCP4 192.0.2.7 203.0.113.1 51234 8080\r\n", "192.0.2.7:51234"),
    "1, extreme numbers": (b"PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n", "255.255.255.255:65535"),
    "1, IPv6": (b"PROXY TCP6 2001:DB8:0::7 ::1 51234 8080\r\n", "[2001:db8::7]:51234"),
    "1, IPv4 in IPv6": (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n", "[::ffff:192.0.2.7]:1"),
    "1, unknown": (b"PROXY UNKNOWN\r\n", ""),
    "1, unknown and more": (b"PROXY UNKNOWN what\never\0\xff\r\n", ""),
    "1, the longest": (LONGEST_V1, ""),
    "2, IPv4": (v2(0x21, 0x11, V4), "192.0.2.7:51234"),
    "2, IPv4 and TLVs": (v2(0x21, 0x11, V4 + TLVS), "192.0.2.7:51234"),
    "2, IPv6": (v2(0x21, 0x21, V6), "[2001:db8::7]:51234"),
    "2, IPv6 and TLVs": (v2(0x21, 0x21, V6 + TLVS), "[2001:db8::7]:51234"),
    "2, Unix sockets": (v2(0x21, 0x31, UNIX), ""),
    "2, unspecified": (v2(0x21, 0x00, b""), ""),
    "2, unspecified and more": (v2(0x21, 0x00, b"whatever"), ""),
    "2, local": (v2(0x20, 0x00, b""), ""),
    "2, local, of a family": (v2(0x20, 0x11, V4), ""),
    "2, local, of no known family": (v2(0x20, 0xFF, b"whatever"), ""),
    "2, the longest": (v2(0x21, 0x11, V4 + LONGEST_TLV), "192.0.2.7:51234"),
}

MALFORMED = {
    "nothing like it": b"SHOW /a\n",
    "lower case": b"proxy TCP4 192.0.2.7 203.0.113.1 1 2\r\n",
    "two spaces": b"PROXY  TCP4 192.0.2.7 203.0.113.1 1 2\r\n",
    "a TAB": b"PROXY\tTCP4 192.0.2.7 203.0.113.1 1 2\r\n",
    "two spaces later": b"PROXY TCP4 192.0.2.7  203.0.113.1 1 2\r\n",
    "a space at the end": b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2 \r\n",
    "no family": b"PROXY \r\n",
    "another family": b"PROXY UDP4 192.0.2.7 203.0.113.1 1 2\r\n",
    "a family of lower case": b"PROXY tcp4 192.0.2.7 203.0.113.1 1 2\r\n",
    "unknown, with no space": b"PROXY UNKNOWNS\r\n",
    "a port missing": b"PROXY TCP4 192.0.2.7 203.0.113.1 1\r\n",
    "a port too many": b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2 3\r\n",
    "a port too large": b"PROXY TCP4 192.0.2.7 203.0.113.1 65536 2\r\n",
    "the other port too large": b"PROXY TCP4 192.0.2.7 203.0.113.1 1 65536\r\n",
    "a port below zero": b"PROXY TCP4 192.0.2.7 203.0.113.1 -1 2\r\n",
    "a port with a zero before it": b"PROXY TCP4 192.0.2.7 203.0.113.1 01 2\r\n",
    "a port of no digits": b"PROXY TCP4 192.0.2.7 203.0.113.1 http 2\r\n",
    "an address with a zero before": b"PROXY TCP4 192.0.2.07 203.0.113.1 1 2\r\n",
    "an address out of range": b"PROXY TCP4 192.0.2.256 203.0.113.1 1 2\r\n",
    "three parts": b"PROXY TCP4 192.0.2 203.0.113.1 1 2\r\n",
    "a name": b"PROXY TCP4 localhost 203.0.113.1 1 2\r\n",
    "IPv6 as IPv4": b"PROXY TCP4 2001:db8::7 203.0.113.1 1 2\r\n",
    "IPv4 as IPv6": b"PROXY TCP6 192.0.2.7 ::1 1 2\r\n",
    "a wrong destination": b"PROXY TCP4 192.0.2.7 203.0.113.1.1 1 2\r\n",
    "IPv6 with two gaps": b"PROXY TCP6 2001::db8::7 ::1 1 2\r\n",
    "IPv6 with a zone": b"PROXY TCP6 fe80::7%eth0 ::1 1 2\r\n",
    "IPv6 in brackets": b"PROXY TCP6 [2001:db8::7] ::1 1 2\r\n",
    "a line feed alone": b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2\n" + b"SHOW /a\n" * 20,
    "a carriage return alone": b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2\r" + b" " * 80,
    "a byte too long": b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    "endless": b"PROXY UNKNOWN " + b"x" * 100,
    "almost the signature": SIGNATURE[:-1] + b"\r" + b"\x21\x11\x00\x0c" + V4,
    "version 1 in binary": v2(0x11, 0x11, V4),
    "version 3": v2(0x31, 0x11, V4),
    "command 2": v2(0x22, 0x11, V4),
    "command 15": v2(0x2F, 0x11, V4),
    "family 4": v2(0x21, 0x41, V4),
    "protocol 3": v2(0x21, 0x13, V4),
    "IPv4, no protocol": v2(0x21, 0x10, V4),
    "no family, a stream": v2(0x21, 0x01, b""),
    "UDP over IPv4": v2(0x21, 0x12, V4),
    "UDP over IPv6": v2(0x21, 0x22, V6),
    "datagrams of Unix sockets": v2(0x21, 0x32, UNIX),
    "IPv4 cut short": v2(0x21, 0x11, V4[:-1]),
    "IPv6 cut short": v2(0x21, 0x21, V6[:-1]),
    "Unix sockets cut short": v2(0x21, 0x31, UNIX[:-1]),
    "too long": v2(0x21, 0x11, V4, MAX_V2_BYTES - 15),
    "as long as can be said": v2(0x21, 0x11, V4, 65535),
    "a TLV cut short": v2(0x21, 0x11, V4 + b"\x04\x00"),
    "a TLV too long": v2(0x21, 0x11, V4 + b"\x04\x00\x04abc"),
    "a TLV too long after another": v2(0x21, 0x21, V6 + TLVS + b"\x04\xff\xff"),
}


@pytest.mark.parametrize(("header", "source"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_header_is_taken_in_whatever_pieces_it_comes(header: bytes, source: str) -> None:
    rest = b"SHOW /a\n\r\n"
    for size in {*range(min(len(header), 400)), len(header) - 1}:
        assert parse_header(header[:size]) is None, size
    for more in (b"", rest, rest[:1], bytes(200)):
        assert parse_header(header + more) == Header(source, len(header))


@pytest.mark.parametrize("data", MALFORMED.values(), ids=MALFORMED)
def test_every_malformed_header_is_refused_and_never_waited_for(data: bytes) -> None:
    with pytest.raises(MalformedHeader, match=r"\w"):
        parse_header(data)
    for size in range(len(data)):
        try:
            assert parse_header(data[:size]) is None
        except MalformedHeader:
            break


def test_what_is_written_is_read() -> None:
    assert len(LONGEST_V1) == 107
    for host, other, named in (
        ("192.0.2.7", "203.0.113.1", "192.0.2.7:51234"),
        ("2001:db8::7", "::1", "[2001:db8::7]:51234"),
        ("192.0.2.7", "::1", "[::ffff:192.0.2.7]:51234"),
    ):
        written = encode_v2((host, 51234), (other, 8080))
        assert parse_header(written) == Header(named, len(written))
    assert encode_v2(("192.0.2.7", 51234), ("203.0.113.1", 8080)) == v2(0x21, 0x11, V4)
    assert parse_header(encode_v2()) == Header("", 16)
