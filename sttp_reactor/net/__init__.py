"""The reactor and what rides on it: bytes in, bytes out, timers. Nothing here knows STTP.

A protocol is a small object with callbacks in asyncio's words (`net.protocol`). `serve` gives each connection that
comes a protocol of its own, `connect` gives one to a connection of ours, and the reactor calls them. This is a whole
server, which `serve` makes listen and a signal ends:

    import signal
    from sttp_reactor.net import Reactor, resolve, serve

    class Echo:
        def connection_made(self, transport): self.transport = transport
        def data_received(self, data): self.transport.write(data)
        def eof_received(self): self.transport.close()
        def connection_lost(self, error): pass
        def pause_writing(self): pass      # the connection has stopped reading by itself
        def resume_writing(self): pass

    reactor = Reactor()
    server = serve(reactor, Echo, resolve("127.0.0.1", 7777))
    print("listening at", *server.addresses, flush=True)
    reactor.on_signal(signal.SIGTERM, reactor.stop)
    reactor.run()
    server.close()
    reactor.close()

Threads: everything belongs to the thread that calls `Reactor.run`, but `Reactor.call_soon_threadsafe`, which any thread
may call. Each thread may have a reactor of its own; signals are the main thread's. Times are seconds, on the reactor's
clock (monotonic) where they are deadlines; sizes are bytes.

Errors: what cannot be set up raises at once (StartError for an address, OSError for what the system refuses), with
nothing left open. A callback that raises is logged, costs its own connection, and nobody else anything.

What blocks or computes for long goes to the threads of a `WorkerPool`, whose results come back on the loop.
`Reactor.observer` tells whoever wants to see the loop turn how long each phase of a turn took.
"""

from sttp_reactor.errors import StartError
from sttp_reactor.net.address import Address, resolve, resolve_here
from sttp_reactor.net.connection import Connection
from sttp_reactor.net.connector import Connector
from sttp_reactor.net.crowd import Crowd
from sttp_reactor.net.datagrams import DatagramProtocol, Datagrams, open_datagrams
from sttp_reactor.net.listener import Listener, bind
from sttp_reactor.net.observing import PHASES
from sttp_reactor.net.protocol import Protocol, Transport
from sttp_reactor.net.reactor import READ, WRITE, Reactor
from sttp_reactor.net.serving import Connecting, Server, connect, serve
from sttp_reactor.net.stream_limits import StreamLimits
from sttp_reactor.net.timers import Timer
from sttp_reactor.net.tls import TlsFactory
from sttp_reactor.net.tls_context import TlsContext, TlsFiles
from sttp_reactor.net.workers import WorkerPool

__all__ = [
    "PHASES",
    "READ",
    "WRITE",
    "Address",
    "Connecting",
    "Connection",
    "Connector",
    "Crowd",
    "DatagramProtocol",
    "Datagrams",
    "Listener",
    "Protocol",
    "Reactor",
    "Server",
    "StartError",
    "StreamLimits",
    "Timer",
    "TlsContext",
    "TlsFactory",
    "TlsFiles",
    "Transport",
    "WorkerPool",
    "bind",
    "connect",
    "open_datagrams",
    "resolve",
    "resolve_here",
    "serve",
]
