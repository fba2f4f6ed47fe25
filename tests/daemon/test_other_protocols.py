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
