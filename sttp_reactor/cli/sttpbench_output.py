"""Where sttpbench's words and files go. A file named `-` is standard output."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sttp_reactor.command.arguments import print_out
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.printing import fitting, tell
from sttp_reactor.printable import printable

STANDARD_STREAM = "-"


def say(text: str, command: str, *, aside: bool = False) -> None:
    """Prints `text` on standard output, or, where that is taken by a file (`aside`), on standard error. See `print_out`
    for a standard output that cannot be written. Whoever has closed it wants no figures: the exit code is enough."""
    if aside:
        tell(text, sys.stderr)
    elif sys.stdout is not None:
        print_out(fitting(text, sys.stdout), command=command)


def complain(sentence: str, command: str) -> None:
    """Prints one sentence on standard error, if that is open."""
    tell(f"{command}: {printable(sentence)}", sys.stderr)


def check_files(options: Mapping[str, Any], names: Sequence[str]) -> None:
    """LoadError where one of the files that the options `names` give could not be written: this is better known before
    a load than after it."""
    for name in names:
        if options[name] is not None:
            _check_writable(name, options[name])
    check_one_standard(options, names, "standard output")


def check_one_standard(options: Mapping[str, Any], names: Sequence[str], stream: str) -> None:
    """LoadError where more than one of the options `names` is `-`, which stands for `stream`."""
    standard = [name for name in names if options[name] == STANDARD_STREAM]
    if len(standard) > 1:
        raise LoadError(f"only one of {' and '.join(standard)} can be {stream}")


def takes_standard_output(options: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(options[name] == STANDARD_STREAM for name in names)


def _check_writable(option: str, name: str) -> None:
    if name == STANDARD_STREAM:
        if sys.stdout is None:
            raise LoadError(f"{option}: standard output is closed")
        return
    path = Path(name)
    if path.is_dir():
        raise LoadError(f"{option}: {name} is a directory")
    if not path.parent.is_dir():
        raise LoadError(f"{option}: there is no directory {path.parent}")
    if not os.access(path if path.exists() else path.parent, os.W_OK):
        raise LoadError(f"{option}: {name} may not be written")


def write_file(option: str, name: str, text: str, command: str) -> None:
    """Writes `text` as UTF-8, whatever the terminal's encoding is. Raises LoadError; exits with 1 where standard output
    cannot be written, as `print_out` does."""
    if name == STANDARD_STREAM:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        print_out(text.removesuffix("\n"), command=command)
        return
    try:
        Path(name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise LoadError(f"{option}: cannot write {name}: {error.strerror}") from error
