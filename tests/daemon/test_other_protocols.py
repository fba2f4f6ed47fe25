"""HTTP spoken to the STTP port changes nothing, whatever a page makes a browser send.

A page anywhere can have its visitor's browser POST any bytes it likes to any port, localhost's too. What it cannot do
is to keep the browser from sending a request line and headers first, and an empty line behind them: and that line ends
the session (PROTOCOL.md section 2). Only GET, HEAD and POST come unasked; for any other method a browser asks first,
in HTTP, and the answer is none.
"""

from __future__ import annotations

import contextlib
import http.client
import re
from itertools import pairwise
from pathlib import Path

import pytest
from running import Sttpd, Wire

COMMANDS = "DELETE /a\r\nUPDATE /a changed\r\nCREATE /made x\r\nCREATE /made/below x\r\n"

TEXT = f"Content-Type: text/plain\r\nContent-Length: {len(COMMANDS)}\r\n\r\n{COMMANDS}"
ORIGIN = "Origin: https://evil.example\r\n"
AGENT = (
    "Host: localhost:8080\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n"
    "Accept: text/html,application/xhtml+xml,*/*;q=0.8\r\nAccept-Language: en-GB,en;q=0.5\r\nConnection: keep-alive\r\n"
)
FORM = "\r\n".join(
    [
        "Content-Type: multipart/form-data; boundary=----x",
        "Content-Length: 200",
        "",
        "------x",
        'Content-Disposition: form-data; name="',
        "DELETE /a",
        '"',
        "",
        "DELETE /a",
        "------x--",
        "",
    ]
)

BROWSERS = {
    "POST of plain text": f"POST / HTTP/1.1\r\n{AGENT}{TEXT}",
    "POST with its origin": f"POST / HTTP/1.1\r\n{AGENT}{ORIGIN}{TEXT}",
    "POST to a path": f"POST /a HTTP/1.1\r\n{AGENT}{ORIGIN}{TEXT}",
    "POST of a form": f"POST /a HTTP/1.1\r\n{AGENT}{ORIGIN}{FORM}",
    "POST that expects to be told to go on": f"POST /a HTTP/1.1\r\n{AGENT}Expect: 100-continue\r\n{TEXT}",
    "POST in chunks": f"POST /a HTTP/1.1\r\n{AGENT}Transfer-Encoding: chunked\r\n\r\n55\r\n{COMMANDS}\r\n0\r\n\r\n",
    "POST of one chunk that begins with the command": (
        f"POST /a HTTP/1.1\r\n{AGENT}Transfer-Encoding: chunked\r\n\r\nb\r\nDELETE /a\r\n\r\n0\r\n\r\n"
    ),
    "POST of nothing and then of something": f"POST /a HTTP/1.1\r\nContent-Length: 0\r\n\r\nPOST / HTTP/1.1\r\n{TEXT}",
    "GET": f"GET /a HTTP/1.1\r\n{AGENT}\r\n",
    "GET with a body": f"GET /a HTTP/1.1\r\n{AGENT}{TEXT}",
    "GET of a command": f"GET /a%0D%0ADELETE%20/a%0D%0A HTTP/1.1\r\n{AGENT}\r\n{COMMANDS}",
    "GET by HTTP/1.0": f"GET /a HTTP/1.0\r\n\r\n{COMMANDS}",
    "GET with commands for headers": f"GET / HTTP/1.1\r\n{AGENT}DELETE: /a\r\nX-DELETE /a: x\r\n\r\n{COMMANDS}",
    "HEAD": f"HEAD /a HTTP/1.1\r\n{AGENT}\r\n{COMMANDS}",
    "a WebSocket": f"GET /a HTTP/1.1\r\n{AGENT}Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n{COMMANDS}",
    "two pipelined": f"POST / HTTP/1.1\r\n{AGENT}{TEXT}POST / HTTP/1.1\r\n{AGENT}{ORIGIN}{TEXT}",
    "line ends without CR": f"POST / HTTP/1.1\r\n{AGENT}{ORIGIN}{TEXT}".replace("\r", ""),
    "an empty line first": f"\r\n\r\nPOST / HTTP/1.1\r\n{AGENT}{TEXT}",
    "asking whether it may DELETE": (
        f"OPTIONS /a HTTP/1.1\r\n{AGENT}{ORIGIN}Access-Control-Request-Method: DELETE\r\n\r\n{COMMANDS}"
    ),
    "DELETE all the same": f"DELETE /a HTTP/1.1\r\n{AGENT}{ORIGIN}\r\n{COMMANDS}",
    "PUT": f"PUT /a HTTP/1.1\r\n{AGENT}{TEXT}",
    "to a proxy": f"POST http://localhost:8080/a HTTP/1.1\r\n{AGENT}{TEXT}",
    "a tunnel": f"CONNECT localhost:8080 HTTP/1.1\r\n{AGENT}\r\n{COMMANDS}",
    "HTTP/2": f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{COMMANDS}",
    "a cookie longer than a line": f"POST / HTTP/1.1\r\nCookie: {'c' * 9000}\r\n{AGENT}{TEXT}",
}


@pytest.fixture
def files(server: Sttpd) -> Path:
    """The docroot, with one file in it."""
    for path in server.docroot.iterdir():
        if path.name == "a":
            path.unlink()
    server.converse(b"CREATE /a untouched\n")
    return server.docroot


def is_untouched(files: Path) -> bool:
    names = [path.name for path in files.iterdir() if not path.name.startswith(".sttp")]
    return names == ["a"] and (files / "a").read_text() == "untouched"


# The first words of other protocols. Some have words of ours in them, and none is a request.
OTHERS: dict[str, bytes] = {
    "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(32)) + b"\x20" + bytes(480),
    "a TLS hello of line ends": b"\x16\x03\x01\x00\x2a\x01\x00\x00\x26\x03\x03" + b"\n" * 32 + b"\x00\x00\x02",
    "SSLv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10",
    "SSH": b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\x00\x00\x05\xdc\x0a\x14" + bytes(40),
    "SMTP": b"EHLO example.org\r\nMAIL FROM:<a@example.org>\r\nRCPT TO:</a>\r\nDATA\r\n.\r\nQUIT\r\n",
    "FTP": b"USER anonymous\r\nPASS /a\r\nCWD /\r\nDELE /a\r\nSTOR /a\r\nLIST\r\nQUIT\r\n",
    "POP3": b"USER a\r\nPASS b\r\nLIST\r\nDELE 1\r\nQUIT\r\n",
    "IMAP": b"a1 LOGIN a b\r\na2 LIST / *\r\na3 DELETE /a\r\na4 CREATE /made\r\n",
    "memcached": b"set /a 0 0 5\r\nowned\r\ndelete /a\r\nflush_all\r\nquit\r\n",
    "Redis": b"*2\r\n$3\r\nDEL\r\n$2\r\n/a\r\n*1\r\n$8\r\nFLUSHALL\r\n",
    "SIP": b"OPTIONS sip:a@example.org SIP/2.0\r\nVia: SIP/2.0/TCP example.org\r\nContent-Length: 0\r\n\r\n",
    "RTSP": b"DESCRIBE rtsp://localhost/a RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "Gopher": b"/a\r\n",
    "telnet": b"\xff\xfd\x18\xff\xfd\x20\xff\xfb\x1f\xff\xfd\x01",
    "PROXY, version 1": b"PROXY TCP4 127.0.0.1 127.0.0.1 1 8080\r\n",
    "PROXY, version 2": b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + bytes([127, 0, 0, 1, 127, 0, 0, 1, 0, 1, 0, 1]),
    "SQL": b"\x00\x00\x00\x25\x00\x03\x00\x00user\x00a\x00database\x00DELETE /a\x00\x00",
    "RDP": b"\x03\x00\x00\x13\x0e\xe0\x00\x00\x00\x00\x00\x01\x00\x08\x00\x03\x00\x00\x00",
    "SOCKS": b"\x05\x01\x00\x05\x01\x00\x01\x7f\x00\x00\x01\x1f\x90",
}


def pieces_of(data: bytes, way: str) -> list[bytes]:
    return [data] if way == "whole" else [data[at : at + 1] for at in range(len(data))]


@pytest.mark.parametrize("said", OTHERS.values(), ids=OTHERS.keys())
@pytest.mark.parametrize("way", ["whole", "byte by byte"])
def test_another_protocol_changes_nothing(server: Sttpd, files: Path, said: bytes, way: str) -> None:
    with server.connect() as wire:
        received = send_until_closed(wire, pieces_of(said, way))
    for line in received.splitlines():
        assert re.match(rb"300 ", line), line
    assert is_untouched(files)


# What a page can choose is the body, and its line ends with it.
BODIES = {
    "text/plain, as fetch sends it": ("text/plain;charset=UTF-8", "DELETE /a\n"),
    "line ends of a form": ("text/plain", "DELETE /a\r\n"),
    "old line ends": ("text/plain", "DELETE /a\r"),
    "no line end": ("text/plain", "DELETE /a"),
    "many line ends": ("text/plain", "\n\n\r\n\nDELETE /a\n\n"),
    "a name and a value": ("text/plain", "DELETE /a\r\nx=DELETE /a\r\n"),
    "a value alone": ("text/plain", "=\r\nDELETE /a\r\n\r\n"),
    "url-encoded": ("application/x-www-form-urlencoded", "DELETE+%2Fa%0D%0A=DELETE /a"),
    "not text": ("application/octet-stream", "\x00\nDELETE /a\n"),
    "a beacon": ("text/plain;charset=UTF-8", "UPDATE /a owned\nDELETE /a\nCREATE /made x\n"),
}


@pytest.mark.parametrize(("kind", "body"), BODIES.values(), ids=BODIES.keys())
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("coding", ["length", "chunks", "short length", "none"])
def test_no_body_is_taken_for_requests(
    server: Sttpd, files: Path, method: str, kind: str, body: str, coding: str
) -> None:
    """In whichever line ends, however its length is told, again and again on one connection, and in any pieces."""
    fields = {
        "length": f"Content-Length: {len(body)}\r\n\r\n{body}",
        "chunks": f"Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n",
        "short length": f"Content-Length: 0\r\n\r\n{body}",
        "none": f"\r\n{body}",
    }
    asked = f"{method} / HTTP/1.1\r\n{AGENT}{ORIGIN}Content-Type: {kind}\r\n{fields[coding]}"
    for said in (asked, asked * 3, asked.replace("\r\n", "\n"), asked + "\r\n\r\n" + asked):
        head = said.index("DELETE") if "DELETE" in said else len(said)
        for cut in ([], [head], [head - 1], [head - 2, head], [1, head - 3, head + 3]):
            data = said.encode()
            with server.connect() as wire:
                received = send_until_closed(wire, [data[a:b] for a, b in pairwise([0, *cut, len(data)])])
            assert all(line.startswith((b"300 ", b"310 ")) for line in received.splitlines()), received
    assert is_untouched(files)


@pytest.mark.parametrize("said", BROWSERS.values(), ids=BROWSERS.keys())
@pytest.mark.parametrize("way", ["whole", "headers first", "byte by byte"])
def test_a_browser_changes_nothing(server: Sttpd, files: Path, said: str, way: str) -> None:
    data = said.encode()
    with server.connect() as wire:
        if way == "headers first":
            head, gap, body = data.partition(b"\r\n\r\n")
            pieces = [head + gap, body]
        elif way == "byte by byte":
            pieces = [data[at : at + 1] for at in range(len(data))][:1500]
        else:
            pieces = [data]
        received = send_until_closed(wire, pieces)
    for line in received.splitlines():
        assert re.match(rb"(300|310) ", line), line
    assert is_untouched(files)


def send_until_closed(wire: Wire, pieces: list[bytes]) -> bytes:
    """What is answered, to the server's own close. It may close, and even reset, while we are still sending."""
    try:
        for piece in pieces:
            wire.send(piece)
        wire.half_close()
    except (BrokenPipeError, ConnectionResetError):
        pass
    try:
        return wire.rest()
    except ConnectionResetError:
        return b""


def test_the_server_closes_at_the_end_of_the_headers(server: Sttpd, files: Path) -> None:
    """It does not wait for the body, which may be long in coming."""
    with server.connect() as wire:
        wire.send(f"POST / HTTP/1.1\r\n{AGENT}Content-Length: 1000000\r\n\r\n".encode())
        assert wire.rest().startswith(b"300 / CLIENT ERROR")
        wire.send(COMMANDS.encode())
    assert is_untouched(files)


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("headers", [{}, {"Origin": "https://evil.example"}])
def test_an_http_client_gets_no_http_and_changes_nothing(
    server: Sttpd, files: Path, method: str, headers: dict[str, str]
) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as client:

        def ask() -> None:
            client.request(method, "/a", COMMANDS, headers)
            client.getresponse()

        with pytest.raises((http.client.BadStatusLine, ConnectionError)):
            ask()
    assert is_untouched(files)


def test_what_would_be_carried_out_is_a_line_before_the_first_empty_one(server: Sttpd, files: Path) -> None:
    """So that the tests above test something: it is the empty line that keeps the rest from happening."""
    said = f"POST / HTTP/1.1\r\n{AGENT}\r\n{COMMANDS}".replace("\r\n\r\n", "\r\n")
    server.converse(said.encode())
    assert not (files / "a").exists()
    server.converse(b"DELETE /made\nDELETE /made/below\n")
