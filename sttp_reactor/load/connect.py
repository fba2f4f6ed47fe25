"""Opening many connections, without waiting for one after the other."""

from __future__ import annotations

import resource
import socket
import time

from sttp_reactor.client.connecting import Address, connect, connect_many, resolve
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
    address = Address(first.family, first.getpeername())
    sockets = _secured(target, [first], deadline)
    at_once = _AT_ONCE_BY_TLS if endpoint.is_tls else _AT_ONCE
    try:
        while len(sockets) < count:
            batch = connect_many(endpoint, address, min(at_once, count - len(sockets)), deadline)
            sockets += _secured(target, batch, deadline)
    except BaseException as error:
        for each in sockets:
            each.close()
        if isinstance(error, (CannotConnect, ConnectTimedOut)):
            raise Unreachable(str(error)) from error
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
