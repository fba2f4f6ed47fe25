"""Line plots as SVG text. Colours and fonts come from the page's style sheet, by class names."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 880, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 76, 18, 12, 34

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Axis:
    """`place` maps a value to 0..1 along the axis; `ticks` are values and their labels."""

    place: Callable[[float], float]
    ticks: list[tuple[float, str]]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """`style` is a class of the style sheet; `filled` also colours the area below. Where `points` has a None the line
    is broken. `dots` get a mark and a tooltip."""

    style: str
    points: Sequence[Place | None]
    filled: bool = False
    dots: Sequence[tuple[float, float, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of the x axis with a tooltip."""

    since: float
    until: float
    text: str


def draw(x: Axis, y: Axis, lines: Sequence[Line], bands: Sequence[Band] = (), *, label: str = "") -> str:
    """An <svg>; `label` says in words what it shows."""
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">']
    parts += [_grid_line(y, value, text) for value, text in y.ticks]
    parts += [_x_tick(x, value, text) for value, text in x.ticks]
    parts.append(f'<path class="axis" d="M{_LEFT} {HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>')
    for line in lines:
        parts += _draw_line(x, y, line)
    parts += [_draw_band(x, band) for band in bands]
    for line in lines:
        parts += [_draw_dot(x, y, line.style, *dot) for dot in line.dots]
    parts.append(f'<text class="tick" x="{WIDTH - _RIGHT}" y="{HEIGHT - 4}" text-anchor="end">{escape(x.label)}</text>')
    return "\n".join([*parts, "</svg>"])


def _x(axis: Axis, value: float) -> float:
    return round(_LEFT + min(max(axis.place(value), 0.0), 1.0) * (WIDTH - _LEFT - _RIGHT), 1)


def _y(axis: Axis, value: float) -> float:
    return round(HEIGHT - _BOTTOM - min(max(axis.place(value), 0.0), 1.0) * (HEIGHT - _TOP - _BOTTOM), 1)


def _grid_line(axis: Axis, value: float, text: str) -> str:
    at = _y(axis, value)
    return (
        f'<path class="grid" d="M{_LEFT} {at}H{WIDTH - _RIGHT}"/>'
        f'<text class="tick" x="{_LEFT - 8}" y="{at + 4}" text-anchor="end">{escape(text)}</text>'
    )


def _x_tick(axis: Axis, value: float, text: str) -> str:
    at = _x(axis, value)
    anchor = "end" if at > WIDTH - _RIGHT - 20 and len(text) > 3 else "middle"
    return (
        f'<path class="grid" d="M{at} {_TOP}V{HEIGHT - _BOTTOM}"/>'
        f'<text class="tick" x="{at}" y="{HEIGHT - _BOTTOM + 16}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _draw_line(x: Axis, y: Axis, line: Line) -> list[str]:
    drawn: list[str] = []
    for points in _stretches(line.points):
        path = "M" + "L".join(f"{_x(x, at)} {_y(y, value)}" for at, value in points)
        if line.filled:
            first, last, floor = _x(x, points[0][0]), _x(x, points[-1][0]), HEIGHT - _BOTTOM
            drawn.append(f'<path class="area {line.style}" d="{path}L{last} {floor}L{first} {floor}Z"/>')
        # A lone point is a line to itself: round caps make it a dot.
        lone = f"L{_x(x, points[0][0])} {_y(y, points[0][1])}" if len(points) == 1 else ""
        drawn.append(f'<path class="line {line.style}" d="{path}{lone}"/>')
    return drawn


def _stretches(points: Sequence[Place | None]) -> list[list[Place]]:
    stretches: list[list[Place]] = [[]]
    for point in points:
        if point is None:
            stretches.append([])
        else:
            stretches[-1].append(point)
    return [stretch for stretch in stretches if stretch]


def _draw_dot(x: Axis, y: Axis, style: str, at: float, value: float, text: str) -> str:
    return (
        f'<circle class="dot {style}" cx="{_x(x, at)}" cy="{_y(y, value)}" r="4"><title>{escape(text)}</title></circle>'
    )


def _draw_band(axis: Axis, band: Band) -> str:
    left, right = _x(axis, band.since), _x(axis, band.until)
    return (
        f'<rect class="band" x="{left}" y="{_TOP}" width="{round(max(right - left, 1), 1)}" '
        f'height="{HEIGHT - _TOP - _BOTTOM}"><title>{escape(band.text)}</title></rect>'
    )


def linear(most: float, show: Callable[[float], str], label: str = "", *, steps: int = 5) -> Axis:
    """From 0 to `most`, or a little beyond, so that the last tick is a round number."""
    step = _round_step(most / steps) if most > 0 else 1.0
    end = max(math.ceil(most / step - 1e-9), 1) * step
    ticks = [(step * n, show(step * n)) for n in range(round(end / step) + 1)]
    return Axis(lambda value: value / end, ticks, label)


def time_axis(seconds: float) -> Axis:
    """Exactly as long as the run: an empty stretch at the end would look like a stall."""
    step = _round_step(seconds / 10) if seconds > 0 else 1.0
    ticks = [(step * n, f"{step * n:g}") for n in range(int(seconds / step + 1e-9) + 1)]
    return Axis(lambda value: value / (seconds or 1.0), ticks, "seconds")


def _round_step(rough: float) -> float:
    decade = 10.0 ** math.floor(math.log10(rough))
    return next(step * decade for step in (1, 2, 2.5, 5, 10) if step * decade >= rough - 1e-12)


def logarithmic(values: Iterable[float], show: Callable[[float], str]) -> Axis:
    """From a round number below the values to one above; ticks at 1, 2 and 5 of each decade as far as there is room."""
    known = [max(value, 1.0) for value in values] or [1.0]
    rounds = [factor * 10.0**decade for decade in range(11) for factor in (1, 2, 5)]
    first = max((number for number in rounds if number <= min(known)), default=1.0)
    last = next(number for number in rounds if number >= max(known) and number > first)
    spread = math.log10(last / first)
    kept = (1, 2, 5) if spread < 2.5 else (1, 3) if spread < 4 else (1,)
    ticks = [(n * 10.0**decade, show(n * 10.0**decade)) for decade in range(11) for n in kept]
    ticks = [(value, label) for value, label in ticks if first <= value <= last]
    return Axis(lambda value: math.log10(max(value, 1.0) / first) / spread, ticks)


def percentile_axis(requests: int) -> Axis:
    """Each nine takes the same room: 0 %, 90 %, 99 %, 99.9 %, as far as so many requests can tell."""
    nines = max(math.log10(max(requests, 10)), 1.0)
    ticks = [(0.0, "0 %"), (0.5, "50 %")]
    for count in range(1, int(nines + 1e-9) + 1):
        share = 1 - 10.0**-count
        ticks.append((share, f"{share * 100:.{max(count - 2, 0)}f} %"))

    def place(share: float) -> float:
        return min(-math.log10(max(1 - share, 1e-12)) / nines, 1.0)

    return Axis(place, ticks, "of the requests were answered within")
