"""One docroot, one sttpd (PROTOCOL.md section 4): a second one does not start, and says who serves it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from operating import Operated
from running import PATIENCE_SECONDS, STTPD, Start, Sttpd

PROCESSES = [1, 3]


def start_another(server: Sttpd, *arguments: str) -> tuple[int, str]:
    """The exit code and the last words of an sttpd on the docroot of `server`."""
    command = [*STTPD, "--docroot", str(server.docroot), "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False)
    return done.returncode, done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("others", PROCESSES)
def test_the_second_is_refused_and_told_who_serves(start: Start, processes: int, others: int) -> None:
    server = start("-o", f"processes={processes}")
    assert server.converse(b"CREATE /a 1\n") == b"100 /a CREATED\n"
    code, words = start_another(server, "-o", f"processes={others}")
    assert (code, words.endswith(f"it is served already, by process {server.pid}")) == (1, True), words
    assert server.converse(b"UPDATE /a 2\nSHOW /a\n") == b"200 /a OK\n2\n" * 2


@pytest.mark.parametrize("processes", PROCESSES)
def test_a_killed_one_leaves_nothing_that_blocks(start: Start, processes: int) -> None:
    """With several processes the parent alone is killed: its children end by themselves, and are waited for."""
    server = start("-o", f"processes={processes}")
    assert server.converse(b"CREATE /a 1\n") == b"100 /a CREATED\n"
    server.process.kill()
    server.process.wait()
    again = start("-o", f"processes={processes}")
    server.kill()
    assert again.converse(b"SHOW /a\n") == b"200 /a OK\n1\n"


_KEPT = """
import fcntl, os, sys
os.makedirs(sys.argv[1])
turn = os.open(sys.argv[1] + "/turn", os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(turn, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def turn_kept(docroot: Path) -> Iterator[subprocess.Popen[str]]:
    """Somebody who is no server has locked the docroot's turn, until he is killed or this ends."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-c", _KEPT, str(docroot / ".sttp")], stdin=pipe, stdout=pipe, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        try:
            yield holder
        finally:
            holder.kill()


@contextlib.contextmanager
def start_that_waits(folder: Path, holder: int, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """An sttpd on folder/docroot that has said that it waits for `holder`."""
    command = [*STTPD, "-d", "docroot", "--pid-file", "pid", *arguments]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as server:
        try:
            assert server.stderr is not None
            assert re.search(rf"process {holder} \(.*\) has the turn; waiting", server.stderr.readline())
            yield server
        finally:
            server.kill()


@pytest.mark.parametrize("processes", PROCESSES)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_waits_for_somebody_elses_lock_hears_signals(
    tmp_path: Path, processes: int, number: signal.Signals
) -> None:
    """It ends as a server does that was up already: what was asked for has been done, and nothing has failed."""
    with (
        turn_kept(tmp_path / "docroot") as holder,
        start_that_waits(tmp_path, holder.pid, "-p", "0", "-o", f"processes={processes}") as server,
    ):
        server.send_signal(number)
        _, words = server.communicate(timeout=PATIENCE_SECONDS)
        assert (server.returncode, "stop" in words) == (0, True), words
        assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_start_that_fails_says_why_whatever_signal_has_come_meanwhile(tmp_path: Path, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, turn_kept(tmp_path / "docroot") as holder:
        port = taken.getsockname()[1]
        with start_that_waits(tmp_path, holder.pid, "-p", str(port)) as server:
            server.send_signal(number)
            holder.kill()
            _, words = server.communicate(timeout=PATIENCE_SECONDS)
            last = words.strip().splitlines()[-1:]
            assert (server.returncode, last) == (
                1,
                [f"sttpd: cannot listen on 127.0.0.1:{port}: Address already in use"],
            )
            assert not (tmp_path / "pid").exists()


# With all of /proc hidden but the processes, as the unit has it (ProcSubset=pid).
_HIDDEN = 'mount -t proc -o subset=pid proc /proc && exec "$@"'


def test_processes_that_see_little_of_proc_undo_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hiding = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _HIDDEN, "sh"]
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("only root may hide /proc")
    if subprocess.run([*hiding, "true"], capture_output=True, check=False).returncode:
        pytest.skip("/proc cannot be hidden here")
    monkeypatch.setattr("operating.STTPD", [*hiding, *STTPD])
    server = Operated(tmp_path, "processes: 2")
    try:
        wires = [server.connect() for _ in range(12)]
        for number, wire in enumerate(wires):
            assert wire.ask(b"CREATE /%d old" % number) == b"100 /%d CREATED\n" % number
        (server.docroot / "0").write_text("an editor's")
        for number, wire in enumerate(wires[1:], 1):
            assert wire.ask(b"UPDATE /%d new" % number) == b"200 /%d OK\nnew\n" % number
        assert (server.docroot / "0").read_text() == "an editor's"
        for wire in wires:
            wire.close()
        server.process.kill()
        while server.read_log(PATIENCE_SECONDS):
            pass  # to its end
    finally:
        server.kill()
    assert "applying recorded changes again" not in server.log
