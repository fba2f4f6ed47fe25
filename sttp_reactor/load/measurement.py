"""One process's measurement: its count of requests, and its moments (ticks, the end) as alarms of its engine."""

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
    """Limits the pacer and sets the engine's alarms when it is made, right before the engine runs; `finish` is called
    when the engine has run. `lost` counts connections that were lost before, in the warm-up.

    Nothing may be in flight on the connections: replies to requests of the warm-up would be counted, and `-n` would not
    be exact.
    """

    def __init__(
        self,
        plan: Plan,
        process: int,
        engine: Engine,
        pacer: Pacer,
        recorder: Recorder,
        mistakes: Mistakes,
        lost: int,
        say: Callable[[Message], None],
    ) -> None:
        self._plan = plan
        self._process = process
        self._engine = engine
        self._pacer = pacer
        self._recorder = recorder
        self._mistakes = mistakes
        self._say = say
        self._lost = lost
        self._ended = self._gave_up = 0
        self._begun = self._since = time.monotonic_ns()
        self._cpu = time.process_time()
        if plan.requests is not None:
            share, more = divmod(plan.requests, plan.processes)
            pacer.limit(share + (process < more))
        if plan.seconds is not None:
            engine.at(self._begun + int(plan.seconds * 1e9), self._end)
        self._set_tick(self._begun)

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
        if isinstance(self._pacer, SchedulePacer):
            self._pacer.give_up(self._gave_up or time.monotonic_ns())
        self._report(last)
        mistakes = self._mistakes
        seconds = max(last - self._begun, 0) / 1e9
        lost = self._lost + self._engine.lost
        self._say(Done(cpu, seconds, mistakes.count, mistakes.samples, lost, mistakes.refused, mistakes.refusal))
