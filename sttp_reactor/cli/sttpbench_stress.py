"""`sttpbench stress`, which tools/stress.sh calls."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from sttp_reactor.cli.default_server import DefaultServer
from sttp_reactor.cli.sttpbench_output import complain, say
from sttp_reactor.cli.sttpbench_signals import on_interrupt
from sttp_reactor.command.arguments import parse, refuse
from sttp_reactor.errors import LocalError
from sttp_reactor.load.faults import LoadError, Unreachable
from sttp_reactor.load.plan import MAX_CONNECTIONS, MAX_KEYS, parse_count
from sttp_reactor.load.printing import tell
from sttp_reactor.load.stress import Stress
from sttp_reactor.load.target import Target

DOC = """Create N snippets, show all of them with every tenth twice, delete them all; check every reply.

Usage:
  stress.sh [options]

Options:
  -a ADDRESS  The server: a name, an IPv4 or IPv6 address, or the path of a Unix socket. Without: STTPC_ADDRESS or
              127.0.0.1.
  -p PORT     Its port. Without: STTPC_PORT or 8080.
  -i MS       Pause of each connection between a reply and its next request, in milliseconds. [default: 0]
  -c COUNT    Connections, each with one request at a time. [default: 10]
  -n COUNT    Snippets. [default: 1000]
  -h, --help  Show this text.

The snippets are /snippets/snippet_0.txt and so on. What was created is deleted again, after Ctrl-C and errors too.
Exit: 0 done, 1 a wrong reply, 2 wrong command line, 7 cannot connect, 130 interrupted.
"""
_COMMAND = "stress.sh"
_MAX_PAUSE_MS = 3_600_000


def stress(argv: Sequence[str]) -> int:
    run = _make(argv)
    code = 0
    try:
        with on_interrupt(run.interrupt):
            run.run()
    except LoadError as error:
        _clear_progress()
        complain(str(error), _COMMAND)
        code = 7 if isinstance(error, Unreachable) else 1
    _clear_progress()
    refusals = next((phase.refusals for phase in run.phases if phase.refusals), "")
    if refusals and not code:
        complain(refusals, _COMMAND)
    _print_table(run)
    if run.left_over:
        complain(f"{run.left_over} snippets could not be deleted: /snippets/", _COMMAND)
    if run.is_interrupted:
        return 130
    return code or int(any(phase.mistakes.count for phase in run.phases))


def _make(argv: Sequence[str]) -> Stress:
    words = parse(DOC, argv, command=_COMMAND)
    try:
        target = Target(DefaultServer(words["-a"], words["-p"], os.environ).endpoint, "/snippets/")
        pause = words["-i"]
        if not (pause.isascii() and pause.isdigit() and int(pause) <= _MAX_PAUSE_MS):
            raise LoadError(f"-i: expected milliseconds from 0 to {_MAX_PAUSE_MS:,}, got '{pause}'")
        connections = parse_count(words["-c"], "-c", MAX_CONNECTIONS)
        count = parse_count(words["-n"], "-n", MAX_KEYS)
    except (LoadError, LocalError) as error:
        refuse(_COMMAND, str(error))
    return Stress(target, connections, int(pause) / 1000, count, _show_progress)


def _show_progress(phase: str, done: int, total: int, seconds: float) -> None:
    _redraw(f"{phase:8} {done:>9,} of {total:,}  {done / seconds:>9,.0f}/s")


def _clear_progress() -> None:
    _redraw("")


def _redraw(line: str) -> None:
    """Puts `line` in the place of the one before, on a terminal; a log would be full of them."""
    if sys.stderr is not None and sys.stderr.isatty():
        tell(f"\r{line}\033[K", sys.stderr, end="")


def _print_table(run: Stress) -> None:
    heads = " ".join(f"{name:>8}" for name in ("p50 ms", "p90 ms", "p99 ms", "max ms"))
    rows = [f"{'phase':8} {'requests':>9} {'wrong':>6} {'rate/s':>9} {heads}"]
    for phase in run.phases:
        figures = " ".join(f"{each:8.2f}" for each in phase.milliseconds())
        rows.append(f"{phase.name:8} {phase.requests:9,} {phase.mistakes.count:6,} {phase.rate:9,.0f} {figures}")
    if run.phases:
        say("\n".join(rows), _COMMAND)
    for phase in run.phases:
        for sample in phase.mistakes.samples:
            tell(f"{phase.name}: {sample}", sys.stderr)
        if phase.mistakes.count > len(phase.mistakes.samples):
            tell(f"{phase.name}: {phase.mistakes.count:,} wrong in all", sys.stderr)
