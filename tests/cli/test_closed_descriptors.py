"""Descriptors 0 to 2 that are closed at the start: no socket takes their numbers, no message ends among the data."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sttp_reactor.client import Client

PATIENCE_SECONDS = 10.0


def closing(*numbers: int) -> str:
    return " ".join({0: "<&-", 1: ">&-", 2: "2>&-"}[number] for number in numbers)


def command(name: str) -> str:
    return f"{shlex.quote(sys.executable)} -m sttp_reactor.cli.{name}"


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="there is no /proc")
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_sttpd_holds_their_numbers(closed: tuple[int, ...], tmp_path: Path) -> None:
    arguments = "-a sock -d files --pid-file pid".replace("sock", f"{tmp_path}/sock")
    line = f"exec {command('sttpd')} {arguments} {closing(*closed)}"
    streams = {name: subprocess.DEVNULL if number == 0 else subprocess.PIPE for number, name in enumerate(STREAMS)}
    with subprocess.Popen(["/bin/sh", "-c", line], cwd=tmp_path, **streams) as server:  # type: ignore[call-overload]
        try:
            with Client(f"{tmp_path}/sock", retries=50) as client:
                client.create("/a", "Buy milk")
                assert client.show("/a") == "Buy milk"
                leads_to = [os.readlink(f"/proc/{server.pid}/fd/{number}") for number in range(3)]
            assert [leads_to[number] for number in closed] == [os.devnull] * len(closed)
            assert not [name for name in leads_to if name.startswith(("socket:", "anon_inode:"))]
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(PATIENCE_SECONDS)
        assert server.returncode == 0


STREAMS = ("stdin", "stdout", "stderr")


@pytest.mark.parametrize(
    ("arguments", "code"), [("-p 1 show /a", 7), ("show '/a b'", 2), ("shwo /a", 2), ("-v -p 1 show /a", 7)]
)
def test_what_sttpc_has_to_say_does_not_end_among_the_data(arguments: str, code: int, tmp_path: Path) -> None:
    line = f"{command('sttpc')} {arguments} 2>&- >data"
    done = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, timeout=PATIENCE_SECONDS, check=False)
    assert (done.returncode, (tmp_path / "data").read_text()) == (code, "")


@pytest.mark.parametrize("name", ["sttpd", "sttpc", "sttpbench"])
def test_help_that_cannot_be_printed_is_a_failure(name: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f"{command(name)} --help >&-"], capture_output=True, text=True, timeout=10, check=False
    )
    assert done.returncode == 1
    assert re.fullmatch(r"\S+: cannot write to standard output: it is closed\n", done.stderr)
