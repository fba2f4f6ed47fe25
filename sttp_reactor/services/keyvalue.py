"""keyvalue: a small key-value server that Redis clients and netcat can talk to.

Usage:
  keyvalue [--listen=ADDR] [--port=PORT] [--max-memory=SIZE]
  keyvalue (-h | --help)
  keyvalue --version

Options:
  --listen=ADDR       Where to listen: an address, a name or a Unix socket's path. [default: 127.0.0.1]
  --port=PORT         The TCP port; 0 takes any free one. [default: 6380]
  --max-memory=SIZE   Bytes of keys and values, such as 100MB; beyond it what would take more is refused (OOM).
                      [default: 100MB]

It keeps everything in memory, and loses it when it ends (SIGTERM, SIGINT, or the command SHUTDOWN). Try
`redis-cli -p 6380`, or `nc localhost 6380` and `SET name value`, `GET name`, `STOP`.
"""

from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Iterator, Sequence

from sttp_reactor.command.arguments import parse
from sttp_reactor.errors import StartError
from sttp_reactor.net.address import resolve_here
from sttp_reactor.net.listener import Listener, bind
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.services.options import size, whole

try:
    from sttp_reactor.services import keyvalue_admin as admin
    from sttp_reactor.services.keyvalue_commands import COMMANDS, NIL, OOM, Refused, Store
    from sttp_reactor.services.keyvalue_quick import quick_replies
    from sttp_reactor.services.resp import Command, CommandParser
    from sttp_reactor.services.resp3 import NULL, translated
except ImportError as error:  # hiredis
    sys.exit(f"keyvalue needs the package {error.name}: pip install 'sttp_reactor[services]'")

# Sent at once where the replies of one chunk have come to so much, so that the connection's water marks hold.
PIECE_BYTES = 16 << 10
# Replies of up to this are not counted for it: a chunk of commands is answered with some hundred of them at the most.
SMALL_BYTES = 512
# Unfinished commands of all connections together: the one that would go beyond is told to go.
UNFINISHED_BYTES = 64 << 20


class Server:
    """The store, its sessions, and the timer that drops what has expired."""

    def __init__(self, reactor: Reactor, max_memory: int) -> None:
        self.reactor = reactor
        self.store = Store(reactor.clock, max_memory)
        self.sessions: dict[int, Session] = {}
        self.unfinished = 0
        self.ids = itertools.count(1)
        self.began = reactor.clock()
        self.commands = 0
        self._expire()

    def _expire(self) -> None:
        soon = self.store.expire_some()
        self.reactor.call_later(0.1 if soon is None else max(0.001, min(soon, 0.1)), self._expire)


class Session:
    """One connection: commands in, replies out in their order. While the peer reads nothing, nothing is carried out."""

    transport: Transport

    def __init__(self, server: Server) -> None:
        self.server = server
        self.id = next(server.ids)
        self.name = b""
        self.version = 2  # of RESP; a client says HELLO 3 if it wants another
        self._parser = CommandParser()
        self._waiting: Iterator[Command] = iter(())  # commands that have come and are not carried out yet
        self._paused = self._ended = self._yielding = self._no_more_input = False
        self._size = 0  # of the replies that are not written yet
        self._buffered = 0

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self.server.sessions[self.id] = self

    def data_received(self, data: bytes) -> None:
        if not (self._ended or self._paused or self._yielding or self._parser.buffered):
            quick = quick_replies(self.server.store, data, NIL if self.version == 2 else NULL)
            if quick is not None:
                replies, count = quick
                self.server.commands += count
                self.transport.write(replies)
                return
        if self._ended:
            return
        commands = self._parser.feed(data)
        if self._parser.buffered or self._buffered:
            self._count_buffered()
        if commands:
            self._waiting = iter(commands)
        self._carry_out()

    def _count_buffered(self) -> None:
        server, now = self.server, self._parser.buffered
        server.unfinished += now - self._buffered
        self._buffered = now
        if server.unfinished > UNFINISHED_BYTES:
            self.end(b"-ERR too many unfinished commands\r\n")

    def _carry_out(self) -> None:
        """Until nothing waits, the peer has too much to read, or a command that took long gives others their turn."""
        replies: list[bytes] = []
        store, table = self.server.store, COMMANDS
        for words in self._waiting:
            spec = table.get(words[0]) or table.get(words[0].lower())
            if spec is None:
                reply = admin.answer(self, words, None)
            else:
                run, least, most, grows = spec
                if not least <= len(words) <= most:
                    reply = admin.answer(self, words, spec)
                elif grows and store.used > store.max_memory:
                    reply = OOM
                else:
                    try:
                        reply = run(store, words)
                    except Refused as refused:
                        reply = b"-%b\r\n" % str(refused).encode()
            if self.version != 2:
                reply = translated(store, words, reply)
            replies.append(reply)
            if len(reply) > SMALL_BYTES:
                self._size += len(reply)
            if self._size > PIECE_BYTES or self._ended or self._yielding:
                self._send(replies)
                if self._paused or self._ended or self._yielding:
                    break
        self._send(replies)
        self._settle()

    def _send(self, replies: list[bytes]) -> None:
        self._size = 0
        if replies:
            self.server.commands += len(replies)
            self.transport.write(b"".join(replies))
            replies.clear()

    def _settle(self) -> None:
        if self._yielding:
            self.transport.pause_reading()
            self.server.reactor.call_later(0, self._go_on)
        elif self._ended:
            self.transport.close()
        elif not self._paused:
            if self._parser.fault is not None:
                self.end(b"-ERR Protocol error: %b\r\n" % str(self._parser.fault).encode("latin-1"))
            elif self._no_more_input:
                self.end()

    def _go_on(self) -> None:
        self._yielding = False
        self.transport.resume_reading()
        if not self._paused:
            self._carry_out()

    def end(self, last: bytes = b"") -> None:
        """Say `last` and close; nothing that the peer has sent after it is carried out."""
        self._ended = True
        if last:
            self.transport.write(last)
        self.transport.close()

    def end_after_reply(self) -> None:
        """The command that is being carried out is the last."""
        self._ended = True

    def yield_turn(self) -> None:
        """The command that is being carried out takes long: the next one waits for the next turn."""
        self._yielding = True

    def describe(self) -> bytes:
        """The line of CLIENT LIST."""
        return b"id=%d addr=%b name=%b db=0 resp=%d\n" % (
            self.id,
            self.transport.peer.encode(),
            self.name,
            self.version,
        )

    def eof_received(self) -> None:
        self._no_more_input = True
        self._settle()

    def connection_lost(self, error: Exception | None) -> None:
        del self.server.sessions[self.id]
        self.server.unfinished -= self._buffered

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        if not self._yielding:
            self._carry_out()


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(__doc__, sys.argv[1:] if argv is None else argv, command="keyvalue")
    reactor = Reactor()
    try:
        port, most = whole("--port", arguments["--port"], 0, 65535), size("--max-memory", arguments["--max-memory"])
        server = Server(reactor, most)
        listeners = [
            Listener(reactor, bind(address), lambda: Session(server))
            for address in resolve_here(arguments["--listen"], port)
        ]
    except (StartError, ValueError) as error:
        print(f"keyvalue: {error}", file=sys.stderr)
        return 1
    for number in (signal.SIGTERM, signal.SIGINT):
        reactor.on_signal(number, reactor.stop)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})  # blocked, perhaps, by who started us
    print(
        f"keyvalue: listening on {', '.join(listener.address for listener in listeners)}", file=sys.stderr, flush=True
    )
    reactor.run()
    for listener in listeners:
        listener.close()
    reactor.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
