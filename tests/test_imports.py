"""The layers hold: every import line of the package is compared with the table below.

One row for each module or sub-package directly in `sttp_reactor`: what of ours it may import besides itself. A file
without a row fails, so whoever adds one decides where it belongs. Imports point at rows further up only.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = "sttp_reactor"
SOURCES = Path(__file__).parent.parent / PACKAGE

# The ground: knows nothing of ours above it and does no I/O; anybody may import it.
GROUND = "__init__ errors limits printable suggest text"

LAYERS = {
    "__init__": "",
    "errors": "",
    "limits": "",
    "printable": "",
    "suggest": "",
    "text": "limits",
    # These do I/O or share memory, so they are no ground; they know nothing of ours but limits.
    "metrics": "limits",
    "profiling": "",
    "regular_files": "",
    # Neighbours: none of these imports another.
    "net": "__init__ errors limits printable regular_files",
    "wire": GROUND,
    "config": f"{GROUND} regular_files",
    "store": f"{GROUND} metrics",
    "command": GROUND,
    # Upwards from here each may use what is below it.
    "http": "__init__ errors limits printable net",
    "client": f"{GROUND} wire",
    "load": f"{GROUND} wire client",
    "sttp": f"{GROUND} metrics net wire config store",
    "proxy": f"{GROUND} metrics net wire config client sttp",
    "gateway": f"{GROUND} metrics profiling net http wire config store sttp",
    "daemon": f"{GROUND} metrics profiling net config sttp gateway",
    "cli": f"{GROUND} command net wire config client load sttp proxy daemon",
    "services": f"{GROUND} command net http",
    "__main__": "cli",
}

# What comes from elsewhere, and who may know it. Whatever is not named here nor in the standard library is refused.
OUTSIDE = {
    "docopt": {"command"},
    "yaml": {"config"},
    # The extra `services`.
    "hiredis": {"services"},
    # The extra `http`.
    "httptools": {"http"},
    # The extra `bench`.
    "hdrhistogram": {"load"},
    "hdrh": {"load"},
    "rich": {"load"},
}

# Sans-IO means all of these: a protocol core that could open a socket would sooner or later be tested with one.
_IO = """
    asyncio concurrent datetime io mmap multiprocessing os pathlib queue random resource select selectors shutil signal
    socket socketserver ssl subprocess tempfile threading time
"""
BANNED = dict.fromkeys(["wire", *GROUND.split()], _IO)
# The reactor is written by hand: nothing in the package leans on another one.
BANNED_EVERYWHERE = {"asyncio", "asyncore", "socketserver", "concurrent"}


class Import(NamedTuple):
    """One imported module. `unit` is the row of the importer; `where` is for a person to find it."""

    unit: str
    module: str
    where: str


def unit_of(file: Path, package: Path) -> str:
    """The row `file` belongs to: the first part of its path in the package."""
    return file.relative_to(package).parts[0].removesuffix(".py")


def imports_of(file: Path, package: Path) -> Iterator[Import]:
    """Every import of `file`, those in functions and under `if` included, as whole dotted names."""
    unit, parents = unit_of(file, package), (package.name, *file.relative_to(package).parent.parts)
    for node in ast.walk(ast.parse(file.read_bytes(), str(file))):
        modules: list[str] = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(parents[: len(parents) - node.level + 1]) if node.level else ""
            module = ".".join(filter(None, [base, node.module]))
            # `from sttp_reactor import config` names a module, `from sttp_reactor.config import load` the row already.
            modules = [f"{module}.{alias.name}" for alias in node.names] if module == package.name else [module]
        for module in modules:
            yield Import(unit, module, f"{file.relative_to(package)}:{getattr(node, 'lineno', 0)}")


def row_of(module: str, package: Path) -> str:
    """The row of one of our own modules; a name the package itself defines (`__version__`) belongs to `__init__`."""
    first = module.split(".")[1] if "." in module else "__init__"
    is_file = (package / first).is_dir() or (package / f"{first}.py").is_file()
    return first if is_file else "__init__"


def fault_of(found: Import, package: Path) -> str | None:
    """What is wrong with one import, or None."""
    unit, module, where = found
    root = module.partition(".")[0]
    if root == package.name:
        row = row_of(module, package)
        if row != unit and row not in LAYERS[unit].split():
            return f"{where}: {unit} may not import {row}; it may: {LAYERS[unit] or 'nothing of ours'}"
    elif root in BANNED_EVERYWHERE or root in BANNED.get(unit, "").split():
        return f"{where}: {unit} may not import {root}"
    elif root not in sys.stdlib_module_names and unit not in OUTSIDE.get(root, ()):
        return f"{where}: {unit} may not import {root}, which is not of the standard library"
    return None


def violations(package: Path) -> list[str]:
    """Everything below `package` that breaks the tables, one line each."""
    faults = []
    for file in sorted(package.rglob("*.py")):
        if unit_of(file, package) not in LAYERS:
            faults.append(f"{file.relative_to(package)}: in no layer; give it a row")
            continue
        faults += filter(None, (fault_of(found, package) for found in imports_of(file, package)))
    return faults


def test_the_package_keeps_to_its_layers() -> None:
    assert violations(SOURCES) == []


def floor_of(row: str) -> int:
    """One more than the highest floor of what it imports."""
    return 1 + max((floor_of(other) for other in LAYERS[row].split()), default=0)


def test_the_picture_in_readme_is_the_house() -> None:
    readme = (SOURCES.parent / "README.rst").read_text()
    drawn = {
        name: int(floor)
        for floor, names in re.findall(r"(?m)^    (\d)   ((?:[a-z_]+ ?)+)(?:  |$)", readme)
        for name in names.split()
    }
    assert drawn == {row: floor_of(row) for row in LAYERS if not row.startswith("__")}


def test_the_house_is_low_and_its_entrance_small() -> None:
    assert max(map(floor_of, LAYERS)) <= 8
    assert len([file for file in SOURCES.glob("*.py") if not file.name.startswith("__")]) <= 8


def test_a_row_imports_rows_above_it_only() -> None:
    rows = list(LAYERS)
    for row, allowed in LAYERS.items():
        for name in allowed.split():
            assert name in rows[: rows.index(row)], f"{row} imports {name}, which is not above it"


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("brand_new.py", "", "brand_new.py: in no layer"),
        ("brand_new/__init__.py", "", "brand_new/__init__.py: in no layer"),
        ("wire/parser.py", "import socket", "wire may not import socket"),
        ("wire/parser.py", "import os.path", "wire may not import os"),
        ("wire/parser.py", "from time import monotonic", "wire may not import time"),
        ("wire/parser.py", "def f():\n    import threading", "wire may not import threading"),
        ("wire/parser.py", "from ..net import reactor", "wire may not import net"),
        ("wire/parser.py", "from .. import net", "wire may not import net"),
        ("text.py", "import select", "text may not import select"),
        ("errors.py", "from sttp_reactor import limits", "errors may not import limits"),
        ("net/reactor.py", "from sttp_reactor.wire.parser import RequestParser", "net may not import wire"),
        ("net/reactor.py", "import sttp_reactor.wire.parser as p", "net may not import wire"),
        ("net/reactor.py", "import asyncio", "net may not import asyncio"),
        ("store/disk/journal.py", "from sttp_reactor import sttp", "store may not import sttp"),
        ("store/memory.py", "if True:\n    from sttp_reactor.sttp import cache", "store may not import sttp"),
        ("sttp/service.py", "from sttp_reactor.daemon.run import run", "sttp may not import daemon"),
        ("load/engine.py", "from sttp_reactor.net import reactor", "load may not import net"),
        ("cli/sttpd.py", "import docopt", "cli may not import docopt"),
        ("services/echo.py", "from sttp_reactor.cli import sttpc", "services may not import cli"),
        ("cli/sttpd.py", "import yaml", "cli may not import yaml"),
        ("cli/sttpd.py", "import requests", "cli may not import requests, which is not of the standard library"),
    ],
)
def test_what_breaks_the_layers_is_found(tmp_path: Path, file: str, line: str, complaint: str) -> None:
    package = small_package(tmp_path, file, line)
    assert [fault for fault in violations(package) if complaint in fault], violations(package)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("wire/parser.py", "from . import grammar\nfrom ..errors import RemoteError\nimport re"),
        (
            "store/disk/journal.py",
            "import os\nfrom sttp_reactor.store.disk import tree\nfrom sttp_reactor.text import is_text",
        ),
        ("load/engine.py", "import sttp_reactor.client\nfrom sttp_reactor.wire import parser"),
        ("command/arguments.py", "from docopt import docopt\nfrom sttp_reactor import __version__"),
        ("config/load.py", "import yaml.resolver"),
    ],
)
def test_what_keeps_to_the_layers_passes(tmp_path: Path, file: str, line: str) -> None:
    assert violations(small_package(tmp_path, file, line)) == []


def small_package(directory: Path, file: str, line: str) -> Path:
    """A package with the rows of the table as empty files, and one file more that holds `line`."""
    package = directory / PACKAGE
    package.mkdir()
    for row in LAYERS:
        (package / f"{row}.py").touch()
    target = package / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(line + "\n")
    return package
