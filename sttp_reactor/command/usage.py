"""What a docopt text promises, read a second time: not to parse the command line, but to say what is wrong with it.

docopt answers a wrong command line with the whole usage. Its own model of the text is private, so this module reads the
same text into a smaller model: the options, and for each usage line the words it takes. It understands what docopt
understands; what it says is used only to explain a refusal.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

UNBOUNDED = 1_000_000

_ASIDES = {"-h", "--help", "--version"}

_USAGE = re.compile(r"usage:(.*?)(?:\n[ \t]*\n|\Z)", re.IGNORECASE | re.DOTALL)
_OPTION_LINE = re.compile(r"^[ \t]*(-.*)$", re.MULTILINE)
_TOKEN_BREAK = re.compile(r"([\[\]()|]|\.\.\.)")


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its short and long spellings, and the name of its value (None: it takes none)."""

    short: str | None
    long: str | None
    value: str | None

    @property
    def name(self) -> str:
        """The spelling docopt files it under."""
        return self.long or self.short or ""

    @property
    def spellings(self) -> tuple[str, ...]:
        return tuple(spelling for spelling in (self.short, self.long) if spelling)


@dataclass(frozen=True, slots=True)
class Form:
    """One usage line, or a part of one.

    It takes from `fewest` to `most` words (commands and arguments); `names` are their names in order, `commands`
    those it may begin with. `options` are the names of those it lists itself; `any_option` says `[options]` is there,
    which stands for all options that no line lists.
    """

    fewest: int = 0
    most: int = 0
    names: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    options: frozenset[str] = frozenset()
    any_option: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    options: tuple[Option, ...]
    forms: tuple[Form, ...]
    repeatable: frozenset[str]

    @property
    def commands(self) -> list[str]:
        """Every command, in the order of the usage lines."""
        return list(dict.fromkeys(command for form in self.forms for command in form.commands))


def read_usage(doc: str) -> Usage:
    match = _USAGE.search(doc)
    if match is None:
        raise ValueError("the text has no 'Usage:'")
    options = [read_option(line) for line in _OPTION_LINE.findall(doc[: match.start()] + "\n" + doc[match.end() :])]
    program, *tokens = _TOKEN_BREAK.sub(r" \1 ", match[1]).split()
    lines: list[list[str]] = [[]]
    for token in tokens:
        if token == program:
            lines.append([])
        else:
            lines[-1].append(token)
    readers = [_LineReader(line, options) for line in lines]
    forms = [reader.alternatives() for reader in readers]
    # One that only a usage line names is an option too, though nothing explains it.
    options += dict.fromkeys(option for reader in readers for option in reader.unexplained)
    repeatable = frozenset(name for reader in readers for name in reader.repeatable)
    # `(-h | --help)` on a line of its own is no form a wrong line could have been meant as.
    forms = [form for form in forms if form.most or form.any_option or not form.options <= _ASIDES]
    return Usage(tuple(options), tuple(forms), repeatable)


def read_option(line: str) -> Option:
    """Read `-p PORT, --port=PORT  Manual text.`; two spaces end the spellings, as in docopt."""
    short = long = value = None
    for word in re.split(r"  |$", line, maxsplit=1)[0].replace(",", " ").split():
        if word.startswith("-"):
            spelling, _, attached = word.partition("=")
            value = attached or value
            short, long = (short, spelling) if spelling.startswith("--") else (spelling, long)
        else:
            value = word
    return Option(short, long, value)


class _LineReader:
    """Recursive descent over the tokens of one usage line; docopt's grammar, rule by rule."""

    def __init__(self, tokens: list[str], options: list[Option]) -> None:
        self._tokens = tokens
        self._options = options
        self.repeatable: set[str] = set()
        self.unexplained: list[Option] = []

    def alternatives(self) -> Form:
        """alternatives ::= sequence ( '|' sequence )*"""
        branches = [self._sequence()]
        while self._tokens[:1] == ["|"]:
            del self._tokens[0]
            branches.append(self._sequence())
        return Form(
            fewest=min(form.fewest for form in branches),
            most=max(form.most for form in branches),
            names=_merged_names(branches),
            commands=tuple(command for form in branches for command in form.commands),
            options=frozenset().union(*(form.options for form in branches)),
            any_option=any(form.any_option for form in branches),
        )

    def _sequence(self) -> Form:
        """sequence ::= ( atom [ '...' ] )*"""
        whole = Form()
        while self._tokens and self._tokens[0] not in ("]", ")", "|"):
            part = self._atom()
            if self._tokens[:1] == ["..."]:
                del self._tokens[0]
                self.repeatable |= part.options
                part = Form(part.fewest, UNBOUNDED if part.most else 0, part.names, part.commands, part.options)
            whole = Form(
                whole.fewest + part.fewest,
                min(whole.most + part.most, UNBOUNDED),
                whole.names + part.names,
                whole.commands or (() if whole.names else part.commands),
                whole.options | part.options,
                whole.any_option or part.any_option,
            )
        return whole

    def _atom(self) -> Form:
        """atom ::= '(' alternatives ')' | '[' alternatives ']' | 'options' | option | argument | command"""
        token = self._tokens.pop(0)
        if token in ("(", "["):
            inner = self.alternatives()
            del self._tokens[:1]
            fewest = 0 if token == "[" else inner.fewest
            return Form(fewest, inner.most, inner.names, inner.commands, inner.options, inner.any_option)
        if token == "options":
            return Form(any_option=True)
        if token.startswith("-") and token not in ("-", "--"):
            return self._option(token)
        if token == "--":
            return Form()
        is_argument = (token.startswith("<") and token.endswith(">")) or token.isupper()
        return Form(1, 1, (token,), () if is_argument else (token,))

    def _option(self, token: str) -> Form:
        spelling, equals, _ = token.partition("=")
        if not spelling.startswith("--"):
            spelling, attached = spelling[:2], spelling[2:]
        else:
            attached = ""
        option = next((each for each in self._options if spelling in each.spellings), None)
        if option is None:
            short, long = (None, spelling) if spelling.startswith("--") else (spelling, None)
            self.unexplained.append(Option(short, long, token.partition("=")[2] or None))
        takes_value = option is not None and option.value is not None
        if takes_value and not equals and not attached:
            del self._tokens[:1]
        return Form(options=frozenset({option.name if option else spelling}))


def _merged_names(branches: Iterable[Form]) -> tuple[str, ...]:
    """Name the words of alternatives position by position: `(FILE | URL)` is "FILE or URL"."""
    columns = itertools.zip_longest(*(form.names for form in branches))
    return tuple(" or ".join(dict.fromkeys(name for name in column if name)) for column in columns)


def listed(names: Sequence[str], word: str = "or") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} {word} {names[-1]}"
