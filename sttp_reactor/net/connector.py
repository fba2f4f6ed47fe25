"""Outgoing connections: a non-blocking connect on the reactor, with a deadline."""

from __future__ import annotations

import errno
import logging
import os
import socket
from collections.abc import Callable
from typing import Final

from sttp_reactor.limits import WRITE_TIMEOUT
from sttp_reactor.net.address import Address
from sttp_reactor.net.connection import Connection
from sttp_reactor.net.protocol import Protocol
from sttp_reactor.net.reactor import WRITE, Reactor
from sttp_reactor.net.stream_limits import DEFAULT_LIMITS, StreamLimits

log = logging.getLogger(__name__)

_UNDER_WAY: Final = frozenset({errno.EINPROGRESS, errno.EINTR})


class Connector:
    """One attempt to connect. Ends in exactly one of two ways: `factory()` is given the connection, or
    `on_failure(error)` is called, always from a later turn; neither after `cancel`."""

    def __init__(
        self,
        reactor: Reactor,
        address: Address,
        factory: Callable[[], Protocol],
        on_failure: Callable[[OSError], None],
        *,
        timeout: float,
        write_timeout: float = WRITE_TIMEOUT,
        limits: StreamLimits = DEFAULT_LIMITS,
        greeting: bytes = b"",
    ) -> None:
        """`timeout` in seconds, from now to the established connection. `greeting` goes out before anything else."""
        self._reactor = reactor
        self._address = address
        self._factory = factory
        self._on_failure = on_failure
        self._write_timeout = write_timeout
        self._limits = limits
        self._greeting = greeting
        self._over = False
        self._sock: socket.socket | None = None
        self._registered = False
        self._deadline = reactor.call_later(timeout, self._timed_out)
        try:
            self._start()
        except OSError as error:
            failure = error  # later: the caller is still in the middle of making us
            reactor.call_soon(lambda: self._fail(failure))

    def _start(self) -> None:
        self._sock = socket.socket(self._address.family, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        if self._address.family != socket.AF_UNIX:
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = self._sock.connect_ex(self._address.sockaddr)
        if code and code not in _UNDER_WAY:
            raise OSError(code, os.strerror(code))
        # A socket whose connect has succeeded at once is reported writable in the next turn, as all others are, so this
        # case needs no code.
        self._reactor.register(self._sock, WRITE, self)
        self._registered = True

    def on_writable(self) -> None:
        sock = self._sock
        if self._over or sock is None:
            return
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self._fail(OSError(code, os.strerror(code)))
            return
        self._finish()
        try:
            # The buffer of a socket that has sent nothing takes a line or a header whole.
            if self._greeting and sock.send(self._greeting) < len(self._greeting):
                raise OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS))
            peer = str(self._address)
            Connection(self._reactor, sock, self._factory, peer, self._write_timeout, limits=self._limits)
        except Exception as error:
            sock.close()
            if isinstance(error, OSError):
                self._on_failure(error)
                return
            log.exception("%s: connected, but the protocol could not be made", self._address)
            self._on_failure(ConnectionAbortedError("the protocol could not be made"))

    def on_readable(self) -> None:
        pass

    def cancel(self) -> None:
        """Give up, and tell nobody."""
        if not self._over:
            self._finish(close=True)

    def _timed_out(self) -> None:
        self._fail(TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)))

    def _fail(self, error: OSError) -> None:
        if not self._over:
            self._finish(close=True)
            self._on_failure(error)

    def _finish(self, *, close: bool = False) -> None:
        self._over = True
        self._deadline.cancel()
        if self._sock is not None:
            if self._registered:
                self._reactor.unregister(self._sock)
            if close:
                self._sock.close()
