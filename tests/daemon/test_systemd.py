"""What systemd is told and what it hands over, with a notify socket and listening sockets of the test's own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from operating import Operated, operated
from running import PATIENCE_SECONDS, Wire

from sttp_reactor.daemon.systemd import Notifier

pytestmark = pytest.mark.long

TOOLS = Path(__file__).parent.parent.parent / "tools"


class Manager:
    """The end of NOTIFY_SOCKET that a service manager has."""

    def __init__(self, name: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + name[1:] if name.startswith("@") else name)
        self.socket.settimeout(PATIENCE_SECONDS)
        self.name = name

    def told(self, but: str = "WATCHDOG=1") -> dict[str, str]:
        """The next thing it is told, other than `but`."""
        while (text := self.socket.recv(65536).decode()) == but:
            pass
        return dict(line.split("=", 1) for line in text.splitlines())


@pytest.fixture(params=["a file", "an abstract name"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = str(tmp_path / "notify") if request.param == "a file" else f"@sttp-test-{os.getpid()}"
    manager = Manager(name)
    with manager.socket:
        yield manager


@pytest.fixture(params=[1, 2], ids=["alone", "two processes"])
def processes(request: pytest.FixtureRequest) -> str:
    return f"processes: {request.param}\n"


def test_it_is_told_of_every_turning_point(tmp_path: Path, manager: Manager, processes: str) -> None:
    with operated(tmp_path, processes, environ={"NOTIFY_SOCKET": manager.name}) as server:
        listening = f"listening on {server.addresses[0]}"
        assert manager.told() == {"READY": "1", "STATUS": listening}
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        server.reload(processes + "cache: {enabled: false}")
        told = manager.told()
        assert list(told) == ["RELOADING", "MONOTONIC_USEC"]
        assert before <= int(told["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert manager.told() == {"READY": "1", "STATUS": listening}
        server.reload("nonsense")
        assert list(manager.told()) == ["RELOADING", "MONOTONIC_USEC"]
        assert manager.told() == {"READY": "1", "STATUS": f"the last reload failed, see the log; {listening}"}
        server.stop()
        assert manager.told()["STOPPING"] == "1"
        manager.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.told()


def test_a_manager_that_has_gone_costs_nothing(tmp_path: Path, manager: Manager) -> None:
    with operated(tmp_path, environ={"NOTIFY_SOCKET": manager.name}) as server:
        manager.socket.close()
        assert "cannot be told RELOADING=1" in server.reload()
        assert server.converse(b"LIST /\n") == b"200 / OK\n\n"


# -- The watchdog --

WATCHDOG_SECONDS = 0.6


@pytest.fixture
def watching(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    with manager.socket:
        yield manager


def watched(manager: Manager, pid: str | None = None) -> dict[str, str]:
    environ = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1_000_000))}
    return environ if pid is None else {**environ, "WATCHDOG_PID": pid}


def signs_within(manager: Manager, seconds: float, enough: int) -> int:
    """How many come in that time, counted up to `enough`."""
    signs, end = 0, time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 and signs < enough:
        manager.socket.settimeout(left)
        with contextlib.suppress(TimeoutError):
            signs += manager.socket.recv(65536) == b"WATCHDOG=1"
    return signs


def drain(manager: Manager) -> None:
    manager.socket.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while manager.socket.recv(65536):
            pass


def test_signs_of_life_while_it_turns_and_none_while_it_does_not(
    tmp_path: Path, watching: Manager, processes: str
) -> None:
    with operated(tmp_path, processes, environ=watched(watching)) as server:
        assert signs_within(watching, WATCHDOG_SECONDS, enough=2) == 2, "as systemd asks"
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
        stuck = int(children[0]) if children else server.pid
        os.kill(stuck, signal.SIGSTOP)
        try:
            time.sleep(WATCHDOG_SECONDS)  # what it had said before it got stuck
            drain(watching)
            assert signs_within(watching, WATCHDOG_SECONDS / 2, enough=1) == 0
        finally:
            os.kill(stuck, signal.SIGCONT)
        watching.socket.settimeout(PATIENCE_SECONDS)
        assert watching.socket.recv(100) == b"WATCHDOG=1"


def test_signs_of_life_that_nobody_hears_are_complained_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    for _ in range(100):
        notifier.alive()
    assert len(caplog.messages) == 1
    assert "cannot be told WATCHDOG=1" in caplog.messages[0]
    notifier.ready("fine")
    assert "cannot be told READY=1" in caplog.messages[1], "a turning point is another matter"
    notifier.close()


def test_a_watchdog_for_another_process_is_none_of_ours(tmp_path: Path, watching: Manager) -> None:
    with operated(tmp_path, environ=watched(watching, pid="1")):
        assert "READY" in watching.told(but="")
        assert signs_within(watching, WATCHDOG_SECONDS / 2, enough=1) == 0


def test_the_watchdogs_signal_leaves_every_stack(tmp_path: Path) -> None:
    with operated(tmp_path) as server:
        server.converse(b"LIST /\n")
        threads = len(os.listdir(f"/proc/{server.pid}/task"))
        server.send_signal(signal.SIGABRT)
        _, err = server.process.communicate(timeout=PATIENCE_SECONDS)
        assert "Fatal Python error: Aborted" in err
        assert re.search(r'reactor\.py", line \d+ in run', err), err
        assert len(re.findall(r"(?m)^(Current thread|Thread) 0x", err)) == threads > 1, "and those of its workers"
        server.kill()


# -- Socket activation --


def address_of(sock: socket.socket) -> str:
    host, port = sock.getsockname()
    return f"{host}:{port}"


@pytest.fixture
def tcp() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def test_sockets_are_taken_over_and_stay(tmp_path: Path, tcp: socket.socket, processes: str) -> None:
    path = tmp_path / "socket"
    settings = f"{processes}port: 1\nlisten_address: 192.0.2.1\n"
    with socket.socket(socket.AF_UNIX) as unix, Wire(address_of(tcp)) as early:
        unix.bind(str(path))
        unix.listen()
        early.send(b"CREATE /a x\n")  # before there is anybody
        with operated(tmp_path, settings, sockets=[tcp, unix], names="web:") as server:
            assert server.addresses == [address_of(tcp), str(path)]
            assert early.reply() == b"100 /a CREATED\n"
            for address in server.addresses:
                with server.connect(address) as wire:
                    assert wire.ask(b"SHOW /a") == b"200 /a OK\nx\n"
            log = server.reload(f"{processes}port: 2\nlisten_address: 192.0.2.1\ncache: {{max_files: 3}}")
            assert "port stays 1; it takes a restart to make it 2" in log
            assert "cache.max_files is 3 (was 100)" in log
            assert early.ask(b"SHOW /a") == b"200 /a OK\nx\n"
            early.close()
        assert path.exists(), "it is the manager's"
        with Wire(str(path)) as waiting, operated(tmp_path, processes, sockets=[unix]):
            assert waiting.ask(b"SHOW /a") == b"200 /a OK\nx\n", "who came while nobody served"
            waiting.close()


def test_a_connection_inherits_what_it_should_have(tmp_path: Path, tcp: socket.socket) -> None:
    with operated(tmp_path, sockets=[tcp]):
        assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert tcp.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_socket_that_is_none(tmp_path: Path) -> None:
    with socket.socket() as not_listening, pytest.raises(AssertionError) as caught:
        Operated(tmp_path, sockets=[not_listening])
    assert "sttpd: socket activation: descriptor 3 is no listening stream socket" in str(caught.value)


# -- The units --


def installed(folder: Path) -> list[Path]:
    """Our units as they would be installed, but with a program that is there."""
    units = []
    for name in ("sttpd.service", "sttpd.socket"):
        text = (TOOLS / name).read_text()
        units.append(folder / name)
        units[-1].write_text(text.replace("/usr/local/bin/sttpd", shutil.which("true") or "/bin/true"))
    return units


def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *installed(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_systemd_finds_the_service_hardened(tmp_path: Path) -> None:
    """Its exposure, out of ten: what a service may do that needs nothing but its port and its folder."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", installed(tmp_path)[0]],
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
