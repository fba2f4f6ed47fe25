"""What is handed out: the sdist has all that the checkout has, the wheel what a user needs, an index shows both, and a
fresh checkout starts with README's first command.

They are built as a user's pip builds them, in an environment of their own, which takes seconds and needs an index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# What tools and tests leave behind in a checkout.
LEFTOVERS = (
    ".git",
    ".venv",
    "build",
    "dist",
    "*.egg-info",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    ".schemathesis",
    ".cluster",
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(240),
    pytest.mark.skipif(
        find_spec("build") is None or find_spec("twine") is None, reason="build and twine are in the extra lint"
    ),
]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy, for a build writes beside what it builds."""
    return shutil.copytree(
        ROOT, tmp_path_factory.mktemp("copy") / "checkout", ignore=shutil.ignore_patterns(*LEFTOVERS)
    )


@pytest.fixture(scope="module")
def packages(checkout: Path) -> Path:
    """The folder with the sdist and with the wheel that was built from it."""
    python("-m", "build", "--outdir", "../packages", ".", cwd=checkout)
    return checkout.parent / "packages"


def test_the_sdist_holds_the_whole_checkout(packages: Path, checkout: Path) -> None:
    with tarfile.open(next(packages.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2]: archive.getmember(name) for name in archive.getnames()}
    # The executable bits as well: tools/run.sh is called as it is.
    expected = {
        str(path.relative_to(checkout)): os.access(path, os.X_OK) for path in checkout.rglob("*") if path.is_file()
    }
    expected = {name: runs for name, runs in expected.items() if ".egg-info" not in name}
    assert len(expected) > 300
    assert {name: bool(held[name].mode & 0o100) for name in expected if name in held} == expected


def test_nothing_else_lies_at_the_top(checkout: Path) -> None:
    top = {path.name for path in checkout.iterdir() if not path.name.startswith(".")}
    expected = {"LICENSE", "README.rst", "pyproject.toml", "setup.cfg", "sttp_reactor", "tests", "tools"}
    assert {name for name in top if not name.endswith(".egg-info")} - {"build"} == expected


def test_the_wheel_holds_the_package_and_nothing_else(packages: Path, checkout: Path) -> None:
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("LICENSE")]
    expected = {str(path.relative_to(checkout)) for path in (checkout / "sttp_reactor").rglob("*") if path.is_file()}
    assert "sttp_reactor/py.typed" in held
    assert held == expected
    assert licences


def test_an_index_would_take_and_show_them(packages: Path) -> None:
    python("-m", "twine", "check", "--strict", *map(str, packages.iterdir()))


def test_the_wheel_installs_and_its_commands_run(packages: Path, tmp_path: Path) -> None:
    """With the two packages that the daemon and the client run on, and no others."""
    python("-m", "venv", str(tmp_path))
    python("-m", "pip", "install", "-q", "--disable-pip-version-check", str(next(packages.glob("*.whl"))), at=tmp_path)
    for command in ("sttpd", "sttpc", "sttpbench", "sttp-proxy"):
        said = run(str(tmp_path / "bin" / command), "--version")
        assert said.startswith(f"{command} ")
    installed = run(str(tmp_path / "bin" / "python"), "-m", "pip", "list", "--format=freeze").split()
    assert {line.partition("=")[0] for line in installed} - {"pip", "setuptools"} == {
        "docopt-ng",
        "PyYAML",
        "sttp_reactor",
    }


def test_the_sdists_own_tests_run(packages: Path, tmp_path: Path) -> None:
    """Some of them: that their helpers, their data and their configuration have come along."""
    with tarfile.open(next(packages.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = next(tmp_path.iterdir())
    chosen = ["tests/test_imports.py", "tests/test_readme.py", "tests/wire/test_wire_corpus.py", "tests/cli"]
    said = python("-m", "pytest", "-q", "-p", "no:cacheprovider", *chosen, cwd=folder)
    assert "passed" in said


@pytest.mark.parametrize("flags", [(), ("-o", "http.enabled=true", "-o", "http.port=0")], ids=["plain", "http"])
def test_a_fresh_checkout_starts_with_one_command(checkout: Path, tmp_path: Path, flags: tuple[str, ...]) -> None:
    command = [str(checkout / "tools" / "run.sh"), "-p", "0", "-d", "files", *flags]
    environ = os.environ | {"PYTHON": sys.executable}
    with subprocess.Popen(command, cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if "ready: " in line:
                    break
            assert f"docroot {tmp_path / 'files'};" in said[-1], said
            assert ("http://127.0.0.1:" in said[-1]) is bool(flags), said
        finally:
            process.terminate()
        assert process.wait(20) == 0


def python(*arguments: str, at: Path | None = None, cwd: Path | None = None) -> str:
    return run(sys.executable if at is None else str(at / "bin" / "python"), *arguments, cwd=cwd)


def run(*command: str, cwd: Path | None = None) -> str:
    """Standard output of `command`; the package is not found by way of our own environment."""
    environ = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
