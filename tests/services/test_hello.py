"""The hello service as its users have it: started as a program, asked by http.client and by hand."""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from certificates import certificate, client_context, key
from service_process import service

pytest.importorskip("httptools", reason="the extra `http`")


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with service("hello", "--port", "0") as port:
        yield port


def test_it_says_hello_and_keeps_the_connection(port: int) -> None:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for path, status, text in [
        ("/api/Alice", 200, "Hello, Alice!\n"),
        ("/api/Alice", 200, "Hello, Alice!\n"),  # ready-made
        ("/api/Zo%C3%AB%20%1b", 200, "Hello, Zoë \\x1b!\n"),  # what a terminal would obey is shown
        ("/", 200, "GET /api/{name} says hello.\n"),
        ("/api/", 404, "There is nothing here.\n"),
    ]:
        client.request("GET", path)
        response = client.getresponse()
        assert (response.status, response.read().decode()) == (status, text)
    sock = client.sock
    client.request("DELETE", "/api/Alice", body="x")
    response = client.getresponse()
    assert (response.status, response.getheader("Allow")) == (405, "GET, HEAD")
    response.read()
    assert client.sock is sock
    client.close()


def test_pipelined_requests_and_a_half_close(port: int) -> None:
    names = [f"n{number}" for number in range(500)]
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(b"".join(b"GET /api/%b HTTP/1.1\r\nHost: h\r\n\r\n" % name.encode() for name in names))
        sock.shutdown(socket.SHUT_WR)
        with sock.makefile("rb") as file:
            received = file.read()
    said = [line.decode() for line in received.split(b"\n") if line.startswith(b"Hello")]
    assert said == [f"Hello, {name}!" for name in names]


def test_tls() -> None:
    with service("hello", "--port", "0", f"--certificate={certificate('server')}", f"--key={key('server')}") as port:
        client = http.client.HTTPSConnection("localhost", port, timeout=10, context=client_context())
        for _ in range(2):
            client.request("GET", "/api/Alice")
            assert client.getresponse().read() == b"Hello, Alice!\n"
        client.close()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "x"], "hello: --port: expected a whole number from 0 to 65535, got 'x'\n"),
        (["--certificate=/none", "--key=/none"], "hello: cannot read the TLS certificate /none: No such file or"),
    ],
)
def test_what_it_cannot_do_is_one_line(arguments: list[str], said: str) -> None:
    command = [sys.executable, "-m", "sttp_reactor.services.hello", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert result.returncode == 1
    assert result.stderr.startswith(said)


def test_without_the_extra_one_line_says_how_to_install_it() -> None:
    program = "import sys; sys.modules['httptools'] = None; import sttp_reactor.services.hello"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert (result.returncode, result.stderr) == (
        1,
        "hello needs the package httptools: pip install 'sttp_reactor[http]'\n",
    )
