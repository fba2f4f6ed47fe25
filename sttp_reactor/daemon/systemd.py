"""The service manager's side of running: what it is told (sd_notify(3)) and the sockets it hands over
(sd_listen_fds(3)).

Both are environment variables and a datagram; there is no library to need. Where the variables are missing, or meant
for another process, nothing is told and no socket is found.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sttp_reactor.errors import StartError
from sttp_reactor.limits import LOG_AGAIN_SECONDS
from sttp_reactor.net.address import Address
from sttp_reactor.net.endpoints import HTTP_NAME, HTTPS_NAME, TLS_NAME, Endpoint, Sockets
from sttp_reactor.net.listener import set_options
from sttp_reactor.printable import printable

log = logging.getLogger(__name__)

FIRST_DESCRIPTOR: Final = 3  # SD_LISTEN_FDS_START

# A manager that is busy may let us wait at a turning point, such as READY=1, and never for a sign of life: it would be
# as good as none, and every connection would wait with us.
_PATIENCE_SECONDS: Final = 1.0

_FAMILIES: Final = (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX)


class Notifier:
    """Tells the service manager what becomes of us. Never raises: serving goes on, whoever listens."""

    def __init__(self, environ: Mapping[str, str] = os.environ, pid: int | None = None) -> None:
        self._socket: socket.socket | None = None
        self._complain_at = 0.0  # about a sign of life that does not arrive; other things are told seldom
        self._address = environ.get("NOTIFY_SOCKET", "")
        # `@name` stands for a name in the abstract namespace, where no file is.
        name = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        if name.startswith(("/", "\0")):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._name = name
        elif name:
            log.warning("NOTIFY_SOCKET is %s; only Unix sockets are understood", self._address)
        self.watchdog_seconds = _watchdog_seconds(environ, os.getpid() if pid is None else pid)

    def ready(self, status: str) -> None:
        """Started, or through with a reload. `status` is a sentence for `systemctl status`, here and below."""
        self._tell("READY=1", _status(status))

    def reloading(self) -> None:
        # The time lets the manager tell this reload's READY=1 from one that was sent just before (sd_notify(3)).
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._tell("RELOADING=1", f"MONOTONIC_USEC={now}")

    def stopping(self, status: str) -> None:
        self._tell("STOPPING=1", _status(status))

    def alive(self) -> None:
        """A sign of life for the watchdog, due every `watchdog_seconds`."""
        error = self._send("WATCHDOG=1", 0.0)
        if error is not None and time.monotonic() >= self._complain_at:
            self._complain_at = time.monotonic() + LOG_AGAIN_SECONDS
            self._warn("WATCHDOG=1", error)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *assignments: str) -> None:
        error = self._send("\n".join(assignments), _PATIENCE_SECONDS)
        if error is not None:
            self._warn(assignments[0], error)

    def _send(self, text: str, patience: float) -> OSError | None:
        if self._socket is None:
            return None
        self._socket.settimeout(patience)
        try:
            self._socket.sendto(text.encode(), self._name)
        except OSError as error:
            return error
        return None

    def _warn(self, what: str, error: OSError) -> None:
        log.warning("the service manager at %s cannot be told %s: %s", self._address, what, error)


def _status(sentence: str) -> str:
    return f"STATUS={printable(sentence)}"  # a line break would begin another assignment


def _watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Within which time a sign of life is expected; None where none is."""
    if environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    text = environ.get("WATCHDOG_USEC", "")
    return int(text) / 1_000_000 if text.isascii() and text.isdigit() and int(text) > 0 else None


class Activated(NamedTuple):
    """A listening socket that was handed over, non-blocking, and its name (`FileDescriptorName=`)."""

    name: str
    sock: socket.socket


def activated_sockets(environ: Mapping[str, str] = os.environ, pid: int | None = None) -> list[Activated]:
    """The sockets of socket activation, in their order; none where we were started in another way.

    Takes the descriptors over: to be called once. Raises StartError for one that is no listening stream socket.
    """
    count = environ.get("LISTEN_FDS", "")
    if environ.get("LISTEN_PID") != str(os.getpid() if pid is None else pid) or not count.isdigit():
        return []
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (int(count) - len(names))
    found: list[Activated] = []
    try:
        for number in range(int(count)):
            found.append(Activated(names[number], _take_over(FIRST_DESCRIPTOR + number)))
    except BaseException:
        for each in found:
            each.sock.close()
        raise
    return found


def _take_over(descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise StartError(f"socket activation: descriptor {descriptor} is no socket: {error.strerror}") from error
    try:
        is_listening = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.family not in _FAMILIES or sock.type != socket.SOCK_STREAM or not is_listening:
            raise StartError(f"socket activation: descriptor {descriptor} is no listening stream socket")
        sock.setblocking(False)
        sock.set_inheritable(False)
    except BaseException:
        sock.close()
        raise
    return sock


def activated_endpoints(activated: Iterable[Activated]) -> Sockets | None:
    """The sockets of socket activation by endpoint; None where there are none. Options that a connection inherits are
    set here as `bind` sets them."""
    sockets: Sockets = {}
    for name, sock in activated:
        kind = HTTP_NAME if name in (HTTP_NAME, HTTPS_NAME) else ""
        sockets[Endpoint(Address(sock.family, sock.getsockname()), name in (TLS_NAME, HTTPS_NAME), kind)] = sock
        if sock.family != socket.AF_UNIX:
            set_options(sock)
    return sockets or None
