"""The published load script's job: create N snippets, show all of them with every tenth twice, delete them all."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sttp_reactor.load import outcomes as out
from sttp_reactor.load.connect import open_connections
from sttp_reactor.load.engine import Engine
from sttp_reactor.load.errands import deletion, run_errands
from sttp_reactor.load.exact import Agenda, ExactSource
from sttp_reactor.load.faults import LoadError, Mistakes, Unreachable
from sttp_reactor.load.latency import Counts, Recorder, percentiles, split, together
from sttp_reactor.load.link import Link
from sttp_reactor.load.pacing import ClosedPacer, PausingPacer
from sttp_reactor.load.target import Target
from sttp_reactor.load.wording import refusals

CACHE_TEST_FREQUENCY = 10  # of so many snippets one is shown twice in a row, as the published script does
_TIMEOUT = 10.0  # seconds without a reply, or for all connections to be made
_PROGRESS_NS = 100_000_000
_CLEANERS = 4  # connections for deleting what an interrupted run leaves

Progress = Callable[[str, int, int, float], None]  # phase, requests answered, of how many, seconds so far


@dataclass(frozen=True, slots=True)
class Phase:
    """One phase that ran, on so many `connections`. `counts` are latencies in us; `seconds` last from the first request
    to the last reply."""

    name: str
    counts: Counts
    seconds: float
    mistakes: Mistakes
    connections: int

    @property
    def refusals(self) -> str:
        """That the server was full; "" where it was not."""
        refused = self.mistakes.refused
        return refusals(refused, self.connections, self.mistakes.refusal) if refused else ""

    @property
    def requests(self) -> int:
        return sum(self.counts.values())

    @property
    def rate(self) -> float:
        return self.requests / self.seconds if self.seconds else 0.0

    def milliseconds(self) -> list[float]:
        """p50, p90, p99 and the maximum."""
        return [value / 1000 for value in percentiles(self.counts, (50, 90, 99, 100))]


class Stress:
    """`phases`, `is_interrupted` and `left_over` (snippets created and not deleted again) tell what `run` did."""

    def __init__(self, target: Target, connections: int, pause: float, count: int, progress: Progress) -> None:
        self.phases: list[Phase] = []
        self.is_interrupted = False
        self._target = target
        self._connections = connections
        self._pause_ns = int(pause * 1e9)
        self._count = count
        self._progress = progress
        self._engine: Engine | None = None
        self._there: set[int] = set()  # the snippets that we created, or may have

    @property
    def left_over(self) -> int:
        return len(self._there)

    def interrupt(self) -> None:
        """For a signal handler: ends what is under way. `run` then deletes what was created; a second call ends that,
        too."""
        self.is_interrupted = True
        if self._engine:
            self._engine.stop()

    def run(self) -> None:
        """Raises Unreachable or LoadError, after deleting what was created if that was possible."""
        try:
            self._create()
            self._show()
            self._delete()
        finally:
            if self._there:
                self._clean_up()

    def _create(self) -> None:
        pairs = {_request("CREATE", n, _text(n)): n for n in range(self._count)}
        agenda = Agenda([(request, b"100 %s CREATED\n" % _path(n)) for request, n in pairs.items()])
        source = self._source(agenda, out.CREATE_100)
        try:
            self._run_phase("create", agenda, source)
        finally:
            # One that was sent and not answered may exist; one that was refused belongs to somebody else.
            self._there = {pairs[request] for request in agenda.sent() - source.refused}

    def _show(self) -> None:
        numbers = [n for n in sorted(self._there) for _ in range(1 if n % CACHE_TEST_FREQUENCY else 2)]
        agenda = Agenda([(_request("SHOW", n), b"200 %s OK\n%s\n" % (_path(n), _text(n))) for n in numbers])
        self._run_phase("show", agenda, self._source(agenda, out.SHOW_200))

    def _delete(self) -> None:
        pairs = {_request("DELETE", n): n for n in sorted(self._there)}
        agenda = Agenda([(request, b"600 %s DELETED\n" % _path(n)) for request, n in pairs.items()])
        source = self._source(agenda, out.DELETE_600)
        try:
            self._run_phase("delete", agenda, source)
        finally:
            unanswered = {request for request, _ in self._engine.unanswered} if self._engine else set()
            self._there -= {pairs[request] for request in agenda.sent() - source.refused - unanswered}

    def _source(self, agenda: Agenda, outcome: int) -> ExactSource:
        return ExactSource(agenda.take, outcome, Mistakes())

    def _run_phase(self, name: str, agenda: Agenda, source: ExactSource) -> None:
        self._engine = None
        if self.is_interrupted or not len(agenda):
            return
        sockets = open_connections(self._target, min(self._connections, len(agenda)), _TIMEOUT)
        links = [Link(number, sock) for number, sock in enumerate(sockets)]
        recorder = Recorder()
        pacer = PausingPacer(recorder, self._pause_ns) if self._pause_ns else ClosedPacer(recorder, 1)
        engine = self._engine = Engine(links, source, pacer, timeout=_TIMEOUT)

        def show_progress(now: int) -> None:
            self._progress(name, sum(recorder.response.values()), len(agenda), (now - engine.started) / 1e9)
            engine.at(now + _PROGRESS_NS, show_progress)

        engine.at(time.monotonic_ns() + _PROGRESS_NS, show_progress)
        try:
            engine.run()
        finally:
            for link in links:
                link.close()
        seconds = (engine.last_reply - engine.started) / 1e9
        counts = together(split(recorder.response).values())
        self.phases.append(Phase(name, counts, seconds, source.mistakes, len(links)))
        if source.mistakes.refused == len(links):
            raise Unreachable(self.phases[-1].refusals)
        if engine.lost == len(links):
            raise LoadError(f"every connection was lost: {source.mistakes.first}")

    def _clean_up(self) -> None:
        paths = {deletion(_path(n)): n for n in sorted(self._there)}

        def watch(engine: Engine, _: object) -> None:
            self._engine = engine

        sockets = open_connections(self._target, min(_CLEANERS, len(paths)), _TIMEOUT)
        try:
            replies, _ = run_errands(sockets, paths, Mistakes(), _TIMEOUT, watch)
        finally:
            for sock in sockets:
                sock.close()
        self._there -= {n for (request, _), n in paths.items() if request in replies}


def _path(number: int) -> bytes:
    return b"/snippets/snippet_%d.txt" % number


def _text(number: int) -> bytes:
    return b"This is pre-defined snippet number %d" % (number + 1)


def _request(action: str, number: int, text: bytes = b"") -> bytes:
    return b"%s %s%s\n" % (action.encode(), _path(number), b" " + text if text else b"")
