"""The command line of every command: docopt parses it, and what docopt refuses is explained in one sentence.

`parse` walks the words once before docopt sees them. That walk finds what is wrong with an option, and writes the
options out in full, so that docopt is handed plain words only: no abbreviations, no negative numbers, no `--`.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Final, NoReturn

from docopt import DocoptExit, docopt

from sttp_reactor import __version__
from sttp_reactor.command.explain import explain
from sttp_reactor.command.help import help_text
from sttp_reactor.command.streams import hold_standard_descriptors
from sttp_reactor.command.usage import Usage, read_usage
from sttp_reactor.command.walk import Walk, WrongUse
from sttp_reactor.printable import printable

_NO_SYNONYMS: Final[Mapping[str, str]] = {}
COMMAND_LINE_EXIT = 2


def parse(
    doc: str,
    argv: Sequence[str],
    *,
    command: str,
    synonyms: Mapping[str, str] = _NO_SYNONYMS,
    texts: Container[str] = (),
    on_wrong: Callable[[str], NoReturn] | None = None,
) -> dict[str, Any]:
    """Parse `argv` (without the program's name) as the docopt text `doc` says; return docopt's dictionary.

    Does not return where the command line settles the matter: `-h`/`--help` prints `doc`, or what of it is about the
    command that is named, and `--version` prints `command` and the version to standard output, if `doc` has these
    options, and exit with 0; a wrong command line prints one sentence to standard error and exits with 2 (all by
    `SystemExit`), or is given to `on_wrong`. `synonyms` are what else people call the commands of `doc`.

    What follows `--` is an argument whatever it looks like, and `doc` need not mention it. The arguments that `texts`
    names are UTF-8, whatever the locale takes them for: paths and texts of STTP are, where names of files are not.

    Every command calls this before anything else, so it sees to the standard descriptors, too.
    """
    hold_standard_descriptors()
    usage = read_usage(doc)
    walk = Walk(usage.options)
    try:
        parsed = _parse(doc, usage, walk, argv, command, synonyms)
        return {name: _as_utf8(value) if name in texts else value for name, value in parsed.items()}
    except WrongUse as wrong:
        # A user who is lost asks for help and gets it, whatever else is wrong with the line.
        if mentions(argv, "-h", "--help"):
            _finish(help_text(doc, usage, walk.words))
        if on_wrong is not None:
            on_wrong(str(wrong))
        refuse(command, str(wrong))


def mentions(argv: Sequence[str], short: str, long: str) -> bool:
    """Whether an option is there, as far as that can be told of a line that is wrong."""
    for word in argv[: list(argv).index("--")] if "--" in argv else argv:
        if word.startswith("--"):
            if len(word) > 2 and long.startswith(word):
                return True
        elif word[:1] == "-" and word[1:].isalpha() and short[1] in word:
            return True
    return False


def refuse(command: str, sentence: str) -> NoReturn:
    """Print `sentence` as the mistake in the command line and exit with 2.

    For what docopt cannot know: a value out of range, two options that contradict each other.
    """
    end = "" if sentence.endswith(("?", ".")) else "."
    print(f"{command}: {printable(sentence)}{end} Try '{command} --help'.", file=sys.stderr)
    raise SystemExit(COMMAND_LINE_EXIT)


def print_out(text: str, *, command: str | None = None) -> None:
    """Print `text` and a line end to standard output; quiet where the reader has gone (`| head`).

    Where it cannot be written for another reason, such as a full disk, says so in the name of `command` (None: the name
    the program was called by) and exits with 1.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, "it is closed")
        print(text, flush=True)
    except OSError as error:
        # The interpreter flushes once more at its end; that must not fail again, and noisily.
        if sys.stdout is not None:
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            name = command or os.path.basename(sys.argv[0])
            print(f"{name}: cannot write to standard output: {error.strerror}", file=sys.stderr)
            raise SystemExit(1) from None


def _parse(
    doc: str, usage: Usage, walk: Walk, argv: Sequence[str], command: str, synonyms: Mapping[str, str]
) -> dict[str, Any]:
    walk.take(argv)
    given = {option.name for option in walk.given}
    if given & {"--help", "-h"}:
        _finish(help_text(doc, usage, walk.words))
    if "--version" in given:
        _finish(f"{command} {__version__}")
    if walk.words[:1] == ["help"] and "help" not in usage.commands:
        _finish(help_text(doc, usage, walk.words[1:]))
    try:
        # By position: docopt-ng calls it default_help, the docopt it is a fork of called it help.
        parsed = docopt(doc, walk.plain, False)
    except DocoptExit:
        raise WrongUse(explain(usage, walk, synonyms)) from None
    return {name: walk.restore(value) for name, value in parsed.items()}


def _as_utf8(value: Any) -> Any:
    """Words, read as UTF-8 from the bytes that they came as. What is none keeps its bytes as surrogates."""
    if isinstance(value, list):
        return [_as_utf8(each) for each in value]
    return os.fsencode(value).decode("utf-8", "surrogateescape") if isinstance(value, str) else value


def _finish(text: str) -> NoReturn:
    print_out(text)
    raise SystemExit(0)
