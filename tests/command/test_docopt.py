"""docopt-ng is a fork of docopt that has kept the module's name. Where another package brings docopt itself, the one
that was installed last is imported; the command lines mean the same with either."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = "import docopt, pytest, sys; assert docopt.__version__ == '0.6.2'; sys.exit(pytest.main(sys.argv[1:]))"


@pytest.mark.long
@pytest.mark.timeout(120)
def test_the_command_lines_mean_the_same_with_docopt_itself(tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "-q", "--target", str(tmp_path), "docopt==0.6.2"]
    done = subprocess.run(install, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"docopt 0.6.2 cannot be installed here: {done.stderr.strip()[-200:]}")
    # It is older than some of Python's deprecations, which are errors in our own tests.
    options = ["-q", "-p", "no:cacheprovider", "-o", "filterwarnings="]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *options, str(Path(__file__).with_name("test_arguments.py"))],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
