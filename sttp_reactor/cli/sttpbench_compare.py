"""`sttpbench compare`: two runs side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sttp_reactor.cli.arguments import parse, refuse
from sttp_reactor.cli.sttpbench_output import complain, say
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.page import render
from sttp_reactor.load.result import Result, from_json
from sttp_reactor.load.summary import compare as summarise

DOC = """Set two runs that sttpbench -o has written side by side.

Usage:
  sttpbench compare [options] A B

Options:
  --report=FILE  Write an HTML page with the plots of both.
  -h, --help     Show this text.
"""
_COMMAND = "sttpbench compare"


def compare(argv: Sequence[str]) -> int:
    options = parse(DOC, ["compare", *argv], command=_COMMAND)
    try:
        check_writable("--report", options["--report"])
    except LoadError as error:
        refuse(_COMMAND, str(error))
    try:
        runs = [read_run(options[name]) for name in ("A", "B")]
        say(summarise(*runs), _COMMAND)
        if options["--report"]:
            stems = [Path(options[name]).stem for name in ("A", "B")]
            _write(options["--report"], render(runs, stems if stems[0] != stems[1] else ["A", "B"]))
    except LoadError as error:
        complain(str(error), _COMMAND)
        return 1
    return 0


def read_run(name: str) -> Result:
    try:
        text = Path(name).read_text(encoding="utf-8")
    except OSError as error:
        raise LoadError(f"cannot read {name}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise LoadError(f"{name} is not a run that sttpbench -o has written") from None
    return from_json(text, name)


def check_writable(option: str, name: str | None) -> None:
    """LoadError where a file could not be written: better before the load than after it."""
    if name is None:
        return
    path = Path(name)
    if path.is_dir():
        raise LoadError(f"{option}: {name} is a directory")
    if not path.parent.is_dir():
        raise LoadError(f"{option}: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise LoadError(f"{option}: {name} may not be written")


def _write(name: str, text: str) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise LoadError(f"--report: cannot write {name}: {error.strerror}") from error
