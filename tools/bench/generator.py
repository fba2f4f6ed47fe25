"""Making the load: one run of the load generator as a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from bench.servers import HERE, Failed, Unavailable, build_c, settle_on

_MARGIN_SECONDS = 90.0  # over a run's own length, for connecting; it gives up by itself long before


@dataclass(frozen=True)
class Run:
    """What one run measured: seconds, and microseconds for the percentiles."""

    requests: int
    seconds: float
    server_cpu: float
    generator_cpu: float
    p50: float
    p99: float
    p999: float


@dataclass(frozen=True)
class Load:
    connections: int
    pipeline: int
    warm_up: float
    seconds: float
    cores: Set[int]
    is_tls: bool = False


class Generator:
    """`choice` is "c", "python" or "auto": C where it can be built. Raises Unavailable. `no_tls` says why it speaks no
    TLS, "" where it does."""

    def __init__(self, work: Path, choice: str) -> None:
        self.description = "loadgen.c"
        self._command = [str(work / "loadgen")]
        self.no_tls = ""
        try:
            if choice == "python":
                raise Unavailable("--generator=python")
            self._build(work / "loadgen")
        except Unavailable as reason:
            if choice == "c":
                raise
            self.description = f"sttpbench's engine in Python ({reason}); rates are limited by it"
            self._command = [sys.executable, "-m", "bench.pyload"]
            self.no_tls = "the load generator in Python speaks no TLS"

    def _build(self, program: Path) -> None:
        source = HERE / "loadgen.c"
        try:
            build_c(source, program, "-DWITH_TLS", "-lssl", "-lcrypto")
        except Unavailable:
            build_c(source, program)
            self.no_tls = "the load generator was built without OpenSSL (Debian: apt-get install libssl-dev)"

    def start(self, load: Load, port: int, script: Path, pids: list[int]) -> subprocess.Popen[str]:
        """`pids`: the server's, whose CPU time is measured."""
        options = ["-c", load.connections, "-P", load.pipeline, "-w", load.warm_up, "-d", load.seconds]
        options += ["-T"] if load.is_tls else []
        watched = [word for pid in pids for word in ("-p", pid)]
        command = [*self._command, *map(str, [*options, *watched, port, script])]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=settle_on(load.cores)
        )

    def run(self, load: Load, port: int, script: Path, pids: list[int]) -> Run:
        """Raises Failed."""
        process = self.start(load, port, script, pids)
        try:
            out, errors = process.communicate(timeout=load.warm_up + load.seconds + _MARGIN_SECONDS)
        except BaseException:
            end(process)
            raise
        if process.returncode:
            raise Failed(errors.strip() or f"the load generator ended with {process.returncode}")
        return Run(**json.loads(out))


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()
