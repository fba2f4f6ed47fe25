"""Samples as Prometheus reads them: the text exposition format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sttp_reactor.metrics import COUNTER, HISTOGRAM, Sample

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

# What each name means, for whoever looks at it in Prometheus; names that are missing get none.
HELP: Final = {
    "process_cpu_seconds_total": "User and system CPU time, of all processes.",
    "process_max_fds": "Most file descriptors that may be open.",
    "process_open_fds": "File descriptors that are open.",
    "process_resident_memory_bytes": "Memory that is in RAM.",
    "process_start_time_seconds": "When the first process started, as seconds of the epoch.",
    "process_virtual_memory_bytes": "Memory that is mapped.",
    "sttp_accept_errors_total": "Connections that could not be accepted, as for want of descriptors.",
    "sttp_build_info": "What runs here, in the labels; always 1.",
    "sttp_cache_bytes": "Bytes of replies in the cache.",
    "sttp_cache_evicted_total": "Entries that had to make room for others.",
    "sttp_cache_expired_total": "Entries that became too old.",
    "sttp_cache_files": "Files in the cache.",
    "sttp_cache_hits_total": "SHOWs that were answered from the cache.",
    "sttp_cache_misses_total": "SHOWs that the cache could not answer.",
    "sttp_connections": "Connections that speak STTP.",
    "sttp_connections_accepted_total": "Connections that were accepted, whatever they speak.",
    "sttp_connections_closed_total": "Connections that the server has closed, by reason.",
    "sttp_connections_refused_total": "Connections that were one too many, by the limit they met.",
    "sttp_http_connections": "Connections that speak HTTP.",
    "sttp_http_requests_total": "Requests that came by HTTP, by method and status.",
    "sttp_log_lines_dropped_total": "Lines that nobody took in time, by log.",
    "sttp_reactor_lag_seconds": "How late timers come: for how long everything else had to wait.",
    "sttp_proxy_retries_under_way": "Requests that were repeated and are not answered yet.",
    "sttp_proxy_unanswered_total": "Requests that were answered 500 because no server has answered them.",
    "sttp_received_bytes_total": "Bytes received by all connections.",
    "sttp_reload_success": "Whether the configuration that is in force is the last one read.",
    "sttp_reload_success_timestamp_seconds": "When it was read, as seconds of the epoch.",
    "sttp_reloads_total": "Reloads, by result.",
    "sttp_request_duration_seconds": "From the request to its reply; what is cached is answered in no time.",
    "sttp_requests_total": "Requests that were answered, by action and status; those that came by HTTP too.",
    "sttp_store_watch_up": "Whether the cluster's watch keeps this server's cache true.",
    "sttp_store_watch_revision": "The revision of the cluster up to which the watch has told of changes.",
    "sttp_requests_waiting": "Requests that wait for the store, or are with it, by the workers that see to them.",
    "sttp_sent_bytes_total": "Bytes sent to all connections.",
    "sttp_store_errors_total": "Operations of the store that failed.",
    "sttp_tls_handshakes_total": "TLS handshakes, by result.",
    "sttp_tls_handshakes_under_way": "TLS handshakes that are under way.",
    "sttp_upstream_duration_seconds": "From a request's being sent to a server to its reply, by server.",
    "sttp_upstream_ejections_total": "How often a server was left out for a while, because requests failed in a row.",
    "sttp_upstream_failures_total": "Requests that a server did not answer, or answered 500.",
    "sttp_upstream_outstanding": "Requests that a server has been asked and has not answered.",
    "sttp_upstream_requests_total": "Requests that a server has answered.",
    "sttp_upstream_retries_total": "Requests that were repeated because this server had failed them.",
    "sttp_upstream_unknown_total": "Writes of which nobody knows whether this server has carried them out.",
    "sttp_upstream_up": "Whether a server is asked, by server.",
    "sttp_unsent_bytes": "Bytes that peers have asked for and do not read.",
}
_PARTS: Final = ("_bucket", "_sum", "_count")


def exposition(samples: Iterable[Sample]) -> str:
    """All samples of one name stand together, as the format wants them."""
    families: dict[str, list[Sample]] = {}
    for sample in samples:
        families.setdefault(family_of(sample), []).append(sample)
    lines: list[str] = []
    for name, members in sorted(families.items()):
        kind = members[0].kind if members[0].kind in (COUNTER, HISTOGRAM) else "gauge"
        if name in HELP:
            lines.append(f"# HELP {name} {HELP[name]}")
        lines.append(f"# TYPE {name} {kind}")
        lines += map(_line, members)
    return "\n".join(lines) + "\n"


def family_of(sample: Sample) -> str:
    """The name that a sample's HELP and TYPE go by."""
    if sample.kind == HISTOGRAM:
        for part in _PARTS:
            if sample.name.endswith(part):
                return sample.name.removesuffix(part)
    return sample.name


def key_of(sample: Sample) -> str:
    """Its name and labels, as the format writes them."""
    labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels)
    return f"{sample.name}{{{labels}}}" if labels else sample.name


def _line(sample: Sample) -> str:
    value = f"{sample.value:d}" if isinstance(sample.value, int) else repr(sample.value)
    return f"{key_of(sample)} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
