"""File and flags put together: flags beat the file, the file beats the defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, NamedTuple

from sttp_reactor.config.document import read_document
from sttp_reactor.config.table import Key, S, Table
from sttp_reactor.config.values import Place, Unfit, Value
from sttp_reactor.errors import ConfigError
from sttp_reactor.printable import printable

DEFAULT_ORIGIN = "default"


class FlagError(ConfigError):
    """A `ConfigError` with nothing wrong in the file: every mistake is on the command line."""


class Override(NamedTuple):
    """A setting given on the command line: the flag as it is spelled in a mistake, the key, the text."""

    flag: str
    key: str
    text: str


@dataclass(frozen=True)
class Loaded(Generic[S]):
    """`settings` as `table` describes them.

    `origins` says for each key where its value comes from: "default", "sttpd.yaml:3" or "--port". `source` names the
    file that was read, "defaults" where there was none. `is_reloadable` is False where the file was a pipe or a device,
    which cannot be read again.
    """

    table: Table[S]
    settings: S
    origins: Mapping[str, str]
    source: str
    is_reloadable: bool = True


def load(
    table: Table[S], path: Path | None, overrides: Sequence[tuple[str, str, str]] = (), *, again: bool = False
) -> Loaded[S]:
    """Read the file, if there is one, and the overrides (flag, dotted key, text). `again` says that the program runs
    already, with settings that it had better keep than lose: see `read_document`.

    Raises `ConfigError` with every mistake in both, the file's in its order and then the flags'; the subclass
    `FlagError` where the file has none. Mistakes name the file as `path` spells it.
    """
    attempt = _Attempt(table)
    if path is not None:
        attempt.take_file(path, again)
    attempt.take_flags(Override(*override) for override in overrides)
    attempt.take_defaults()
    attempt.raise_mistakes()
    settings = table.build(attempt.settings)
    attempt.blame_all(table.contradictions(settings))
    attempt.raise_mistakes()
    origins = {name: place.origin for name, place in attempt.places.items()}
    source = printable(str(path)) if path is not None else "defaults"
    return Loaded(table, settings, origins, source, attempt.is_reloadable)


class _Attempt:
    """What is known so far: `settings` and their `places` by dotted name, and the mistakes."""

    def __init__(self, table: Table[Any]) -> None:
        self._table = table
        self.settings: dict[str, Any] = {}
        self.places: dict[str, Place] = {}
        self._in_file: list[tuple[Place, str]] = []
        self._in_flags: list[str] = []
        self.is_reloadable = True

    def take_file(self, path: Path, again: bool) -> None:
        document = read_document(self._table, path, again=again)
        self.is_reloadable = document.is_regular
        self._in_file += document.mistakes
        for name, value in document.values.items():
            self._read(self._table.keys[name], value)

    def take_flags(self, overrides: Iterable[Override]) -> None:
        table, seen = self._table, dict[str, str]()
        for flag, name, text in overrides:
            value = Value.from_flag(text, flag)
            if name in seen:
                # The last one could win, as it does elsewhere; but docopt, which sees --port twice, cannot tell us
                # the order of --port and --set, so the rule would hold for some pairs only.
                self._blame(value.place, name, f"contradicts {seen[name]}: both set {name}; give only one of them")
            elif name in table.sections:
                inside = ", ".join([*(key.name for key in table.keys_in(name)), *table.sections_in(name)])
                self._blame(value.place, name, f"this is a section; set one of {inside}")
            elif name not in table.keys:
                self._blame(value.place, name, table.unknown(name))
            else:
                self._read(table.keys[name], value)
            seen.setdefault(name, flag)

    def take_defaults(self) -> None:
        for key in self._table.keys.values():
            if key.name in self.places:
                continue
            self.places[key.name] = Place(DEFAULT_ORIGIN)
            try:
                self.settings[key.name] = key.default_value()
            except RuntimeError:
                self._in_file.append((Place(""), f"{key.name}: no home folder is known that could hold it; name one"))

    def blame_all(self, contradictions: Iterable[tuple[str, str]]) -> None:
        for name, what in contradictions:
            self._blame(self.places[name], name, what)

    def raise_mistakes(self) -> None:
        mistakes = [text for _, text in sorted(self._in_file, key=_by_position)] + self._in_flags
        if mistakes:
            raise ConfigError(mistakes) if self._in_file else FlagError(mistakes)

    def _read(self, key: Key, value: Value) -> None:
        # Noted even where the value is wrong: a default must not be put beside the mistake.
        self.places[key.name] = value.place
        try:
            self.settings[key.name] = key.reader.read(value)
        except Unfit as unfit:
            for value, reason, expected, part in unfit.faults:
                hint = f" ({reason})" if reason else ""
                what = f"expected {expected or key.reader.expected}, got {value.shown}{hint}"
                self._blame(value.place, f"{key.name}.{part}" if part else key.name, what)

    def _blame(self, place: Place, name: str, what: str) -> None:
        if place.is_flag:
            self._in_flags.append(place.mistake(name, what))
        else:
            self._in_file.append((place, place.mistake(name, what)))


def _by_position(mistake: tuple[Place, str]) -> tuple[int, int]:
    return mistake[0].line, mistake[0].column
