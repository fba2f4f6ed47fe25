"""A server that does what a test says, one script for each connection, on a port of its own or a Unix socket."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Mapping

PATIENCE_SECONDS = 15.0


class Peer:
    """The server's end of one connection, for a script. Blocking; every wait has an end."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.sock = sock
        self.stopping = stopping
        self._received = b""

    def line(self) -> bytes:
        """The next request line without its end; b"" when the client has closed."""
        while b"\n" not in self._received:
            data = self.sock.recv(4096)
            if not data:
                return b""
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def wait_for_close(self) -> None:
        while self.sock.recv(4096):
            pass

    def reset(self) -> None:
        """Close so that the client sees a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.sock.close()


Script = Callable[[Peer], None]


class ScriptedServer:
    """Runs `scripts`, one after the other, each on the next connection; afterwards it accepts no more.

    `ended` has an event for each script. What went wrong in one is raised by `stop`. With `tls` it speaks that.
    """

    def __init__(
        self,
        *scripts: Script,
        path: str | None = None,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._listener = _listen(path, host)
        self.host: str = path or self._listener.getsockname()[0]
        self.port: int = 8080 if path else self._listener.getsockname()[1]
        self.accepted = 0
        self.ended = [threading.Event() for _ in scripts]
        self._scripts = scripts
        self._tls = tls
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="scripted server")
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE_SECONDS)
        self._listener.close()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        for script, ended in zip(self._scripts, self.ended, strict=True):
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return  # stopped
            self.accepted += 1
            sock.settimeout(PATIENCE_SECONDS)
            with sock:
                try:
                    if self._tls is None:
                        script(Peer(sock, self._stopping))
                    else:
                        with self._tls.wrap_socket(sock, server_side=True) as encrypted:
                            script(Peer(encrypted, self._stopping))
                except (ConnectionError, BrokenPipeError, ssl.SSLError):
                    pass  # the client left; what it made of that is the test's matter
                except BaseException as error:
                    self._error = error
            ended.set()


def _listen(path: str | None, host: str) -> socket.socket:
    if path is None:
        return socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen()
    return listener


# -- Scripts --


def answers(*replies: bytes) -> Script:
    """Read a line and send a reply, for each; then close."""

    def script(peer: Peer) -> None:
        for reply in replies:
            assert peer.line(), "the client closed before it had asked everything"
            peer.send(reply)

    return script


def table(replies: Mapping[str, str]) -> Script:
    """Answer each line out of `replies` until the client closes; a line that is not there ends the connection."""

    def script(peer: Peer) -> None:
        while True:
            line = peer.line().decode()
            if not line:
                return
            assert line in replies, f"unexpected request: {line}"
            peer.send(replies[line].encode())

    return script


def silence(peer: Peer) -> None:
    """Read everything, say nothing."""
    peer.wait_for_close()


def deafness(peer: Peer) -> None:
    """Neither read nor say anything until the test is over."""
    peer.stopping.wait(PATIENCE_SECONDS)
