"""The configuration printed back: as YAML with the origin of every value, and the manual of all keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from sttp_reactor.config.load import Loaded
from sttp_reactor.config.table import Key, Table

# The comments stand in this column where the values leave room for it.
COMMENT_COLUMN = 36


def print_config(loaded: Loaded[Any]) -> str:
    """Return YAML that loads again to the same settings; a comment beside each key tells where its value is from.

    The text may hold any printable character. Written with `errors="backslashreplace"`, it stays the same YAML in any
    encoding: all that is not ASCII stands in double quotes, where YAML reads `\\xe9` as Python writes it.
    """
    return "\n".join(_section(loaded, "", "")) + "\n"


def _section(loaded: Loaded[Any], section: str, indent: str) -> Iterator[str]:
    """A section's own keys come first, so that none is read as one of a section within it."""
    table = loaded.table
    for key in table.keys_in(section):
        setting = table.value_of(loaded.settings, key.name)
        # One record a line, and not all of them on one.
        records = setting if isinstance(setting, tuple) and setting and is_dataclass(setting[0]) else ()
        entry = f"{indent}{key.short_name}:" + ("" if records else f" {as_yaml(setting)}")
        yield f"{entry.ljust(COMMENT_COLUMN - 1)} # {loaded.origins[key.name]}"
        yield from (f"{indent}  - {as_yaml(record)}" for record in records)
    for inner in table.sections_in(section):
        yield f"{indent}{inner.rpartition('.')[2]}:"
        yield from _section(loaded, inner, indent + "  ")


def as_yaml(setting: Any) -> str:
    """One setting as it could stand in a file."""
    if setting is None:
        return "false"
    if isinstance(setting, bool):
        return "true" if setting else "false"
    if isinstance(setting, int):
        return str(setting)
    if isinstance(setting, float):
        # Positional: YAML 1.1 and our reader know no 1e-05.
        return str(int(setting)) if setting.is_integer() else f"{setting:.6f}".rstrip("0")
    if is_dataclass(setting):
        parts = (f"{part.name}: {as_yaml(getattr(setting, part.name))}" for part in fields(setting))
        return f"{{{', '.join(parts)}}}"
    if isinstance(setting, tuple):
        items = [as_yaml(item) for item in setting]
        return items[0] if len(items) == 1 else f"[{', '.join(items)}]"
    return _quoted(str(setting) if isinstance(setting, Path) else setting)


def _quoted(text: str) -> str:
    if text.isascii() and text.isalpha() and text.lower() not in ("true", "false", "yes", "no", "on", "off", "null"):
        return text
    dumped = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**31)
    return str(dumped).rstrip("\n")


def manual(table: Table[Any]) -> str:
    """Return the manual of all keys, in reStructuredText, for README.rst."""
    return "\n".join(_entry(key) for key in table.keys.values())


def _entry(key: Key) -> str:
    default = key.default_text or as_yaml(key.default)
    return f"``{key.name}`` (default: ``{default}``)\n    {key.manual} Allowed: {key.reader.expected}.\n"
