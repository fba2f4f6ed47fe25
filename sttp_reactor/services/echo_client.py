"""echo client: asks an echo service, and tells what came back and how soon.

Usage:
  echo client (--tcp | --udp) [options] HOST:PORT
  echo client (-h | --help)

Options:
  --tcp              Ask over one TCP connection.
  --udp              Ask by datagrams.
  -n COUNT           So many messages. [default: 10]
  -i SECONDS         From one message to the next. [default: 0.1]
  --size=BYTES       Of a message, from 16 to 65507. [default: 64]
  --timeout=SECONDS  What is not back by then is lost, or late if it still comes. [default: 1]

Of each message it is told whether it was received; once more (duplicated), after a later one (out of order), after the
timeout (late), or never (lost). Ctrl-C ends it with what is known by then. Exits with 0 if anything came back, else 1.
"""

from __future__ import annotations

import errno
import secrets
import signal
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from sttp_reactor.command.arguments import parse, refuse
from sttp_reactor.errors import StartError
from sttp_reactor.net import Address, Reactor, Transport, connect, open_datagrams, resolve
from sttp_reactor.services.echo_tally import FOREIGN, Tally
from sttp_reactor.services.options import host_and_port, seconds, whole

# A message begins with who asks, so that nobody else's is taken for ours, and its number; a pattern fills it up.
_HEAD: Final = struct.Struct(">8sQ")
_PATTERN: Final = bytes(range(256))


class Plan(NamedTuple):
    """What to send: `messages` of `size` bytes, one every `interval` seconds, each awaited for `timeout`."""

    messages: int
    interval: float
    size: int
    timeout: float


class Conversation:
    """Sends what is planned, one number after the other, and knows what is back. Ends by calling `on_end()`: when all
    is back, or the last one's time is over."""

    def __init__(
        self, reactor: Reactor, plan: Plan, send: Callable[[bytes], object], on_end: Callable[[], None]
    ) -> None:
        self.tally = Tally(plan.timeout)
        self._reactor = reactor
        self._plan = plan
        self._send = send
        self._on_end = on_end
        self._who = secrets.token_bytes(8)
        self._filling = (_PATTERN * (plan.size // len(_PATTERN) + 1))[: plan.size - _HEAD.size]
        self._is_paused = False
        self._began = reactor.clock()
        self._timer = reactor.call_at(self._began, self._send_next)

    def message(self, number: int) -> bytes:
        return _HEAD.pack(self._who, number) + self._filling

    def take(self, message: bytes) -> None:
        """This has come back."""
        number = _HEAD.unpack_from(message)[1] if len(message) == self._plan.size else 0
        self.tally.receive(number if message == self.message(number) else FOREIGN, self._reactor.clock())
        if self.tally.received == self._plan.messages:
            self.abandon()
            self._on_end()

    def abandon(self) -> None:
        """Send no more, and tell nobody. Harmless twice."""
        self._timer.cancel()

    def pause(self) -> None:
        """Nothing more can be sent for now: what is due then waits."""
        self._is_paused = True

    def resume(self) -> None:
        self._is_paused = False
        if self.tally.sent < self._plan.messages:
            self._schedule()

    def _schedule(self) -> None:
        self._timer.cancel()
        self._timer = self._reactor.call_at(self._began + self.tally.sent * self._plan.interval, self._send_next)

    def _send_next(self) -> None:
        if self._is_paused:
            return
        message = self.message(self.tally.send(self._reactor.clock()))
        if self.tally.sent < self._plan.messages:
            self._schedule()
        else:
            self._timer = self._reactor.call_later(self._plan.timeout, self._on_end)
        self._send(message)


class Client:
    """One run, over whatever transport, until `finish`; `trouble` is what then is to be said besides the report."""

    def __init__(self, reactor: Reactor, plan: Plan) -> None:
        self.reactor = reactor
        self.plan = plan
        self.peer = ""  # where the conversation goes, for the report
        self.trouble = ""
        self._conversation: Conversation | None = None
        self._is_over = False

    def converse(self, peer: str, send: Callable[[bytes], object]) -> Conversation:
        self.peer = peer
        self._conversation = Conversation(self.reactor, self.plan, send, self.finish)
        return self._conversation

    def finish(self, trouble: str = "") -> None:
        if not self._is_over:
            self._is_over = True
            self.trouble = trouble or self.trouble
            self.reactor.stop()

    @property
    def has_received(self) -> bool:
        return self._conversation is not None and self._conversation.tally.received > 0

    def report(self) -> list[str]:
        if self._conversation is None:
            return []
        return [f"{self.peer}, {self.plan.size} bytes each", *self._conversation.tally.report(self.reactor.clock())]


class StreamClient:
    """Over TCP messages have no borders, but all have the same length."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._received = b""

    def connection_made(self, transport: Transport) -> None:
        self._conversation = self._client.converse(f"tcp {transport.peer}", transport.write)

    def data_received(self, data: bytes) -> None:
        self._received += data
        size = self._client.plan.size
        whole = len(self._received) // size * size
        for start in range(0, whole, size):
            self._conversation.take(self._received[start : start + size])
        self._received = self._received[whole:]

    def pause_writing(self) -> None:
        self._conversation.pause()

    def resume_writing(self) -> None:
        self._conversation.resume()

    def eof_received(self) -> None:
        self._client.finish("the service has closed the connection")

    def connection_lost(self, error: Exception | None) -> None:
        self._client.finish(f"the connection is lost: {error}")


class DatagramClient:
    """By datagrams, to the first of `addresses` that answers at all."""

    def __init__(self, client: Client, addresses: Sequence[Address]) -> None:
        """Raises OSError."""
        self._client = client
        self._addresses = list(addresses)
        self._refused = 0
        self._try_next()

    @property
    def tally(self) -> Tally:
        return self._conversation.tally

    def _try_next(self) -> None:
        self._address = self._addresses.pop(0)
        self._datagrams = open_datagrams(self._client.reactor, lambda _: self, remote=self._address)
        self._conversation = self._client.converse(f"udp {self._address}", self._datagrams.send)
        self._patience = self._client.reactor.call_later(self._client.plan.timeout, self._nobody_answers)

    def datagram_received(self, data: bytes, _peer: Any) -> None:
        self._patience.cancel()
        self._conversation.take(data)

    def error_received(self, error: OSError) -> None:
        if error.errno != errno.ECONNREFUSED:
            self._client.finish(f"{self._address}: {error.strerror or error}")
        elif self._client.has_received:
            self._refused += 1  # it may come back
            self._client.trouble = f"{self._address}: connection refused, {self._refused} times"
        elif self._addresses:
            self._nobody_answers()
        else:
            self._client.finish(f"{self._address}: connection refused")

    def _nobody_answers(self) -> None:
        """Begin anew with the next address, where there is one; with the last one, go on."""
        if self._addresses:
            self._conversation.abandon()
            self._patience.cancel()
            self.close()
            self._try_next()

    def close(self) -> None:
        self._datagrams.close()


def run(reactor: Reactor, host: str, port: int, plan: Plan, *, is_tcp: bool) -> int:
    """The whole of it, from the name to the report; the exit status. Raises StartError or OSError before anything has
    been sent."""
    client = Client(reactor, plan)
    if is_tcp:
        connect(
            reactor,
            lambda: StreamClient(client),
            host,
            port,
            on_failure=lambda error: client.finish(f"cannot connect to {host}:{port}: {explain(error)}"),
        )
    else:
        DatagramClient(client, resolve(host, port))
    for number in (signal.SIGINT, signal.SIGTERM):
        reactor.on_signal(number, client.finish)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # blocked, perhaps, by who started us
    reactor.run()
    if client.trouble:
        print(f"echo client: {client.trouble}", file=sys.stderr)
    if client.has_received or not client.trouble:
        print("\n".join(client.report()))
    return 0 if client.has_received else 1


def explain(error: Exception) -> str:
    return (isinstance(error, OSError) and error.strerror) or str(error)


def main(argv: Sequence[str]) -> int:
    """`argv` begins with `client`."""
    arguments = parse(__doc__, argv, command="echo client")
    try:
        plan = Plan(
            whole("-n", arguments["-n"], 1, 10_000_000),
            seconds("-i", arguments["-i"]),
            whole("--size", arguments["--size"], _HEAD.size, 65507),
            seconds("--timeout", arguments["--timeout"]),
        )
        host, port = host_and_port("HOST:PORT", arguments["HOST:PORT"])
    except ValueError as error:
        refuse("echo client", str(error))
    reactor = Reactor()
    try:
        return run(reactor, host, port, plan, is_tcp=arguments["--tcp"])
    except (StartError, OSError) as error:
        print(f"echo client: {explain(error)}", file=sys.stderr)
        return 1
    finally:
        reactor.close()
