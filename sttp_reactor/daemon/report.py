"""What the process says of itself when an operator asks (SIGUSR2): one screen of sums, then details with a limit."""

from __future__ import annotations

import heapq
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from sttp_reactor import __version__
from sttp_reactor.daemon.samples import LAG
from sttp_reactor.metrics import Registry, Sample
from sttp_reactor.net.log_lines import timestamp
from sttp_reactor.profiling import stacks
from sttp_reactor.sttp.counts import DURATION, REQUESTS, STATUS_TEXTS
from sttp_reactor.sttp.door import Talk
from sttp_reactor.sttp.samples import ENDINGS, REFUSALS
from sttp_reactor.sttp.server import Server
from sttp_reactor.sttp.session import Session
from sttp_reactor.sttp.settings import Settings

# The counters tell of all connections; these are looked at one by one.
_MOST_CONNECTIONS: Final = 20


def report(name: str, server: Server, registry: Registry) -> Iterator[str]:
    """Of a process that is asked itself; `name` is the program's."""
    yield from summary(name, registry.samples(), server.settings)
    yield from details(server)


# -- The summary --


class _Values:
    """Samples by name, then by the values of their labels."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        self._values: defaultdict[str, dict[tuple[str, ...], float]] = defaultdict(dict)
        for sample in samples:
            self._values[sample.name][tuple(value for _, value in sample.labels)] = sample.value

    def of(self, name: str) -> dict[tuple[str, ...], float]:
        return self._values[name]

    def value(self, name: str, *labels: str) -> float:
        return self._values[name].get(labels, 0)

    def count(self, name: str, *labels: str) -> int:
        return int(self.value(name, *labels))


def summary(name: str, samples: Iterable[Sample], settings: Settings) -> Iterator[str]:
    """One screen for a person. `samples` are the totals of all processes, `settings` those in force."""
    values = _Values(samples)
    yield _life(name, values)
    yield _connections(values, settings)
    yield _traffic(values)
    if settings.tls.certificate is not None:
        yield _handshakes(values)
    yield from _requests(values)
    if values.of("sttp_requests_waiting"):  # one that has files
        yield _cache(values, settings)
        yield _disk(values)
    yield _loop(values)
    yield f"trouble: {_trouble(values)}"


def _life(name: str, values: _Values) -> str:
    started_at = values.value("process_start_time_seconds")
    memory = values.value("process_resident_memory_bytes") / 1e6
    seconds = values.value("process_cpu_seconds_total")
    return (
        f"{name} {__version__}, up {_duration(time.time() - started_at)} (since {timestamp(started_at)});"
        f" memory {memory:.1f} MB, CPU {seconds:.1f} s"
    )


def _connections(values: _Values, settings: Settings) -> str:
    refused = [(f"limits.{reason}", values.count("sttp_connections_refused_total", reason)) for reason in REFUSALS]
    closed = [(name, values.count("sttp_connections_closed_total", reason)) for reason, name in ENDINGS.items()]
    return (
        f"connections: {values.count('sttp_connections')} open of at most {settings.limits.max_connections};"
        f" {values.count('sttp_connections_accepted_total')} accepted,"
        f" {_listed('refused', refused)}, {_listed('closed by us', closed)}"
    )


def _listed(what: str, counts: list[tuple[str, int]]) -> str:
    """`15 refused (12 by this, 3 by that)`."""
    single = ", ".join(f"{count} by {name}" for name, count in counts if count)
    return f"{sum(count for _, count in counts)} {what}" + (f" ({single})" if single else "")


def _traffic(values: _Values) -> str:
    received, sent = values.count("sttp_received_bytes_total"), values.count("sttp_sent_bytes_total")
    return f"traffic: {received} bytes received, {sent} bytes sent, {values.count('sttp_unsent_bytes')} bytes unread"


def _handshakes(values: _Values) -> str:
    done, resumed, failed = (
        values.count("sttp_tls_handshakes_total", result) for result in ("completed", "resumed", "failed")
    )
    under_way = values.count("sttp_tls_handshakes_under_way")
    return f"TLS handshakes: {under_way} under way, {done} completed ({resumed} resumed), {failed} failed"


def _requests(values: _Values) -> Iterator[str]:
    counts = values.of(REQUESTS)
    yield f"requests: {sum(map(int, counts.values()))} answered"
    for action in sorted({action for action, _ in counts}, key=lambda name: (name == "-", name)):
        answers = sorted((status, int(count)) for (name, status), count in counts.items() if name == action)
        told = ", ".join(f"{count} {status} {STATUS_TEXTS[status]}" for status, count in answers)
        yield f"    {'no request' if action == '-' else action}: {told}"


def _cache(values: _Values, settings: Settings) -> str:
    if not settings.cache.enabled:
        return "cache: off"
    hits, misses = values.count("sttp_cache_hits_total"), values.count("sttp_cache_misses_total")
    share = f" ({100 * hits / (hits + misses):.1f} % hits)" if hits + misses else ""
    return (
        f"cache: {values.count('sttp_cache_files')} files, {values.count('sttp_cache_bytes')} bytes;"
        f" {hits} hits, {misses} misses{share};"
        f" {values.count('sttp_cache_evicted_total')} evicted, {values.count('sttp_cache_expired_total')} expired"
    )


def _disk(values: _Values) -> str:
    waiting = sum(map(int, values.of("sttp_requests_waiting").values()))
    asked = values.count(f"{DURATION}_count") - values.count("sttp_cache_hits_total")
    seconds = values.value(f"{DURATION}_sum")
    mean = f"; the {asked} so far took {1000 * seconds / asked:.2f} ms on average" if asked > 0 else ""
    return f"disk: {waiting} requests wait for it{mean}"


def _loop(values: _Values) -> str:
    looks = values.count(f"{LAG}_count")
    mean = f"{1000 * values.value(f'{LAG}_sum') / looks:.2f} ms" if looks else "unknown yet"
    late = looks - values.count(f"{LAG}_bucket", "0.1")
    return f"reactor: lag {mean} on average; {late} of {looks} looks found more than 0.1 s"


def _trouble(values: _Values) -> str:
    failed = sum(int(count) for (_, status), count in values.of(REQUESTS).items() if status.startswith("5"))
    found = [
        (failed, "requests answered 5xx"),
        (values.count("sttp_store_errors_total", "checkpoint"), "checkpoints failed"),
        (values.count("sttp_accept_errors_total"), "failures to accept"),
        (values.count("sttp_log_lines_dropped_total", "main"), "lines of the log dropped"),
        (values.count("sttp_log_lines_dropped_total", "access"), "lines of the access log dropped"),
        (values.count("sttp_process_restarts_total"), "processes started again"),
        (values.count("sttp_reloads_total", "failure"), "reloads failed"),
    ]
    return ", ".join(f"{count} {what}" for count, what in found if count) or "none"


def _duration(seconds: float) -> str:
    """`3 d 4 h`, `5 min 6 s`: the two largest units."""
    whole = int(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if whole >= size or (unit == "s" and not parts):
            parts.append(f"{whole // size} {unit}")
        whole %= size
    return " ".join(parts[:2])


# -- The details --


def details(server: Server) -> Iterator[str]:
    """What cannot be added up: this process's listeners, workers, worst connections and threads."""
    for listener in server.listeners.values():
        yield f"listener {listener.address}: {listener.accepted} accepted, {listener.pauses} pauses"
    yield from server.backend.details()
    yield f"reactor: {server.reactor!r}"
    for name, times in sorted(server.events.totals.items()):
        yield f"so far {name}: {times}"
    yield from _worst_connections(server)
    yield from stacks()


def _worst_connections(server: Server) -> Iterator[str]:
    """Those with the most that waits to be sent, then those that have been silent for the longest; HTTP's too."""

    def how_bad(session: Session | Talk) -> tuple[int, float]:
        return session.transport.bytes_unsent(), -session.transport.last_received

    sessions: list[Session | Talk] = [*server.sessions]
    if server.door is not None:
        sessions += server.door.sessions
    now, count = server.reactor.now, len(sessions)
    if count > _MOST_CONNECTIONS:
        yield f"{_MOST_CONNECTIONS} of {count} connections: those with the most unread, then the longest silent"
    for session in heapq.nlargest(_MOST_CONNECTIONS, sessions, how_bad):
        silent = now - session.transport.last_received
        yield f"connection {session!r}, silent for {silent:.1f} s, {session.transport!r}"
