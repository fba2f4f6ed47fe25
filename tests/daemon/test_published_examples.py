"""The examples of the published text, typed into a shell, with the netcats people have: each returns at once."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from running import Stopwatch, Sttpd

# Long before any time limit of the server's, and not so short that a busy machine fails.
AT_ONCE_SECONDS = 1.5


@pytest.fixture(params=["nc.openbsd", "nc.traditional"])
def nc(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    return name


def shell(command: str) -> bytes:
    with Stopwatch() as watch:
        done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, timeout=10)
    assert done.stderr == b""
    assert watch.seconds < AT_ONCE_SECONDS, f"{command} took {watch.seconds:.1f} s"
    return done.stdout


def test_echo_into_netcat(server: Sttpd, nc: str) -> None:
    def echo(request: str) -> bytes:
        return shell(f"echo -e '{request}\\n' | {nc} 127.0.0.1 {server.port}")

    path = f"/{nc}/todo"
    name = path.encode()
    assert echo(f'CREATE {path} "Buy milk"') == b"100 %b CREATED\n" % name
    assert echo(f"SHOW {path}") == b"200 %b OK\nBuy milk\n" % name
    assert echo(f'UPDATE {path} "Buy bread"') == b"200 %b OK\nBuy bread\n" % name
    assert echo(f"SHOW {path}") == b"200 %b OK\nBuy bread\n" % name
    assert echo(f"LIST /{nc}/") == b"200 /%b/ OK\ntodo\n" % nc.encode()
    assert echo(f"DELETE {path}") == b"600 %b DELETED\n" % name
    assert echo(f"SHOW {path}") == b"400 %b NOT FOUND\n" % name
    assert echo("SHOW /invalidpath/todo") == b"410 /invalidpath/ PATH NOT FOUND\n"
    assert re.fullmatch(rb'300 /a CLIENT ERROR "[^"]*Did you mean SHOW\?[^"]*"\n', echo("show /a"))


def test_several_requests_in_one_echo(server: Sttpd, nc: str) -> None:
    path = f"/several/{nc}"
    name = path.encode()
    script = f"CREATE {path} one\\nUPDATE {path} two\\nSHOW {path}\\n"
    replies = shell(f"echo -e '{script}' | {nc} 127.0.0.1 {server.port}")
    assert replies == b"100 %b CREATED\n" % name + b"200 %b OK\ntwo\n" % name * 2


@pytest.mark.skipif(shutil.which("nc.openbsd") is None, reason="nc.openbsd, which can half-close, is not installed")
def test_a_netcat_that_half_closes(server: Sttpd) -> None:
    replies = shell(f"printf 'LIST /none/\\nSHOW /cut' | nc.openbsd -N 127.0.0.1 {server.port}")
    assert re.fullmatch(rb'400 /none/ NOT FOUND\n300 - CLIENT ERROR "[^"]+"\n', replies)


def test_windows_line_ends(server: Sttpd, nc: str) -> None:
    replies = shell(f"printf 'LIST /none/\\r\\n\\r\\n' | {nc} 127.0.0.1 {server.port}")
    assert replies == b"400 /none/ NOT FOUND\n"
