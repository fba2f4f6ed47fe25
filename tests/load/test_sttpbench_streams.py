"""What the command prints where a stream lacks characters, has lost its reader, or was closed before the start."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_server import FakeServer
from runs import make_run

_SHORT = ["-w", "0", "-d", "0.15s", "-c", "2", "--keys=5"]


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as server:
        yield server


def _run(redirection: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`redirection` is the shell's, such as `2>&-`."""
    script = f'exec "$@" {redirection}'
    command = [sys.executable, "-m", "sttp_reactor.cli.sttpbench", *words]
    return subprocess.run(
        ["sh", "-c", script, "sh", *command],
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_run_is_told_where_the_encoding_lacks_its_signs(server: FakeServer) -> None:
    done = _run("", *_SHORT, f"127.0.0.1:{server.port}", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert " us" in done.stdout
    assert "\\x" not in done.stdout + done.stderr


def test_runs_are_compared_where_the_encoding_lacks_their_signs(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(make_run().to_json())
    (tmp_path / "b").write_text(make_run(server=None).to_json())
    done = _run("", "compare", str(tmp_path / "a"), str(tmp_path / "b"), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert "500 us" in done.stdout
    assert "server memory              20.0 MB           -" in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_run_where_streams_are_closed(closed: str, server: FakeServer) -> None:
    done = _run(closed, *_SHORT, f"127.0.0.1:{server.port}")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert ("every reply right" in done.stdout) is (">&-" not in closed.replace("2>&-", ""))
    assert "measuring" not in done.stdout, "progress is for standard error only"
    assert server.files.texts == {}


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_stress_where_streams_are_closed(closed: str, server: FakeServer) -> None:
    done = _run(closed, "stress", "-a", "127.0.0.1", "-p", str(server.port), "-n", "20")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert server.files.texts == {}


@pytest.mark.parametrize("words", [["-q", "unix:/nowhere"], ["stress", "-a", "/nowhere"], ["compare", "/x", "/y"]])
def test_no_error_gets_among_the_data(words: list[str]) -> None:
    done = _run("2>&-", *words)
    assert (done.returncode, done.stdout) == (1 if words[0] == "compare" else 7, "")


def test_a_standard_error_without_a_reader_does_not_end_the_run(server: FakeServer) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "sttp_reactor.cli.sttpbench", *_SHORT, f"127.0.0.1:{server.port}"]
    with os.fdopen(writing, "wb") as nobody:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=nobody, text=True, check=False, timeout=60)
    assert done.returncode == 0
    assert "every reply right" in done.stdout
    assert server.files.texts == {}


def test_a_run_goes_to_standard_output_and_its_words_to_standard_error(server: FakeServer) -> None:
    done = _run("", *_SHORT, "-q", "-o", "-", "--check=p99<99s", f"127.0.0.1:{server.port}", PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert json.loads(done.stdout)["summary"]["requests"] > 0
    assert "every reply right" in done.stderr
    assert "check p99<99s: passed" in done.stderr
    assert not (Path.cwd() / "-").exists()


def test_a_report_goes_to_standard_output(server: FakeServer, tmp_path: Path) -> None:
    done = _run("", *_SHORT, "-q", "--report=-", f"127.0.0.1:{server.port}")
    assert (done.returncode, done.stdout[:15], done.stdout[-8:]) == (0, "<!DOCTYPE html>", "</html>\n")
    (tmp_path / "a").write_text(make_run().to_json())
    done = _run("", "compare", "--report=-", str(tmp_path / "a"), str(tmp_path / "a"))
    assert (done.returncode, done.stdout[:15], done.stdout[-8:]) == (0, "<!DOCTYPE html>", "</html>\n")
    assert "requests a second" in done.stderr


def test_a_run_is_read_from_standard_input(tmp_path: Path) -> None:
    (tmp_path / "a").write_text(make_run().to_json())
    done = _run(f"< {tmp_path / 'a'}", "compare", str(tmp_path / "a"), "-")
    assert (done.returncode, done.stderr) == (0, "")
    assert "requests a second            1,000       1,000     1.00" in done.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-o", "-", "--report=-"], "sttpbench: only one of --output and --report can be standard output."),
        (["compare", "-", "-"], "sttpbench compare: only one of A and B can be standard input."),
    ],
)
def test_a_stream_takes_one_thing(words: list[str], sentence: str) -> None:
    done = _run("", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux's")
def test_a_standard_output_that_is_full(server: FakeServer) -> None:
    done = _run("> /dev/full", *_SHORT, "-q", "-o", "-", f"127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert "Traceback" not in done.stderr
    assert server.files.texts == {}
