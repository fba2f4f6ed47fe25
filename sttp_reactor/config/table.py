"""The table of what a program can be told: one row per key, and the frozen dataclass that all of them fill.

A program, or a part of one that another program may take in, brings rows of its own. A new key is one row and one
field; nothing else knows it: the reading of files and flags, what is printed, the manual and what a mistake suggests
go by the table.
"""

from __future__ import annotations

import dataclasses
import difflib
import keyword
import operator
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sttp_reactor.config.readers import Reader

S = TypeVar("S")

# How alike two words are that are meant to be one, from 0 to 1, by difflib's measure; and where less is known of what
# was meant.
_ALIKE = 0.7
_VERY_ALIKE = 0.8


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its dotted name, its default (a function where it depends on the user), what is allowed, and a
    sentence for the manual. `default_text` is what the manual calls a default that is a function. One that is `fixed`
    keeps its value until the program starts again."""

    name: str
    default: Any
    reader: Reader
    manual: str
    default_text: str = ""
    fixed: bool = False

    @property
    def section(self) -> str:
        return self.name.rpartition(".")[0]

    @property
    def short_name(self) -> str:
        return self.name.rpartition(".")[2]

    def default_value(self) -> Any:
        """Raises RuntimeError where it is not known, as a home folder may not be."""
        return self.default() if callable(self.default) else self.default


class Table(Generic[S]):
    """`settings` is the dataclass: its fields are the keys of no section, and for each section a dataclass of the same
    kind, so that `limits.max_line` is `settings.limits.max_line`. Sections may be nested.

    Each of `contradictions` is a rule across keys: it sees settings that are right one by one, and yields the key to
    blame and what is wrong.
    """

    def __init__(
        self,
        settings: type[S],
        keys: Iterable[Key],
        contradictions: Sequence[Callable[[S], Iterator[tuple[str, str]]]] = (),
    ) -> None:
        self.settings = settings
        self.keys = {key.name: key for key in keys}
        # In the order of the table, each before those within it.
        self.sections = list(dict.fromkeys(outer for name in self.keys for outer in _sections_of(name)))
        self._contradictions = tuple(contradictions)

    @property
    def fixed(self) -> list[str]:
        """The names of keys that keep their values until the program starts again."""
        return [key.name for key in self.keys.values() if key.fixed]

    def keys_in(self, section: str) -> list[Key]:
        """Those that stand directly in it; "" is the whole file."""
        return [key for key in self.keys.values() if key.section == section]

    def sections_in(self, section: str) -> list[str]:
        """Likewise, by their dotted names."""
        return [each for each in self.sections if each.rpartition(".")[0] == section]

    def build(self, values: Mapping[str, Any]) -> S:
        """`values` has one for each key."""
        settings: S = self._build(self.settings, values, "")
        return settings

    def contradictions(self, settings: S) -> list[tuple[str, str]]:
        return [found for contradiction in self._contradictions for found in contradiction(settings)]

    def value_of(self, settings: S, name: str) -> Any:
        return operator.attrgetter(".".join(attribute_of(part) for part in name.split(".")))(settings)

    def unknown(self, name: str) -> str:
        """Say that a key is not in the table, and which one may have been meant."""
        if name in self.keys:
            # Right, but written with its dot: that works in --set and not in YAML.
            section, _, last = name.rpartition(".")
            return f"unknown key; write {last} indented below {section}:"
        near = self.nearest(name)
        return f"unknown key; did you mean {near}?" if near else "unknown key"

    def nearest(self, name: str) -> str | None:
        """The key or section that each part of `name` is like; or the key whose last part a `name` without a section is
        like, as `max_files` is for `cache.max_files`. None where nothing is close: a wrong hint is worse than none."""
        parts = name.lower().replace("-", "_").split(".")
        likeness = {each: _likeness(parts, each.split(".")) for each in (*self.keys, *self.sections)}
        near = max(likeness, key=lambda each: likeness[each])
        if likeness[near] >= _ALIKE:
            return near
        if len(parts) > 1:
            return None
        by_last = {key.short_name: key.name for key in self.keys.values()}
        last = difflib.get_close_matches(parts[0], by_last, n=1, cutoff=_VERY_ALIKE)
        return by_last[last[0]] if last else None

    def _build(self, cls: type[Any], values: Mapping[str, Any], section: str) -> Any:
        types = typing.get_type_hints(cls)
        filled = {}
        for field in dataclasses.fields(cls):
            own = field.name.removesuffix("_")  # what `attribute_of` adds
            name = f"{section}.{own}" if section else own
            nested = types[field.name]
            filled[field.name] = self._build(nested, values, name) if name in self.sections else values[name]
        return cls(**filled)


def attribute_of(part: str) -> str:
    """What the field is called that a part of a key's name stands for: `from` is a word of Python, so it is `from_`."""
    return f"{part}_" if keyword.iskeyword(part) else part


def _sections_of(name: str) -> list[str]:
    """`a` and `a.b` for `a.b.c`."""
    parts = name.split(".")[:-1]
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _likeness(parts: Sequence[str], others: Sequence[str]) -> float:
    """That of the two parts that are least alike."""
    if len(parts) != len(others):
        return 0.0
    return min(difflib.SequenceMatcher(None, part, other).ratio() for part, other in zip(parts, others, strict=True))
