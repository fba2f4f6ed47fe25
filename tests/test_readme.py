"""README.rst names files of ours; all of them are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "README.rst").read_text()


def test_every_test_it_names_is_there() -> None:
    table = TEXT[TEXT.index("What it withstands") : TEXT.index("How fast it is")]
    named = set(re.findall(r"[a-z_/]*\b(?:test|fuzz)_[a-z_]+\.py", table))
    assert len(named) > 25
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []


@pytest.mark.parametrize(
    "pattern", [r"\btools/[a-z_]+\.(?:sh|py|service|socket)", r"``(?:net|store|sttp|daemon)/[a-z_/]+\.py``"]
)
def test_every_tool_and_module_it_names_is_there(pattern: str) -> None:
    named = {name.strip("`") for name in re.findall(pattern, TEXT)}
    assert named
    folder = ROOT if "tools" in pattern else ROOT / "sttp_reactor"
    assert [name for name in named if not (folder / name).is_file()] == []
