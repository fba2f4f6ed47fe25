"""One process of the load: connect, make the keys, warm up, measure, delete the keys."""

from __future__ import annotations

import contextlib
import gc
import signal
import sys
import time
from multiprocessing.connection import Connection

from sttp_reactor.client.exchange import Socket
from sttp_reactor.load.connect import allow_files, open_connections
from sttp_reactor.load.engine import Engine
from sttp_reactor.load.errands import ErrandSource, Watch
from sttp_reactor.load.exact import Source
from sttp_reactor.load.faults import LoadError, Mistakes, Unreachable
from sttp_reactor.load.keyspace import ERRAND_CONNECTIONS, Keyspace
from sttp_reactor.load.latency import Recorder
from sttp_reactor.load.link import Link
from sttp_reactor.load.measurement import Measurement, make_pacer
from sttp_reactor.load.messages import CLEAN, STOP, Cleaned, Failed, Message, Progress, Ready
from sttp_reactor.load.pacing import Pacer
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.poller import make_poller, sharpen_timers
from sttp_reactor.load.wording import refusals

_CLEANERS = 4
_PAUSE_FOR_ROOM = 0.1  # seconds
_PROGRESS_NS = 200_000_000


class Stopped(Exception):
    """The parent told this process to stop, or has ended."""


class Line:
    """The process's end of the pipe to its parent. If the parent has ended, that counts as STOP and CLEAN: the process
    still deletes its keys, and ends."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self.is_stopped = False
        self._may_clean = False

    def say(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # the parent is gone: there is nobody to tell
            self._channel.send(message)

    def await_start(self) -> int:
        """The start in monotonic ns. Raises Stopped."""
        word = self._hear()
        if self.is_stopped:
            raise Stopped
        return int(word)

    def await_clean(self) -> None:
        """Until every process has measured."""
        while not self._may_clean:
            self._hear()

    def stops(self, engine: Engine) -> None:
        """From now on the parent's STOP stops `engine`."""

        def hear() -> None:
            was_stopped = self.is_stopped
            self._hear()
            if self.is_stopped and not was_stopped:
                engine.stop()

        engine.watch(self._channel.fileno(), hear)

    def _hear(self) -> str:
        try:
            word = str(self._channel.recv())
        except (EOFError, OSError):
            self.is_stopped = self._may_clean = True
            return ""
        self.is_stopped = self.is_stopped or word == STOP
        self._may_clean = self._may_clean or word == CLEAN
        return word


class Worker:
    def __init__(self, plan: Plan, process: int, line: Line) -> None:
        self._plan = plan
        self._process = process
        self._line = line
        self._keyspace = Keyspace(plan, process)
        self._sockets: list[Socket] = []
        self._are_clean = False  # nothing is in flight on the sockets
        self._poller = make_poller()  # before the connections: see EpollPoller

    def run(self) -> None:
        """Says everything to the parent; the last message is always a Cleaned."""
        cleaned = Cleaned(0)
        share = self._share_of_connections()
        try:
            allow_files(share)
            self._connect(min(share, ERRAND_CONNECTIONS))
            try:
                self._prepare()
                # Only now: making many keys takes minutes, and a server closes connections that are idle so long.
                self._connect(share - len(self._sockets))
                self._measure()
            finally:
                cleaned = self._clean()
        except Stopped:
            pass
        except LoadError as error:
            self._line.say(Failed(str(error), isinstance(error, Unreachable)))
        finally:
            self._close()
            self._poller.close()
        self._line.say(cleaned)

    def _connect(self, count: int) -> None:
        if count:
            self._sockets += open_connections(self._plan.target, count, self._plan.timeout)

    def _share_of_connections(self) -> int:
        share, more = divmod(self._plan.connections, self._plan.processes)
        return share + (self._process < more)

    def _prepare(self) -> None:
        mistakes = Mistakes()

        def watch(engine: Engine, source: ErrandSource) -> None:
            self._line.stops(engine)
            self._report_progress("preparing", engine, source)

        fine = self._keyspace.prepare(self._sockets, mistakes, watch)
        if self._line.is_stopped:
            raise Stopped
        if mistakes.refused:
            raise Unreachable(refusals(mistakes.refused, len(self._sockets), mistakes.refusal))
        if not fine:
            raise LoadError(f"the keys could not be made: {mistakes.first or 'no answer'}")
        self._are_clean = True

    def _measure(self) -> None:
        plan, recorder, mistakes = self._plan, Recorder(), Mistakes()
        links = [Link(number, sock) for number, sock in enumerate(self._sockets)]
        source = self._keyspace.source(links, mistakes)
        # Nothing in the loop makes cycles, and a collection would be a pause of everything in flight.
        gc.collect()
        gc.disable()
        lost = self._warm_up(links, source) if plan.warmup else 0
        pacer = make_pacer(plan, self._process, recorder)
        engine = self._make_engine(links, source, pacer)
        self._await_start()
        measurement = Measurement(plan, self._process, engine, pacer, recorder, mistakes, lost, self._line.say)
        self._run(engine)
        gc.enable()
        measurement.finish()
        self._line.await_clean()

    def _warm_up(self, links: list[Link], source: Source) -> int:
        """The same load, unmeasured, until all of it is answered; how many connections were lost. Raises Stopped."""
        pacer = make_pacer(self._plan, self._process, Recorder())
        engine = self._make_engine(links, source, pacer)

        def end(_: int) -> None:
            pacer.finished = True

        self._await_start()
        engine.at(time.monotonic_ns() + int(self._plan.warmup * 1e9), end)
        self._run(engine)
        if self._line.is_stopped:
            raise Stopped
        return engine.lost

    def _make_engine(self, links: list[Link], source: Source, pacer: Pacer) -> Engine:
        plan = self._plan
        return Engine(links, source, pacer, pipeline=plan.pipeline, timeout=plan.timeout, poller=self._poller)

    def _await_start(self) -> None:
        """Returns at the moment that the parent has told to all processes. Raises Stopped."""
        self._line.say(Ready())
        start = self._line.await_start()
        time.sleep(max(start - time.monotonic_ns(), 0) / 1e9)

    def _run(self, engine: Engine) -> None:
        self._line.stops(engine)
        were_clean, self._are_clean = self._are_clean, False
        engine.run()
        self._are_clean = were_clean and not engine.lost and not engine.unanswered

    def _clean(self) -> Cleaned:
        """On fresh connections where answers may still be under way on the old ones. Stopped by force only."""
        try:
            if not self._are_clean:
                self._close()
                self._connect(_CLEANERS)

            def watch(engine: Engine, source: ErrandSource) -> None:
                self._report_progress("cleaning", engine, source)

            return self._delete_keys(watch)
        except LoadError as error:
            return Cleaned(self._keyspace.count, str(error))

    def _delete_keys(self, watch: Watch) -> Cleaned:
        deadline = time.monotonic() + self._plan.timeout
        while True:
            left, mistakes = self._keyspace.clean(self._sockets, watch)
            if not left or not mistakes.refused or time.monotonic() > deadline:
                return Cleaned(left, mistakes.first)
            # A server that is full has not yet seen the connections closed that we gave up for these.
            time.sleep(_PAUSE_FOR_ROOM)
            self._close()
            self._connect(_CLEANERS)

    def _report_progress(self, stage: str, engine: Engine, source: ErrandSource) -> None:
        reported = 0

        def report(now: int) -> None:
            nonlocal reported
            done = len(source.replies)
            self._line.say(Progress(stage, done - reported))
            reported = done
            engine.at(now + _PROGRESS_NS, report)

        engine.at(time.monotonic_ns() + _PROGRESS_NS, report)

    def _close(self) -> None:
        for sock in self._sockets:
            sock.close()
        self._sockets = []


def main(descriptor: int) -> None:
    """A process of the load, at the end `descriptor` of its parent's socket pair."""
    # Ctrl-C reaches the whole group of processes; only the parent acts on it, and tells us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(descriptor) as channel:
        plan, process = channel.recv()
        if plan.rate is not None:
            sharpen_timers()
        Worker(plan, process, Line(channel)).run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
