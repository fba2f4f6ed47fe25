"""One mode from start to end: docroots, servers, rounds, medians."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench import docroot
from bench.generator import Generator, Load, Run, end
from bench.modes import CPU, MEMORY, P99, RATE, Mode, Row
from bench.placement import place
from bench.servers import Failed, Kinds, Server, Unavailable, free_port, settle_on

_SLOW_CONNECTIONS = 8
_WARM_UP_SECONDS = 0.2

Say = Callable[[str], None]  # a sentence for the user, on standard error


@dataclass(frozen=True)
class Pace:
    """Seconds of one measurement, how many rounds of them, and on which cores (see `placement`)."""

    seconds: float
    rounds: int
    placement: str


@dataclass
class Measured:
    """What is known of one row. `idle_bytes` is the memory that each of its idle connections takes; None without."""

    row: Row
    runs: list[Run] = field(default_factory=list)
    memory: int = 0
    idle_bytes: float | None = None

    def median(self, value: Callable[[Run], float]) -> float:
        return statistics.median(map(value, self.runs))

    def figure(self, name: str) -> float:
        """Of a target or a ratio; see `modes`. Raises LookupError where this row does not have it."""
        if name == MEMORY:
            if self.idle_bytes is None:
                raise LookupError(name)
            return self.idle_bytes
        return self.median(_FIGURES[name])

    @property
    def p50(self) -> float:
        return self.median(lambda run: run.p50)

    @property
    def generator_share(self) -> float:
        """Of one core."""
        return self.median(lambda run: run.generator_cpu / run.seconds)


_FIGURES: dict[str, Callable[[Run], float]] = {
    CPU: lambda run: run.server_cpu / run.requests * 1e6,
    RATE: lambda run: run.requests / run.seconds,
    P99: lambda run: run.p99,
}


class Bench:
    """What all modes share: the servers' kinds, the generator, and docroots, each made once."""

    def __init__(self, work: Path, kinds: Kinds, generator: Generator, pace: Pace, say: Say) -> None:
        self.work = work
        self.generator = generator
        self.pace = pace
        self._kinds = kinds
        self._say = say
        self.failures = 0  # of what should have run
        self._said: set[str] = set()
        self._docroots: dict[str, Path] = {}

    def measure(self, mode: Mode, only: Iterable[str]) -> list[Measured]:
        """The rows whose servers are in `only` and can be run here; what is left out is told, with the reason."""
        with contextlib.ExitStack() as stack:
            contestants = [
                contestant
                for row in mode.rows
                if row.server in only
                if (contestant := self._start(stack, mode, row)) is not None
            ]
            # Round by round, A B C A B C: a machine that is busy for a moment hits all alike.
            for number in range(self.pace.rounds):
                for contestant in contestants:
                    self._progress(f"{mode.name}: round {number + 1} of {self.pace.rounds}, {contestant.name}")
                    contestant.run_once()
        self._progress("")
        for contestant in contestants:
            if contestant.failure:
                self._tell_failure(mode, contestant.name, contestant.failure)
        return [contestant.measured for contestant in contestants if not contestant.failure]

    def docroot_for(self, mode: Mode, row: Row) -> Path:
        """One for all that only read; writers have one each, or they would measure each other's work."""
        key = f"{row.files}-{row.name}" if mode.is_update else f"{row.files}"
        if key not in self._docroots:
            folder = self.work / f"docroot-{len(self._docroots)}"
            if not docroot.is_room_for(self.work, row.files):
                raise Unavailable(f"there is no room for {row.files:,} files in {self.work} (--work-dir)")
            self._progress(f"making {row.files:,} files")
            docroot.make_docroot(folder, row.files)
            docroot.make_slow_files(folder)
            self._docroots[key] = folder
        return self._docroots[key]

    def script_for(self, name: str, exchanges: Iterable[bytes]) -> Path:
        script = self.work / f"{name}.script"
        if not script.exists():
            docroot.write_script(script, exchanges)
        return script

    def _start(self, stack: contextlib.ExitStack, mode: Mode, row: Row) -> _Contestant | None:
        try:
            if row.is_tls and self.generator.no_tls:
                raise Unavailable(self.generator.no_tls)
            self._kinds.check(row)
            folder = self.docroot_for(mode, row)
            self._progress(f"{mode.name}: starting {row.name}")
            port, tls_port = free_port(), free_port()
            log = self.work / f"{mode.name}-{port}.log"
            cores = place(self.pace.placement, mode.cores).server
            server = Server(self._kinds.command(row, port, folder, tls_port), port, log, row.go_cores, cores)
            stack.callback(server.stop)
            server.wait_until_ready(*_first_exchange(row))
            contestant = _Contestant(self, mode, row, server, tls_port if row.is_tls else port)
            contestant.warm_up()
            if row.idle:
                contestant.hold_idle_connections(stack)
            return contestant
        except Unavailable as reason:
            self._say_once(f"{row.name} left out: {reason}")
        except Failed as failure:
            self._tell_failure(mode, row.name, str(failure))
        return None

    def _say_once(self, sentence: str) -> None:
        if sentence not in self._said:
            self._said.add(sentence)
            self._say(sentence)

    def _tell_failure(self, mode: Mode, name: str, failure: str) -> None:
        self.failures += 1
        self._say(f"{mode.name}: {name} failed: {failure}")

    def _progress(self, text: str) -> None:
        if sys.stderr.isatty():
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


class _Contestant:
    """A server that runs, and its row."""

    def __init__(self, bench: Bench, mode: Mode, row: Row, server: Server, port: int) -> None:
        """`port` is where the load goes."""
        self.name = row.name
        self.measured = Measured(row)
        self.failure = ""
        self._bench = bench
        self._row = row
        self._server = server
        self._port = port
        self._connections = mode.connections
        self._pipeline = mode.pipeline
        self._cores = place(bench.pace.placement, mode.cores).generator
        self._script = self._choose_script(mode)

    def _choose_script(self, mode: Mode) -> Path:
        script_for = self._bench.script_for
        if mode.is_update:
            return script_for("updates", docroot.updates())
        if self._row.server == "floor":
            return script_for("floor", docroot.floor_shows())
        return script_for(f"shows-{self._row.files}", docroot.shows(self._row.files))

    def warm_up(self) -> None:
        """Every key is read, and every path through the code taken often, before anything is measured, or idle
        connections' memory counted, or a slow disk in the way. Raises Failed."""
        self._load(0.0, max(self._bench.pace.seconds, _WARM_UP_SECONDS))

    def hold_idle_connections(self, stack: contextlib.ExitStack) -> None:
        """Raises Failed."""
        before = self._server.memory
        command = [sys.executable, "-m", "bench.idle", str(self._server.port), str(self._row.idle), str(self._script)]
        holder = stack.enter_context(
            subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=settle_on(self._cores),
            )
        )
        stdin, stdout, stderr = holder.stdin, holder.stdout, holder.stderr
        assert stdin is not None
        assert stdout is not None
        assert stderr is not None
        stack.callback(stdin.close)
        if stdout.readline() != "ready\n":
            raise Failed(stderr.read().strip())
        self.measured.idle_bytes = (self._server.memory - before) / self._row.idle

    def run_once(self) -> None:
        if self.failure:
            return
        seconds = self._bench.pace.seconds
        try:
            with self._slow_reads(seconds):
                self.measured.runs.append(self._load(seconds / 5, seconds))
            self.measured.memory = self._server.memory
        except (Failed, OSError, subprocess.TimeoutExpired) as error:
            self.failure = str(error)

    def _load(self, warm_up: float, seconds: float) -> Run:
        load = Load(self._connections, self._pipeline, warm_up, seconds, self._cores, self._row.is_tls)
        return self._bench.generator.run(load, self._port, self._script, self._server.pids)

    @contextlib.contextmanager
    def _slow_reads(self, seconds: float) -> Iterator[None]:
        """Others ask for what is on the slow disk, for longer than we shall measure; then they are ended."""
        if not self._row.is_beside_slow_disk:
            yield
            return
        script = self._bench.script_for("slow", docroot.slow_shows())
        load = Load(_SLOW_CONNECTIONS, 1, 0.0, 3 * seconds + 5, self._cores)
        process = self._bench.generator.start(load, self._server.port, script, [])
        try:
            yield
            if process.poll() is not None:
                raise Failed(f"the slow reads ended early: {(process.stderr and process.stderr.read()) or ''}")
        finally:
            end(process)


def _first_exchange(row: Row) -> tuple[bytes, bytes]:
    exchange = next(iter(docroot.floor_shows() if row.server == "floor" else docroot.shows(row.files)))
    request, _, reply = exchange.partition(b"\n")
    return request + b"\n", reply
