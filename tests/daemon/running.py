"""A real sttpd in a process of its own, and a client on a plain socket, for black-box tests."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

# Only a failing test waits that long.
PATIENCE_SECONDS = 10.0

STTPD = [sys.executable, "-c", "import sys; from sttp_reactor.cli.sttpd import main; sys.exit(main())"]

# The whole of these tests holds for a server of several processes, too: STTP_TEST_PROCESSES=2 says how many.
PROCESSES = os.environ.get("STTP_TEST_PROCESSES", "")

_READY = re.compile(r'ready: listening on (.+); (?:docroot|etcd|servers) (.+); configuration ([^"\n]+)')


class Sttpd:
    """A server that has said it is ready. `stop` it; the fixture `start` does at the latest."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        command: Sequence[str] = STTPD,
        preexec_fn: Callable[[], None] | None = None,
    ) -> None:
        """Run `command` with `arguments` in `folder`; wait until it is ready."""
        if PROCESSES and command is STTPD and not any("processes=" in argument for argument in arguments):
            arguments = [*arguments, "-o", f"processes={PROCESSES}"]
        self.log = ""  # what has been read of its standard error
        self._ended = False
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=preexec_fn,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        assert self.process.stderr is not None
        descriptor = self.process.stderr.fileno()  # past the buffer, or `select` would not see what that has read
        while (match := _READY.search(self.log)) is None or "\n" not in self.log[match.end() :]:
            readable, _, _ = select.select([descriptor], [], [], PATIENCE_SECONDS)
            assert readable, f"not ready in time; it said: {self.log}"
            piece = os.read(descriptor, 65536).decode()
            assert piece, f"ended with {self.process.wait()} and said: {self.log}"
            self.log += piece
        self.addresses, self.docroot, self.origin = match[1].split(", "), Path(match[2]), match[3]

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def port(self) -> int:
        return int(self.addresses[0].rpartition(":")[2])

    def connect(self, address: str | None = None, source: str | None = None) -> Wire:
        return Wire(address or self.addresses[0], source)

    def converse(self, data: bytes) -> bytes:
        """Everything that is answered to `data` and the half-close after it."""
        with self.connect() as wire:
            wire.send(data)
            wire.half_close()
            return wire.rest()

    def send_signal(self, number: int) -> None:
        self.process.send_signal(number)

    def stop(self, number: int = signal.SIGTERM) -> None:
        """End it by a signal. It must end with 0 and without a traceback."""
        self.send_signal(number)
        self.ends()

    def ends(self, code: int = 0, within: float = PATIENCE_SECONDS) -> str:
        """Wait until it has ended by itself, and check how. Gives what it had written to standard output."""
        out, err = self.process.communicate(timeout=within)
        self._ended = True
        self.log += err
        assert self.process.returncode == code, self.log
        assert "Traceback" not in self.log, self.log
        return out

    def kill(self) -> None:
        """As a crash does. Harmless when it has ended."""
        self._ended = True
        self.process.kill()
        self.process.communicate()

    def finish(self) -> None:
        """The last call: a server that still runs is stopped and checked."""
        if self._ended:
            return
        try:
            self.stop()
        finally:
            self.kill()


class Wire:
    """A client that sees every byte."""

    def __init__(self, address: str, source: str | None = None) -> None:
        """`address` as the server names it: `127.0.0.1:8080`, `[::1]:8080` or the path of a Unix socket. `source` is
        the address to come from, such as `127.0.0.2`."""
        if address.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(PATIENCE_SECONDS)
            self.socket.connect(address)
        else:
            host, _, port = address.rpartition(":")
            come_from = None if source is None else (source, 0)
            self.socket = socket.create_connection((host.strip("[]"), int(port)), PATIENCE_SECONDS, come_from)
        self._buffer = b""

    def __enter__(self) -> Wire:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def ask(self, line: bytes) -> bytes:
        """The whole reply to one request."""
        self.send(line + b"\n")
        return self.reply()

    def reply(self) -> bytes:
        first = self._line()
        return first + self._line() if first.startswith(b"200") else first

    def rest(self) -> bytes:
        """Everything up to the server's close. A reset is an error."""
        while piece := self.socket.recv(65536):
            self._buffer += piece
        rest, self._buffer = self._buffer, b""
        return rest

    def _line(self) -> bytes:
        while b"\n" not in self._buffer:
            piece = self.socket.recv(65536)
            assert piece, f"the server closed in the middle of {self._buffer!r}"
            self._buffer += piece
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line + b"\n"


def fails(arguments: list[str], folder: Path, code: int) -> str:
    """Run sttpd where it cannot start. Gives the one line it says."""
    done = subprocess.run([*STTPD, *arguments], cwd=folder, capture_output=True, text=True, timeout=10)
    assert (done.returncode, done.stdout) == (code, ""), done
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def freeze(pid: int) -> None:
    """Have the process stand still, and wait until all its threads do. One that is told to and has not come to it takes
    what is sent meanwhile, and a signal with a smaller number even before the SIGSTOP. SIGCONT ends it."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while any(stat.read_text().rpartition(") ")[2][0] != "T" for stat in Path(f"/proc/{pid}/task").glob("*/stat")):
        assert time.monotonic() < deadline, "it goes on"
        time.sleep(0.001)


@contextlib.contextmanager
def stopped(server: Sttpd) -> Iterator[None]:
    """While the block runs the server does not, and what is sent to it stays in the kernel."""
    freeze(server.pid)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


class Stopwatch:
    """`with Stopwatch() as watch: ...`, then `watch.seconds`."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        self._began = time.monotonic()
        return self

    @property
    def so_far(self) -> float:
        return time.monotonic() - self._began

    def __exit__(self, *_: object) -> None:
        self.seconds = self.so_far


Start = Callable[..., Sttpd]  # the fixture `start`


@contextlib.contextmanager
def starter(folder: Path) -> Iterator[Start]:
    """What the fixture `start` gives, for servers whose files are below `folder`."""
    with contextlib.ExitStack() as running:

        def start(
            *arguments: str, address: str = "127.0.0.1", port: int = 0, docroot: str = "files", **options: Any
        ) -> Sttpd:
            server = Sttpd(["-a", address, "-p", str(port), "-d", docroot, *arguments], folder, **options)
            running.callback(server.finish)
            return server

        yield start
