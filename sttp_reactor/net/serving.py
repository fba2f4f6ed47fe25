"""`serve` and `connect`: from names and ports to protocols with a connection, in one call each."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable

from sttp_reactor.limits import HANDSHAKE_TIMEOUT, WRITE_TIMEOUT
from sttp_reactor.net.address import Address
from sttp_reactor.net.connector import Connector
from sttp_reactor.net.crowd import Crowd
from sttp_reactor.net.endpoints import Endpoint, bind_all, bind_here, names_of, release, remove_files
from sttp_reactor.net.listener import Listener
from sttp_reactor.net.protocol import Protocol
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.stream_limits import DEFAULT_LIMITS, StreamLimits
from sttp_reactor.net.threads import start_deaf
from sttp_reactor.net.tls import TlsFactory
from sttp_reactor.net.tls_handshakes import Handshakes

# Seconds from `connect` to the established connection, the look-up of the name included.
CONNECT_TIMEOUT = 10.0


class Server:
    """Listens at one or more addresses; made by `serve`. Several may share a reactor."""

    def __init__(self, listeners: list[Listener], endpoints: dict[Endpoint, socket.socket]) -> None:
        self._listeners = listeners
        self._endpoints = endpoints
        self.addresses = names_of(endpoints)
        """Where it really listens, as text: with the port that the system has chosen, where 0 was asked for."""

    @property
    def accepted(self) -> int:
        """Connections so far."""
        return sum(listener.accepted for listener in self._listeners)

    def close(self) -> None:
        """Stop listening; harmless twice. Connections that are there live on: their protocols close them."""
        endpoints, self._endpoints = self._endpoints, {}
        remove_files(endpoints)
        for listener in self._listeners:
            listener.close()

    def __repr__(self) -> str:
        return f"<Server {', '.join(self.addresses)}: {self.accepted} accepted>"


def serve(
    reactor: Reactor,
    make_protocol: Callable[[], Protocol],
    addresses: Iterable[Address],
    *,
    tls: ssl.SSLContext | None = None,
    write_timeout: float = WRITE_TIMEOUT,
    handshake_timeout: float = HANDSHAKE_TIMEOUT,
    most_per_peer: int = 0,
    most_connections: int = 0,
    limits: StreamLimits = DEFAULT_LIMITS,
) -> Server:
    """Listen at all `addresses` (see `resolve`), and give each connection the protocol that `make_protocol()` makes.

    All or nothing: raises StartError, saying which address and why, or OSError, with everything released.
    A peer that reads nothing for `write_timeout` seconds while something waits to be sent is cut off; one whose TLS
    handshake takes longer than `handshake_timeout` too. Of one IPv4 address, or IPv6 network of 64 bits, at most
    `most_per_peer` connections are there at a time, and of all together `most_connections`; 0 means any number, and
    one too many is closed at once. `limits` has the water marks, the size of a read, and how long a close lingers.
    """
    factory: Callable[[], Protocol] = make_protocol
    if tls is not None:
        context = tls
        factory = TlsFactory(reactor, lambda: context, make_protocol, Handshakes(reactor, handshake_timeout))
    crowd = Crowd(most_per_peer, most_connections) if most_per_peer or most_connections else None
    endpoints = bind_all([Endpoint(address, tls is not None) for address in addresses], bind_here)
    listeners: list[Listener] = []
    try:
        for sock in endpoints.values():
            listeners.append(Listener(reactor, sock, factory, write_timeout, crowd=crowd, limits=limits))
    except BaseException:
        for listener in listeners:
            listener.close()
        release(endpoints)
        raise
    return Server(listeners, endpoints)


def connect(
    reactor: Reactor,
    make_protocol: Callable[[], Protocol],
    host: str,
    port: int = 0,
    *,
    on_failure: Callable[[Exception], None],
    timeout: float = CONNECT_TIMEOUT,
    tls: ssl.SSLContext | None = None,
    server_hostname: str | None = None,
    write_timeout: float = WRITE_TIMEOUT,
    limits: StreamLimits = DEFAULT_LIMITS,
    greeting: bytes = b"",
) -> Connecting:
    """Connect to `host`: a name, an IPv4 or IPv6 address, or a Unix socket's path, which begins with `/`.

    Ends in exactly one of two ways, always later than this call: the protocol that `make_protocol()` makes is given its
    connection, or `on_failure(error)` is called; in neither where it is cancelled first. A name is looked up in a
    thread of its own; its addresses are tried one after the other, each for its share of what is left of `timeout`
    (seconds).
    With `tls`, the peer has to prove that it is `server_hostname`, `host` by default (without a zone, or a dot at its
    end). `limits` are as for `serve`. `greeting`, a few hundred bytes at most, is sent before all else, TLS included:
    the header of the PROXY protocol is such a one.
    """
    factory: Callable[[], Protocol] = make_protocol
    if tls is not None:
        context = tls
        factory = TlsFactory(
            reactor,
            lambda: context,
            make_protocol,
            Handshakes(reactor, timeout),
            server_side=False,
            # No certificate knows a zone (`fe80::1%eth0`), nor the dot that makes a name absolute.
            server_hostname=server_hostname or host.partition("%")[0].removesuffix("."),
            on_failure=on_failure,
        )
    return Connecting(reactor, factory, host, port, on_failure, timeout, write_timeout, limits, greeting)


class Connecting:
    """A `connect` under way."""

    def __init__(
        self,
        reactor: Reactor,
        factory: Callable[[], Protocol],
        host: str,
        port: int,
        on_failure: Callable[[Exception], None],
        timeout: float,
        write_timeout: float,
        limits: StreamLimits,
        greeting: bytes,
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._on_failure = on_failure
        self._write_timeout = write_timeout
        self._limits = limits
        self._greeting = greeting
        self._deadline = reactor.clock() + timeout
        self._timer = reactor.call_later(timeout, self._looked_up_too_late)
        self._is_over = False
        self._attempt: Connector | None = None
        self._addresses: list[Address] = []
        if host.startswith("/"):
            addresses = [Address(socket.AF_UNIX, host)]
            reactor.call_soon(lambda: self._looked_up(addresses))
        else:
            # A daemon: a resolver that hangs must not keep the process from ending.
            start_deaf(threading.Thread(target=self._look_up, args=(host, port), name=f"resolve {host}", daemon=True))

    def cancel(self) -> None:
        """Give up, and tell nobody. Harmless when it is over."""
        self._is_over = True
        self._timer.cancel()
        if self._attempt is not None:
            self._attempt.cancel()

    def _look_up(self, host: str, port: int) -> None:
        """In a thread of its own."""
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failure = error if isinstance(error, OSError) else OSError(f"{host}: {error}")
            self._reactor.call_soon_threadsafe(lambda: self._fail(failure))
            return
        addresses = list(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))
        self._reactor.call_soon_threadsafe(lambda: self._looked_up(addresses))

    def _looked_up(self, addresses: list[Address]) -> None:
        if not self._is_over:
            self._timer.cancel()
            self._addresses = addresses
            self._try_next()

    def _try_next(self) -> None:
        left = max(0.0, self._deadline - self._reactor.clock())
        share = left / len(self._addresses)
        self._attempt = Connector(
            self._reactor,
            self._addresses.pop(0),
            self._factory,
            self._failed,
            timeout=share,
            write_timeout=self._write_timeout,
            limits=self._limits,
            greeting=self._greeting,
        )

    def _failed(self, error: OSError) -> None:
        if self._addresses:
            self._try_next()
        else:
            self._fail(error)

    def _looked_up_too_late(self) -> None:
        self._fail(TimeoutError("the name could not be looked up in time"))

    def _fail(self, error: OSError) -> None:
        if not self._is_over:
            self.cancel()
            self._on_failure(error)
