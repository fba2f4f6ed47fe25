"""Words of a command line are the bytes that came, whatever the locale would make of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port

from sttp_reactor.client import Client

# Python repairs the C locale by itself; without these two it takes words for ASCII.
PLAIN_C = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> object:
    number = free_port()
    arguments = ["-p", str(number), "-d", str(tmp_path_factory.mktemp("files"))]
    with subprocess.Popen([sys.executable, "-m", "sttp_reactor", *arguments], stderr=subprocess.DEVNULL) as server:
        try:
            yield number
        finally:
            server.terminate()


def run(command: str, port: int, *words: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", f"sttp_reactor.cli.{command}", "-p", str(port), *(word.encode() for word in words)],
        env=os.environ | PLAIN_C,
        capture_output=True,
        timeout=20,
        check=False,
    )


def test_sttpc_sends_paths_and_texts_as_they_came(port: int) -> None:
    done = run("sttpc", port, "--retry", "9", "create", "/grüße", "„Süß“ 🙂")
    assert (done.returncode, done.stderr) == (0, b"")
    with Client(port=port) as client:
        assert client.show("/grüße") == "„Süß“ 🙂"
    assert run("sttpc", port, "show", "/grüße").stdout.decode() == "„Süß“ 🙂\n"
    missing = run("sttpc", port, "show", "/größe")
    assert (missing.returncode, missing.stderr) == (4, b"sttpc: /gr\\xf6\\xdfe: not found (400)\n")


def test_sttpbench_works_in_the_directory_that_was_named(port: int) -> None:
    done = run("sttpbench", port, "-q", "-n", "1", "-w", "0", "--keys", "1", "-c", "1", "/prüfung/")
    assert done.returncode == 0, done.stderr
    with Client(port=port) as client:
        assert "prüfung/" in client.list("/")


def test_bytes_that_are_no_utf8_are_refused(port: int, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "sttp_reactor.cli.sttpc", "-p", str(port), "show", b"/\xff"]
    done = subprocess.run(words, env=os.environ | PLAIN_C, capture_output=True, timeout=20, check=False)
    assert done.returncode == 2
    assert b"paths and contents are UTF-8" in done.stderr
