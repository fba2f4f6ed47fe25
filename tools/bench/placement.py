"""Which cores the servers run on, and which the load generator.

Left to itself the scheduler moves the two together and apart as it likes, and what a request costs depends on it: on
one core the server sleeps until the generator has asked for all its connections and then answers them in one turn; on
two, it is woken for each few, and each wake-up of the other core is on its account. Measured for one server within one
minute, 50 connections: 1.5 or 3.9 us a request for the floor, 2.9 or 5.6 for sttpd. Held apart, as clients on another
machine are, or together, repetitions agree within a few per cent.
"""

from __future__ import annotations

import os
from collections.abc import Set
from dataclasses import dataclass

APART, TOGETHER, FREE = "apart", "together", "free"


@dataclass(frozen=True)
class Placement:
    server: Set[int]
    generator: Set[int]


def place(kind: str, needed: int) -> Placement:
    """For servers that want `needed` cores. Where apart would leave them with fewer, they are free."""
    cores = sorted(os.sched_getaffinity(0))
    if kind == TOGETHER and needed == 1:
        return Placement({cores[0]}, {cores[0]})
    if kind == APART and len(cores) > needed:
        return Placement(set(cores[:-1]), {cores[-1]})
    return Placement(set(cores), set(cores))
