"""What a server is doing right now, as lines for its log: for an operator who asks (SIGUSR2)."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Final

from sttp_reactor.sttp.server import Server

# Some megabytes of log help nobody; the counters above tell of all of them.
_MAX_CONNECTIONS_SHOWN: Final = 1000


def report(server: Server) -> Iterator[str]:
    """Counters, connections, and every thread's stack."""
    yield from _counters(server)
    yield from _connections(server)
    yield from stacks()


def _counters(server: Server) -> Iterator[str]:
    settings, service = server.settings, server.service
    most = settings.limits.max_connections
    yield f"connections: {len(server.sessions)} here, {server.connections} in all, of {most}"
    hits = 0
    if service.cache is None:
        yield "cache: off"
    else:
        cache = service.cache.statistics()
        hits = cache.hits
        yield (
            f"cache: {cache.files} files of {settings.cache.max_files}, {cache.bytes} bytes of"
            f" {settings.cache.max_size}; {cache.hits} hits, {cache.misses} misses, {cache.evicted} evicted,"
            f" {cache.expired} expired"
        )
    yield f"requests: {hits} from the cache, {service.counts.reads} reads, {service.counts.writes} writes, {service.under_way} open"
    yield f"workers: {service!r}"
    yield f"reactor: {server.reactor!r}"
    if server.tls is not None:
        yield f"TLS: {server.handshakes!r}"
    for listener in server.listeners.values():
        yield f"listener {listener.address}: {listener.accepted} accepted, {listener.pauses} pauses"
    for name, times in sorted(server.events.totals.items()):
        yield f"so far {name}: {times}"
    if server.access_log is not None:
        yield f"access log: {server.access_log.dropped} lines dropped"


def _connections(server: Server) -> Iterator[str]:
    now = server.reactor.now
    for session in itertools.islice(server.sessions, _MAX_CONNECTIONS_SHOWN):
        silent = now - session.transport.last_received
        yield f"connection {session!r}, silent for {silent:.1f} s, {session.transport!r}"
    more = len(server.sessions) - _MAX_CONNECTIONS_SHOWN
    if more > 0:
        yield f"and {more} connections more"


def stacks() -> Iterator[str]:
    """Every thread of this process, the innermost call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        yield f"thread {names.get(ident, ident)} of process {os.getpid()}:"
        for entry in traceback.format_stack(frame):
            yield from (f"  {line}" for line in entry.rstrip("\n").split("\n"))
