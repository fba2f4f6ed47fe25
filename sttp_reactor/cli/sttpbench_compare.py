"""`sttpbench compare`: two runs side by side, and whether the second is worse."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from sttp_reactor.cli.sttpbench_output import (
    STANDARD_STREAM,
    check_files,
    check_one_standard,
    complain,
    say,
    takes_standard_output,
    write_file,
)
from sttp_reactor.command.arguments import parse, refuse
from sttp_reactor.load.checks import CHECK_FAILED_EXIT
from sttp_reactor.load.comparing import compare as summarise
from sttp_reactor.load.comparing import exceeded, other_settings, parse_tolerance
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.page import render
from sttp_reactor.load.result import Result, from_json

DOC = """Set two runs that sttpbench -o has written side by side.

Usage:
  sttpbench compare [options] A B

A or B may be -, standard input.

Options:
  --tolerance=PERCENT  Exit with 99 if B is worse than A by more than that in requests a second, p50, p90 or p99 of the
                       latencies, or the server's CPU time or memory, or if it has more wrong replies. As in 10%.
  --force              Compare runs that were made with other settings, too.
  --report=FILE        Write an HTML page with the plots of both; to standard output if FILE is -.
  -h, --help           Show this text.

Exit: 0 done, 1 a file is not a run or the settings differ, 2 wrong command line, 99 the tolerance is exceeded.
"""
_COMMAND = "sttpbench compare"
_RUNS = ("A", "B")
_FILES = ("--report",)


def compare(argv: Sequence[str]) -> int:
    options = parse(DOC, ["compare", *argv], command=_COMMAND)
    try:
        tolerance = parse_tolerance(options["--tolerance"]) if options["--tolerance"] is not None else None
        check_files(options, _FILES)
        check_one_standard(options, _RUNS, "standard input")
    except LoadError as error:
        refuse(_COMMAND, str(error))
    aside = takes_standard_output(options, _FILES)
    try:
        first, second = (read_run(options[name]) for name in _RUNS)
        if not options["--force"]:
            _check_settings(first, second)
        say(summarise(first, second), _COMMAND, aside=aside)
        if options["--report"]:
            stems = [Path(options[name]).stem for name in _RUNS]
            names = stems if stems[0] != stems[1] else _RUNS
            write_file("--report", options["--report"], render([first, second], names), _COMMAND)
    except LoadError as error:
        complain(str(error), _COMMAND)
        return 1
    if tolerance is None:
        return 0
    faults = exceeded(first, second, tolerance)
    for fault in faults or [f"no figure of B is worse by more than {tolerance * 100:g}%"]:
        say(fault, _COMMAND, aside=aside)
    return CHECK_FAILED_EXIT if faults else 0


def _check_settings(first: Result, second: Result) -> None:
    different = other_settings(first, second)
    if different:
        listed = ", ".join(f"{name}: {a} / {b}" for name, (a, b) in different.items())
        raise LoadError(f"the runs were made with other settings ({listed}); --force compares them all the same")


def read_run(name: str) -> Result:
    """Raises LoadError where `name`, or standard input where it is `-`, is not a run."""
    shown = "standard input" if name == STANDARD_STREAM else name
    try:
        text = _read_input() if name == STANDARD_STREAM else Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise LoadError(f"cannot read {shown}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise LoadError(f"{shown} is not a run that sttpbench -o has written") from None
    return from_json(text, shown)


def _read_input() -> str:
    if sys.stdin is None:
        raise LoadError("standard input is closed")
    return sys.stdin.buffer.read().decode("utf-8")
