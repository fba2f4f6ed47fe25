"""How each kind of server is built, started, watched and stopped."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Set
from pathlib import Path
from typing import Any

from bench.idle import ask
from bench.modes import Row
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.procfs import measure

HERE = Path(__file__).parent
PEERS = HERE.parent / "peers"
ROOT = HERE.parent.parent

_START_SECONDS = 60.0  # a million files may have to be looked at
_STOP_SECONDS = 15.0
_BUILD_SECONDS = 120.0
_PR_SET_PDEATHSIG = 1

# sttpd's. A cache that holds every key, as the peers' do, and no limit in the way of the connections.
SETTINGS: dict[str, object] = {
    "listen_address": "127.0.0.1",
    "cache.max_files": 100_000,
    "cache.max_size": "100M",
    "limits.max_connections": 15_000,
    "limits.idle_timeout": 3600,
    "shutdown_timeout": 1,
}

# The certificate of the tests: a key on the curve P-256, as most have today.
TLS_SETTINGS: dict[str, object] = {
    "tls.certificate": ROOT / "tests" / "tls" / "server.pem",
    "tls.key": ROOT / "tests" / "tls" / "server.key",
}


class Unavailable(Exception):
    """Something cannot be measured here; the message says why."""


class Failed(Exception):
    """Something that should run here does not; the message says why."""


class Kinds:
    """The servers that can be had on this machine. What must be built is built when it is first asked for."""

    def __init__(self, work: Path, sttpd: str, settings: Mapping[str, object]) -> None:
        """`work` is a folder for what is built, `sttpd` a shell command."""
        self._work = work
        self._sttpd = shlex.split(sttpd)
        self._settings = settings
        self._missing: dict[str, str] = {}

    def check(self, row: Row) -> None:
        """Raises Unavailable where this machine cannot run the row's server, Failed where it should."""
        if row.server not in self._missing:
            try:
                self._prepare(row.server)
                self._missing[row.server] = ""
            except Unavailable as reason:
                self._missing[row.server] = str(reason)
        if self._missing[row.server]:
            raise Unavailable(self._missing[row.server])
        if row.settings or row.is_tls:
            self._check_settings(row)

    def command(self, row: Row, port: int, docroot: Path, tls_port: int = 0) -> list[str]:
        """`tls_port` is where a row with TLS has it."""
        uncached = [] if row.is_cached else ["--no-cache"]
        where = [str(port), str(docroot)]
        match row.server:
            case "sttpd":
                return self._sttpd_command(row, port, docroot, tls_port)
            case "go":
                return [f"{self._work}/sttp_go", f"-cache={str(row.is_cached).lower()}", *where]
            case "floor":
                return [f"{self._work}/floor", str(port)]
            case "threads":
                return [sys.executable, f"{PEERS}/sttp_threads.py", *uncached, *where]
            case _:
                style = {"asyncio": "protocol"}.get(row.server, row.server)
                return [sys.executable, f"{PEERS}/sttp_asyncio.py", *uncached, style, *where]

    def _sttpd_command(self, row: Row, port: int, docroot: Path, tls_port: int = 0) -> list[str]:
        program = [sys.executable, "-m", "bench.slow_sttpd"] if row.is_beside_slow_disk else self._sttpd
        settings = {**SETTINGS, "cache.enabled": str(row.is_cached).lower(), **self._settings, **row.settings}
        if row.is_tls:
            settings |= {**TLS_SETTINGS, "tls.port": tls_port}
        options = [f"--set={key}={value}" for key, value in settings.items()]
        return [*program, "-q", f"--port={port}", f"--docroot={docroot}", *options]

    def _prepare(self, server: str) -> None:
        match server:
            case "go":
                _build("go", ["build", "-o", f"{self._work}/sttp_go", f"{PEERS}/sttp_go.go"], "golang-go")
            case "floor":
                build_c(PEERS / "floor.c", self._work / "floor")
            case "uvloop" if importlib.util.find_spec("uvloop") is None:
                raise Unavailable(f"uvloop is not installed ({sys.executable} -m pip install uvloop)")

    def _check_settings(self, row: Row) -> None:
        """An older sttpd may not know a key."""
        if row.server == "sttpd":
            command = [*self._sttpd_command(row, 0, self._work), "--check-config"]
            try:
                checked = subprocess.run(command, capture_output=True, text=True, timeout=_START_SECONDS)
            except OSError as error:
                raise Failed(f"{command[0]}: {error.strerror}") from None
            if checked.returncode:
                raise Unavailable(checked.stderr.strip())


def build_c(source: Path, program: Path, *options: str) -> None:
    _build("cc", ["-O2", "-o", str(program), str(source), *options], "gcc libc6-dev")


def _build(tool: str, arguments: list[str], packages: str) -> None:
    path = shutil.which(tool)
    if path is None:
        raise Unavailable(f"{tool} is not installed (Debian: apt-get install {packages})")
    try:
        built = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=_BUILD_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{tool} took more than {_BUILD_SECONDS:.0f} s to build it") from None
    if built.returncode:
        raise Unavailable(f"{tool} cannot build it: {_last_line(built.stderr)}")


class Server:
    """A server that runs, until `stop`."""

    def __init__(self, command: list[str], port: int, log: Path, go_cores: int, cores: Set[int]) -> None:
        """`cores` are those it may run on; `go_cores` is how many of them Go's scheduler uses at a time.

        Raises Failed where there is no such program.
        """
        self.port = port
        self._log = log
        environment = {**os.environ, "GOMAXPROCS": str(go_cores)}
        with open(log, "wb") as out:
            try:
                self._process = subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=out,
                    preexec_fn=settle_on(cores),
                )
            except OSError as error:
                raise Failed(f"{command[0]}: {error.strerror}") from None

    def wait_until_ready(self, request: bytes, reply: bytes) -> None:
        """Raises Failed where it does not start, or does not answer `request` with `reply`."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if self._process.poll() is not None:
                raise Failed(f"it did not start: {self._last_words()}")
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                    ask(sock, request, reply)
                    return
            except ConnectionRefusedError:
                if time.monotonic() > deadline:
                    raise Failed(f"it did not listen within {_START_SECONDS:.0f} s") from None
                time.sleep(0.02)
            except (OSError, LoadError) as error:
                raise Failed(f"it does not answer as it should: {error}") from None

    @property
    def pids(self) -> list[int]:
        """The process and its descendants."""
        return list(measure(self._process.pid).cpu)

    @property
    def memory(self) -> int:
        """Resident bytes of all its processes; a page that n of them share counts as 1/n for each."""
        return sum(_proportional_bytes(pid) for pid in self.pids)

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            for pid in reversed(self.pids):
                os.kill(pid, signal.SIGKILL)
            self._process.wait()

    def _last_words(self) -> str:
        return _last_line(self._log.read_text(errors="replace")) or f"exit code {self._process.returncode}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _proportional_bytes(pid: int) -> int:
    # Not the VmRSS of /proc/PID/status: the kernel keeps that for each core apart and adds it up loosely.
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        return next((int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:")), 0)


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


_prctl: Callable[..., Any] = ctypes.CDLL(None).prctl


def settle_on(cores: Set[int]) -> Callable[[], None]:
    """What a child does between fork and exec: keep to `cores`, and have the kernel end it even where we are killed
    outright."""

    def settle() -> None:
        os.sched_setaffinity(0, cores)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return settle
