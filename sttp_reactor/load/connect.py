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
from sttp_reactor.client.exchange import Socket
from sttp_reactor.errors import CannotConnect, ConnectTimedOut, HostUnknown
from sttp_reactor.load.faults import LoadError, Unreachable
from sttp_reactor.load.target import Target

# Connections being made at the same time. More could overflow the listener's backlog (128 in many programs), and an
# overflow costs a second: the kernel drops the handshake and the client tries again.
_AT_ONCE = 64
# By TLS each of them waits for its turn to shake hands, and a server does not wait for ever.
_AT_ONCE_BY_TLS = 8
_SPARE_FILES = 64  # descriptors for everything that is not a connection


def open_connections(target: Target, count: int, timeout: float) -> list[Socket]:
    """`count` connected, non-blocking sockets. Raises Unreachable; LoadError where the system allows fewer files, or
    TLS cannot be had as it is wanted."""
    allow_files(count)
    deadline = time.monotonic() + timeout
    endpoint = target.endpoint
    try:
        # The address that answers first is the one all connections go to.
        first = connect(endpoint, resolve(endpoint, deadline), deadline, lambda _: None)
    except (HostUnknown, CannotConnect, ConnectTimedOut) as error:
        raise Unreachable(str(error)) from error
    _prepare(first)
    family, where = first.family, first.getpeername()
    sockets = _secured(target, [first], deadline)
    at_once = _AT_ONCE_BY_TLS if endpoint.is_tls else _AT_ONCE
    try:
        while len(sockets) < count:
            batch = _open_batch(target, family, where, min(at_once, count - len(sockets)), deadline)
            sockets += _secured(target, batch, deadline)
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


def _secured(target: Target, plain: list[socket.socket], deadline: float) -> list[Socket]:
    """The same sockets, by TLS where the target is for it; all are closed where that fails for one."""
    if not target.endpoint.is_tls:
        return list(plain)
    from sttp_reactor.load.secure import shake_hands

    secured: list[Socket] = []
    try:
        for each in plain:
            secured.append(shake_hands(target, each, deadline))
    except BaseException:
        for sock in [*secured, *plain[len(secured) :]]:
            sock.close()
        raise
    return secured


def _open_batch(target: Target, family: int, where: Any, count: int, deadline: float) -> list[socket.socket]:
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
