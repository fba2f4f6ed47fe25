"""The watch in conftest.py catches what it is there to catch. Run in a pytest of its own, since it makes tests fail."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).with_name("conftest.py")

LEAKS = {
    "threads outlive the test": "from threading import Event, Thread; Thread(target=Event().wait, daemon=True).start()",
    "file descriptors outlive the test": "import os; os.open('.', os.O_RDONLY)",
    "signal handlers": "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "ResourceWarning: unclosed": "import socket; held = [socket.socket()]; held.append(held)",
}


def run_pytest(directory: Path, body: str) -> subprocess.CompletedProcess[str]:
    (directory / "conftest.py").write_text(
        CONFTEST.read_text().replace("_GRACE_SECONDS = 2.0", "_GRACE_SECONDS = 0.05")
    )
    (directory / "test_it.py").write_text(f"def test_it():\n    {body}\n")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
        "--rootdir",
        str(directory),
    ]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=25)


@pytest.mark.parametrize(
    "complaint",
    [
        pytest.param(each, marks=[] if each == "file descriptors outlive the test" else pytest.mark.long)
        for each in LEAKS
    ],
)
def test_a_leak_fails_the_test(tmp_path: Path, complaint: str) -> None:
    result = run_pytest(tmp_path, LEAKS[complaint])
    assert result.returncode == 1
    assert complaint in result.stdout


def test_what_is_cleaned_up_passes(tmp_path: Path) -> None:
    result = run_pytest(
        tmp_path, "import socket, threading; socket.socket().close(); threading.Thread(target=int).start()"
    )
    assert result.returncode == 0, result.stdout
