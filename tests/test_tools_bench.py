"""The benchmark's tools: the peers answer rightly, the load generators tell a wrong reply, the table is sane.

The figures themselves are nobody's business here: the machine that runs the tests is busy with the tests.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

TOOLS = Path(__file__).parent.parent / "tools"
PEERS = TOOLS / "peers"

pytestmark = [
    pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the tools need Linux's /proc"),
    pytest.mark.long,
]

needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="Go is not installed")
needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed")
needs_uvloop = pytest.mark.skipif(importlib.util.find_spec("uvloop") is None, reason="uvloop is not installed")


def bench_sh(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS / "bench.sh"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=25)


def bench_module(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module(f"bench.{name}")


# -- tools/bench.sh --


def test_help_from_any_directory(tmp_path: Path) -> None:
    done = bench_sh("--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert "Measure sttpd beside its peers" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["warm"], "there is no mode 'warm'; the modes are cached, "),
        (["--servers=sttpd,nginx"], "there is no 'nginx'; the servers are sttpd, "),
        (["--seconds=0"], "--seconds: expected a number from 0.05 to 60, got '0'"),
        (["--rounds=0"], "--rounds: expected a whole number, at least 1, got '0'"),
        (["--placement=here"], "--placement: expected apart, together or free, got 'here'"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    done = bench_sh(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr


@pytest.mark.parametrize("generator", [pytest.param("c", marks=needs_cc), "python"])
def test_a_short_run_prints_a_table(generator: str, tmp_path: Path) -> None:
    arguments = ["--seconds=0.2", "--rounds=1", "--servers=sttpd,asyncio", f"--generator={generator}"]
    done = bench_sh(*arguments, f"--work-dir={tmp_path}", "cached", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    title, _, rule, head, _, *rows = done.stdout.splitlines()[:8]
    assert title == "Cached SHOW, 50 connections, one request at a time on each"
    assert re.split(r"  +", head) == ["server", "CPU µs", "requests/s", "p50 µs", "p99 µs", "MB", "load"]
    assert set(rule) == {"=", " "}
    for row, server in zip(rows[:2], ("sttpd", "asyncio"), strict=True):
        name, *figures = row.split()
        cpu, rate, p50, p99, megabytes, load = (float(figure.replace(",", "").rstrip("%")) for figure in figures)
        assert name == server
        assert 0.1 < cpu < 10_000
        assert rate > 100
        assert 0 < p50 <= p99
        assert megabytes > 1
        assert load > 0
    assert "Medians of 1 x 0.2 s" in done.stdout
    assert list(tmp_path.iterdir()) == []  # nothing is left


def test_a_server_that_does_not_start_is_a_failure(tmp_path: Path) -> None:
    options = ["--seconds=0.05", "--rounds=1", "--servers=sttpd,streams", "--set=cache.max_files=0"]
    done = bench_sh(*options, "cached", cwd=tmp_path)
    assert done.returncode == 1
    assert "sttpd failed: it did not start: " in done.stderr
    assert "cache.max_files" in done.stderr
    assert "\nstreams " in done.stdout


def test_sigterm_stops_the_servers_and_removes_the_files(tmp_path: Path) -> None:
    command = [str(TOOLS / "bench.sh"), "--servers=streams", "--seconds=20", "--generator=python", "cached"]
    with subprocess.Popen(
        [*command, f"--work-dir={tmp_path}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_until(lambda: _pids_of(str(tmp_path)))
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 130
    assert list(tmp_path.iterdir()) == []
    wait_until(lambda: not _pids_of(str(tmp_path)))


def _pids_of(word: str) -> list[int]:
    """The peers whose command line mentions `word`."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            if word in command and "sttp_asyncio.py" in command:
                found.append(int(pid))
    return found


def wait_until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


# -- The table --


def test_the_table_is_aligned_and_restructured_text(monkeypatch: pytest.MonkeyPatch) -> None:
    table = bench_module(monkeypatch, "table")
    assert table.simple_table(["server", "x"], [["a", "1.00"], ["longer name", "-"]]).splitlines() == [
        "===========  ====",
        "server          x",
        "===========  ====",
        "a            1.00",
        "longer name     -",
        "===========  ====",
    ]


def _measured(
    monkeypatch: pytest.MonkeyPatch, server: str, cpu_us: list[float], idle_bytes: float | None = None
) -> Any:
    modes, run, generator = (bench_module(monkeypatch, name) for name in ("modes", "run", "generator"))
    runs = [generator.Run(1000, 0.5, each * 1e-3, 0.1, 100.0, 200.0, 300.0) for each in cpu_us]
    return run.Measured(modes.Row(server), runs, 10_000_000, idle_bytes)


def test_figures_are_medians_and_ratios_are_to_the_row_named(monkeypatch: pytest.MonkeyPatch) -> None:
    table, modes = bench_module(monkeypatch, "table"), bench_module(monkeypatch, "modes")
    mode = modes.Mode("m", "M", (), (("cpu", "go"), ("rate", "go"), ("cpu", "floor")))
    measured = [_measured(monkeypatch, "sttpd", [9.0, 5.0, 6.0]), _measured(monkeypatch, "go", [4.0])]
    lines = [re.split(r"  +", line) for line in table.render(mode, measured).splitlines()]
    assert lines[1] == ["server", "CPU µs", "x go", "rate x go", "requests/s", "p50 µs", "p99 µs", "MB", "load"]
    assert lines[3] == ["sttpd", "6.00", "1.50", "1.00", "2,000", "100", "200", "10.0", "20%"]
    assert lines[4] == ["go", "4.00", "1.00", "1.00", "2,000", "100", "200", "10.0", "20%"]


def test_targets_are_met_or_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    table, modes = bench_module(monkeypatch, "table"), bench_module(monkeypatch, "modes")
    targets = (
        modes.Target("sttpd", "cpu", 1.5, "go"),
        modes.Target("sttpd", "cpu", 1.49, "go"),
        modes.Target("sttpd", "rate", 1.1, "go", is_least=True),
        modes.Target("sttpd", "memory", 3072),
        modes.Target("sttpd", "cpu", 1.0, "uvloop"),  # which is not there
    )
    mode = modes.Mode("m", "M", (), (), targets)
    measured = [_measured(monkeypatch, "sttpd", [6.0], 2999.6), _measured(monkeypatch, "go", [4.0])]
    assert table.targets(mode, measured) == [
        "sttpd: CPU 1.50 x go, target at most 1.5: met",
        "sttpd: CPU 1.50 x go, target at most 1.49: MISSED",
        "sttpd: rate 1.00 x go, target at least 1.1: MISSED",
        "sttpd: memory of an idle connection 3,000 bytes, target at most 3,072: met",
    ]


def test_every_target_and_ratio_names_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in bench_module(monkeypatch, "modes").make_modes(50_000).values():
        names = {row.name for row in mode.rows}
        assert {target.row for target in mode.targets} <= names
        assert {target.base for target in mode.targets if target.base} <= names
        assert {row.against for row in mode.rows if row.against} <= names
        assert len(names) == len(mode.rows)


# -- The peers --


@pytest.fixture
def docroot(tmp_path: Path) -> Path:
    folder = tmp_path / "docroot"
    (folder / "notes").mkdir(parents=True)
    (folder / "notes" / "milk.txt").write_text("Buy milk")
    (folder / "notes" / "tea.txt").write_text("Drink tea\n")
    return folder


@contextlib.contextmanager
def running(command: list[str]) -> Iterator[socket.socket]:
    """A connection to a server started with `command`, in which PORT stands for its port."""
    port = free_port()
    words = [str(port) if word == "PORT" else word for word in command]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    with subprocess.Popen(words, env=environment) as process:
        try:
            with _connected(port, process) as sock:
                yield sock
        finally:
            process.terminate()


def _connected(port: int, process: subprocess.Popen[bytes]) -> socket.socket:
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 10)
        except ConnectionRefusedError:
            assert process.poll() is None, "the server has ended"
            assert time.monotonic() < deadline, "the server does not listen"
            time.sleep(0.02)


def ask(sock: socket.socket, requests: bytes, lines: int) -> bytes:
    sock.sendall(requests)
    received = b""
    while received.count(b"\n") < lines:
        piece = sock.recv(65536)
        assert piece, f"closed after {received!r}"
        received += piece
    return received


@pytest.fixture(scope="module")
def sttp_go(tmp_path_factory: pytest.TempPathFactory) -> str:
    program = tmp_path_factory.mktemp("go") / "sttp_go"
    subprocess.run(["go", "build", "-o", str(program), str(PEERS / "sttp_go.go")], check=True, timeout=25)
    return str(program)


def _peer(name: str, request: pytest.FixtureRequest, *, is_cached: bool) -> list[str]:
    if name == "go":
        return [request.getfixturevalue("sttp_go"), f"-cache={str(is_cached).lower()}"]
    script = "sttp_threads.py" if name == "threads" else "sttp_asyncio.py"
    style = [] if name == "threads" else [name]
    return [sys.executable, str(PEERS / script), *([] if is_cached else ["--no-cache"]), *style]


PEER_NAMES = [
    "streams",
    "protocol",
    pytest.param("uvloop", marks=needs_uvloop),
    "threads",
    pytest.param("go", marks=needs_go),
]


@pytest.mark.parametrize("name", PEER_NAMES)
def test_peers_answer_rightly(name: str, docroot: Path, request: pytest.FixtureRequest) -> None:
    with running([*_peer(name, request, is_cached=True), "PORT", str(docroot)]) as sock:
        for _ in range(2):  # from the disk, from the cache
            assert ask(sock, b"SHOW /notes/milk.txt\n", 2) == b"200 /notes/milk.txt OK\nBuy milk\n"
        assert ask(sock, b"SHOW /notes/no.txt\n", 1) == b"400 /notes/no.txt NOT FOUND\n"
        assert ask(sock, b"SHOW /notes/../milk.txt\n", 1).startswith(b"300 /notes/../milk.txt CLIENT ERROR ")
        assert ask(sock, b"show /notes/milk.txt\n", 1).startswith(b"300 - CLIENT ERROR ")
        both = b"200 /notes/tea.txt OK\nDrink tea\n200 /notes/milk.txt OK\nBuy milk\n"
        assert ask(sock, b"SHOW /notes/tea.txt\nSHOW /notes/milk.txt\n", 4) == both
        sock.sendall(b"SHOW /notes/mi")
        assert ask(sock, b"lk.txt\r\n", 2) == b"200 /notes/milk.txt OK\nBuy milk\n"


@pytest.mark.parametrize("name", PEER_NAMES)
def test_peers_have_a_cache_that_can_be_off(name: str, docroot: Path, request: pytest.FixtureRequest) -> None:
    for is_cached, shown in ((True, b"Buy milk"), (False, b"Buy tea")):
        (docroot / "notes" / "milk.txt").write_text("Buy milk")
        with running([*_peer(name, request, is_cached=is_cached), "PORT", str(docroot)]) as sock:
            assert ask(sock, b"SHOW /notes/milk.txt\n", 2) == b"200 /notes/milk.txt OK\nBuy milk\n"
            (docroot / "notes" / "milk.txt").write_text("Buy tea")
            assert ask(sock, b"SHOW /notes/milk.txt\n", 2) == b"200 /notes/milk.txt OK\n%b\n" % shown


@needs_go
def test_the_go_peer_updates(docroot: Path, sttp_go: str) -> None:
    with running([sttp_go, "PORT", str(docroot)]) as sock:
        assert ask(sock, b"SHOW /notes/milk.txt\n", 2) == b"200 /notes/milk.txt OK\nBuy milk\n"
        updated = b"200 /notes/milk.txt OK\nBuy oat milk\n"
        assert ask(sock, b'UPDATE /notes/milk.txt "Buy oat milk"\n', 2) == updated
        assert ask(sock, b"SHOW /notes/milk.txt\n", 2) == updated
        assert ask(sock, b"UPDATE /notes/no.txt x\n", 1) == b"400 /notes/no.txt NOT FOUND\n"
    assert (docroot / "notes" / "milk.txt").read_text() == "Buy oat milk"
    assert sorted(each.name for each in (docroot / "notes").iterdir()) == ["milk.txt", "tea.txt"]


@needs_cc
def test_the_floor_says_what_the_scripts_expect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = bench_module(monkeypatch, "docroot").FLOOR_REPLY
    program = _compiled(PEERS / "floor.c", tmp_path)
    with running([program, "PORT"]) as sock:
        assert ask(sock, b"SHOW /snippets/snippet_1.txt\n" * 3, 6) == reply * 3


def test_the_slow_disk_is_slow_and_the_rest_is_not(docroot: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_seconds = bench_module(monkeypatch, "slow_sttpd").READ_SECONDS
    (docroot / "slow").mkdir()
    (docroot / "slow" / "a.txt").write_text("at last")
    with running([sys.executable, "-m", "bench.slow_sttpd", "-q", "--port", "PORT", "--docroot", str(docroot)]) as sock:
        began = time.monotonic()
        assert ask(sock, b"SHOW /slow/a.txt\n", 2) == b"200 /slow/a.txt OK\nat last\n"
        assert time.monotonic() - began >= read_seconds
        quickest = min(_seconds_of(sock, b"SHOW /notes/milk.txt\n") for _ in range(20))
        assert quickest < read_seconds


def _seconds_of(sock: socket.socket, request: bytes) -> float:
    began = time.monotonic()
    ask(sock, request, 2)
    return time.monotonic() - began


# -- The load generators --


def _compiled(source: Path, folder: Path) -> str:
    program = folder / source.stem
    command = ["cc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(program), str(source)]
    subprocess.run(command, check=True, timeout=25)
    return str(program)


@pytest.fixture(params=[pytest.param("c", marks=needs_cc), "python"])
def generator(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    if request.param == "c":
        return [_compiled(TOOLS / "bench" / "loadgen.c", tmp_path)]
    return [sys.executable, "-m", "bench.pyload"]


def _load(generator: list[str], sock: socket.socket, script: Path, *options: str) -> subprocess.CompletedProcess[str]:
    port = str(sock.getpeername()[1])
    command = [*generator, "-d", "0.2", "-c", "3", *options, port, str(script)]
    environment = {**os.environ, "PYTHONPATH": str(TOOLS)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=25)


@pytest.mark.parametrize("pipeline", [1, 5])
def test_a_generator_measures(generator: list[str], pipeline: int, docroot: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(
        b"SHOW /notes/milk.txt\n200 /notes/milk.txt OK\nBuy milk\nSHOW /notes/no.txt\n400 /notes/no.txt NOT FOUND\n"
    )
    peer = [sys.executable, str(PEERS / "sttp_asyncio.py"), "protocol", "PORT", str(docroot)]
    with running(peer) as sock:
        done = _load(generator, sock, script, "-w", "0.05", "-P", str(pipeline), "-p", str(os.getpid()))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["requests"] > 10
    assert 0.19 < result["seconds"] < 5
    assert 0 < result["p50"] <= result["p99"] <= result["p999"]
    assert result["generator_cpu"] > 0
    assert result["server_cpu"] >= 0  # ours: we only wait


def test_a_generator_reports_a_wrong_reply(generator: list[str], docroot: Path, tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_bytes(b"SHOW /notes/milk.txt\n200 /notes/milk.txt OK\nBuy silk\n")
    peer = [sys.executable, str(PEERS / "sttp_asyncio.py"), "protocol", "PORT", str(docroot)]
    with running(peer) as sock:
        done = _load(generator, sock, script)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "SHOW /notes/milk.txt" in done.stderr
    assert "Buy silk" in done.stderr


# -- tools/microbench.py --


def test_microbench_measures_three_things(tmp_path: Path) -> None:
    command = [sys.executable, str(TOOLS / "microbench.py"), "--rounds=1", "--connections=5"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=25)
    assert done.returncode == 0, done.stderr
    rows = [re.fullmatch(r"(.+?) +([\d.]+) us", line) for line in done.stdout.splitlines()]
    assert [row and row[1] for row in rows] == ["cached SHOW", "cached SHOW, 16 pipelined", "uncached SHOW"]
    assert all(row and 0 < float(row[2]) < 100_000 for row in rows)
