"""`-t` finds what would keep a start from succeeding, without binding or making anything; and such a start exits 78."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from certificates import certificate, key
from operating import operated
from running import STTPD, fails


def files_below(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run([*STTPD, *arguments], cwd=folder, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stderr


# What the folder of the test has: a file `file`, a pipe `pipe` that nobody reads, and certificates elsewhere.
UNFIT = {
    "certificate": (
        ["tls.certificate=gone.pem", f"tls.key={key('server')}"],
        "cannot read the TLS certificate .*/gone.pem: No",
    ),
    "key": ([f"tls.certificate={certificate('server')}", "tls.key=file"], "the TLS key .*/file is not a private key"),
    "docroot is a file": (["docroot=file"], "docroot .*/file: this is not a directory"),
    "docroot below a file": (["docroot=file/files"], "docroot .*/file/files: .*ot a directory"),
    "log directory": (["log.access=gone/log"], "access log .*/gone/log: No such file or directory"),
    "log is a pipe": (["log.access=pipe"], "access log .*/pipe: it is a pipe that nobody reads"),
    "name": (["listen_address=no-such-name.invalid"], "no-such-name.invalid: "),
}


@pytest.mark.parametrize("unfit", UNFIT)
def test_what_a_start_would_not_find_fit_is_found(tmp_path: Path, unfit: str) -> None:
    (tmp_path / "file").write_text("x")
    os.mkfifo(tmp_path / "pipe")
    options, said = UNFIT[unfit]
    arguments = ["-p", "0", *(word for option in options for word in ("-o", option))]
    if "docroot" not in unfit:
        arguments += ["-d", "files"]
    before = files_below(tmp_path)
    code, checked = run(tmp_path, "-t", *arguments)
    assert re.fullmatch(f"sttpd: {said}.*\n", checked)
    assert files_below(tmp_path) == before
    if unfit == "name":
        assert code in (1, 78)  # where there is no network at all, it may be back when sttpd starts
        return
    assert code == 78
    for processes in ("1", "2"):
        started = fails([*arguments, "-o", f"processes={processes}"], tmp_path, 78)
        assert re.search(said, started)


def test_all_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    code, checked = run(tmp_path, "-t", "-d", "file", "-o", "log.access=gone/log", "-q")
    assert (code, [line.rpartition(": ")[2] for line in checked.splitlines()]) == (
        78,
        ["this is not a directory", "No such file or directory"],
    )


def test_what_is_fit_is_said_to_be_and_nothing_is_made(tmp_path: Path) -> None:
    """The docroot and the log are still to be made; the port is in use, by the server that the file is for."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        arguments = ["-t", "-p", str(taken.getsockname()[1]), "-d", "new/files", "-o", "log.access=log"]
        assert run(tmp_path, *arguments) == (0, "sttpd: the configuration (defaults) is valid\n")
    assert files_below(tmp_path) == []


def test_a_docroot_that_is_served_is_fit_for_its_own_server(tmp_path: Path) -> None:
    with operated(tmp_path, "log: {access: log}"):
        before = files_below(tmp_path)
        assert run(tmp_path, "-t", "-c", "sttpd.yaml", "-q") == (0, "")
        assert files_below(tmp_path) == before


# sttpd where the extra `http` is not installed.
WITHOUT_HTTP = """
import sys
sys.modules["httptools"] = None
from sttp_reactor.cli.sttpd import main
sys.exit(main())
"""


@pytest.mark.parametrize("arguments", [["-t"], ["-o", "processes=1"], ["-o", "processes=2"]])
def test_an_extra_that_is_not_installed_is_found(tmp_path: Path, arguments: list[str]) -> None:
    command = [sys.executable, "-c", WITHOUT_HTTP, *arguments, "-p", "0", "-d", "files", "-o", "http.enabled=true"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20)
    assert done.stderr == "sttpd: http.enabled needs the package httptools: pip install 'sttp_reactor[http]'\n"
    assert done.returncode == 78
