"""What the figures were measured on."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import shutil
import subprocess
import time
from pathlib import Path

from sttp_reactor import __version__

_LOOK_SECONDS = 0.3
_BUSY = 0.05  # of all cores: more than a quiet system does beside a benchmark


def describe(work: Path, generator: str, servers: set[str]) -> list[str]:
    """Sentences; `servers` are those that were measured."""
    cores = len(os.sched_getaffinity(0))
    return [
        f"{datetime.date.today():%d %B %Y}, {_processor()}, {cores} {'core' if cores == 1 else 'cores'}, "
        f"{platform.system()} {platform.release()}, files on {_file_system(work)}.",
        f"{'; '.join(_versions(servers))}. Load by {generator}.",
    ]


def busy_share() -> float:
    """How much of all cores' time is taken right now, from 0 to 1; 0 where that cannot be known."""
    busy, total = _cpu_jiffies()
    time.sleep(_LOOK_SECONDS)
    busy_then, total_then = _cpu_jiffies()
    return (busy_then - busy) / (total_then - total) if total_then > total else 0.0


def warnings(share: float) -> list[str]:
    """None where the machine was quiet before we began."""
    if share < _BUSY:
        return []
    return [f"The machine was {share:.0%} busy with something else at the start: ratios may be off, rates more so."]


def _cpu_jiffies() -> tuple[int, int]:
    """(busy, total) since the start of the system."""
    try:
        with open("/proc/stat", encoding="ascii") as stat:
            user, nice, system, idle, iowait, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    except OSError:
        return 0, 0
    busy = user + nice + system + irq + softirq + steal
    return busy, busy + idle + iowait


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as cpuinfo:
            return next(line.partition(":")[2].strip() for line in cpuinfo if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def _file_system(folder: Path) -> str:
    """The type of the mount that holds `folder`: a durable write is worth nothing on a tmpfs."""
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines()]
    except OSError:
        return "an unknown file system"
    path = f"{folder.resolve()}/"
    holding = [(len(mount[1]), mount[2]) for mount in mounts if path.startswith(mount[1].rstrip("/") + "/")]
    return max(holding, default=(0, "an unknown file system"))[1]


def _versions(servers: set[str]) -> list[str]:
    found = [f"sttpd {__version__}", f"{platform.python_implementation()} {platform.python_version()}"]
    if "uvloop" in servers:
        found.append(f"uvloop {importlib.metadata.version('uvloop')}")
    if "go" in servers:
        found.append(f"Go {_first_line('go', 'env', 'GOVERSION').removeprefix('go')}")
    if "floor" in servers:
        found.append(f"gcc {_first_line('cc', '-dumpfullversion')}")
    return found


def _first_line(tool: str, *arguments: str) -> str:
    path = shutil.which(tool)
    if path is None:
        return "unknown"
    said = subprocess.run([path, *arguments], capture_output=True, text=True, timeout=10)
    return said.stdout.strip().partition("\n")[0]
