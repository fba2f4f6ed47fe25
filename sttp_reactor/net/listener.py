"""A listening socket on a reactor: accepts in bounded bursts, and pauses when the process is out of descriptors."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from sttp_reactor.errors import StartError
from sttp_reactor.limits import ACCEPT_PAUSE_SECONDS, ACCEPTS_PER_TURN, BACKLOG, WRITE_TIMEOUT
from sttp_reactor.net.address import Address, format_sockaddr
from sttp_reactor.net.connection import Connection
from sttp_reactor.net.crowd import Crowd
from sttp_reactor.net.protocol import Protocol
from sttp_reactor.net.proxy_headers import Admission, AwaitedHeader, ProxyHeaders
from sttp_reactor.net.reactor import READ, Reactor
from sttp_reactor.net.stream_limits import DEFAULT_LIMITS, StreamLimits
from sttp_reactor.net.throttle import Throttle, unthrottled
from sttp_reactor.net.timers import Timer
from sttp_reactor.net.unix_files import FileSocket, bind_file

log = logging.getLogger(__name__)


class Listener:
    """Accepts connections and gives each a protocol of its own from `factory`."""

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        factory: Callable[[], Protocol],
        write_timeout: float = WRITE_TIMEOUT,
        throttle: Throttle | None = None,
        crowd: Crowd | None = None,
        refuse: Callable[[str], Protocol] | None = None,
        limits: StreamLimits = DEFAULT_LIMITS,
        to_malformed: bytes = b"",
    ) -> None:
        """Takes over `sock`, which is bound, listening and non-blocking. `write_timeout` may be changed: it holds for
        the next connection. `throttle`, where there is one, logs the pauses; otherwise each is logged.
        `crowd` counts the connections; one that it has no room for is given the protocol `refuse(peer)`, or closed.
        `headers`, None at first, may be set: then proxies listed there begin with a header, and say for whom they come;
        who says nothing sensible is sent `to_malformed`."""
        self._reactor = reactor
        self._sock = sock
        self._factory = factory
        self.write_timeout = write_timeout
        self._warn = unthrottled(log) if throttle is None else throttle.warn
        self._crowd = crowd
        self._refuse = refuse
        self._limits = limits
        self.headers: ProxyHeaders | None = None
        self._to_malformed = to_malformed
        self._pause: Timer | None = None
        self.accepted = 0
        self.pauses = 0
        self.address = format_sockaddr(sock.family, sock.getsockname())
        reactor.register(sock, READ, self)

    @property
    def sock(self) -> socket.socket:
        """The listening socket, to look at."""
        return self._sock

    def on_readable(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, sockaddr = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                continue  # the peer has given up while it waited in the backlog
            except OSError as error:
                if self._sock.fileno() >= 0:  # else closed earlier in this turn, perhaps by a connection just made
                    self._pause_accepting(error)
                return
            self.accepted += 1
            try:
                self._welcome(sock, sockaddr)
            except OSError as error:
                # As a rule the system watches no more descriptors: this one is lost, the next ones need not be.
                sock.close()
                if self._sock.fileno() >= 0:
                    self._pause_accepting(error)
                return
            except Exception:
                log.exception("%s: an accepted connection could not be set up", self.address)
                sock.close()

    def _welcome(self, sock: socket.socket, sockaddr: Any) -> None:
        sock.setblocking(False)
        peer = _peer_of(sock) if sock.family == socket.AF_UNIX else format_sockaddr(sock.family, sockaddr)
        crowd = self._crowd
        if self.headers is not None and self.headers.is_listed(peer):
            self._await_header(sock, peer, self.headers)
        elif crowd is None:
            Connection(self._reactor, sock, self._factory, peer, self.write_timeout, limits=self._limits)
        elif crowd.enter(peer):
            self._welcome_counted(sock, peer, crowd)
        elif self._refuse is not None:
            Connection(self._reactor, sock, partial(self._refuse, peer), peer, self.write_timeout)
        else:
            sock.close()

    def _welcome_counted(self, sock: socket.socket, peer: str, crowd: Crowd) -> None:
        try:
            Connection(self._reactor, sock, self._factory, peer, self.write_timeout, crowd.leave, self._limits)
        except BaseException:
            crowd.leave(peer)  # no connection has been made that would, at its end
            raise

    def _await_header(self, sock: socket.socket, peer: str, headers: ProxyHeaders) -> None:
        if not headers.has_room:
            sock.close()
            return
        header = AwaitedHeader(headers, self._admit, self._to_malformed)
        Connection(self._reactor, sock, lambda: header, peer, self.write_timeout, header.released, self._limits)

    def _admit(self, peer: str) -> Admission:
        """What `_welcome` does, for the client of a proxy."""
        crowd = self._crowd
        if crowd is None:
            return Admission(self._factory())
        if not crowd.enter(peer):
            return Admission(None if self._refuse is None else self._refuse(peer))
        try:
            return Admission(self._factory(), crowd.leave)
        except BaseException:
            crowd.leave(peer)
            raise

    def on_writable(self) -> None:
        pass

    def _pause_accepting(self, error: OSError) -> None:
        """Whatever it is (no more descriptors or memory, as a rule), trying again at once would spin: the connection
        stays in the backlog, so the listener stays readable."""
        self.pauses += 1
        message = "%s: cannot accept: %s; trying again in %g s"
        cause = (self.address, error.errno)
        self._warn("accept", message, self.address, error.strerror, ACCEPT_PAUSE_SECONDS, cause=cause)
        self._reactor.unregister(self._sock)
        self._pause = self._reactor.call_later(ACCEPT_PAUSE_SECONDS, self._resume_accepting)

    def _resume_accepting(self) -> None:
        self._pause = None
        try:
            self._reactor.register(self._sock, READ, self)
        except OSError as error:
            self._pause_accepting(error)

    def accept_waiting(self) -> None:
        """Accept what waits already, as far as the backlog goes: whoever is in it when the socket closes is reset."""
        for _ in range(BACKLOG // ACCEPTS_PER_TURN):
            before = self.accepted
            if self._pause is None and self._sock.fileno() >= 0:
                self.on_readable()
            if self.accepted == before:
                return

    def close(self) -> None:
        """Stop accepting. Connections already accepted live on; a Unix socket's file is removed by whoever bound it."""
        if self._sock.fileno() < 0:
            return
        if self._pause is not None:
            self._pause.cancel()
        else:
            self._reactor.unregister(self._sock)
        self._sock.close()

    def __repr__(self) -> str:
        return f"<Listener {self.address}: {self.accepted} accepted>"


def bind(
    address: Address, *, reuse_port: bool = False, listen: bool = True, unix_mode: int | None = None
) -> socket.socket:
    """A bound, non-blocking socket; listening, unless it is only to hold a TCP port. A Unix socket's file gets
    `unix_mode`; None is what the umask leaves. Raises StartError saying which address and why."""
    try:
        kind = FileSocket if address.is_unix else socket.socket
        sock = kind(address.family, socket.SOCK_STREAM)  # fails where the system has no IPv6, for one
        try:
            sock.setblocking(False)
            if isinstance(sock, FileSocket):
                bind_file(sock, address.sockaddr, BACKLOG, unix_mode)
            else:
                _bind(sock, address, reuse_port)
                if listen:
                    sock.listen(BACKLOG)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise StartError(f"cannot listen on {address}: {error.strerror or error}") from error
    return sock


def _bind(sock: socket.socket, address: Address, reuse_port: bool) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    set_options(sock)
    if reuse_port:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if address.family == socket.AF_INET6:
        # "::" means IPv6 alone, so that 0.0.0.0 and :: can be listed together, on every system alike.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(address.sockaddr)


def set_options(sock: socket.socket) -> None:
    """Give a listening TCP socket what its connections should have: they inherit it, for no system call of their own.

    TCP_NODELAY, because a reply is one send and must not wait for the last one's acknowledgement; SO_KEEPALIVE, because
    a peer that has lost its power never says so.
    """
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def _peer_of(sock: socket.socket) -> str:
    """Who is at the other end of a Unix socket: `unix:pid=123,uid=1000` where the system tells (Linux)."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return "unix:"
    credentials = sock.getsockopt(socket.SOL_SOCKET, option, 12)
    pid, uid, _ = struct.unpack("=iII", credentials)
    return f"unix:pid={pid},uid={uid}"
