"""README.rst is valid, and names files of ours; all of them are there."""

from __future__ import annotations

import io
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
    "pattern", [r"\btools/[a-z_]+\.(?:sh|py|service|socket|yaml)", r"``(?:net|store|sttp|daemon)/[a-z_/]+\.py``"]
)
def test_every_tool_and_module_it_names_is_there(pattern: str) -> None:
    named = {name.strip("`") for name in re.findall(pattern, TEXT)}
    assert named
    folder = ROOT if "tools" in pattern else ROOT / "sttp_reactor"
    assert [name for name in named if not (folder / name).is_file()] == []


@pytest.mark.parametrize(
    "file", sorted(path.relative_to(ROOT) for path in [*ROOT.glob("*.rst"), *ROOT.glob("t*/**/*.rst")]), ids=str
)
def test_it_renders_without_a_complaint(file: Path) -> None:
    """A table with one word too wide is shown as an error, whole, wherever the page is rendered."""
    core = pytest.importorskip("docutils.core", reason="docutils is in the extra lint")
    complaints = io.StringIO()
    settings = {"report_level": 1, "halt_level": 5, "warning_stream": complaints, "_disable_config": True}
    core.publish_doctree((ROOT / file).read_text(), source_path=str(file), settings_overrides=settings)
    assert complaints.getvalue() == ""
