"""A datagram socket on a reactor: UDP over IPv4 and IPv6, and Unix datagrams.

A datagram comes whole or not at all, and nobody is told of one that is lost. So there is no buffer of ours: what the
socket does not take at once is dropped and counted, as any router on the way would do. For the same reason a flood
starves nobody: a socket is read `per_turn` times a turn, and what the kernel has no room for meanwhile is gone.

The peer that a protocol is given is the socket module's address, and what `send` wants back for a reply; `peer_name`
makes text of it. On a socket that is bound to one address reading and writing are one system call each. On a wildcard
(0.0.0.0, ::) the peer also remembers which of our addresses was asked: a client drops an answer that comes from another
one, and without being told the kernel would choose by the route. That takes the slower `recvmsg` and `sendmsg`.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as Interface

from sttp_reactor.net.address import Address, format_sockaddr
from sttp_reactor.net.reactor import READ, Reactor

log = logging.getLogger(__name__)

# Datagrams read from one socket in one turn. To read and answer one takes 5 us, so the other sockets wait for at most a
# third of a millisecond.
DATAGRAMS_PER_TURN: Final = 64
# What UDP can carry at most is 65,507 over IPv4, and 65,527 over IPv6.
MOST_DATAGRAM_BYTES: Final = 65_535

# Linux. `socket` has names for these from 3.14 on, or for IPv6 alone.
_IP_PKTINFO: Final = 8
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_MSG_ERRQUEUE: Final = 0x2000
_ERRORS: Final = {(socket.IPPROTO_IP, _IP_RECVERR), (socket.IPPROTO_IPV6, _IPV6_RECVERR)}
_IS_LINUX: Final = hasattr(socket, "SO_PEERCRED") and os.path.isdir("/proc/self")

_PKTINFO_4: Final = struct.Struct("=i4s4s")  # interface, our address for this peer, the address in the header
_PKTINFO_6: Final = struct.Struct("=16si")  # our address, interface
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(_PKTINFO_6.size)
_ERROR_BYTES: Final = 512
_EXTENDED_ERROR: Final = struct.Struct("=I")  # begins with the errno


class DatagramProtocol(Interface):
    """All calls come from the reactor's thread, and none from inside a call of the protocol's own."""

    def datagram_received(self, data: bytes, peer: Any) -> None:
        """`data` is one whole datagram, b"" being one too. `peer` is for `Datagrams.send`; by IP it is a tuple that
        begins with the address as text and the port."""

    def error_received(self, error: OSError) -> None:
        """Something went wrong that ends nothing: an ICMP answer (nobody listens at that port: ConnectionRefusedError)
        or a datagram longer than asked for (EMSGSIZE), which is dropped. `error.filename` is the peer's address as
        text, where the system tells it."""


class _Peer(tuple[Any, ...]):
    """Who wrote to a wildcard socket: the socket module's address, which also knows `ancillary`, what has the reply
    leave from the address that was asked."""

    ancillary: list[tuple[int, int, bytes]]


class Datagrams:
    """Made by `open_datagrams`. Everything here belongs to the reactor's thread.

    `dropped` counts what `send` could not send, `truncated` what came and was longer than `most_bytes`.
    """

    def __init__(
        self, reactor: Reactor, sock: socket.socket, protocol: DatagramProtocol, per_turn: int, most_bytes: int
    ) -> None:
        """Takes over `sock`, which is non-blocking. Raises OSError where it cannot be watched; then it stays open."""
        self._reactor = reactor
        self._sock = sock
        self._sendto = sock.sendto
        self._protocol = protocol
        self._per_turn = per_turn
        self._most_bytes = most_bytes
        self._has_error_queue = _IS_LINUX and sock.family != socket.AF_UNIX  # a Unix socket would give a datagram
        self._path: str | None = None
        self._file: tuple[int, int] | None = None  # device and inode of the Unix socket that we have bound
        self.dropped = self.truncated = 0
        if sock.family == socket.AF_UNIX and (name := sock.getsockname()):
            self._path = os.fsdecode(name)
            self._file = _file_of(self._path)
        reactor.register(sock, READ, self)

    @property
    def port(self) -> int:
        """The port it is bound to; 0 for a Unix socket."""
        return 0 if self._sock.family == socket.AF_UNIX else int(self._sock.getsockname()[1])

    @property
    def address(self) -> str:
        """Where it is bound, as text."""
        return format_sockaddr(self._sock.family, self._sock.getsockname())

    def peer_name(self, peer: Any) -> str:
        """`192.0.2.7:51234`, `[2001:db8::7]:51234`, a Unix socket's path, or `unix:` for one without a name."""
        return format_sockaddr(self._sock.family, peer or b"")

    def send(self, data: bytes, peer: Any = None) -> bool:
        """Send to `peer`: one that `datagram_received` was given, or a socket module's address. None on a connected
        socket. False where it was dropped, and counted, because the socket's buffer is full, or nobody can be there."""
        try:
            self._sendto(data, peer)
        except BlockingIOError:
            self.dropped += 1
            return False
        except (OSError, TypeError) as error:
            return self._send_again(data, peer, error)
        return True

    def _send_again(self, data: bytes, peer: Any, error: Exception) -> bool:
        """The error may be an ICMP answer to an earlier datagram, which this call was merely the next one to meet."""
        if isinstance(error, OSError) and self._sock.fileno() >= 0:
            self._reactor.call_soon(self._tell_errors)
        try:
            self._send_raw(data, peer)
        except OSError as second:
            self.dropped += 1
            if not isinstance(second, BlockingIOError) and self._sock.fileno() >= 0:
                failure = second
                self._reactor.call_soon(lambda: self._tell(failure))
            return False
        return True

    def _send_raw(self, data: bytes, peer: Any) -> None:
        if peer is None:
            self._sock.send(data)
        else:
            self._sock.sendto(data, peer)

    def on_readable(self) -> None:
        receive, most = self._sock.recvfrom, self._most_bytes
        received = self._protocol.datagram_received
        for count in range(self._per_turn):
            try:
                data, peer = receive(most + 1)
            except (BlockingIOError, InterruptedError):
                if not count:
                    self._take_errors()  # an ICMP error woke us, and an earlier `send` has taken it
                return
            except OSError as error:
                if not self._failed(error):
                    return
                continue
            if len(data) > most:
                self._tell_truncated(peer)
            else:
                received(data, peer)

    def on_writable(self) -> None:
        pass

    def _failed(self, error: OSError) -> bool:
        """Reading has failed; whether to go on."""
        if self._sock.fileno() < 0:
            return False  # closed by the protocol
        if error.errno == errno.EBADF:
            self.close()  # somebody else has closed our descriptor
            return False
        if not self._take_errors():
            self._tell(error)
        return self._sock.fileno() >= 0

    def _tell_errors(self) -> None:
        self._take_errors()

    def _take_errors(self) -> int:
        """Tell what the socket's queue of errors holds; how many there were. Left there, they would wake us always."""
        if not self._has_error_queue:
            return 0
        for count in range(self._per_turn):
            try:
                _, ancillary, _, sockaddr = self._sock.recvmsg(1, _ERROR_BYTES, _MSG_ERRQUEUE)
            except OSError:
                return count
            number = next(
                (_EXTENDED_ERROR.unpack_from(data)[0] for *kind, data in ancillary if tuple(kind) in _ERRORS), 0
            )
            name = format_sockaddr(self._sock.family, sockaddr) if sockaddr else None
            self._tell(OSError(number, os.strerror(number), name))
        return self._per_turn

    def _tell_truncated(self, peer: Any) -> None:
        self.truncated += 1
        self._tell(OSError(errno.EMSGSIZE, f"longer than {self._most_bytes} bytes", self.peer_name(peer)))

    def _tell(self, error: OSError) -> None:
        if self._sock.fileno() < 0:
            return
        try:
            self._protocol.error_received(error)
        except Exception:
            log.exception("%s: the protocol failed to take an error", self)

    def close(self) -> None:
        """Close the socket at once; harmless twice. The file of a Unix socket goes, where it is still the one bound."""
        if self._sock.fileno() < 0:
            return
        self._reactor.unregister(self._sock)
        self._sock.close()
        if self._path is not None and self._file is not None and _file_of(self._path) == self._file:
            with contextlib.suppress(OSError):
                os.unlink(self._path)

    def __repr__(self) -> str:
        where = self.address if self._sock.fileno() >= 0 else "closed"
        return f"<Datagrams {where}: {self.dropped} dropped, {self.truncated} truncated>"


class _WildcardDatagrams(Datagrams):
    """Bound to all addresses of the machine: each datagram tells which one it was sent to."""

    def on_readable(self) -> None:
        received = self._protocol.datagram_received
        for count in range(self._per_turn):
            try:
                data, ancillary, flags, sockaddr = self._sock.recvmsg(self._most_bytes, _ANCILLARY_BYTES)
            except (BlockingIOError, InterruptedError):
                if not count:
                    self._take_errors()
                return
            except OSError as error:
                if not self._failed(error):
                    return
                continue
            peer = _Peer(sockaddr)
            peer.ancillary = _reply_from(ancillary)
            if flags & socket.MSG_TRUNC:
                self._tell_truncated(peer)
            else:
                received(data, peer)

    def send(self, data: bytes, peer: Any = None) -> bool:
        try:
            self._send_raw(data, peer)
        except BlockingIOError:
            self.dropped += 1
            return False
        except OSError as error:
            return self._send_again(data, peer, error)
        return True

    def _send_raw(self, data: bytes, peer: Any) -> None:
        if isinstance(peer, _Peer):
            self._sock.sendmsg((data,), peer.ancillary, 0, peer)
        else:
            super()._send_raw(data, peer)


def _reply_from(received: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """What has a reply leave from the address that a datagram with this ancillary data was sent to."""
    for level, kind, data in received:
        if level == socket.IPPROTO_IP and kind == _IP_PKTINFO and len(data) >= _PKTINFO_4.size:
            _, ours, _ = _PKTINFO_4.unpack_from(data)
            # No interface: the route decides, as for any reply. `ours` is never a group's address, which cannot send.
            return [(level, kind, _PKTINFO_4.pack(0, ours, bytes(4)))]
        if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO and len(data) >= _PKTINFO_6.size:
            ours, interface = _PKTINFO_6.unpack_from(data)
            if ours[0] == 0xFF:  # asked by a group's address
                return []
            is_link_local = ours[0] == 0xFE and ours[1] & 0xC0 == 0x80
            return [(level, kind, _PKTINFO_6.pack(ours, interface if is_link_local else 0))]
    return []


def open_datagrams(
    reactor: Reactor,
    make_protocol: Callable[[Datagrams], DatagramProtocol],
    local: Address | None = None,
    *,
    remote: Address | None = None,
    per_turn: int = DATAGRAMS_PER_TURN,
    most_bytes: int = MOST_DATAGRAM_BYTES,
) -> Datagrams:
    """A socket bound to `local` (port 0: any free one), or connected to `remote`, or both; one of them is needed.

    Connected, it hears of nobody but `remote`, and `send` needs no peer. `make_protocol` is given the new object, for
    its protocol to send with. At most `per_turn` datagrams are read a turn; one of more than `most_bytes` is dropped
    and told to `error_received`. Raises OSError with nothing left open.
    """
    address = local or remote
    if address is None:
        raise ValueError("a datagram socket needs a local or a remote address")
    sock = socket.socket(address.family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        is_wildcard = _set_options(sock, address, is_bound=local is not None and remote is None)
        if local is not None:
            if local.is_unix:
                _remove_stale(local.sockaddr)
            sock.bind(local.sockaddr)
        if remote is not None:
            sock.connect(remote.sockaddr)
        kind = _WildcardDatagrams if is_wildcard else Datagrams
        relay = _Relay()
        datagrams = kind(reactor, sock, relay, per_turn, most_bytes)
    except BaseException:
        sock.close()
        raise
    try:
        datagrams._protocol = make_protocol(datagrams)
    except BaseException:
        datagrams.close()
        raise
    return datagrams


class _Relay:
    """Stands where the protocol will, until that is made. It is never called: the reactor has not turned yet."""

    def datagram_received(self, data: bytes, peer: Any) -> None: ...
    def error_received(self, error: OSError) -> None: ...


def _set_options(sock: socket.socket, address: Address, *, is_bound: bool) -> bool:
    """Ask for ICMP answers, and on a wildcard for the address that was asked: whether that will be told."""
    if address.is_unix:
        return False
    is_v6 = address.family == socket.AF_INET6
    if is_v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if not _IS_LINUX:
        return False
    if is_v6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_RECVERR, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
    if not is_bound or address.sockaddr[0] not in ("0.0.0.0", "::", ""):
        return False
    if is_v6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
    return True


def _file_of(path: str) -> tuple[int, int] | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _remove_stale(path: str) -> None:
    """Remove the socket that a dead program has left behind. A live one's stays, and so does what is no socket: to
    bind it then fails."""
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            if probe.connect_ex(path) == errno.ECONNREFUSED:
                os.unlink(path)
