"""`__all__` names what is there, in every module that has one."""

from __future__ import annotations

import ast
import importlib
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted((ROOT / "sttp_reactor").rglob("*.py"))


def modules_with_all() -> list[str]:
    """Those that assign it, by their dotted names."""
    found = []
    for path in SOURCES:
        names = [
            target.id
            for node in ast.parse(path.read_bytes()).body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        ]
        if "__all__" in names:
            found.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    return found


def missing(name: str) -> list[str]:
    module = importlib.import_module(name)
    return [each for each in module.__all__ if not hasattr(module, each)]


@pytest.mark.parametrize("name", modules_with_all())
def test_every_name_is_there(name: str) -> None:
    assert missing(name) == []


def test_there_are_some_and_a_wrong_one_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "sttp_reactor.config" in modules_with_all()
    (tmp_path / "boastful.py").write_text("__all__ = ['here', 'gone']\nhere = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert missing("boastful") == ["gone"]
