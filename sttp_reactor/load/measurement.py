"""The moments of one process's measurement, as alarms of its engine: end of the warm-up, ticks, the end."""

from __future__ import annotations

import time
from collections.abc import Callable

from sttp_reactor.load.engine import Engine
from sttp_reactor.load.faults import Mistakes
from sttp_reactor.load.latency import Recorder
from sttp_reactor.load.messages import Done, Message, Tick
from sttp_reactor.load.pacing import ClosedPacer, Pacer, SchedulePacer
from sttp_reactor.load.plan import Plan

# After the end of a schedule: seconds for what was due before it and could not be sent. A server that was stopped for a
# second catches up within that; one that is too slow for the rate never will.
GRACE = 2.0


def make_pacer(plan: Plan, process: int, recorder: Recorder) -> ClosedPacer | SchedulePacer:
    if plan.rate is None:
        return ClosedPacer(recorder, plan.pipeline)
    # The processes take turns: together they keep one even schedule.
    period = 1e9 * plan.processes / plan.rate
    return SchedulePacer(recorder, plan.pipeline, period, period * process / plan.processes)


class Measurement:
    """Sets its alarms when made; `start` is when the engine will run, in monotonic ns. `finish` once it has."""

    def __init__(
        self,
        plan: Plan,
        process: int,
        engine: Engine,
        pacer: Pacer,
        recorder: Recorder,
        mistakes: Mistakes,
        start: int,
        say: Callable[[Message], None],
    ) -> None:
        self._plan = plan
        self._process = process
        self._engine = engine
        self._pacer = pacer
        self._recorder = recorder
        self._mistakes = mistakes
        self._say = say
        self._has_begun = False
        self._begun = self._since = start + int(plan.warmup * 1e9)
        self._ended = self._gave_up = 0
        self._cpu = time.process_time()
        engine.at(self._begun, self._begin)

    def _begin(self, now: int) -> None:
        plan = self._plan
        self._has_begun = True
        self._begun = self._since = now
        self._cpu = time.process_time()
        self._recorder.take()
        if plan.requests is not None:
            share, more = divmod(plan.requests, plan.processes)
            self._pacer.limit(share + (self._process < more))
        if plan.seconds is not None:
            self._engine.at(now + int(plan.seconds * 1e9), self._end)
        self._set_tick(now)

    def _set_tick(self, now: int) -> None:
        """At the next multiple of the interval: ticks that drifted would not add up with those of other processes."""
        interval = int(self._plan.interval() * 1e9)
        self._engine.at(self._begun + ((now - self._begun) // interval + 1) * interval, self._tick)

    def _tick(self, now: int) -> None:
        self._report(now)
        self._set_tick(now)

    def _end(self, now: int) -> None:
        self._ended = now
        if isinstance(self._pacer, SchedulePacer):
            self._pacer.end_schedule(now)
            self._engine.at(now + int(GRACE * 1e9), self._give_up)
        else:
            self._pacer.finished = True

    def _give_up(self, now: int) -> None:
        # Those left behind are counted in `finish`: there may be a million, and replies are still coming.
        self._gave_up = now
        self._pacer.finished = True

    def _report(self, now: int) -> None:
        response, service, lag = (dict(tally) for tally in self._recorder.take())
        since, until = (self._since - self._begun) / 1e9, (now - self._begun) / 1e9
        self._since = now
        self._say(Tick(self._process, since, until, response, service, lag, self._mistakes.count))

    def finish(self) -> None:
        """Reports the rest, and that it is over."""
        cpu = time.process_time() - self._cpu
        last = max(self._engine.last_reply, self._ended, self._since)
        if self._has_begun:
            if isinstance(self._pacer, SchedulePacer):
                self._pacer.give_up(self._gave_up or time.monotonic_ns())
            self._report(last)
        mistakes = self._mistakes
        seconds = max(last - self._begun, 0) / 1e9
        self._say(Done(cpu, seconds, mistakes.count, mistakes.samples, self._engine.lost))
