"""What a server costs, read from /proc: CPU time and memory of a process and of all its descendants."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from sttp_reactor.load.faults import LoadError

_TICK = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """`cpu` holds each process's user and system seconds so far, by its id; `rss` is the resident bytes of all."""

    cpu: dict[int, float] = field(default_factory=dict)
    rss: int = 0

    def seconds_since(self, earlier: Usage) -> dict[int, float]:
        """CPU seconds by process. One that has ended meanwhile is left out, one that began since counts in full."""
        return {pid: max(cpu - earlier.cpu.get(pid, 0.0), 0.0) for pid, cpu in self.cpu.items()}


def check_pid(text: str) -> int:
    """LoadError where there is no such process, or no /proc to read."""
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise LoadError(f"--server-pid: expected a process id, got '{text}'")
    if not os.path.exists("/proc/self/stat"):
        raise LoadError("--server-pid: this system has no /proc to read a process's costs from")
    if not measure(int(text)).cpu:
        raise LoadError(f"--server-pid: there is no process {text}")
    return int(text)


def measure(pid: int) -> Usage:
    """The costs so far of `pid` and its descendants; nothing at all where it has ended."""
    cpu: dict[int, float] = {}
    rss = 0
    for each in [pid, *_descendants(pid)]:
        try:
            with open(f"/proc/{each}/stat", "rb") as stat:
                fields = stat.read().rsplit(b")", 1)[1].split()
        except OSError:
            continue
        cpu[each] = (int(fields[11]) + int(fields[12])) * _TICK
        rss += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return Usage(cpu, rss)


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", "rb") as children:
                for child in children.read().split():
                    found += [int(child), *_descendants(int(child))]
    except OSError:
        pass
    return found
