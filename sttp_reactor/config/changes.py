"""What differs between settings that are in force and those that are wanted, and what of it can be had."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Any, NamedTuple

from sttp_reactor.config.show import as_yaml
from sttp_reactor.config.table import S, Table, attribute_of
from sttp_reactor.errors import ConfigError


class Difference(NamedTuple):
    """A key whose value another one has taken, or wanted to take."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key} is {as_yaml(self.after)} (was {as_yaml(self.before)})"


def differences(table: Table[S], before: S, after: S, names: Iterable[str] | None = None) -> list[Difference]:
    """Of the keys in `names`; by default of all."""
    names = table.keys if names is None else names
    found = [Difference(name, table.value_of(before, name), table.value_of(after, name)) for name in names]
    return [each for each in found if each.before != each.after]


def keep(table: Table[S], current: S, wanted: S, fixed: Iterable[str]) -> tuple[S, list[Difference]]:
    """`wanted`, but for the keys that cannot change, and those among them that should have. Raises ConfigError where
    the mixture contradicts itself, though `wanted` does not."""
    refused = differences(table, current, wanted, fixed)
    for name, before, _ in refused:
        wanted = _replace(wanted, name, before)
    mistakes = [f"{name}: {what}" for name, what in table.contradictions(wanted)]
    if mistakes:
        raise ConfigError(mistakes)
    return wanted, refused


def _replace(settings: Any, name: str, value: Any) -> Any:
    part, _, rest = name.partition(".")
    first = attribute_of(part)
    if rest:
        value = _replace(getattr(settings, first), rest, value)
    return dataclasses.replace(settings, **{first: value})
