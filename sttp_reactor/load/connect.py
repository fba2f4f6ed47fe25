"""Opening many connections, without waiting for one after the other."""

from __future__ import annotations

import errno
import os
import resource
import select
import socket
import time
from typing import Any

from sttp_reactor.client.connecting import connect, resolve
from sttp_reactor.errors import CannotConnect, ConnectTimedOut, HostUnknown
from sttp_reactor.load.faults import LoadError, Unreachable
from sttp_reactor.load.target import Target

# Connections being made at the same time. More could overflow the listener's backlog (128 in many programs), and an
# overflow costs a second: the kernel drops the handshake and the client tries again.
_AT_ONCE = 64
_SPARE_FILES = 64  # descriptors for everything that is not a connection


def open_connections(target: Target, count: int, timeout: float) -> list[socket.socket]:
    """`count` connected, non-blocking sockets. Raises Unreachable; LoadError where the system allows fewer files."""
    allow_files(count)
    deadline = time.monotonic() + timeout
    endpoint = target.endpoint
    try:
        # The address that answers first is the one all connections go to.
        first = connect(endpoint, resolve(endpoint, deadline), deadline, lambda _: None)
    except (HostUnknown, CannotConnect, ConnectTimedOut) as error:
        raise Unreachable(str(error)) from error
    _prepare(first)
    sockets = [first]
    try:
        while len(sockets) < count:
            sockets += _open_batch(target, first, min(_AT_ONCE, count - len(sockets)), deadline)
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def allow_files(count: int) -> None:
    """Raises this process's limit of open files as far as `count` connections need, LoadError where it may not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = count + _SPARE_FILES
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise LoadError(f"{count} connections need {needed} open files, and the limit is {hard}: see ulimit -n")
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def _prepare(sock: socket.socket) -> None:
    sock.setblocking(False)
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _open_batch(target: Target, first: socket.socket, count: int, deadline: float) -> list[socket.socket]:
    family, where = first.family, first.getpeername()
    connecting: list[socket.socket] = []
    try:
        for _ in range(count):
            connecting.append(socket.socket(family, socket.SOCK_STREAM))
            _prepare(connecting[-1])
            code = _begin_connect(connecting[-1], where, deadline)
            if code not in (0, errno.EINPROGRESS):
                raise Unreachable(f"cannot connect to {target}: {os.strerror(code)}")
        _await_all(target, connecting, deadline)
    except BaseException:
        for sock in connecting:
            sock.close()
        raise
    return connecting


def _begin_connect(sock: socket.socket, where: Any, deadline: float) -> int:
    """A Unix socket whose backlog is full says EAGAIN, and there is nothing to wait for but time."""
    while True:
        code = sock.connect_ex(where)
        if code != errno.EAGAIN or time.monotonic() > deadline:
            return code
        time.sleep(0.001)


def _await_all(target: Target, connecting: list[socket.socket], deadline: float) -> None:
    poll = select.poll()
    waiting = {sock.fileno(): sock for sock in connecting}
    for fd in waiting:
        poll.register(fd, select.POLLOUT)
    while waiting:
        left = deadline - time.monotonic()
        ready = poll.poll(max(left, 0) * 1000)
        if not ready:
            raise Unreachable(f"cannot connect to {target}: {len(waiting)} connections were not accepted in time")
        for fd, _ in ready:
            poll.unregister(fd)
            code = waiting.pop(fd).getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise Unreachable(f"cannot connect to {target}: {os.strerror(code)}")
