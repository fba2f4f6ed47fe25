"""Figures as people read them."""

from __future__ import annotations

NONE = "\u2013"  # a dash where there is no figure


def duration(microseconds: float) -> str:
    """Three figures and the unit that fits: `713 µs`, `1.23 ms`, `1.50 s`."""
    if microseconds < 999.5:
        return f"{microseconds:.3g} µs"
    if microseconds < 999_500:
        return f"{_three(microseconds / 1000)} ms"
    return f"{_three(microseconds / 1e6)} s"


def _three(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"


def tick(microseconds: float) -> str:
    """A round duration without needless zeros, for an axis."""
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:g} {unit}"
    return f"{microseconds:g} µs"


def memory(size: float) -> str:
    return f"{size / 1e6:,.1f} MB"


def seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def refusals(refused: int, connections: int, reason: str) -> str:
    """That a server had no room for so many of the connections; `reason` is in its words."""
    return f'the server is full: it refused {refused:,} of {plural(connections, "connection")} ("{reason}")'


def plural(count: int, word: str) -> str:
    if count == 1:
        return f"1 {word}"
    return f"{count:,} {word}{'es' if word.endswith('s') else 's'}"
