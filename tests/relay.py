"""A TCP relay between a server and what it depends on, which can cut, delay and swallow what it should pass on."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Final

_PIECE: Final = 65536


class Relay:
    """A context manager. Connections are accepted and passed on to `target` until it is told otherwise."""

    def __init__(self, target: int) -> None:
        """`target` is a port on loopback."""
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.delay = 0.0  # seconds that each piece is kept
        self._passing = threading.Event()  # not set: what is sent waits, as on a network that is cut
        self._passing.set()
        self._answering = threading.Event()  # the same for what comes back only
        self._answering.set()
        self._is_open = True
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Relay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def cut(self) -> None:
        """Reset every connection; new ones are passed on."""
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def swallow(self) -> None:
        """Nothing arrives any more on either side, new connections included, and nobody is told."""
        self._passing.clear()

    def swallow_answers(self) -> None:
        """What is asked arrives, and the answers do not."""
        self._answering.clear()

    def heal(self) -> None:
        """What was kept back is lost with its connections."""
        self.cut()
        self._passing.set()
        self._answering.set()

    def close(self) -> None:
        self._is_open = False
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.heal()
        for thread in self._threads:
            thread.join(5.0)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while self._is_open:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._target), 5.0)
                except OSError:
                    near.close()
                    continue
                far.settimeout(None)
                with self._lock:
                    self._sockets |= {near, far}
                for source, sink, may_pass in (
                    (near, far, [self._passing]),
                    (far, near, [self._passing, self._answering]),
                ):
                    thread = threading.Thread(target=self._pass_on, args=(source, sink, may_pass), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, may_pass: list[threading.Event]) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE):
                if self.delay:
                    time.sleep(self.delay)
                for event in may_pass:
                    event.wait()
                sink.sendall(piece)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        with self._lock:
            if source in self._sockets:
                self._sockets.discard(source)
            source.close()
