"""What a server takes, looked up in /proc, and whether that stays flat."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from soak.server import Soaked

# A connection that is closed may linger for two seconds; what changes no more for longer than that has settled.
_SETTLED_SECONDS = 2.5
_SETTLING_SECONDS = 20.0
_LOOK_SECONDS = 0.1

# How much more the last quarter of a run may take than the third, by their medians: the heap breathes, and a leak of a
# hundred bytes a connection or a request would show as more than that within minutes.
GROWTH_BYTES = 2_000_000
GROWTH_SHARE = 0.05
# Fewer samples in a quarter say nothing of growth.
_LEAST_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Sample:
    """Of all processes together; `memory` is resident bytes, a page that several share divided among them."""

    descriptors: int
    threads: int
    memory: int

    @property
    def is_like(self) -> tuple[int, int]:
        return self.descriptors, self.threads


def look(server: Soaked) -> Sample:
    """Raises OSError where a process has just ended."""
    pids = server.pids
    descriptors = sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in pids)
    threads = sum(len(os.listdir(f"/proc/{pid}/task")) for pid in pids)
    return Sample(descriptors, threads, server.memory)


def look_when_settled(server: Soaked, expected: Sample | None = None) -> Sample:
    """Once descriptors and threads are what is expected; or, where nothing is, change no more."""
    give_up = time.monotonic() + _SETTLING_SECONDS
    sample, since = look(server), time.monotonic()
    while time.monotonic() < give_up:
        if expected is not None and sample.is_like == expected.is_like:
            break
        if expected is None and time.monotonic() - since > _SETTLED_SECONDS:
            break
        time.sleep(_LOOK_SECONDS)
        newer = look(server)
        if newer.is_like != sample.is_like:
            since = time.monotonic()
        sample = newer
    return sample


def leaks(before: Sample, after: Sample) -> list[str]:
    """What has not come back, in words."""
    found = []
    for name, was, is_now in (
        ("descriptors", before.descriptors, after.descriptors),
        ("threads", before.threads, after.threads),
    ):
        if was != is_now:
            found.append(f"{name}: {was} before and {is_now} after, with no connection open")
    return found


def growth(memory: Sequence[int]) -> tuple[int, int] | None:
    """By how much the last quarter is above the third, and how much it may be. None for a run too short to tell."""
    quarter = len(memory) // 4
    if quarter < _LEAST_SAMPLES:
        return None
    third, last = (statistics.median(part) for part in (memory[2 * quarter : 3 * quarter], memory[3 * quarter :]))
    return int(last - third), int(max(GROWTH_BYTES, GROWTH_SHARE * third))
