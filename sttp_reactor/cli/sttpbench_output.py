"""Where sttpbench's words and files go."""

from __future__ import annotations

import sys

from sttp_reactor.cli.arguments import print_out
from sttp_reactor.load.printing import fitting, tell
from sttp_reactor.printable import printable


def say(text: str, command: str) -> None:
    """Prints `text` on standard output; see `print_out` for what cannot be written."""
    print_out(fitting(text, sys.stdout), command=command)


def complain(sentence: str, command: str) -> None:
    """Prints one sentence on standard error, if that is open."""
    tell(f"{command}: {printable(sentence)}", sys.stderr)
