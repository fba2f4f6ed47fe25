"""tools/cluster.sh: three members and three servers, up, one of them killed, and nothing left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from etcd_cluster import EtcdCluster
from ports import free_port

from sttp_reactor.client import Client

TOOLS = Path(__file__).parent.parent / "tools"
SCRIPT = TOOLS / "cluster.sh"
PATIENCE_SECONDS = 60.0

pytestmark = [
    pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed"),
    pytest.mark.skipif(shutil.which("setsid") is None, reason="setsid is not installed"),
    pytest.mark.long,
    pytest.mark.timeout(180),
]


class Cluster:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._base = free_port()
        self._environ = os.environ | {"STTP_CLUSTER": str(folder), "STTP_CLUSTER_PORT": str(self._base)}
        # A script that is started with SIGINT ignored cannot be told otherwise; `python -c` can.
        self.up = subprocess.Popen(
            [str(SCRIPT), "up"], env=self._environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def words(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(SCRIPT), *arguments],
            env=self._environ,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        return done.stdout

    def until(self, condition: Callable[[str], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition(status := self.words("status")):
            assert time.monotonic() < deadline, status

    def until_status(self, *words: str) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not all(word in (status := self.words("status")) for word in words):
            assert time.monotonic() < deadline, status
        return status

    def by_proxy(self) -> Client:
        return Client("127.0.0.1", self._base + 10, timeout=PATIENCE_SECONDS)

    def pids(self) -> list[int]:
        return [int(file.read_text()) for file in self.folder.glob("*.pid")]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    folder = Path(tempfile.mkdtemp(prefix="sttp-cluster-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    cluster = Cluster(folder)
    try:
        yield cluster
    finally:
        cluster.words("down")
        cluster.up.send_signal(signal.SIGTERM)
        cluster.up.communicate(timeout=PATIENCE_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def revisions(status: str, names: str) -> set[str]:
    """Those that the lines of members, or servers, tell: one, where everybody has come equally far."""
    lines = [line for line in status.splitlines() if line.startswith(names)]
    found = [line.rpartition("revision ")[2] for line in lines if "revision " in line]
    return set(found) if len(found) == 3 else {"somebody does not tell"}


def test_from_up_to_the_end(cluster: Cluster) -> None:
    assert cluster.up.stdout is not None
    assert "A cluster of three is up" in cluster.up.stdout.readline()
    status = cluster.until_status("leader, term")
    assert status.count("follower, term") == 2
    with cluster.by_proxy() as client:
        client.create("/hello", "Hello, cluster")
    leader = next(line.split()[0] for line in status.splitlines() if "leader, term" in line)
    cluster.words("kill", leader)
    after = cluster.until_status("leader, term")
    assert f"{leader}    does not run" in after
    cluster.words("stop", "sttpd-1")
    assert "sttpd-1   does not run" in cluster.words("status")
    with cluster.by_proxy() as client:
        assert client.show("/hello") == "Hello, cluster"
        assert client.update("/hello", "Still here") == "Still here"
    cluster.words("start", leader)
    cluster.words("start", "sttpd-1")
    assert cluster.until_status("leader, term", "sttpd-1   runs  ").count(" runs") == 7
    [proxy] = [line for line in cluster.words("status").splitlines() if line.startswith("proxy     runs  ")]
    if find_spec("httptools") is not None:
        for line in (proxy, *(line for line in cluster.words("status").splitlines() if line.startswith("sttpd-"))):
            [url] = [word for word in line.split() if word.startswith("http://")]
            with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as page:
                assert b"<!doctype html>" in page.read().lower()
        cluster.until(lambda status: revisions(status, "etcd-") == revisions(status, "sttpd-"))
    pids = cluster.pids()
    assert len(pids) == 7
    cluster.up.send_signal(signal.SIGTERM)
    cluster.up.communicate(timeout=PATIENCE_SECONDS)
    assert not cluster.folder.exists()
    assert [pid for pid in pids if is_running(pid)] == []


def is_running(pid: int) -> bool:
    """One that has ended and that nobody has waited for has no command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes() != b""
    except OSError:
        return False


@pytest.mark.parametrize("arguments", [[], ["kill"], ["kill", "sshd-1"], ["up", "now"], ["explode"]])
def test_what_it_does_not_know_it_explains(arguments: list[str]) -> None:
    done = subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 2
    assert "tools/cluster.sh status" in done.stderr


def test_the_figures_of_a_cluster_are_measured_and_nothing_runs_on() -> None:
    with EtcdCluster(1) as cluster:
        command = [sys.executable, str(TOOLS / "cluster_bench.py"), "--endpoints", cluster.urls[0]]
        done = subprocess.run([*command, "--seconds", "0.3", "--files", "130"], capture_output=True, timeout=160)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("130 files of 160 characters, ")
    rates = [float(line.split("/s")[0].split()[-1].replace(",", "")) for line in lines[2:]]
    assert len(rates) == 16
    assert min(rates) > 10, done.stdout


def test_no_read_fails_when_the_leader_and_a_server_are_lost() -> None:
    environ = os.environ | {"STTP_CLUSTER_PORT": str(free_port())}
    done = subprocess.run(
        [str(TOOLS / "failover.sh"), "12"], env=environ, capture_output=True, text=True, timeout=2 * PATIENCE_SECONDS
    )
    assert done.returncode in (0, 1), done.stderr  # 1: a write that was under way has an outcome that nobody knows
    assert [step in done.stdout for step in ("the leader", "killing sttpd-2", "starting both")] == [True] * 3
    assert "SHOW 200: " in done.stdout
    wrong = [line for line in done.stdout.splitlines() if line.startswith("wrong: ")]
    assert [line for line in wrong if not line.startswith("wrong: UPDATE") or "outcome unknown" not in line] == []


@pytest.mark.parametrize("arguments", [["soon"], ["0"], ["5", "6"]])
def test_failover_explains_itself(arguments: list[str]) -> None:
    done = subprocess.run([str(TOOLS / "failover.sh"), *arguments], capture_output=True, text=True)
    assert done.returncode == 2
    assert "tools/failover.sh [SECONDS]" in done.stderr
