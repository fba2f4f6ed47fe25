"""From the name of a host to a connected socket, within a deadline."""

from __future__ import annotations

import errno
import math
import os
import queue
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sttp_reactor.client.url import Endpoint
from sttp_reactor.client.waiting import WRITABLE, make_poll
from sttp_reactor.errors import CannotConnect, ConnectTimedOut, HostUnknown

# RFC 8305, section 5: an address that has not answered in this time is no longer waited for alone.
STAGGER_SECONDS: Final = 0.25
# A Unix socket whose backlog is full answers EAGAIN at once, and there is nothing to wait for but time.
_FULL_BACKLOG_SECONDS: Final = 0.01

Note = Callable[[str], None]  # is told, a sentence at a time, what happens


class Address(NamedTuple):
    family: int
    sockaddr: Any

    def __str__(self) -> str:
        if self.family == socket.AF_UNIX:
            return str(self.sockaddr)
        host, port, *rest = self.sockaddr
        return str(Endpoint(f"{host}%{_interface(rest[1])}" if rest and rest[1] else host, port))


def _interface(index: int) -> str:
    """The name of a scope, which an address of a link has; its number where the interface has gone."""
    try:
        return socket.if_indextoname(index)
    except OSError:
        return str(index)


def resolve(endpoint: Endpoint, deadline: float) -> list[Address]:
    """All addresses of `endpoint`, best first; `deadline` is on the monotonic clock.

    Raises HostUnknown, or ConnectTimedOut when the name servers do not answer in time.
    """
    if endpoint.is_unix:
        return [Address(socket.AF_UNIX, endpoint.host)]
    try:
        return _look_up(endpoint, socket.AI_NUMERICHOST)
    except (OSError, ValueError):
        return _look_up_within(endpoint, deadline)


def connect(endpoint: Endpoint, addresses: list[Address], deadline: float, note: Note) -> socket.socket:
    """A non-blocking socket, connected to the first of `addresses` that answers.

    Raises CannotConnect with every address's own reason, or ConnectTimedOut.
    """
    race = _Race(note)
    try:
        return race.run(endpoint, addresses, deadline)
    finally:
        race.close()


def connect_many(endpoint: Endpoint, address: Address, count: int, deadline: float) -> list[socket.socket]:
    """`count` sockets as `connect` gives them, all begun at once, to one of the addresses of `endpoint`.

    All or nothing: raises CannotConnect at the first that fails, or ConnectTimedOut, with none left open.
    """
    race = _Race(lambda _: None)
    try:
        return race.run_all(endpoint, address, count, deadline)
    finally:
        race.close()


def _look_up(endpoint: Endpoint, flags: int = 0) -> list[Address]:
    found = socket.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM, flags=flags)
    return list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))


def _look_up_within(endpoint: Endpoint, deadline: float) -> list[Address]:
    """The resolver knows no time-outs, so it runs in a thread that is left behind when it takes too long."""
    answers: queue.SimpleQueue[list[Address] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(_look_up(endpoint))
        except Exception as error:
            answers.put(error)

    threading.Thread(target=ask, name=f"resolve {endpoint.host}", daemon=True).start()
    try:
        answer = answers.get(timeout=max(deadline - time.monotonic(), 0))
    except queue.Empty:
        raise ConnectTimedOut(f"timed out looking up the host {endpoint.host}") from None
    if isinstance(answer, list):
        return answer
    # A name that is too long or not a name at all is a UnicodeError or another ValueError.
    reason = answer.strerror if isinstance(answer, OSError) else answer
    raise HostUnknown(f"unknown host {endpoint.host} ({reason})") from answer


def _for_socket(address: Address) -> Any:
    """A Unix socket's path in UTF-8 where the locale cannot express it."""
    if address.family != socket.AF_UNIX:
        return address.sockaddr
    try:
        return os.fsencode(address.sockaddr)
    except UnicodeEncodeError:
        return address.sockaddr.encode()


class _Race:
    """Connects to several addresses, each started as soon as those before it failed or took STAGGER_SECONDS.

    One after the other would be simpler, and an address that swallows packets would use up the time of the others.
    """

    def __init__(self, note: Note) -> None:
        self._note = note
        self._poll = make_poll()
        self._pending: dict[int, tuple[socket.socket, Address]] = {}
        self._failures: list[tuple[Address, str]] = []

    def run(self, endpoint: Endpoint, addresses: list[Address], deadline: float) -> socket.socket:
        waiting = deque(addresses)
        next_start = -math.inf
        while waiting or self._pending:
            now = time.monotonic()
            if now >= deadline:
                raise ConnectTimedOut(f"timed out connecting to {endpoint}")
            if waiting and (not self._pending or now >= next_start):
                winner = self._start(waiting.popleft(), waiting)
                next_start = now + STAGGER_SECONDS
            else:
                winner = self._wait(min(deadline, next_start) - now if waiting else deadline - now)
            if winner is not None:
                return winner
        raise CannotConnect(f"cannot connect to {endpoint}: {self._reasons()}")

    def run_all(self, endpoint: Endpoint, address: Address, count: int, deadline: float) -> list[socket.socket]:
        waiting = deque([address] * count)
        connected: list[socket.socket] = []
        try:
            while len(connected) < count:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise ConnectTimedOut(f"timed out connecting to {endpoint}: {len(connected)} of {count} are")
                winner = self._start(waiting.popleft(), waiting) if waiting else self._wait(left)
                if winner is not None:
                    connected.append(winner)
                if self._failures:
                    raise CannotConnect(f"cannot connect to {endpoint}: {self._failures[0][1]}")
        except BaseException:
            for sock in connected:
                sock.close()
            raise
        return connected

    def close(self) -> None:
        """Give up all attempts that have not been decided."""
        for sock, _ in self._pending.values():
            sock.close()
        self._pending.clear()
        self._poll.close()

    def _start(self, address: Address, waiting: deque[Address]) -> socket.socket | None:
        self._note(f"connecting to {address}")
        try:
            sock = socket.socket(address.family, socket.SOCK_STREAM)
        except OSError as error:
            self._fail(address, error.strerror or str(error))
            return None
        try:
            sock.setblocking(False)
            code = sock.connect_ex(_for_socket(address))
        except (OSError, ValueError) as error:  # a Unix socket's path that is too long, or holds a NUL
            sock.close()
            self._fail(address, str(error))
            return None
        if code == errno.EINPROGRESS:
            self._pending[sock.fileno()] = sock, address
            self._poll.register(sock.fileno(), WRITABLE)
            return None
        if code == errno.EAGAIN and address.family == socket.AF_UNIX:
            sock.close()
            waiting.append(address)
            time.sleep(_FULL_BACKLOG_SECONDS)
            return None
        return self._decide(sock, address, code)

    def _wait(self, seconds: float) -> socket.socket | None:
        for fd, _ in self._poll.poll(math.ceil(seconds * 1000)):
            sock, address = self._pending.pop(fd)
            self._poll.unregister(fd)
            winner = self._decide(sock, address, sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            if winner is not None:
                return winner
        return None

    def _decide(self, sock: socket.socket, address: Address, code: int) -> socket.socket | None:
        if code:
            sock.close()
            self._fail(address, os.strerror(code))
            return None
        if address.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._note(f"connected to {address}")
        return sock

    def _fail(self, address: Address, reason: str) -> None:
        self._note(f"{address}: {reason}")
        self._failures.append((address, reason))

    def _reasons(self) -> str:
        if len(self._failures) == 1:
            return self._failures[0][1]
        return "; ".join(f"{address}: {reason}" for address, reason in self._failures) or "it has no address"
