"""The command line of tools/bench.sh."""

from __future__ import annotations

import contextlib
import os
import resource
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from bench import machine, table
from bench.generator import Generator
from bench.modes import SERVERS, Mode, make_modes
from bench.placement import APART, FREE, TOGETHER
from bench.run import Bench, Measured, Pace
from bench.servers import ROOT, Kinds, Unavailable
from sttp_reactor.command.arguments import parse, refuse

DOC = """Measure sttpd beside its peers on this machine.

Usage:
  bench.sh [options] [--set=KEY=VAL]... [MODE]...

Modes; without one, all of them, in about three minutes:
  cached     SHOWs from the cache, 50 connections
  pipelined  the same, 16 requests in flight on each connection
  thousand   SHOWs from the cache, 1,000 connections
  uncached   SHOWs that read their files
  update     UPDATEs that survive a power cut
  idle       cached SHOWs beside 10,000 idle connections, and what each of those takes
  stored     SHOWs, cached and not, with 50,000 files in the docroot instead of 1,000
  slow-disk  cached SHOWs while other clients wait for a disk that takes 200 ms a read
  processes  one process beside two, SHOWs cached and not, pipelined
  tls        SHOWs from the cache, plain and by TLS; tls-pipelined with 16 requests in flight

Options:
  --servers=LIST     Which to run, of sttpd, go, uvloop, asyncio, streams, threads, floor.
                     [default: sttpd,go,uvloop,asyncio,streams,threads,floor]
  --seconds=S        Length of one measurement. [default: 0.4]
  --rounds=N         Measurements of each server; medians are shown. [default: 5]
  --files=N          Files of mode stored. [default: 50000]
  --large            The same as --files=1000000. Takes 4 GB of disk and some minutes.
  --sttpd=COMMAND    What starts sttpd; by default the checkout's own.
  --set=KEY=VAL      A further setting for sttpd.
  --placement=KIND   apart: the load generator has the last core to itself, the servers the others. together: all on one
                     core. free: as the scheduler likes; figures then jump. [default: apart]
  --generator=KIND   c, python or auto: loadgen.c where there is a C compiler. [default: auto]
  --work-dir=DIR     Where the files are made, in a folder of their own. By default the system's temporary folder.
  --rst              Print reStructuredText.
  -h, --help         Show this text.

CPU is the server's own time for a request, user and system, all its processes: the figure to go by, best as a ratio to
a peer in the same table. Rates also depend on the load generator, which shares the machine; "load" is how much of a
core it took. What cannot be run here is left out, and the reason told.
Exit: 0 done, 1 a server or the load failed, 2 wrong command line, 130 interrupted.
"""
_COMMAND = "bench.sh"
_LARGE = 1_000_000
_PLACEMENTS = {
    APART: "the load generator on a core of its own",
    TOGETHER: "servers and load generator on one core",
    FREE: "servers and load generator wherever the scheduler put them",
}


def main() -> int:
    options = parse(DOC, sys.argv[1:], command=_COMMAND)
    modes = make_modes(_LARGE if options["--large"] else _whole(options, "--files", 1000))
    chosen = [_mode(modes, name) for name in options["MODE"]] or list(modes.values())
    only = _servers(options)
    pace = Pace(_seconds(options), _whole(options, "--rounds", 1), _placement(options))
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    signal.signal(signal.SIGTERM, _interrupt)
    _raise_file_limit()
    try:
        with _work_folder(options) as work:
            return _measure(options, work, chosen, only, pace)
    except KeyboardInterrupt:
        return 130


def _measure(options: dict[str, Any], work: Path, modes: list[Mode], only: list[str], pace: Pace) -> int:
    busy = machine.busy_share()
    sttpd = options["--sttpd"] or shlex.quote(str(ROOT / ".venv" / "bin" / "sttpd"))
    try:
        generator = Generator(work, options["--generator"])
    except Unavailable as reason:
        _say(f"no load generator: {reason}")
        return 1
    bench = Bench(work, Kinds(work, sttpd, _settings(options)), generator, pace, _say)
    measured: list[Measured] = []
    for mode in modes:
        found = bench.measure(mode, only)
        measured += found
        if found:
            _print(mode, found, [*table.targets(mode, found), *table.remarks(mode, found, pace)], options["--rst"])
    if not measured:
        _say("nothing could be measured here")
        return 1
    about = machine.describe(work, generator.description, {each.row.server for each in measured})
    about.append(f"Medians of {pace.rounds} x {pace.seconds:g} s; {_PLACEMENTS[pace.placement]}.")
    print("\n".join([*about, *machine.warnings(busy)]), flush=True)
    return 1 if bench.failures else 0


def _print(mode: Mode, measured: list[Measured], sentences: list[str], is_rst: bool) -> None:
    bullets = [f"- {sentence}" for sentence in sentences]
    title = f"**{mode.title}**" if is_rst else mode.title
    parts = [title, "", table.render(mode, measured), "", *bullets, *([""] if bullets else [])]
    print("\n".join(parts), flush=True)


def _mode(modes: dict[str, Mode], name: str) -> Mode:
    if name not in modes:
        refuse(_COMMAND, f"there is no mode '{name}'; the modes are {', '.join(modes)}")
    return modes[name]


def _servers(options: dict[str, Any]) -> list[str]:
    names: list[str] = options["--servers"].split(",")
    for name in names:
        if name not in SERVERS:
            refuse(_COMMAND, f"--servers: there is no '{name}'; the servers are {', '.join(SERVERS)}")
    return names


def _placement(options: dict[str, Any]) -> str:
    kind: str = options["--placement"]
    if kind not in (APART, TOGETHER, FREE):
        refuse(_COMMAND, f"--placement: expected {APART}, {TOGETHER} or {FREE}, got '{kind}'")
    return kind


def _seconds(options: dict[str, Any]) -> float:
    with contextlib.suppress(ValueError):
        seconds = float(options["--seconds"])
        if 0.05 <= seconds <= 60:
            return seconds
    refuse(_COMMAND, f"--seconds: expected a number from 0.05 to 60, got '{options['--seconds']}'")


def _whole(options: dict[str, Any], name: str, least: int) -> int:
    text = options[name]
    if not (text.isascii() and text.isdigit() and least <= int(text) <= 10 * _LARGE):
        refuse(_COMMAND, f"{name}: expected a whole number, at least {least}, got '{text}'")
    return int(text)


def _settings(options: dict[str, Any]) -> dict[str, object]:
    return dict(setting.partition("=")[::2] for setting in options["--set"])


@contextlib.contextmanager
def _work_folder(options: dict[str, Any]) -> Iterator[Path]:
    parent = options["--work-dir"]
    try:
        folder = tempfile.TemporaryDirectory(prefix="sttp-bench-", dir=parent)
    except OSError as error:
        refuse(_COMMAND, f"--work-dir: {parent}: {error.strerror}")
    with folder as name:
        yield Path(name)


def _raise_file_limit() -> None:
    """The servers inherit it; and idle connections are many."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends us as Ctrl-C does: the servers are stopped and the files removed."""
    raise KeyboardInterrupt


def _say(sentence: str) -> None:
    fresh_line = "\r\x1b[K" if sys.stderr.isatty() else ""  # over the line of progress
    print(f"{fresh_line}{_COMMAND}: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if not os.path.exists("/proc/self/stat"):
        sys.exit(f"{_COMMAND}: this needs Linux, whose /proc tells what a process costs")
    sys.exit(main())
