"""Where the time of a live process goes: stacks of all its threads, taken again and again, and three forms to read.

A sampler needs nothing of what it looks at: no tracing, no wrapper, no restart. It costs one look at every thread, 97
times a second; a prime number, so that it does not march in step with what happens every 10 ms.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

HERTZ: Final = 97
# Deeper ones are cut at the root's side: such a depth is a recursion.
MOST_FRAMES: Final = 200

# Innermost calls of each thread: further out it is the same every time.
_MOST_CALLS: Final = 12
# From the root, which is the thread's name, to the innermost call.
Stack = tuple[str, ...]
Stacks = Counter[Stack]


def sample(seconds: float, is_over: Callable[[], bool] = lambda: False, hertz: int = HERTZ) -> Stacks:
    """Stacks of all threads but the one that calls, and how often each was met. Takes `seconds`, or until
    `is_over()`."""
    stacks: Stacks = Counter()
    own = threading.get_ident()
    end = time.monotonic() + seconds
    due = time.monotonic()
    while (now := time.monotonic()) < end and not is_over():
        # One that comes too late, because others held the interpreter, is not made up for: it would see them again.
        due = max(due + 1 / hertz, now)
        time.sleep(max(0.0, due - now))
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        for ident, frame in sys._current_frames().items():
            if ident != own:
                stacks[(names.get(ident) or "a thread", *_frames(frame))] += 1
    return stacks


def _frames(innermost: FrameType) -> list[str]:
    frame: FrameType | None = innermost
    found: list[str] = []
    while frame is not None and len(found) < MOST_FRAMES:
        found.append(f"{frame.f_globals.get('__name__', '?')}:{frame.f_code.co_qualname}")
        frame = frame.f_back
    return found[::-1]


def as_collapsed(stacks: Stacks) -> str:
    """One line for each stack and its count, as flamegraph.pl and others read them."""
    lines = (f"{';'.join(name.replace(';', ',') for name in stack)} {count}\n" for stack, count in stacks.items())
    return "".join(sorted(lines))


def as_speedscope(stacks: Stacks, hertz: int = HERTZ) -> str:
    """For https://www.speedscope.app, which reads a file without sending it anywhere."""
    names = sorted({name for stack in stacks for name in stack})
    index = {name: number for number, name in enumerate(names)}
    ordered = sorted(stacks.items())
    return json.dumps(
        {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "shared": {"frames": [{"name": name} for name in names]},
            "profiles": [
                {
                    "type": "sampled",
                    "name": "all threads",
                    "unit": "seconds",
                    "startValue": 0,
                    "endValue": sum(stacks.values()) / hertz,
                    "samples": [[index[name] for name in stack] for stack, _ in ordered],
                    "weights": [count / hertz for _, count in ordered],
                }
            ],
        }
    )


def stacks() -> Iterator[str]:
    """What every thread of this process does, the innermost call last; once for those that do the same."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    alike: defaultdict[str, list[str]] = defaultdict(list)
    for ident, frame in sys._current_frames().items():
        alike["".join(traceback.format_stack(frame)[-_MOST_CALLS:])].append(str(names.get(ident, ident)))
    for stack, threads in sorted(alike.items(), key=lambda item: item[1]):
        yield f"{'thread' if len(threads) == 1 else 'threads'} {', '.join(sorted(threads))} of process {os.getpid()}:"
        yield from (f"  {line}" for line in stack.rstrip("\n").split("\n"))
