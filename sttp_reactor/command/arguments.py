"""The command line of every command: docopt parses it, and what docopt refuses is explained in one sentence.

`parse` walks the words once before docopt sees them. That walk finds what is wrong with an option, and writes the
options out in full, so that docopt is handed plain words only: no abbreviations, no negative numbers, no `--`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from docopt import DocoptExit, docopt

from sttp_reactor import __version__
from sttp_reactor.command.usage import Form, Option, Usage, read_usage
from sttp_reactor.printable import printable
from sttp_reactor.suggest import did_you_mean, nearest

COMMAND_LINE_EXIT = 2


def parse(doc: str, argv: Sequence[str], *, command: str) -> dict[str, Any]:
    """Parse `argv` (without the program's name) as the docopt text `doc` says; return docopt's dictionary.

    Does not return where the command line settles the matter: `-h`/`--help` prints `doc` and `--version` prints
    `command` and the version to standard output, if `doc` has these options, and exit with 0; a wrong command line
    prints one sentence to standard error and exits with 2 (all by `SystemExit`).

    What follows `--` is an argument whatever it looks like, and `doc` need not mention it.
    """
    usage = read_usage(doc)
    try:
        return _parse(doc, usage, argv, command)
    except WrongUse as wrong:
        # A user who is lost asks for help and gets it, whatever else is wrong with the line.
        if any(word in ("-h", "--help") for word in _before_dashes(argv)):
            _finish(doc.strip("\n"))
        refuse(command, str(wrong))


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
        print(text, flush=True)
    except OSError as error:
        # The interpreter flushes once more at its end; that must not fail again, and noisily.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            name = command or os.path.basename(sys.argv[0])
            print(f"{name}: cannot write to standard output: {error.strerror}", file=sys.stderr)
            raise SystemExit(1) from None


class WrongUse(Exception):
    """What is wrong with the command line, as a sentence without its full stop."""


def _parse(doc: str, usage: Usage, argv: Sequence[str], command: str) -> dict[str, Any]:
    walk = _Walk(usage.options)
    walk.take(argv)
    given = {option.name for option in walk.given}
    if given & {"--help", "-h"}:
        _finish(doc.strip("\n"))
    if "--version" in given:
        _finish(f"{command} {__version__}")
    try:
        # By position: docopt-ng calls it default_help, the docopt it is a fork of called it help.
        parsed = docopt(doc, walk.plain, False)
    except DocoptExit:
        raise WrongUse(_explain(usage, walk)) from None
    return {name: walk.restore(value) for name, value in parsed.items()}


def _finish(text: str) -> NoReturn:
    print_out(text)
    raise SystemExit(0)


def _before_dashes(argv: Sequence[str]) -> Sequence[str]:
    return argv[: list(argv).index("--")] if "--" in argv else argv


class _Walk:
    """One pass over the words: `given` options, `words` that are none, and `plain`, the same line for docopt."""

    def __init__(self, options: Iterable[Option]) -> None:
        self._by_spelling = {spelling: option for option in options for spelling in option.spellings}
        self._hidden: dict[str, str] = {}
        self.given: list[Option] = []
        self.words: list[str] = []
        self.plain: list[str] = []

    def take(self, argv: Sequence[str]) -> None:
        """Raises `WrongUse` at the first option that is unknown, ambiguous, or wrong about its value."""
        rest = list(argv)
        while rest:
            word = rest.pop(0)
            if word == "--":
                for each in rest:
                    self._add_word(each)
                return
            if word.startswith("--"):
                self._take_long(word, rest)
            elif word.startswith("-") and word != "-":
                self._take_shorts(word, rest)
            else:
                self._add_word(word)

    def restore(self, value: Any) -> Any:
        """Undo `_add_word` in one of docopt's values."""
        if isinstance(value, list):
            return [self._hidden.get(each, each) for each in value]
        return self._hidden.get(value, value) if isinstance(value, str) else value

    def _add_word(self, word: str) -> None:
        self.words.append(word)
        if word.startswith("-") and word != "-":
            # docopt would take it for an option, and passes `--` on as an argument of its own. A stand-in goes
            # through unseen; no word of a command line holds a NUL, so none can be mistaken for it.
            stand_in = f"\0{len(self._hidden)}"
            self._hidden[stand_in] = word
            word = stand_in
        self.plain.append(word)

    def _add_option(self, option: Option, value: str | None) -> None:
        self.given.append(option)
        if value is None:
            self.plain.append(option.name)
        elif option.long:
            self.plain.append(f"{option.long}={value}")
        else:
            self.plain += [option.name, value]

    def _take_long(self, word: str, rest: list[str]) -> None:
        spelling, equals, value = word.partition("=")
        option = self._by_spelling.get(spelling) or self._abbreviated(spelling)
        if option.value is None:
            if equals:
                raise WrongUse(f"option {option.name} takes no value, but {word} gives it one")
            self._add_option(option, None)
        else:
            self._add_option(option, value if equals else self._next_word(option, spelling, rest))

    def _take_shorts(self, word: str, rest: list[str]) -> None:
        """`-vq`, `-p80`, `-p 80`; a long option with one dash too few is told from a heap of short ones."""
        if len(word) > 2 and f"-{word.partition('=')[0]}" in self._by_spelling:
            raise WrongUse(f"unknown option {word}; did you mean -{word}?")
        letters = word[1:]
        while letters:
            spelling, letters = f"-{letters[0]}", letters[1:]
            option = self._by_spelling.get(spelling)
            if option is None:
                raise WrongUse(self._unknown(spelling))
            if letters.startswith("="):
                hint = "no value" if option.value is None else f"its value without '=': {spelling} {letters[1:]}"
                raise WrongUse(f"option {spelling} takes {hint}")
            if option.value is None:
                self._add_option(option, None)
            else:
                self._add_option(option, letters or self._next_word(option, spelling, rest))
                return

    def _next_word(self, option: Option, spelling: str, rest: list[str]) -> str:
        # docopt would take the next option for the value: `--docroot --port 80` served a folder named "--port".
        if not rest or rest[0] == "--" or rest[0].partition("=")[0] in self._by_spelling:
            raise WrongUse(f"option {spelling} lacks its value {option.value}")
        return rest.pop(0)

    def _abbreviated(self, spelling: str) -> Option:
        fitting = [long for long in self._by_spelling if long.startswith(spelling)]
        if len(fitting) > 1:
            raise WrongUse(f"option {spelling} is ambiguous: it could be {_listed(fitting)}")
        if not fitting:
            raise WrongUse(self._unknown(spelling))
        return self._by_spelling[fitting[0]]

    def _unknown(self, spelling: str) -> str:
        hint = did_you_mean(nearest(spelling, self._by_spelling))
        if not hint and not spelling.lstrip("-")[:1].isalpha():
            hint = "; an argument that begins with '-' goes after '--'"
        return f"unknown option {spelling}{hint}"


def _explain(usage: Usage, walk: _Walk) -> str:
    """Say why docopt refused a line whose options are all known and complete."""
    words, commands = walk.words, usage.commands
    form = _intended_form(usage, words)
    if form is None and not words:
        return f"a command is missing: {_listed(commands)}"
    near = nearest(words[0], commands) if words else None
    if form is None or (len(words) > form.most and not form.commands and near):
        return f"unknown command {words[0]}" + (did_you_mean(near) or f"; there is {_listed(commands, 'and')}")
    if len(words) < form.fewest:
        return f"argument {form.names[len(words)]} is missing"
    if len(words) > form.most:
        return f"superfluous argument {words[form.most]!r}"
    return _explain_options(usage, form, walk)


def _intended_form(usage: Usage, words: list[str]) -> Form | None:
    fitting = [form for form in usage.forms if words and words[0] in form.commands]
    fitting = fitting or [form for form in usage.forms if not form.commands]
    # Of several lines the one that wants the nearest number of words is the one that was meant.
    return min(fitting, key=lambda form: max(form.fewest - len(words), len(words) - form.most, 0), default=None)


def _explain_options(usage: Usage, form: Form, walk: _Walk) -> str:
    names = [option.name for option in walk.given]
    listed = {name for each in usage.forms for name in each.options}
    for name in names:
        if names.count(name) > 1 and name not in usage.repeatable:
            return f"option {name} is given twice"
        if name not in form.options and (name in listed or not form.any_option):
            return f"option {name} does not go with {walk.words[0] if form.commands else 'this'}"
    missing = [name for name in sorted(form.options) if name not in names]
    if len(names) > 1:
        return f"options {_listed(names, 'and')} do not go together"
    return f"an option is missing, such as {_listed(missing)}" if missing else "wrong combination of arguments"


def _listed(names: Sequence[str], word: str = "or") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
