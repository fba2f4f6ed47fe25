"""What a server counts and has, as samples: for the report that an operator asks for, and for whoever collects them.

Labels have the values that stand here, and those of a request's action and a reply's status: a path is never one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sttp_reactor.metrics import COUNTER, GAUGE, Sample

if TYPE_CHECKING:
    from sttp_reactor.sttp.server import Server

# Of `Server.events`: why a connection was refused.
REFUSALS: Final = ("max_connections", "max_connections_per_address")
# Likewise, why one was closed that the peer would have kept; and in words.
ENDINGS: Final = {
    "idle_timeout": "limits.idle_timeout",
    "request_timeout": "limits.request_timeout",
    "write_timeout": "limits.write_timeout",
    "unsent": "the budget of unread replies",
}
# Lines that access logs have dropped which a reload has put another in the place of.
ACCESS_DROPPED: Final = "access_log_dropped"


def samples_of(server: Server) -> Iterator[Sample]:
    """Of this process alone. The server has been started. Belongs to the reactor's thread."""
    yield from server.backend.samples()
    yield from _of_connections(server)
    yield from _of_tls(server)
    lines = server.events.totals[ACCESS_DROPPED] + (0 if server.access_log is None else server.access_log.dropped)
    yield Sample("sttp_log_lines_dropped_total", COUNTER, (("log", "access"),), lines)


def _of_connections(server: Server) -> Iterator[Sample]:
    events, reactor = server.events.totals, server.reactor
    yield Sample("sttp_connections", GAUGE, (), len(server.sessions))
    accepted = events["accepted"] + sum(each.accepted for each in server.listeners.values())
    yield Sample("sttp_connections_accepted_total", COUNTER, (), accepted)
    for reason in REFUSALS:
        yield Sample("sttp_connections_refused_total", COUNTER, (("reason", reason),), events[reason])
    for reason in ENDINGS:
        yield Sample("sttp_connections_closed_total", COUNTER, (("reason", reason),), events[reason])
    yield Sample("sttp_accept_errors_total", COUNTER, (), events["accept"])
    yield Sample("sttp_received_bytes_total", COUNTER, (), reactor.bytes_received)
    yield Sample("sttp_sent_bytes_total", COUNTER, (), reactor.bytes_sent)
    yield Sample("sttp_unsent_bytes", GAUGE, (), server.unsent.total)


def _of_tls(server: Server) -> Iterator[Sample]:
    handshakes = server.handshakes
    yield Sample("sttp_tls_handshakes_under_way", GAUGE, (), len(handshakes.under_way))
    for result in ("completed", "resumed", "failed"):
        yield Sample("sttp_tls_handshakes_total", COUNTER, (("result", result),), getattr(handshakes, result))
