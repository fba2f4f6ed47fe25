"""Which of several representations a client would rather have (RFC 9110, section 12.5.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_RANGE: Final = re.compile(r"\s*([\w!#$&^.+*-]+)/([\w!#$&^.+*-]+)\s*((?:;[^,]*)?)", re.ASCII)
_QUALITY: Final = re.compile(r";\s*q=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|\Z)", re.ASCII | re.IGNORECASE)
# More than anybody means.
_MOST_RANGES: Final = 32


def preferred(accept: str | None, offers: Sequence[str]) -> str:
    """The one of `offers` (types without parameters) that `accept` likes best; the first of those it likes as well,
    or where it likes none: an answer of another type says more than 406."""
    if not accept:
        return offers[0]
    ranges = [_parsed(part) for part in accept.split(",")[:_MOST_RANGES]]
    qualities = [_quality(offer, [each for each in ranges if each is not None]) for offer in offers]
    return offers[qualities.index(max(qualities))]


def _parsed(part: str) -> tuple[str, str, float] | None:
    match = _RANGE.fullmatch(part)
    if match is None:
        return None
    quality = _QUALITY.search(match[3])
    return match[1].lower(), match[2].lower(), float(quality[1]) if quality else 1.0


def _quality(offer: str, ranges: Sequence[tuple[str, str, float]]) -> float:
    """Of the most specific range that fits."""
    kind, _, subtype = offer.partition("/")
    best = (0, 0.0)
    for range_kind, range_subtype, quality in ranges:
        if range_kind in (kind, "*") and range_subtype in (subtype, "*"):
            rank = 1 + (range_kind != "*") + (range_subtype != "*")
            best = max(best, (rank, quality), key=lambda each: each[0])
    return best[1]
