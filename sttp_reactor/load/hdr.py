"""Percentiles by way of HdrHistogram, where the extra `bench` is installed, and its own file formats."""

from __future__ import annotations

import importlib
import io
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sttp_reactor.load import latency
from sttp_reactor.load.faults import MissingExtra

_HIGHEST = 3_600_000_000  # us: an hour
_DIGITS = 3


def is_installed() -> bool:
    return _load() is not None


def _load() -> Any:
    try:
        return importlib.import_module("hdrh.histogram").HdrHistogram
    except ImportError:
        return None


def make(counts: Mapping[int, int], feature: str = "an HDR histogram") -> Any:
    """An `HdrHistogram` of microseconds. Raises MissingExtra."""
    histogram_class = _load()
    if histogram_class is None:
        raise MissingExtra(feature, "hdrhistogram")
    histogram = histogram_class(1, _HIGHEST, _DIGITS)
    for value, count in counts.items():
        histogram.record_value(min(value, _HIGHEST), count)
    return histogram


def percentiles(counts: Mapping[int, int], wanted: Sequence[float]) -> list[int]:
    """As `latency.percentiles`, which answers (exactly) where hdrhistogram is missing. The histogram's values are the
    upper ends of its buckets, at most one in a thousand above; the maximum is never rounded."""
    if not counts or not is_installed():
        return latency.percentiles(counts, wanted)
    # The library takes the nearest rank, also one too low; a percentile is what at least so many did not exceed.
    total, most = sum(counts.values()), max(counts)
    ranks = [min(max(math.ceil(percent / 100 * total - 1e-9), 1), total) / total * 100 for percent in wanted]
    found = make(counts).get_percentile_to_value_dict(ranks)
    return [min(int(found[rank]), most) for rank in ranks]


def percentile_file(counts: Mapping[int, int]) -> str:
    """The text of an .hgrm file in milliseconds, which HdrHistogram's plotters read. Raises MissingExtra."""
    histogram = make(counts, "--hgrm")
    out = io.BytesIO()
    histogram.output_percentile_distribution(out, 1000.0)
    # The library scales every value but this one.
    deviation = f"StdDeviation   = {histogram.get_stddev() / 1000:12.{_DIGITS}f}"
    return re.sub(r"StdDeviation   = +[\d.]+", deviation, out.getvalue().decode())
