"""Adds up what the processes report, and keeps the time series."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import replace
from datetime import datetime
from typing import Any

from sttp_reactor import __version__
from sttp_reactor.load import hdr
from sttp_reactor.load.faults import SAMPLES
from sttp_reactor.load.latency import Counts, add, percentiles, split, together
from sttp_reactor.load.messages import Done, Tick
from sttp_reactor.load.outcomes import UNSENT
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.procfs import Usage, measure
from sttp_reactor.load.result import Generator, Point, Result, ServerCosts
from sttp_reactor.load.verdict import remarks

# Steps behind the newest that may still get ticks: a process that was held up reports late.
_OPEN_STEPS = 4


class _Step:
    """One step of the series. The latencies themselves are kept only while ticks for it may come."""

    def __init__(self, since: float) -> None:
        self.since = self.until = since
        self.reporters: set[int] = set()
        self.requests = 0
        self._counts: Counts = {}
        self._figures: tuple[int, int, int] | None = None

    def add(self, tick: Tick) -> None:
        # What was never sent has waited, but was not answered in this step or in any other.
        counts = together(each for outcome, each in split(tick.response).items() if outcome != UNSENT)
        add(self._counts, counts)
        self.requests += sum(counts.values())
        self.since, self.until = min(self.since, tick.since), max(self.until, tick.until)
        self.reporters.add(tick.process)
        self._figures = None

    def figures(self) -> tuple[int, int, int]:
        """p50, p99 and the maximum, in us."""
        if self._figures is None:
            p50, p99, most = percentiles(self._counts, (50, 99, 100))
            self._figures = p50, p99, most
        return self._figures

    def close(self) -> None:
        self.figures()
        self._counts = {}


class Gathering:
    """Filled by the parent while the load runs; readable at any moment."""

    def __init__(self, plan: Plan, server_pid: int | None = None) -> None:
        self.plan = plan
        self._pid = server_pid
        self._started = ""
        self._begun = 0
        self._response: dict[int, int] = {}
        self._service: dict[int, int] = {}
        self._lag: Counts = {}
        self._steps: dict[int, _Step] = {}
        self._dones: list[Done] = []
        self._wrong: dict[int, int] = {}
        self._samples: list[tuple[float, Usage]] = []
        self._next_sample = 0

    @property
    def wrong(self) -> int:
        return sum(self._wrong.values())

    @property
    def seconds(self) -> float:
        """Since the measurement began; 0 or less before."""
        return (time.monotonic_ns() - self._begun) / 1e9 if self._begun else 0.0

    def begin(self, moment: int) -> None:
        """`moment`: when the measurement begins, in monotonic ns."""
        self._started = datetime.now().astimezone().isoformat(timespec="seconds")
        self._begun = self._next_sample = moment

    def until_sample(self) -> float:
        """Seconds until `sample` has something to do."""
        if self._pid is None or not self._begun:
            return 3600.0
        return max(self._next_sample - time.monotonic_ns(), 0) / 1e9

    def sample(self) -> None:
        """Looks at the server, if it is time."""
        if self._pid is None or not self._begun or self.is_complete or self.until_sample():
            return
        self._take_sample()
        self._next_sample += int(self.plan.interval() * 1e9)

    def _take_sample(self) -> None:
        if self._pid is not None:
            usage = measure(self._pid)
            if usage.cpu:
                self._samples.append((self.seconds, usage))

    def add(self, tick: Tick) -> None:
        add(self._response, tick.response)
        add(self._service, tick.service)
        add(self._lag, tick.lag)
        self._wrong[tick.process] = tick.wrong
        number = max(round(tick.until / self.plan.interval()), 1, *(n - _OPEN_STEPS for n in self._steps))
        step = self._steps.setdefault(number, _Step(tick.since))
        step.add(tick)
        closing = self._steps.get(number - _OPEN_STEPS)
        if closing:
            closing.close()

    def finish(self, done: Done) -> None:
        self._dones.append(done)
        if self.is_complete:
            self._take_sample()

    @property
    def is_complete(self) -> bool:
        return len(self._dones) == self.plan.processes

    def latest(self) -> Point | None:
        """The last step that every process has reported."""
        whole = [n for n, step in self._steps.items() if len(step.reporters) == self.plan.processes]
        return self._point(max(whole)) if whole else None

    def series(self) -> list[Point]:
        return [self._point(number) for number in sorted(self._steps)]

    def _point(self, number: int) -> Point:
        step = self._steps[number]
        since, until = step.since, step.until
        p50, p99, most = step.figures()
        busy, rss = self._server_between(since, until)
        return Point(since=since, until=until, requests=step.requests, p50=p50, p99=p99, most=most, busy=busy, rss=rss)

    def _server_between(self, since: float, until: float) -> tuple[float | None, int | None]:
        """(cores in use, resident bytes) by the two samples around that time."""
        for (earlier, before), (later, after) in zip(self._samples, self._samples[1:], strict=False):
            if earlier <= (since + until) / 2 <= later and later > earlier:
                return sum(after.seconds_since(before).values()) / (later - earlier), after.rss
        return None, None

    def result(self, *, interrupted: bool) -> Result:
        dones = self._dones
        # A run that was cut off without a last word lasted as long as its last step.
        seconds = max([0.0, *(done.seconds for done in dones)]) or max([0.0, *(s.until for s in self._steps.values())])
        result = Result(
            settings=describe(self.plan),
            started=self._started,
            machine=_machine(),
            seconds=seconds,
            response=split(self._response),
            service=split(self._service),
            series=self.series(),
            wrong=sum(done.wrong for done in dones),
            samples=[sample for done in dones for sample in done.samples][:SAMPLES],
            lost=sum(done.lost for done in dones),
            generator=Generator(
                processes=self.plan.processes,
                cpu=sum(done.cpu for done in dones),
                busiest=max((done.cpu / done.seconds for done in dones if done.seconds), default=0.0),
                lag=percentiles(self._lag, (99,))[0] if self.plan.rate else None,
            ),
            server=self._server(),
            interrupted=interrupted,
            refused=sum(done.refused for done in dones),
            refusal=next((done.refusal for done in dones if done.refused), ""),
        )
        return replace(result, remarks=remarks(result))

    def _server(self) -> ServerCosts | None:
        if self._pid is None or len(self._samples) < 2:
            return None
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        spent = last.seconds_since(first)
        return ServerCosts(
            pid=self._pid,
            processes=len(last.cpu),
            cpu=sum(spent.values()),
            busiest=max(spent.values()) / max(ended - began, 1e-9),
            rss=max(usage.rss for _, usage in self._samples),
        )


def describe(plan: Plan) -> dict[str, Any]:
    """The plan in the words of the command line."""
    low, high = plan.sizes
    return {
        "target": str(plan.target),
        "connections": plan.connections,
        "pipeline": plan.pipeline,
        "processes": plan.processes,
        "seconds": plan.seconds,
        "requests": plan.requests,
        "warm-up": plan.warmup,
        "rate": plan.rate,
        "mix": ",".join(f"{action.lower()}={weight:g}" for action, weight in plan.mix),
        "keys": plan.keys,
        "distribution": str(plan.distribution),
        "size": f"{low}-{high}" if low != high else str(low),
        "seed": plan.seed,
    }


def _machine() -> dict[str, str]:
    return {
        "sttpbench": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": str(os.cpu_count()),
        "percentiles": "hdrhistogram" if hdr.is_installed() else "exact",
    }
