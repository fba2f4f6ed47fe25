"""The attackers' side: a niced process of its own, bounded in time, that says at its end what it has done.

A test's file is its attack, too: run as a script, it plays it. `attacking(__file__, ...)` runs it from the test, and
`play(attack)`, at the file's end, is what then runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import selectors
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator

# How much less than the server and the honest clients an attacker gets of a processor that they share. Real ones have
# machines of their own.
NICENESS = 10
# An attack that does not begin or end in time has failed.
PATIENCE_SECONDS = 10.0

_PIECE_BYTES = 65536
_RESET = b"\1\0\0\0\0\0\0\0"  # SO_LINGER: on, 0 seconds


class Target:
    """The server under attack, for as long as the attack lasts. `counts` is what is told at the end."""

    def __init__(self, address: str, seconds: float, variant: str = "") -> None:
        """`address` as the server names it; `variant` says which kind of this attack to play."""
        host, _, port = address.rpartition(":")
        self.sockaddr = host, int(port)
        self.variant = variant
        self.counts: Counter[str] = Counter()
        self._deadline = time.monotonic() + seconds

    @property
    def is_on(self) -> bool:
        return time.monotonic() < self._deadline

    def connect(self, source: str = "", *, is_narrow: bool = False) -> socket.socket:
        """A connection that does not block, from the address `source` if it is given. `is_narrow`: what is not read
        soon fills it, where the kernel would else take megabytes from the server first."""
        sock = socket.socket()
        sock.settimeout(PATIENCE_SECONDS)
        if is_narrow:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # the server's buffer is a multiple of this
        if source:
            sock.bind((source, 0))
        sock.connect(self.sockaddr)
        sock.setblocking(False)
        self.counts["connections"] += 1
        return sock


def reset(sock: socket.socket) -> None:
    """Close without a farewell, which leaves no TIME_WAIT behind: a storm would run out of ports."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    sock.close()


class _Peer:
    """One connection of a `flood`."""

    def __init__(self, sock: socket.socket, script: Iterator[bytes]) -> None:
        self.sock = sock
        self._script = script
        self._waiting = memoryview(b"")

    def send(self) -> int:
        if not self._waiting:
            self._waiting = memoryview(next(self._script))
        sent = self.sock.send(self._waiting)
        self._waiting = self._waiting[sent:]
        return sent


def flood(target: Target, count: int, script: Callable[[], Iterator[bytes]], *, reads: bool = True) -> None:
    """`count` connections that send what their `script()` gives as fast as it is taken, and read the replies, or do
    not. One that the server closes is counted as cut and replaced."""
    flood_of(target, count, lambda _: script(), reads=reads)


def flood_of(
    target: Target, count: int, script: Callable[[socket.socket], Iterator[bytes]], *, reads: bool = True
) -> None:
    """The same, where `script` has something to settle with the server first. It leaves the socket non-blocking."""
    with selectors.DefaultSelector() as selector:

        def join() -> None:
            sock = target.connect(is_narrow=not reads)
            interest = selectors.EVENT_WRITE | (selectors.EVENT_READ if reads else 0)
            selector.register(sock, interest, _Peer(sock, script(sock)))

        for _ in range(count):
            join()
        while target.is_on:
            for key, events in selector.select(0.05):
                if not _serve(target, key.data, events):
                    target.counts["cut"] += 1
                    selector.unregister(key.data.sock)
                    key.data.sock.close()
                    join()
        for key in list(selector.get_map().values()):
            reset(key.data.sock)


def _serve(target: Target, peer: _Peer, events: int) -> bool:
    """One peer's turn. False where the server has closed its connection."""
    try:
        if events & selectors.EVENT_READ:
            received = peer.sock.recv(_PIECE_BYTES)
            target.counts["bytes received"] += len(received)
            if not received:
                return False
        if events & selectors.EVENT_WRITE:
            target.counts["bytes sent"] += peer.send()
    except BlockingIOError:
        pass
    except ConnectionError:
        return False
    return True


# -- In the attacking process --


def play(attack: Callable[[Target], None]) -> None:
    """The whole of an attacking process: begin, attack until the time is up, tell the counts."""
    address, seconds, variant = sys.argv[1:]
    os.nice(NICENESS)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print("begun", flush=True)
    target = Target(address, float(seconds), variant)
    attack(target)
    print(json.dumps(target.counts), flush=True)


# -- In the test --


class Attack:
    """An attacking process that has begun. `counts` is there when it has ended."""

    def __init__(self, script: str, address: str, seconds: float, variant: str) -> None:
        command = [sys.executable, script, address, str(seconds), variant]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # it imports what the test's file imports
        self._process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == b"begun\n", "the attack cannot even begin"
        except BaseException:
            self.kill()
            raise

    @property
    def is_on(self) -> bool:
        return self._process.poll() is None

    def end(self) -> Counter[str]:
        """Wait for it; what it has done."""
        told, _ = self._process.communicate(timeout=PATIENCE_SECONDS)
        assert self._process.returncode == 0, "the attack failed"
        return Counter(json.loads(told))

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@contextlib.contextmanager
def attacking(script: str, address: str, seconds: float, variant: str = "") -> Iterator[Attack]:
    attack = Attack(script, address, seconds, variant)
    try:
        yield attack
    finally:
        attack.kill()
