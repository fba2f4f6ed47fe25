"""The configuration printed back: as YAML with the origin of every value, and the manual of all keys."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import yaml

from sttp_reactor.config.keys import TABLE, Key
from sttp_reactor.config.load import Loaded
from sttp_reactor.config.settings import AccessRule

# The comments stand in this column where the values leave room for it.
COMMENT_COLUMN = 36


def print_config(loaded: Loaded) -> str:
    """Return YAML that loads again to the same settings; a comment beside each key tells where its value is from.

    The text may hold any printable character. Written with `errors="backslashreplace"`, it stays the same YAML in any
    encoding: all that is not ASCII stands in double quotes, where YAML reads `\\xe9` as Python writes it.
    """
    lines: list[str] = []
    section = ""
    # A section's keys need not stand together in the table, but must in YAML.
    for key in sorted(TABLE, key=_first_of_section):
        if key.section != section:
            section = key.section
            lines.append(f"{section}:")
        setting = operator.attrgetter(key.name)(loaded.settings)
        indent = "  " if section else ""
        # One rule a line, and not all of them on one.
        rules = setting if setting and key.name == "access" else ()
        entry = f"{indent}{key.short_name}:" + ("" if rules else f" {as_yaml(setting)}")
        lines.append(f"{entry.ljust(COMMENT_COLUMN - 1)} # {loaded.origins[key.name]}")
        lines += [f"  - {as_yaml(rule)}" for rule in rules]
    return "\n".join(lines) + "\n"


def _first_of_section(key: Key) -> int:
    """Sort key that gathers sections; keys of no section come first, so that none is read as a section's."""
    names = list(dict.fromkeys(each.section for each in TABLE))
    return names.index(key.section)


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
    if isinstance(setting, AccessRule):
        return f"{{who: {as_yaml(setting.who)}, may: {as_yaml(setting.may)}, below: {as_yaml(setting.below)}}}"
    if isinstance(setting, tuple):
        items = [as_yaml(item) for item in setting]
        return items[0] if len(items) == 1 else f"[{', '.join(items)}]"
    return _quoted(str(setting) if isinstance(setting, Path) else setting)


def _quoted(text: str) -> str:
    if text.isascii() and text.isalpha() and text.lower() not in ("true", "false", "yes", "no", "on", "off", "null"):
        return text
    dumped = yaml.safe_dump(text, default_style='"', allow_unicode=True, width=2**31)
    return str(dumped).rstrip("\n")


def manual() -> str:
    """Return the manual of all keys, in reStructuredText, for README.rst."""
    return "\n".join(_entry(key) for key in TABLE)


def _entry(key: Key) -> str:
    default = key.default_text or as_yaml(key.default)
    return f"``{key.name}`` (default: ``{default}``)\n    {key.manual} Allowed: {key.reader.expected}.\n"
