"""sttpc stats: a server's figures, as its gateway gives them at /metrics, in a terminal."""

from __future__ import annotations

import http.client
import json
import re
import ssl
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from sttp_reactor.cli.sttpc_output import Output
from sttp_reactor.errors import LocalError

DEFAULT_URL: Final = "http://127.0.0.1:8081"
WATCH_SECONDS: Final = 1.0

_SERVER_EXIT: Final = 5
_CONNECT_EXIT: Final = 7
_NOT_METRICS_EXIT: Final = 8
_TIMEOUT_EXIT: Final = 28

_LINE: Final = re.compile(r"([a-z_]+(?:\{.*\})?) ([-+.0-9e]+|NaN|[+-]Inf)")
_BOUND: Final = re.compile(r'le="([^"]+)"')
_DURATION: Final = "sttp_request_duration_seconds"
_LAG: Final = "sttp_reactor_lag_seconds"

# Where a screen begins, and what is left of the one before is cleared.
_HOME: Final = "\x1b[H\x1b[J"


class Figures:
    """What one look at a server has told: values by name and labels, as Prometheus writes them, and when."""

    def __init__(self, values: dict[str, float], when: float = 0.0) -> None:
        self.values = values
        self.when = when

    def sum(self, name: str, part: str = "") -> float:
        """Of all that have this name, and `part` among their labels."""
        return sum(value for key, value in self.values.items() if key.partition("{")[0] == name and part in key)

    def buckets(self, name: str) -> list[tuple[float, float]]:
        """Bounds and how many were not above them, in rising order."""
        found = []
        for key, value in self.values.items():
            if key.startswith(f"{name}_bucket{{") and (bound := _BOUND.search(key)):
                found.append((float(bound[1]), value))
        return sorted(found)


def parse_figures(text: str, when: float) -> Figures:
    values = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match is not None:
            values[match[1]] = float(match[2])
    return Figures(values, when)


def quantile(share: float, now: list[tuple[float, float]], before: list[tuple[float, float]]) -> float | None:
    """What `share` of all that came between the two was not above, by proportion in its bucket; None for nothing."""
    former = dict(before)
    grown = [(bound, count - former.get(bound, 0.0)) for bound, count in now]
    wanted = share * grown[-1][1] if grown else 0.0
    low = below = 0.0
    if not wanted:
        return None
    for bound, count in grown:
        if count >= wanted:
            within = (wanted - below) / max(count - below, 1.0)
            return low if bound == float("inf") else low + (bound - low) * within
        low, below = bound, count
    return low


class Stats:
    """`tell` prints the figures once, or again and again."""

    def __init__(
        self, url: str, output: Output, timeout: float, *, cacert: str | None = None, insecure: bool = False
    ) -> None:
        """Raises LocalError."""
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise LocalError(f"stats: expected an HTTP URL, as in {DEFAULT_URL}, got {url!r}")
        self._url = f"{parts.scheme}://{parts.netloc}/metrics"
        self._output = output
        self._timeout = timeout
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]  # a server is asked itself
        if parts.scheme == "https":
            handlers.append(urllib.request.HTTPSHandler(context=_context(cacert, insecure=insecure)))
        self._opener = urllib.request.build_opener(*handlers)

    def tell(self, *, watch: bool) -> int:
        """The exit code. With `watch` it is that of the first look that fails."""
        before: Figures | None = None
        while True:
            try:
                figures = self._look()
            except _Failed as failed:
                self._output.problem(str(failed))
                return failed.code
            self._print(figures, before, watch=watch)
            if not watch:
                return 0
            before = figures
            time.sleep(WATCH_SECONDS)

    def _look(self) -> Figures:
        try:
            with self._opener.open(self._url, timeout=self._timeout) as response:
                text = response.read().decode("utf-8", "replace")
        except urllib.error.HTTPError as error:
            error.close()
            raise _Failed(_SERVER_EXIT, f"{self._url}: the server answered {error.code}") from error
        except TimeoutError as error:
            raise _Failed(_TIMEOUT_EXIT, f"{self._url}: no answer in {self._timeout:g} s") from error
        except OSError as error:
            reason = getattr(error, "reason", error)
            code = _TIMEOUT_EXIT if isinstance(reason, TimeoutError) else _CONNECT_EXIT
            raise _Failed(code, f"{self._url}: {getattr(reason, 'strerror', None) or reason}") from error
        except (ValueError, http.client.HTTPException) as error:
            raise _Failed(_NOT_METRICS_EXIT, f"{self._url}: this is no HTTP") from error
        figures = parse_figures(text, time.monotonic())
        if not figures.sum("sttp_build_info"):
            raise _Failed(_NOT_METRICS_EXIT, f"{self._url}: these are no figures of an STTP server")
        return figures

    def _print(self, figures: Figures, before: Figures | None, *, watch: bool) -> None:
        if self._output.as_json:
            self._output.line(json.dumps(figures.values))
            return
        if watch and sys.stdout is not None and sys.stdout.isatty():
            sys.stdout.write(_HOME)
        for name, told in table(figures, before):
            self._output.line(f"{name:<12} {told}")
        if watch and not (sys.stdout is not None and sys.stdout.isatty()):
            self._output.line("")


class _Failed(Exception):
    def __init__(self, code: int, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def _context(cacert: str | None, *, insecure: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=cacert)
    except (OSError, ssl.SSLError) as error:
        raise LocalError(f"--cacert {cacert}: {error}") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def table(now: Figures, before: Figures | None) -> Iterator[tuple[str, str]]:
    """Rows: since the look before, or where there was none since the server's start."""
    former = before or Figures({}, 0.0)
    seconds = now.when - before.when if before is not None else _age(now)

    def rate(name: str, part: str = "") -> float:
        return max(0.0, now.sum(name, part) - former.sum(name, part)) / max(seconds, 1e-9)

    requests = "sttp_requests_total"
    actions = ("SHOW", "LIST", "CREATE", "UPDATE", "DELETE")
    told = ("{} {:,.1f}".format(action, rate(requests, f'action="{action}"')) for action in actions)
    yield "requests/s", "  ".join([f"{rate(requests):,.1f}", *told])
    yield "http/s", f"{rate('sttp_http_requests_total'):,.1f}"
    yield "latency", _quantiles(now, former, _DURATION)
    hits, misses = rate("sttp_cache_hits_total"), rate("sttp_cache_misses_total")
    share = f"{100 * hits / (hits + misses):.1f} % hits" if hits + misses else "no reads"
    size = _bytes(now.sum("sttp_cache_bytes"))
    yield "cache", f"{share}, {now.sum('sttp_cache_files'):,.0f} files, {size}"
    refused = now.sum("sttp_connections_refused_total")
    plain, by_http = now.sum("sttp_connections"), now.sum("sttp_http_connections")
    yield "connections", f"{plain:,.0f} STTP, {by_http:,.0f} HTTP, {refused:,.0f} refused so far"
    traffic = (_bytes(rate(f"sttp_{way}_bytes_total")) for way in ("received", "sent"))
    yield "traffic/s", "{} in, {} out".format(*traffic)
    failed = now.sum("sttp_store_errors_total")
    yield "store", f"{now.sum('sttp_requests_waiting'):,.0f} waiting, {failed:,.0f} failed so far"
    yield "reactor lag", _quantiles(now, former, _LAG)
    cpu = 100 * rate("process_cpu_seconds_total")
    yield "process", f"{cpu:.0f} % CPU, {_bytes(now.sum('process_resident_memory_bytes'))}, up {_time(_age(now))}"


def _age(figures: Figures) -> float:
    return max(0.0, time.time() - figures.sum("process_start_time_seconds"))


def _quantiles(now: Figures, former: Figures, name: str) -> str:
    found = [quantile(share, now.buckets(name), former.buckets(name)) for share in (0.5, 0.9, 0.99)]
    if found[0] is None:
        return "nothing measured"
    return "  ".join(f"p{percent} {_time(each or 0.0)}" for percent, each in zip((50, 90, 99), found, strict=True))


def _bytes(size: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1e6:.0f} us" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
