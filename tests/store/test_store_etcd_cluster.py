"""How the members of a cluster are asked, whatever answers at their addresses. etcd itself is not needed here."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from sttp_reactor.errors import StoreFailed
from sttp_reactor.store.etcd.answers import OutcomeUnknown, Unavailable
from sttp_reactor.store.etcd.channel import endpoint_of
from sttp_reactor.store.etcd.cluster import Cluster, Timeouts

DONE = b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"header":{"revision":"1"},"a":1'
GOOD = b'HTTP/1.1 200 OK\r\nContent-Length: 28\r\n\r\n{"header":{"revision":"17"}}'
QUICK = Timeouts(connect=0.5, read=0.15, write=0.4)


def error(code: int, message: str, status: int = 503) -> bytes:
    body = b'{"error":"%b","message":"%b","code":%d}' % (message.encode(), message.encode(), code)
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


class Endpoint:
    """Answers each request with the next of `script`, over and over with the last; None closes without an answer, b""
    says nothing until the end."""

    def __init__(self, *script: bytes | None) -> None:
        self._script = list(script)
        self.requests: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._open.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            buffer = b""
            while piece := sock.recv(65536):
                buffer += piece
                head, end, body = buffer.partition(b"\r\n\r\n")
                if end and len(body) == int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]):
                    self.requests.append(buffer)
                    buffer = b""
                    answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
                    if answer is None:
                        return
                    if answer == b"drip":
                        for byte in GOOD * 100:
                            sock.sendall(bytes([byte]))
                            time.sleep(0.02)
                    sock.sendall(answer)

    def hang_up(self) -> None:
        """As a member that ends: who is connected is so no more."""
        for sock in self._open:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in self._threads:
            thread.join()


Make = Callable[..., Endpoint]


@pytest.fixture
def endpoint() -> Iterator[Make]:
    made: list[Endpoint] = []

    def make(*script: bytes | None) -> Endpoint:
        made.append(Endpoint(*script))
        return made[-1]

    yield make
    for each in made:
        each.close()


@contextlib.contextmanager
def cluster_of(*endpoints: Endpoint | str, timeouts: Timeouts = QUICK) -> Iterator[Cluster]:
    urls = [each if isinstance(each, str) else each.url for each in endpoints]
    cluster = Cluster([endpoint_of(url) for url in urls], timeouts)
    try:
        yield cluster
    finally:
        cluster.close()


def nobody() -> str:
    """Where a connection is refused."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"http://127.0.0.1:{gone.getsockname()[1]}"


class TestWrites:
    @pytest.mark.parametrize(
        "answer",
        [
            None,
            b"",
            DONE,  # cut off
            b"drip",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull",
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>",
            b"220 mail.example.com ESMTP\r\n",
            error(14, "etcdserver: request timed out"),
            error(14, "etcdserver: leader changed"),
            error(2, "what nobody has ever seen", status=500),
            error(14, "transport is closing"),
        ],
    )
    def test_what_may_have_arrived_is_never_sent_again(self, endpoint: Make, answer: bytes | None) -> None:
        first, second = endpoint(answer), endpoint(GOOD)
        with cluster_of(first, second) as cluster:
            with pytest.raises(OutcomeUnknown, match=r"^outcome unknown: "):
                cluster.write([])
            assert (len(first.requests), len(second.requests)) == (1, 0)

    @pytest.mark.parametrize(
        "answer", [error(14, "etcdserver: no leader"), error(8, "etcdserver: too many requests", status=429)]
    )
    def test_what_surely_was_not_done_is_asked_of_the_next(self, endpoint: Make, answer: bytes) -> None:
        first, second = endpoint(answer), endpoint(GOOD)
        with cluster_of(nobody(), first, second) as cluster:
            cluster.write([])
            assert (len(first.requests), len(second.requests)) == (1, 1)
            cluster.write([])
            assert (len(first.requests), len(second.requests)) == (1, 2), "whoever answered is asked"

    def test_where_nobody_can_take_it_nothing_was_done(self, endpoint: Make) -> None:
        first = endpoint(error(14, "etcdserver: no leader"))
        began = time.monotonic()
        with cluster_of(first, nobody()) as cluster:
            with pytest.raises(Unavailable, match="nothing was done"):
                cluster.write([])
            assert time.monotonic() - began < 3
            assert len(first.requests) > 2

    def test_a_connection_that_was_closed_meanwhile_is_not_used(self, endpoint: Make) -> None:
        only = endpoint(GOOD)
        with cluster_of(only) as cluster:
            cluster.write([])
            cluster.write([])
            assert only.connections == 1
            only.hang_up()
            cluster.write([])
            assert (only.connections, len(only.requests)) == (2, 3)


class TestReads:
    @pytest.mark.parametrize(
        "answer",
        [None, b"", b"drip", error(14, "etcdserver: leader changed"), b"HTTP/1.1 404 X\r\n\r\n", b"nonsense\r\n"],
    )
    def test_the_next_one_is_asked(self, endpoint: Make, answer: bytes | None) -> None:
        first, second = endpoint(answer), endpoint(GOOD)
        with cluster_of(first, second) as cluster:
            assert cluster.read([])["header"]["revision"] == "17"
            assert (len(first.requests), len(second.requests)) == (1, 1)

    def test_each_fails_within_its_time(self, endpoint: Make) -> None:
        silent = endpoint(b"")
        began = time.monotonic()
        with cluster_of(silent, nobody()) as cluster, pytest.raises(StoreFailed, match="cannot be reached"):
            cluster.read([])
        assert 0.3 < time.monotonic() - began < 3

    def test_a_refusal_is_final(self, endpoint: Make) -> None:
        first, second = endpoint(error(7, "etcdserver: permission denied", status=403)), endpoint(GOOD)
        with cluster_of(first, second) as cluster:
            with pytest.raises(StoreFailed, match="denies the permission"):
                cluster.read([])
            assert second.requests == []


def test_every_request_asks_for_a_leader_and_no_proxy(endpoint: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "REQUESTS_CA_BUNDLE"):
        monkeypatch.setenv(name, "http://127.0.0.1:1/")
    only = endpoint(GOOD)
    with cluster_of(only) as cluster:
        cluster.read([])
        cluster.write([])
    assert all(b"\r\nGrpc-Metadata-hasleader: true\r\n" in request for request in only.requests)


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:2379", "ftp://a:1", "http://", "http://a/b", "http://u@a", "http://a:x"]
)
def test_what_is_no_endpoint(url: str) -> None:
    with pytest.raises(ValueError, match=r"http|endpoint|port|Port"):
        endpoint_of(url)


@pytest.mark.parametrize("url", ["http://127.0.0.1:2379", "https://[::1]:23", "http://etcd-1.example.com:1"])
def test_an_endpoint_names_itself(url: str) -> None:
    assert str(endpoint_of(url)) == url
