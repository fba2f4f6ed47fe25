"""`sttpbench stress`, which tools/stress.sh calls."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TextIO

from sttp_reactor.cli.arguments import parse, print_out, refuse
from sttp_reactor.cli.sttpbench_signals import on_interrupt
from sttp_reactor.client import Endpoint, parse_host, parse_port
from sttp_reactor.errors import LocalError
from sttp_reactor.load.faults import LoadError, Unreachable
from sttp_reactor.load.plan import MAX_CONNECTIONS, MAX_KEYS, parse_count
from sttp_reactor.load.stress import Stress
from sttp_reactor.load.target import Target

DOC = """Create N snippets, show all of them with every tenth twice, delete them all; check every reply.

Usage:
  stress.sh [options]

Options:
  -a ADDRESS  The server: a name, an IPv4 or IPv6 address, or the path of a Unix socket. [default: localhost]
  -p PORT     Its port. [default: 8080]
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
        print(f"{_COMMAND}: {error}", file=sys.stderr)
        code = 7 if isinstance(error, Unreachable) else 1
    _clear_progress()
    _print_table(run)
    if run.left_over:
        print(f"{_COMMAND}: {run.left_over} snippets could not be deleted: /snippets/", file=sys.stderr)
    if run.is_interrupted:
        return 130
    return code or int(any(phase.mistakes.count for phase in run.phases))


def _make(argv: Sequence[str]) -> Stress:
    words = parse(DOC, argv, command=_COMMAND)
    try:
        target = Target(Endpoint(parse_host(words["-a"]), parse_port(words["-p"])), "/snippets/")
        pause = words["-i"]
        if not (pause.isascii() and pause.isdigit() and int(pause) <= _MAX_PAUSE_MS):
            raise LoadError(f"-i: expected milliseconds from 0 to {_MAX_PAUSE_MS:,}, got '{pause}'")
        connections = parse_count(words["-c"], "-c", MAX_CONNECTIONS)
        count = parse_count(words["-n"], "-n", MAX_KEYS)
    except (LoadError, LocalError) as error:
        refuse(_COMMAND, str(error))
    return Stress(target, connections, int(pause) / 1000, count, _show_progress)


def _show_progress(phase: str, done: int, total: int, seconds: float, out: TextIO = sys.stderr) -> None:
    if out.isatty():
        print(f"\r{phase:8} {done:>9,} of {total:,}  {done / seconds:>9,.0f}/s\033[K", end="", file=out, flush=True)


def _clear_progress(out: TextIO = sys.stderr) -> None:
    if out.isatty():
        print("\r\033[K", end="", file=out, flush=True)


def _print_table(run: Stress) -> None:
    heads = " ".join(f"{name:>8}" for name in ("p50 ms", "p90 ms", "p99 ms", "max ms"))
    rows = [f"{'phase':8} {'requests':>9} {'wrong':>6} {'rate/s':>9} {heads}"]
    for phase in run.phases:
        figures = " ".join(f"{each:8.2f}" for each in phase.milliseconds())
        rows.append(f"{phase.name:8} {phase.requests:9,} {phase.mistakes.count:6,} {phase.rate:9,.0f} {figures}")
    if run.phases:
        print_out("\n".join(rows), command=_COMMAND)
    for phase in run.phases:
        for sample in phase.mistakes.samples:
            print(f"{phase.name}: {sample}", file=sys.stderr)
        if phase.mistakes.count > len(phase.mistakes.samples):
            print(f"{phase.name}: {phase.mistakes.count:,} wrong in all", file=sys.stderr)
