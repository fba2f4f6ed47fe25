"""Figures as a table. What is aligned for a terminal is a simple table of reStructuredText as well."""

from __future__ import annotations

from collections.abc import Sequence

from bench.modes import CPU, MEMORY, P99, RATE, Mode, Target
from bench.placement import APART, place
from bench.run import Measured, Pace

_NONE = "-"
_FIGURE_NAMES = {CPU: "CPU", RATE: "rate", P99: "p99", MEMORY: "memory of an idle connection"}
_GENERATOR_BUSY = 0.9  # of a core, which is all it can use: then the rate may be the generator's own


def render(mode: Mode, measured: Sequence[Measured]) -> str:
    """The table, without its title."""
    has_idle = any(each.idle_bytes is not None for each in measured)
    ratios = [ratio for ratio in mode.ratios if any(_base(each, ratio[1], measured) for each in measured)]
    head = ["server", "CPU µs", *(_ratio_head(*ratio) for ratio in ratios)]
    head += ["requests/s", "p50 µs", "p99 µs", "MB", *(["bytes/idle"] if has_idle else []), "load"]
    return simple_table(head, [_cells(each, ratios, measured, has_idle) for each in measured])


def targets(mode: Mode, measured: Sequence[Measured]) -> list[str]:
    """A sentence for each target that these rows can be held to."""
    sentences = []
    for target in mode.targets:
        value = _value_for(target, measured)
        if value is not None:
            sentences.append(_sentence(target, value))
    return sentences


def remarks(mode: Mode, measured: Sequence[Measured], pace: Pace) -> list[str]:
    """What a reader should know before trusting a rate."""
    sentences = []
    placement = place(pace.placement, mode.cores)
    if pace.placement == APART and placement.server & placement.generator:
        cores = len(placement.server)
        sentences.append(f"Servers and load generator share {cores} cores here, which are too few to hold them apart.")
    busy = [each.row.name for each in measured if each.generator_share > _GENERATOR_BUSY]
    if busy:
        sentences.append(f"The load generator had its core full with {', '.join(busy)}: the rate is its own.")
    return sentences


def simple_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """The first column to the left, the others to the right; no cell of the first is empty."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    lines = ["  ".join(_aligned(cells, widths)).rstrip() for cells in (head, *rows)]
    return "\n".join([rule, lines[0], rule, *lines[1:], rule])


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if number else cell.ljust(width)
        for number, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]


def _ratio_head(figure: str, base: str) -> str:
    prefix = "" if figure == CPU and base else f"{_FIGURE_NAMES[figure]} "
    return f"{prefix}x {base or 'base'}"


def _cells(
    each: Measured, ratios: Sequence[tuple[str, str]], measured: Sequence[Measured], has_idle: bool
) -> list[str]:
    cells = [each.row.name, f"{each.figure(CPU):.2f}"]
    cells += [_ratio(each, figure, base, measured) for figure, base in ratios]
    cells += [f"{each.figure(RATE):,.0f}", f"{each.p50:,.0f}", f"{each.figure(P99):,.0f}", f"{each.memory / 1e6:.1f}"]
    if has_idle:
        cells.append(_NONE if each.idle_bytes is None else f"{each.idle_bytes:,.0f}")
    return [*cells, f"{each.generator_share:.0%}"]


def _ratio(each: Measured, figure: str, base: str, measured: Sequence[Measured]) -> str:
    other = _base(each, base, measured)
    return _NONE if other is None else f"{each.figure(figure) / other.figure(figure):.2f}"


def _base(each: Measured, base: str, measured: Sequence[Measured]) -> Measured | None:
    return _find(base or each.row.against, measured)


def _find(name: str, measured: Sequence[Measured]) -> Measured | None:
    return next((each for each in measured if each.row.name == name), None)


def _value_for(target: Target, measured: Sequence[Measured]) -> float | None:
    row = _find(target.row, measured)
    base = _find(target.base, measured)
    if row is None or (target.base and base is None):
        return None
    return row.figure(target.figure) / (base.figure(target.figure) if base else 1.0)


def _sentence(target: Target, value: float) -> str:
    shown = round(value, 2)  # what nobody can see in the figure is no miss either
    is_met = shown >= target.bound if target.is_least else shown <= target.bound
    limit = "at least" if target.is_least else "at most"
    unit = f" x {target.base}" if target.base else " bytes"
    form = ".2f" if target.base else ",.0f"
    return (
        f"{target.row}: {_FIGURE_NAMES[target.figure]} {value:{form}}{unit}, "
        f"target {limit} {target.bound:{',g'}}: {'met' if is_met else 'MISSED'}"
    )
