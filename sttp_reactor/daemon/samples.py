"""What a process is and takes, as samples, and the timer that keeps the other processes informed of everything."""

from __future__ import annotations

import contextlib
import mmap
import os
import platform
import resource
import time
from collections.abc import Iterator
from typing import Final

from sttp_reactor import __version__
from sttp_reactor.daemon import logs
from sttp_reactor.limits import LAG_BOUNDS, METRICS_SECONDS
from sttp_reactor.metrics import COUNTER, GAUGE, HIGHEST, LOWEST, Histogram, Registry, Sample
from sttp_reactor.net.reactor import Reactor

LAG: Final = "sttp_reactor_lag_seconds"

_STARTED_AT: Final = time.time()


def process_samples() -> Iterator[Sample]:
    """Of this process, whatever it does. What the system does not tell is left out."""
    build = (("version", __version__), ("python", platform.python_version()))
    yield Sample("sttp_build_info", HIGHEST, build, 1)
    yield Sample("process_start_time_seconds", LOWEST, (), _STARTED_AT)
    yield Sample("process_cpu_seconds_total", COUNTER, (), time.process_time())
    with contextlib.suppress(OSError, ValueError, IndexError), open("/proc/self/statm", "rb") as file:
        virtual, resident, *_ = file.read().split()
        yield Sample("process_virtual_memory_bytes", GAUGE, (), int(virtual) * mmap.PAGESIZE)
        yield Sample("process_resident_memory_bytes", GAUGE, (), int(resident) * mmap.PAGESIZE)
    with contextlib.suppress(OSError):
        # Since Linux 6.2 a directory of descriptors has their number for its size; counting them, with ten thousand
        # connections, would hold the loop for milliseconds.
        if descriptors := os.stat("/proc/self/fd").st_size:
            yield Sample("process_open_fds", GAUGE, (), descriptors)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        yield Sample("process_max_fds", GAUGE, (), soft)
    yield Sample("sttp_log_lines_dropped_total", COUNTER, (("log", "main"),), logs.dropped())


class Pulse:
    """A timer of the reactor's. How late it comes is how long everything else has to wait, too; and when it comes, the
    other processes are shown what this one has counted."""

    def __init__(self, reactor: Reactor, registry: Registry) -> None:
        self._reactor = reactor
        self._registry = registry
        self._lag = Histogram(LAG, LAG_BOUNDS)
        registry.add(self._lag.samples)
        registry.publish()
        self._await_next()

    def _await_next(self) -> None:
        self._due = self._reactor.clock() + METRICS_SECONDS
        self._reactor.call_at(self._due, self._beat)

    def _beat(self) -> None:
        self._lag.observe((self._reactor.clock() - self._due,))
        self._registry.publish()
        self._await_next()
