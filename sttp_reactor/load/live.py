"""A run while it goes on: lines for a log or a plain terminal, or, with rich, a panel that redraws itself."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from sttp_reactor.load.gathering import Gathering, describe
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.printing import can_show, tell
from sttp_reactor.load.result import Point
from sttp_reactor.load.summary import title, workload
from sttp_reactor.load.wording import duration, memory, seconds

_LINE_EVERY = 1.0  # seconds
_DRAW_EVERY = 0.25
_BARS = "▁▂▃▄▅▆▇█"
_SPARKS = 40  # steps of the series that a sparkline shows


class Silence:
    """The view of a run with -q, which shows nothing."""

    def stage(self, name: str, done: int, total: int) -> None: ...

    def tick(self, gathering: Gathering) -> None: ...

    def close(self) -> None: ...


class Lines:
    """At most one line a second on `out`."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._next = 0.0
        self._stage = ""

    def stage(self, name: str, done: int, total: int) -> None:
        """A stage before or after the measurement; `total` is 0 where nothing is counted."""
        if name != self._stage or (total and self._is_time()):
            self._stage = name
            tell(name + (f": {done:,} of {total:,} keys" if total else ""), self._out)

    def tick(self, gathering: Gathering) -> None:
        point = gathering.latest()
        if point and self._is_time():
            wrong = f"  {gathering.wrong:,} WRONG" if gathering.wrong else ""
            latency = f"p50 {duration(point.p50):>8}  p99 {duration(point.p99):>8}"
            tell(f"{seconds(point.until):>8}  {point.rate:>9,.0f}/s  {latency}{wrong}", self._out)

    def close(self) -> None:
        """Nothing to put away."""

    def _is_time(self) -> bool:
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + _LINE_EVERY
        return True


class Panel:
    """The same figures in a panel that rich draws on standard error, and removes when the view is closed. The parent
    draws it, not a process of the load: drawing takes CPU time, which would show in the latencies."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._next = 0.0
        console = _rich("console").Console(stderr=True)
        self._live = _rich("live").Live(console=console, auto_refresh=False, transient=True)
        self._live.start()

    def stage(self, name: str, done: int, total: int) -> None:
        rows = [("", name, _bar(done, total) if total else "")]
        self._draw(rows, always=not total or done >= total)

    def tick(self, gathering: Gathering) -> None:
        points = gathering.series()
        if points:
            self._draw(self._rows(points, gathering.wrong))

    def close(self) -> None:
        self._live.stop()

    def _rows(self, points: Sequence[Point], wrong: int) -> list[tuple[str, Any, Any]]:
        last, done = points[-1], sum(point.requests for point in points)
        rows = [
            ("rate", f"{last.rate:,.0f}/s", sparkline(points, lambda point: point.rate)),
            ("p50", duration(last.p50), sparkline(points, lambda point: point.p50)),
            ("p99", duration(last.p99), sparkline(points, lambda point: point.p99)),
        ]
        if last.busy is not None and last.rss is not None:
            rows.append(("server", f"{last.busy:.0%} of a core", memory(last.rss)))
        rows.append(("wrong", f"[bold red]{wrong:,}[/]" if wrong else "0", ""))
        if self._plan.seconds is not None:
            passed = (seconds(last.until), _bar(last.until, self._plan.seconds))
        else:
            passed = (f"{done:,}", _bar(done, self._plan.requests or done))
        return [("", *passed), *rows]

    def _draw(self, rows: Sequence[tuple[str, Any, Any]], *, always: bool = False) -> None:
        if time.monotonic() < self._next and not always:
            return
        self._next = time.monotonic() + _DRAW_EVERY
        settings = describe(self._plan)
        grid = _rich("table").Table.grid(padding=(0, 2))
        grid.add_column(style="dim", min_width=6)
        grid.add_column(justify="right", min_width=14)
        grid.add_column(style="cyan")
        for row in rows:
            grid.add_row(*row)
        box = _rich("box").ROUNDED
        content = _rich("console").Group(_rich("text").Text(workload(settings), style="dim"), grid)
        self._live.update(_rich("panel").Panel(content, title=title(settings), box=box, expand=False), refresh=True)


def make_view(plan: Plan, out: TextIO | None, err: TextIO | None) -> Lines | Panel:
    """A panel where both streams are a terminal, which can show it, and rich is installed; lines on `err` otherwise. A
    stream that was closed before the start is None."""
    if out is not None and err is not None and out.isatty() and err.isatty() and can_show(_BARS, err):
        try:
            return Panel(plan)
        except ImportError:
            pass
    return Lines(err)


def sparkline(points: Sequence[Point], value: Callable[[Point], float]) -> str:
    """The last steps as bars from 0 to the largest of them."""
    values = [value(point) for point in points[-_SPARKS:]]
    most = max(values, default=0) or 1
    return "".join(_BARS[min(int(each / most * len(_BARS)), len(_BARS) - 1)] for each in values)


def _bar(done: float, total: float) -> Any:
    return _rich("progress_bar").ProgressBar(total=total, completed=min(done, total), width=_SPARKS)


def _rich(module: str) -> Any:
    return importlib.import_module(f"rich.{module}")
