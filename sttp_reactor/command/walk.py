"""One pass over the words of a command line, before docopt sees them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from sttp_reactor.command.usage import Option, listed
from sttp_reactor.suggest import did_you_mean, nearest

# What other programs call an option that ours may call otherwise.
_SYNONYMS: Final = {
    "verbose": ("-v",),
    "quiet": ("-q",),
    "silent": ("--quiet", "-q"),
    "host": ("--address", "--listen-address", "--listen"),
    "bind": ("--listen-address", "--listen"),
    "root": ("--docroot",),
    "recurse": ("--recursive",),
    "V": ("--version",),
}


class WrongUse(Exception):
    """What is wrong with the command line, as a sentence without its full stop."""


class Walk:
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
            raise WrongUse(f"option {spelling} is ambiguous: it could be {listed(fitting)}")
        if not fitting:
            raise WrongUse(self._unknown(spelling))
        return self._by_spelling[fitting[0]]

    def _unknown(self, spelling: str) -> str:
        hint = did_you_mean(self._synonym(spelling) or nearest(spelling, self._by_spelling))
        if not hint and not spelling.lstrip("-")[:1].isalpha():
            hint = "; an argument that begins with '-' goes after '--'"
        return f"unknown option {spelling}{hint}"

    def _synonym(self, spelling: str) -> str | None:
        meant = _SYNONYMS.get(spelling.lstrip("-"), ())
        return next((each for each in meant if each in self._by_spelling), None)
