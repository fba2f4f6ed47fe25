"""The plots of the report, as sections of its page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape

from sttp_reactor.load import plot
from sttp_reactor.load.hdr import percentiles
from sttp_reactor.load.latency import Counts
from sttp_reactor.load.result import PERCENTS, Point, Result, is_telling
from sttp_reactor.load.wording import duration, memory, tick

COLOURS = ("first", "second")  # classes of the style sheet, for one run and another
_CURVE_POINTS = 400  # of a percentile curve: more than its width in pixels can show


def draw_all(runs: Sequence[Result], names: Sequence[str]) -> Iterator[str]:
    """`names` are those of two runs, and empty for one."""
    legend = [(colour, name) for colour, name in zip(COLOURS, names, strict=False)]
    yield from _card("Requests a second", legend, _throughput(runs, names))
    if names:
        yield from _card("Latency over time, 99th percentile", legend, _latency_over_time(runs, names))
    else:
        levels = [("third", "longest"), ("second", "99 % within"), ("first", "median")]
        yield from _card("Latency over time", levels, _latency_over_time(runs, names))
    yield from _card("Latency by percentile", _distribution_legend(runs, names), _distribution(runs, names))
    if any(point.busy is not None for run in runs for point in run.series):
        yield from _card("Server: processor cores in use", legend, _server_load(runs, names))


def _distribution_legend(runs: Sequence[Result], names: Sequence[str]) -> list[tuple[str, str]]:
    if not names:
        both = [("first", "response time, from when it was due"), ("second", "service time, from when it was sent")]
        return both if runs[0].service else []
    legend = list(zip(COLOURS, names, strict=True))
    for run, colour, name in zip(runs, COLOURS, names, strict=True):
        if run.service:
            legend.append((f"{colour} faint", f"{name}, service time"))
    return legend


def _card(heading: str, legend: Sequence[tuple[str, str]], drawing: str) -> Iterator[str]:
    yield f"<section><h2>{escape(heading)}</h2>"
    if legend:
        items = "".join(f'<li><span class="key {style}"></span>{escape(text)}</li>' for style, text in legend)
        yield f"<ul class=legend>{items}</ul>"
    yield f"<div class=scroll>{drawing}</div></section>"


def _throughput(runs: Sequence[Result], names: Sequence[str]) -> str:
    most = max((point.rate for run in runs for point in run.series), default=1.0)
    lines = [
        plot.Line(colour, [(_middle(point), point.rate) for point in run.series], filled=not names)
        for run, colour in zip(runs, COLOURS, strict=False)
    ]
    axis = plot.linear(most, lambda value: f"{value:,.10g}")
    bands = _bands(runs, names, lambda point: f"{point.rate:,.0f}/s")
    return plot.draw(_time(runs), axis, lines, bands, label="Requests a second over time")


def _latency_over_time(runs: Sequence[Result], names: Sequence[str]) -> str:
    def line(style: str, run: Result, value: Callable[[Point], float]) -> plot.Line:
        # A step without replies has no latency: the line is broken there, which is what a stall looks like.
        return plot.Line(style, [(_middle(each), value(each)) if each.requests else None for each in run.series])

    if names:
        lines = [line(colour, run, lambda point: point.p99) for run, colour in zip(runs, COLOURS, strict=True)]
    else:
        lines = [
            line("third", runs[0], lambda point: point.most),
            line("second", runs[0], lambda point: point.p99),
            line("first", runs[0], lambda point: point.p50),
        ]
    bands = _bands(runs, names, _say_latency)
    return plot.draw(_time(runs), _latency_axis(lines), lines, bands, label="Latency over time, logarithmic")


def _say_latency(point: Point) -> str:
    if not point.requests:
        return "no replies"
    return f"median {duration(point.p50)}, 99 % within {duration(point.p99)}, longest {duration(point.most)}"


def _latency_axis(lines: Sequence[plot.Line]) -> plot.Axis:
    return plot.logarithmic((point[1] for line in lines for point in line.points if point), tick)


def _server_load(runs: Sequence[Result], names: Sequence[str]) -> str:
    lines = [
        plot.Line(colour, [None if each.busy is None else (_middle(each), each.busy) for each in run.series])
        for run, colour in zip(runs, COLOURS, strict=False)
    ]
    most = max(point.busy or 0.0 for run in runs for point in run.series)
    bands = _bands(runs, names, lambda point: f"{point.busy or 0:.2f} cores, {memory(point.rss or 0)}")
    axis = plot.linear(max(most, 1.0), lambda value: f"{value:.3g}", steps=4)
    return plot.draw(_time(runs), axis, lines, bands, label="Processor cores that the server uses, over time")


def _distribution(runs: Sequence[Result], names: Sequence[str]) -> str:
    lines: list[plot.Line] = []
    for number, run in enumerate(runs):
        name = f"{names[number]}: " if names else ""
        if run.service:
            style = f"{COLOURS[number]} faint" if names else "second"
            lines.append(_curve(style, run.counts(service=True), name + "service time, "))
        lines.append(_curve(COLOURS[number], run.counts(), name))
    requests = max((run.requests for run in runs), default=10)
    axis = plot.percentile_axis(requests)
    return plot.draw(axis, _latency_axis(lines), lines, label="Latency by percentile, both axes logarithmic")


def _curve(style: str, counts: Counts, name: str) -> plot.Line:
    """A stair: from the share of requests that were faster than a value to the share that were at most as slow."""
    total = sum(counts.values())
    axis = plot.percentile_axis(total)
    points: list[plot.Place | None] = []
    seen, drawn_at = 0, -1.0
    for value, count in sorted(counts.items()):
        share = seen / total
        seen += count
        if axis.place(share) - drawn_at >= 1 / _CURVE_POINTS or seen == total:
            points.append((share, value))
            drawn_at = axis.place(share)
    if total:
        points.append((1.0, max(counts)))
    shares = [percent for percent in PERCENTS if is_telling(percent, total)] if total else []
    dots = [
        (
            percent / 100,
            float(value),
            f"{name}{f'{percent:g} % within' if percent < 100 else 'longest'} {duration(value)}",
        )
        for percent, value in zip(shares, percentiles(counts, shares), strict=True)
    ]
    return plot.Line(style, points, dots=dots)


def _time(runs: Sequence[Result]) -> plot.Axis:
    return plot.time_axis(max((point.until for run in runs for point in run.series), default=1.0))


def _middle(point: Point) -> float:
    return (point.since + point.until) / 2


def _bands(runs: Sequence[Result], names: Sequence[str], say: Callable[[Point], str]) -> list[plot.Band]:
    longest: Sequence[Point] = max((run.series for run in runs), key=len)
    bands = []
    for index, point in enumerate(longest):
        texts = [f"{point.since:.1f} to {point.until:.1f} s"]
        for number, run in enumerate(runs):
            if index < len(run.series):
                texts.append((f"{names[number]}: " if names else "") + say(run.series[index]))
        bands.append(plot.Band(point.since, point.until, "\n".join(texts)))
    return bands
