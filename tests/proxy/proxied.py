"""Servers to put a proxy in front of: real ones, and odd ones that do what a broken server or a broken network does."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from operating import Operated
from running import PATIENCE_SECONDS, Sttpd

PROXY = [sys.executable, "-c", "import sys; from sttp_reactor.cli.sttp_proxy import main; sys.exit(main())"]

# What an odd server does with a line: the bytes to answer, or None for silence. HangUp closes the connection.
Behaviour = Callable[[bytes], bytes | None]


class HangUp(Exception):
    """Close, after having sent this."""

    def __init__(self, last: bytes = b"") -> None:
        self.last = last


class OddServer:
    """Answers `LIST /`, by which it is checked, as a healthy one, and every other line by `behaviour`. `asked` are the
    lines that it has got."""

    def __init__(self, behaviour: Behaviour, *, greeting: bytes = b"") -> None:
        self.behaviour = behaviour
        self.asked: list[bytes] = []
        self._greeting = greeting
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self._sockets.append(sock)
                thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError), sock, sock.makefile("rb") as lines:
            if self._greeting:
                sock.sendall(self._greeting)
                return
            for line in lines:
                if line == b"LIST /\n":
                    sock.sendall(b"200 / OK\n\n")
                    continue
                self.asked.append(line)
                try:
                    answer = self.behaviour(line)
                except HangUp as end:
                    sock.sendall(end.last)
                    sock.shutdown(socket.SHUT_RDWR)
                    return
                if answer is not None:
                    sock.sendall(answer)


class House:
    """Starts servers and proxies below `folder`, and ends them."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self._count = 0

    def server(self, *options: str, port: int = 0, docroot: str = "") -> Sttpd:
        """A real one. Without `docroot`, its files are its own."""
        self._count += 1
        words = [word for option in options for word in ("-o", option)]
        arguments = ["-p", str(port), "-d", docroot or f"files-{self._count}", *words]
        server = Sttpd(arguments, self.folder)
        self._stack.callback(server.finish)
        return server

    def odd(self, behaviour: Behaviour, *, greeting: bytes = b"") -> OddServer:
        server = OddServer(behaviour, greeting=greeting)
        self._stack.callback(server.close)
        return server

    def proxy(self, servers: Sequence[Sttpd | OddServer | str], *options: str) -> Sttpd:
        words = [word for option in options for word in ("-o", option)]
        if servers:
            words += ["-s", ",".join(map(address_of, servers))]
        proxy = Sttpd(["-p", "0", *words], self.folder, command=PROXY)
        self._stack.callback(proxy.finish)
        return proxy

    def operated_proxy(self, settings: str) -> OperatedProxy:
        """One with a configuration file, which can be changed."""
        proxy = OperatedProxy(self.folder, settings, start=(*PROXY, "-c", "sttpd.yaml", "-p", "0"))
        self._stack.callback(proxy.finish)
        return proxy


class OperatedProxy(Operated):
    def configure(self, settings: str) -> None:
        (self.folder / "sttpd.yaml").write_text(settings)

    def _wait_until_ready(self) -> None:
        Sttpd._wait_until_ready(self)


def address_of(server: Sttpd | OddServer | str) -> str:
    if isinstance(server, str):
        return server
    return server.address if isinstance(server, OddServer) else server.addresses[0]


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
