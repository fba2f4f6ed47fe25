"""What a reload reads: regular files only, and never nothing. A server that waits for a pipe serves nobody, and one
that takes an empty file for its configuration has dropped its rules of access."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest
from certificates import certificate, key
from operating import Operated, operated
from running import STTPD, Sttpd, fails

GUARDED = "read_only: true\naccess: [{who: 127.0.0.0/8, may: read}]"
KEPT = "everything is as it was"


def is_guarded(server: Sttpd) -> bool:
    """Whether it still answers, and still refuses what it was started to refuse."""
    with server.connect() as wire:
        return wire.ask(b"CREATE /stolen x").startswith(b"300")


def refused(server: Operated, why: str) -> None:
    server.send_signal(signal.SIGHUP)
    server.wait_for(why)
    server.wait_for(KEPT)
    assert is_guarded(server)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_file_that_is_empty_gone_or_a_pipe_keeps_the_old_settings(tmp_path: Path, processes: int) -> None:
    path = tmp_path / "sttpd.yaml"
    with operated(tmp_path, f"{GUARDED}\nprocesses: {processes}") as server:
        path.write_text("")
        refused(server, "sttpd.yaml: is empty")
        path.write_text("# read_only: true\n")
        refused(server, "sttpd.yaml: sets nothing")
        path.unlink()
        refused(server, "sttpd.yaml: cannot be read: No such file")
        os.mkfifo(path)
        refused(server, "sttpd.yaml: cannot be read: it is not a regular file")
        path.unlink()
        assert "cache.max_files is 7" in server.reload(f"{GUARDED}\nprocesses: {processes}\ncache: {{max_files: 7}}")


def test_a_configuration_from_a_pipe_is_taken_once_and_said_to_be(tmp_path: Path) -> None:
    """What the pipe held is gone when it is read again."""
    start = ["bash", "-c", 'exec "$0" "$@" -c <(cat sttpd.yaml)', *STTPD]
    with operated(tmp_path, GUARDED, start=start) as server:
        assert "/dev/fd/63 is not a regular file, so it cannot be reloaded" in server.log
        assert is_guarded(server)
        refused(server, "/dev/fd/63: cannot be read: ")


def test_a_pipe_that_brings_nothing_starts_nothing(tmp_path: Path) -> None:
    """As when the command that was to write the configuration has failed."""
    done = subprocess.run(
        ["bash", "-c", 'exec "$0" "$@" -c <(false)', *STTPD, "-p", "0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=10,
    )
    assert (done.returncode, done.stderr) == (78, "/dev/fd/63: cannot be read: nothing came from it\n")


def test_defaults_are_reloaded_as_before(tmp_path: Path) -> None:
    """Nothing is read where no file was named, and so nothing can be missing."""
    with operated(tmp_path, start=[*STTPD, "-p", "0", "-d", "files"]) as server:
        server.send_signal(signal.SIGHUP)
        server.wait_for("reloaded defaults: nothing has changed")


@pytest.mark.parametrize("name", ["certificate", "key", "client_ca"])
def test_a_pipe_in_the_place_of_a_certificate_freezes_nobody(tmp_path: Path, name: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    files = {"certificate": certificate("server"), "key": key("server")} | {name: pipe}
    tls = "tls: {port: 0, " + ", ".join(f"{key}: {file}" for key, file in files.items()) + "}"
    with operated(tmp_path, GUARDED) as server:
        server.configure(f"{GUARDED}\n{tls}")
        refused(server, f"cannot read the TLS {name} .*pipe: it is not a regular file")
    assert "it is not a regular file" in fails(["-c", "sttpd.yaml"], tmp_path, 78)
