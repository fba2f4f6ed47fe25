"""SIGUSR1 and SIGUSR2, and what the log says of limits that are hit: once, whatever happens how often."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from operating import Operated, operated
from running import PATIENCE_SECONDS, STTPD, Wire, fails

from sttp_reactor.limits import RELOAD_PAUSE_SECONDS


@pytest.fixture(params=[1, 2], ids=["alone", "two processes"])
def processes(request: pytest.FixtureRequest) -> int:
    count: int = request.param
    return count


def children_of(server: Operated) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


@contextlib.contextmanager
def asked(server: Operated, processes: int, line: bytes) -> Iterator[list[Wire]]:
    """Connections that have asked once: where there are several processes, enough to have reached each."""
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(server.connect()) for _ in range(1 if processes == 1 else 16)]
        for wire in wires:
            wire.ask(line)
        yield wires


def test_usr1_goes_on_in_a_new_file(tmp_path: Path, processes: int) -> None:
    with operated(tmp_path, f"processes: {processes}\nlog: {{access: access.log}}") as server:
        with asked(server, processes, b"SHOW /before") as wires:
            (tmp_path / "access.log").rename(tmp_path / "access.log.1")
            for wire in wires:
                wire.ask(b"SHOW /between")
            server.send_signal(signal.SIGUSR1)
            for _ in range(processes):
                server.wait_for("access log .*/access.log: opened anew")
            for wire in wires:
                wire.ask(b"SHOW /after")
        server.stop()

        def paths_in(name: str) -> list[str]:
            return [line.split(" ")[3] for line in (tmp_path / name).read_text().splitlines()]

        count = len(wires)
        assert sorted(paths_in("access.log.1")) == ["/before"] * count + ["/between"] * count
        assert paths_in("access.log") == ["/after"] * count


def test_usr1_does_not_say_that_a_file_was_opened_where_it_was_not(tmp_path: Path, processes: int) -> None:
    with operated(tmp_path, f"processes: {processes}\nlog: {{access: access.log}}") as server:
        (tmp_path / "access.log").rename(tmp_path / "access.log.1")
        (tmp_path / "access.log").mkdir()
        server.send_signal(signal.SIGUSR1)
        for _ in range(processes):
            server.wait_for("access log .*/access.log: Is a directory; going on in the old file")
        assert "anew" not in server.log
        server.reload(f"processes: {processes}")
        server.send_signal(signal.SIGUSR1)
        for _ in range(processes):
            server.wait_for("there is no access log to open anew")


def test_usr2_shows_at_every_level_and_is_one_object_in_json(tmp_path: Path) -> None:
    with operated(tmp_path, "log: {format: json}") as server:
        server.configure("log: {format: json, level: critical}")
        server.send_signal(signal.SIGHUP)
        mark = len(server.log)
        server.send_signal(signal.SIGUSR2)
        server.wait_for("the state of the server")
        lines = server.log[mark:].splitlines()
        entry = json.loads(lines[-1])
        assert (entry["level"], entry["message"]) == ("info", "the state of the server:")
        assert any(line.startswith("sttpd ") for line in entry["details"])


def test_one_process_of_several_can_be_asked_alone(tmp_path: Path) -> None:
    """Such as the one that is busy, while another one is stuck."""
    with operated(tmp_path, "processes: 2") as server:
        stuck, well = children_of(server)
        os.kill(stuck, signal.SIGSTOP)
        try:
            os.kill(well, signal.SIGUSR2)
            server.wait_for(rf"thread MainThread of process {well}:")
        finally:
            os.kill(stuck, signal.SIGCONT)


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGTERM,
        signal.SIGUSR1,
        *(pytest.param(each, marks=pytest.mark.long) for each in (signal.SIGHUP, signal.SIGUSR2, signal.SIGINT)),
    ],
)
def test_signals_that_come_until_the_end_change_nothing_about_it(
    tmp_path: Path, processes: int, number: signal.Signals
) -> None:
    """Such as a log rotation's while it stops, or an impatient operator's."""
    with operated(tmp_path, f"processes: {processes}", "--pid-file", str(tmp_path / "pid")) as server:
        for _ in range(10):
            if number not in (signal.SIGTERM, signal.SIGINT):
                server.send_signal(number)
        server.send_signal(signal.SIGTERM)
        while server.process.poll() is None:
            server.send_signal(number)
            server.read_log(0)
        server.ends()
        assert server.log.endswith(": stopped\n")
        assert not (tmp_path / "pid").exists()


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM])
def test_signals_are_heard_from_the_first_instant(tmp_path: Path, processes: int, number: signal.Signals) -> None:
    """Whoever waits for the pid file may send one as soon as it is there."""
    pid_file = tmp_path / "pid"
    arguments = ["-a", "127.0.0.1", "-p", "0", "-d", "files", "-o", f"processes={processes}", "--pid-file", "pid"]
    with subprocess.Popen([*STTPD, *arguments], cwd=tmp_path, stderr=subprocess.PIPE, text=True) as server:
        try:
            while not pid_file.exists():
                assert server.poll() is None
            server.send_signal(number)
            if number != signal.SIGTERM:
                assert server.stderr is not None
                while "ready: listening" not in (line := server.stderr.readline()):
                    assert line, f"it ended with {server.wait()}"
                server.terminate()
            assert server.wait(PATIENCE_SECONDS) == 0
            assert not pid_file.exists()
        finally:
            server.kill()


def wait_until_it_listens(path: Path, server: subprocess.Popen[bytes]) -> None:
    """Which it cannot say."""
    while True:
        with socket.socket(socket.AF_UNIX) as probe:
            if probe.connect_ex(str(path)) == 0:
                return
        assert server.poll() is None
        time.sleep(0.01)


def test_without_standard_error_it_serves_all_the_same(tmp_path: Path, processes: int) -> None:
    """`2>&-`: there is nobody to tell anything."""
    path, flags = tmp_path / "socket", ["-d", "files", "-o", f"processes={processes}"]
    with subprocess.Popen(
        [*STTPD, "-a", str(path), *flags], cwd=tmp_path, stdin=subprocess.DEVNULL, preexec_fn=lambda: os.close(2)
    ) as server:
        try:
            wait_until_it_listens(path, server)
            with Wire(str(path)) as wire:
                assert wire.ask(b"CREATE /a x") == b"100 /a CREATED\n"
                for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                    server.send_signal(number)
                assert wire.ask(b"SHOW /a") == b"200 /a OK\nx\n"
            server.terminate()
            assert server.wait(PATIENCE_SECONDS) == 0
        finally:
            server.kill()


# -- Storms --


def test_a_storm_of_reloads_is_a_few(tmp_path: Path, processes: int) -> None:
    """And the last one comes after the last signal, so that what was changed before it is in force."""
    other = tmp_path / "other.yaml"
    other.write_text(f"processes: {processes}\ncache: {{max_files: 7}}\ndocroot: files\nport: 0\n")
    with operated(tmp_path, f"processes: {processes}") as server, server.connect() as wire:
        began = time.monotonic()
        for number in range(1500):
            if number == 1400:
                other.rename(tmp_path / "sttpd.yaml")  # in one piece: somebody reads it all the time
            server.send_signal(signal.SIGHUP)
            if number % 10 == 0:
                assert wire.ask(b"LIST /") == b"200 / OK\n\n"
        server.wait_for(r"reloaded .*cache.max_files is 7 \(was 100\)")
        elapsed = time.monotonic() - began
        assert server.log.count("reloaded ") <= elapsed / RELOAD_PAUSE_SECONDS + 2
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"


# -- A process that dies --


def kill(server: Operated, pids: list[int]) -> None:
    """And wait for others in their place."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for _ in pids:
        server.wait_for(r"process \d serves again")


@pytest.mark.long
def test_connections_die_with_their_process(tmp_path: Path) -> None:
    """In the count of all of them, too."""
    with operated(tmp_path, "processes: 2\nlimits: {max_connections: 1}") as server:
        with server.connect() as wire:
            assert wire.ask(b"LIST /") == b"200 / OK\n\n"
            kill(server, children_of(server))
        with server.connect() as wire:
            assert wire.ask(b"LIST /") == b"200 / OK\n\n"


@pytest.mark.long
def test_what_a_process_may_have_written_before_it_died_is_read_anew(tmp_path: Path) -> None:
    """It may not have lived to say so."""
    with operated(tmp_path, "processes: 2") as server, asked(server, 2, b"CREATE /a old") as wires:
        assert {wire.ask(b"SHOW /a") for wire in wires} == {b"200 /a OK\nold\n"}
        (server.docroot / "a").write_text("new")
        assert {wire.ask(b"SHOW /a") for wire in wires} == {b"200 /a OK\nold\n"}, "it is cached"
        kill(server, children_of(server)[:1])
        shown = []
        for wire in wires:
            with contextlib.suppress(OSError, AssertionError):  # of the one that died
                shown.append(wire.ask(b"SHOW /a"))
        assert set(shown) == {b"200 /a OK\nnew\n"}


# -- Limits that are hit --


def test_a_full_server_says_so_once(tmp_path: Path) -> None:
    with operated(tmp_path, "limits: {max_connections: 1}") as server, server.connect() as wire:
        wire.ask(b"LIST /")
        for _ in range(20):
            with server.connect() as refused:
                assert refused.rest().startswith(b"500")
        wire.close()
        server.stop()
        said = [line.partition(": ")[2] for line in server.log.splitlines() if "max_connections" in line]
        first = "limits.max_connections (1) is reached; refusing connections"
        assert said == [first, f"{first} (19 more times within 60 s)"]


def test_slow_peers_are_told_of_once(tmp_path: Path) -> None:
    with operated(tmp_path, "limits: {request_timeout: 50ms, idle_timeout: 100ms}") as server:
        with contextlib.ExitStack() as stack:
            wires = [stack.enter_context(server.connect()) for _ in range(10)]
            for wire in wires[:5]:
                wire.send(b"SHOW ")
            for wire in wires:
                wire.rest()
        server.send_signal(signal.SIGUSR2)
        server.wait_for(r"so far idle_timeout: 5\n")
        server.wait_for(r"so far request_timeout: 5\n")
        server.stop()
        said = [line.partition(": ")[2] for line in server.log.splitlines() if re.search(r"Z \w+ .*limits\.", line)]
        assert len(said) == 2
        assert said[0].startswith("limits.request_timeout has passed; closing the connection of 127.0.0.1:")
        assert said[1].endswith(" (4 more times within 60 s)")


def test_every_line_is_an_object_where_json_is_asked_for(tmp_path: Path) -> None:
    """From the first to the last, a refused reload and a failed start among them."""
    with operated(tmp_path, "log: {format: json}\nlimits: {max_connections: 1}") as server:
        with server.connect() as wire:
            wire.ask(b"LIST /")
            with server.connect() as refused:
                refused.rest()
        server.reload("log: {format: json}\nprot: 1")
        server.send_signal(signal.SIGUSR1)
        server.send_signal(signal.SIGUSR2)
        server.wait_for("the state of the server")
        server.stop()
    entries = [json.loads(line) for line in server.log.splitlines()]
    assert {entry["level"] for entry in entries} == {"info", "warning", "error"}
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = fails(["--log-format", "json", "-d", "files", "-p", str(taken.getsockname()[1])], tmp_path, 1)
    assert json.loads(said)["message"].endswith(": Address already in use")


def test_only_the_main_thread_takes_signals(tmp_path: Path) -> None:
    """One that lives on while the process ends, and that a reload has begun, would take a late one, and die of it."""
    with operated(tmp_path, "http: {enabled: true, port: 0}") as server:
        server.reload("http: {enabled: true, port: 0}\nlog: {access: access.log}")
        assert threads_that_take(signal.SIGTERM, server.pid) == [server.pid]


def threads_that_take(number: signal.Signals, pid: int) -> list[int]:
    taking = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            status = (task / "status").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended since it was listed
        blocked = re.search(r"(?m)^SigBlk:\t(.*)$", status)
        assert blocked is not None
        if not int(blocked[1], 16) >> (number - 1) & 1:
            taking.append(int(task.name))
    return taking
