"""STTP servers for the load tool's tests: right, and wrong in every way that the tool must notice.

Run as a program (`fake_server.py PORT_FD`) it serves from a process of its own, which a test may stop and continue.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
import sys
import threading
from collections.abc import Callable

_PATIENCE_SECONDS = 10.0
FULL = b'500 - SERVER ERROR "too many connections; try again later"\n'

Answer = Callable[[bytes], bytes | None]  # a request without its line end; None closes the connection


class Files:
    """The protocol on a dictionary; what the load tool asks, no more. `answer` may be overridden to go wrong."""

    def __init__(self) -> None:
        self.texts: dict[bytes, bytes] = {}

    def answer(self, line: bytes) -> bytes | None:
        action, _, rest = line.partition(b" ")
        path, _, text = rest.partition(b" ")
        return bytes(getattr(self, action.decode().lower())(path, text))

    def show(self, path: bytes, text: bytes) -> bytes:
        return self._ok(path, self.texts[path]) if path in self.texts else self._missing(path)

    def list(self, path: bytes, text: bytes) -> bytes:
        names = sorted(each[len(path) :] for each in self.texts if each.startswith(path))
        return self._ok(path, b", ".join(names))

    def create(self, path: bytes, text: bytes) -> bytes:
        if path in self.texts:
            return b'300 %s CLIENT ERROR "it exists, use UPDATE"\n' % path
        self.texts[path] = text
        return b"100 %s CREATED\n" % path

    def update(self, path: bytes, text: bytes) -> bytes:
        if path not in self.texts:
            return self._missing(path)
        self.texts[path] = text
        return self._ok(path, text)

    def delete(self, path: bytes, text: bytes) -> bytes:
        if path not in self.texts:
            return self._missing(path)
        del self.texts[path]
        return b"600 %s DELETED\n" % path

    def _ok(self, path: bytes, text: bytes) -> bytes:
        return b"200 %s OK\n%s\n" % (path, text)

    def _missing(self, path: bytes) -> bytes:
        return b"400 %s NOT FOUND\n" % path


class FakeServer:
    """Serves `answer` in a thread while the context lasts; with `tls` by TLS. More than `most` connections are refused,
    as sttpd does it."""

    def __init__(
        self,
        answer: Answer | None = None,
        family: int = socket.AF_INET,
        address: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        most: int = 1 << 30,
    ) -> None:
        self.files = Files()
        self._most = most
        self._answer = answer or self.files.answer
        self._family = family
        self._tls = tls
        self._address = address if family == socket.AF_UNIX else (address, 0)
        self._listener: socket.socket
        self._stop: socket.socket
        self._thread: threading.Thread

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    def __enter__(self) -> FakeServer:
        self._listener = socket.socket(self._family, socket.SOCK_STREAM)
        self._listener.bind(self._address)
        self._listener.listen(256)
        self._stop, stopped = socket.socketpair()
        arguments = (self._listener, self._answer, stopped, self._tls, self._most)
        self._thread = threading.Thread(target=serve, args=arguments, name="fake server")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.close()
        self._thread.join()


def serve(
    listener: socket.socket,
    answer: Answer,
    stop: socket.socket | None = None,
    tls: ssl.SSLContext | None = None,
    most: int = 1 << 30,
) -> None:
    """Until `stop` is readable."""
    rests: dict[socket.socket, bytes] = {}
    refused: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector, listener:
        selector.register(listener, selectors.EVENT_READ)
        if stop is not None:
            selector.register(stop, selectors.EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.fileobj is stop:
                    for each in [*rests, stop]:
                        each.close()
                    return
                if key.fileobj is listener:
                    accepted = _accept(listener, tls)
                    if accepted is not None:
                        if len(rests) - len(refused) >= most:
                            refused.add(accepted)
                            _refuse(accepted)
                        rests[accepted] = b""
                        selector.register(accepted, selectors.EVENT_READ)
                elif isinstance(key.fileobj, socket.socket):
                    sock = key.fileobj
                    if not _serve_one(sock, rests, (lambda _: b"") if sock in refused else answer):
                        selector.unregister(sock)
                        del rests[sock]
                        refused.discard(sock)
                        sock.close()


def _accept(listener: socket.socket, tls: ssl.SSLContext | None) -> socket.socket | None:
    """None where the client does not go through with TLS. Clients shake hands in the order they come."""
    accepted = listener.accept()[0]
    if tls is None:
        return accepted
    accepted.settimeout(_PATIENCE_SECONDS)
    try:
        return tls.wrap_socket(accepted, server_side=True)
    except OSError:
        accepted.close()
        return None


def _refuse(sock: socket.socket) -> None:
    """Says why. What the client sends is read nevertheless: left unread it would make the end a reset, which discards
    what was said."""
    with contextlib.suppress(OSError):
        sock.sendall(FULL)
        sock.shutdown(socket.SHUT_WR)


def _serve_one(sock: socket.socket, rests: dict[socket.socket, bytes], answer: Answer) -> bool:
    """False where the connection is over."""
    try:
        data = sock.recv(65536)
        *lines, rests[sock] = (rests[sock] + data).split(b"\n")
        replies = [answer(line) for line in lines]
        sock.sendall(b"".join(reply for reply in replies if reply is not None))
    except (ConnectionError, ssl.SSLError):
        return False
    return bool(data) and None not in replies


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), Files().answer)
