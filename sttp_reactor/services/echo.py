"""echo: sends back what it is sent, over TCP and UDP (RFC 862).

Usage:
  echo [--tcp=ADDR:PORT] [--udp=ADDR:PORT]
  echo (-h | --help)
  echo --version

Options:
  --tcp=ADDR:PORT  Where to listen: 127.0.0.1:7007, [::1]:7007, a name, port 0 for any free one.
  --udp=ADDR:PORT  The same for datagrams. Without either, both are 127.0.0.1:7007.

Only this machine can reach it, unless it is told another address than a loopback one. It answers no datagram from a
port below 1024, nor from its own, whoever it says it is from: another echo service would answer the answer, for ever.

Try `nc localhost 7007`, `nc -u 127.0.0.1 7007`, or its own client, which counts and times what comes back:
`echo client --udp localhost:7007` (`echo client --help`).
"""

from __future__ import annotations

import ipaddress
import signal
import sys
from collections.abc import Sequence
from typing import Any, Final

from sttp_reactor.command.arguments import parse
from sttp_reactor.errors import StartError
from sttp_reactor.net import Address, Datagrams, Reactor, Server, Transport, open_datagrams, resolve_here, serve
from sttp_reactor.services import echo_client
from sttp_reactor.services.options import host_and_port

DEFAULT: Final = "127.0.0.1:7007"
# Echo (7), daytime, quote of the day, chargen, DNS, NTP: what answers anything at all has such a port. Clients do not.
FIRST_CLIENT_PORT: Final = 1024


class Echo:
    """One TCP connection. A peer that sends and does not read has what it sent wait in the connection's buffer, and is
    not read from while that is full; one that has half-closed is answered to the end."""

    transport: Transport

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def eof_received(self) -> None:
        self.transport.close()

    def connection_lost(self, error: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


class EchoDatagrams:
    """One UDP socket. An answer is what came, so it is never larger: nobody gains by having it sent to others."""

    def __init__(self, datagrams: Datagrams, port: int) -> None:
        self._send = datagrams.send
        self._port = port
        self.ignored = 0

    def datagram_received(self, data: bytes, peer: Any) -> None:
        port = peer[1]
        if port < FIRST_CLIENT_PORT or port == self._port:
            self.ignored += 1
        else:
            self._send(data, peer)

    def error_received(self, error: OSError) -> None:
        """Somebody has gone before the answer came, which is no matter of ours."""


def serve_datagrams(reactor: Reactor, address: Address) -> Datagrams:
    """Raises StartError, saying which address and why."""
    try:
        return open_datagrams(reactor, lambda datagrams: EchoDatagrams(datagrams, datagrams.port), address)
    except OSError as error:
        raise StartError(f"cannot receive datagrams at {address}: {error.strerror or error}") from error


def open_all(reactor: Reactor, tcp: str | None, udp: str | None) -> tuple[list[Server], list[Datagrams]]:
    """Raises StartError, or ValueError with a sentence."""
    if tcp is None and udp is None:
        tcp = udp = DEFAULT
    servers = [serve(reactor, Echo, resolve_here(*host_and_port("--tcp", tcp)))] if tcp is not None else []
    addresses = resolve_here(*host_and_port("--udp", udp)) if udp is not None else []
    return servers, [serve_datagrams(reactor, address) for address in addresses]


def is_loopback(address: str) -> bool:
    """`address` as the reactor names it: `127.0.0.1:7007`, `[::1]:7007`."""
    return ipaddress.ip_address(address.rpartition(":")[0].strip("[]").partition("%")[0]).is_loopback


def main(argv: Sequence[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["client"]:
        return echo_client.main(argv)
    arguments = parse(__doc__, argv, command="echo")
    reactor = Reactor()
    try:
        servers, sockets = open_all(reactor, arguments["--tcp"], arguments["--udp"])
    except (StartError, ValueError) as error:
        print(f"echo: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        reactor.on_signal(number, reactor.stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # blocked, perhaps, by who started us
    addresses = [(f"tcp {address}", address) for server in servers for address in server.addresses]
    addresses += [(f"udp {datagrams.address}", datagrams.address) for datagrams in sockets]
    print(f"echo: listening on {', '.join(name for name, _ in addresses)}", file=sys.stderr, flush=True)
    if open_to_all := [name for name, address in addresses if not is_loopback(address)]:
        print(f"echo: whoever can reach it is answered at {', '.join(open_to_all)}", file=sys.stderr, flush=True)
    reactor.run()
    for server in servers:
        server.close()
    for datagrams in sockets:
        datagrams.close()
    reactor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
