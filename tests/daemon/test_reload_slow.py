"""A reload whose files or names take their time: everybody is answered, and SIGTERM heard; at a start, too."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import certificate, key
from operating import Operated, operated
from running import PATIENCE_SECONDS

# sttpd where, once the file `slow` is there, a name is looked up, and the file named by the argument is opened, only
# when somebody has written to the pipe `pipe`: as with a resolver or a network's disk that does not answer.
SLOW = """
import os, socket, sys
what, *arguments = sys.argv[1:]
os_open, getaddrinfo = os.open, socket.getaddrinfo

def wait():
    if os.path.exists("slow"):
        with open("pipe", "rb") as pipe:
            pipe.read()

def slow_open(path, *rest, **options):
    if isinstance(path, (str, os.PathLike)) and os.fspath(path).endswith(what):
        wait()
    return os_open(path, *rest, **options)

def slow_getaddrinfo(host, *rest, **options):
    if host == what:
        wait()
        host = "127.0.0.1"
    return getaddrinfo(host, *rest, **options)

os.open, socket.getaddrinfo = slow_open, slow_getaddrinfo
from sttp_reactor.cli.sttpd import main
sys.exit(main(arguments))
"""

# What is slow, and the configuration after which it is asked.
CASES = {
    "resolver": ("slow.example", "listen_address: [127.0.0.1, slow.example]\n"),
    "configuration": ("sttpd.yaml", "cache: {max_files: 7}\n"),
    "certificate": ("server.pem", f"tls: {{certificate: {certificate('server')}, key: {key('server')}, port: 0}}\n"),
}


@contextlib.contextmanager
def slow_server(folder: Path, processes: int, what: str) -> Iterator[Operated]:
    os.mkfifo(folder / "pipe")
    start = [sys.executable, "-c", SLOW, what, "-c", "sttpd.yaml"]
    with operated(folder, f"processes: {processes}\n", start=start) as server:
        (folder / "slow").touch()
        yield server


@pytest.mark.parametrize(
    ("case", "processes"),
    [*((case, 1) for case in CASES), ("certificate", 2), pytest.param("resolver", 2, marks=pytest.mark.long)],
)
def test_everybody_is_answered_meanwhile(tmp_path: Path, case: str, processes: int) -> None:
    what, text = CASES[case]
    with slow_server(tmp_path, processes, what) as server, server.connect() as wire:
        server.configure(f"processes: {processes}\n{text}")
        server.send_signal(signal.SIGHUP)
        end = os.open(tmp_path / "pipe", os.O_WRONLY)  # returns when somebody waits for us
        for _ in range(10):
            assert wire.ask(b"LIST /") == b"200 / OK\n\n"
        with server.connect() as another:
            assert another.ask(b"LIST /") == b"200 / OK\n\n"
        assert "reloaded" not in server.log
        (tmp_path / "slow").unlink()
        os.close(end)
        log = server.wait_for("reloaded sttpd.yaml: .*")[0]
        assert "nothing has changed" not in log
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"


@pytest.mark.parametrize("processes", [1, 2])
def test_sigterm_is_heard_and_nothing_is_waited_for(tmp_path: Path, processes: int) -> None:
    with slow_server(tmp_path, processes, "slow.example") as server, server.connect() as wire:
        wire.ask(b"LIST /")
        server.configure(f"processes: {processes}\nlisten_address: [127.0.0.1, slow.example]\n")
        server.send_signal(signal.SIGHUP)
        end = os.open(tmp_path / "pipe", os.O_WRONLY)
        wire.close()
        server.stop()
        os.close(end)
    assert "reloaded" not in server.log


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("case", ["resolver", "certificate"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_start_that_waits_for_them_is_stopped(
    tmp_path: Path, case: str, processes: int, number: signal.Signals
) -> None:
    what, text = CASES[case]
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "slow").touch()
    (tmp_path / "sttpd.yaml").write_text(f"port: 0\ndocroot: files\nprocesses: {processes}\n{text}")
    command = [sys.executable, "-c", SLOW, what, "-c", "sttpd.yaml", "--pid-file", "pid"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            end = os.open(tmp_path / "pipe", os.O_WRONLY)  # returns when it waits for us
            server.send_signal(number)
            _, log = server.communicate(timeout=PATIENCE_SECONDS)
            os.close(end)
            assert (server.returncode, "stopped before it was ready: told to stop, while the" in log) == (0, True), log
            assert not (tmp_path / "pid").exists()
        finally:
            server.kill()


def test_a_second_reload_meanwhile_follows(tmp_path: Path) -> None:
    with slow_server(tmp_path, 1, "sttpd.yaml") as server:
        server.configure("cache: {max_files: 7}\n")
        server.send_signal(signal.SIGHUP)
        end = os.open(tmp_path / "pipe", os.O_WRONLY)
        server.send_signal(signal.SIGHUP)
        server.wait_for("a reload is still under way")
        (tmp_path / "slow").unlink()
        os.close(end)
        server.wait_for("cache.max_files is 7")
        server.wait_for("reloaded sttpd.yaml: nothing has changed")


def test_a_process_that_dies_meanwhile_is_replaced(tmp_path: Path) -> None:
    """Though the reload never ends."""
    with slow_server(tmp_path, 2, "slow.example") as server:
        server.configure("processes: 2\nlisten_address: [127.0.0.1, slow.example]\n")
        server.send_signal(signal.SIGHUP)
        end = os.open(tmp_path / "pipe", os.O_WRONLY)
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        server.wait_for(r"process \d serves again")
        os.close(end)
        server.wait_for("reloaded")
