"""Each command runs as a module too, for whoever has the package and not its scripts on the PATH."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from sttp_reactor import __version__

ROOT = Path(__file__).parent.parent.parent


def commands() -> dict[str, str]:
    """What each module that is a command calls itself."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    scripts = setup["options.entry_points"]["console_scripts"].split("\n")
    named = dict(reversed(script.replace(":main", "").split(" = ")) for script in scripts if script)
    for file in (ROOT / "sttp_reactor" / "services").glob("*.py"):
        if "\ndef main(argv: Sequence[str] | None = None)" in file.read_text():
            named[f"sttp_reactor.services.{file.stem}"] = file.stem
    return {**named, "sttp_reactor": "sttpd"}


@pytest.mark.parametrize(("module", "name"), commands().items())
def test_it_runs_as_a_module(module: str, name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "--version"], capture_output=True, text=True, timeout=20, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{name.replace('_', ' ')} {__version__}\n", "")
