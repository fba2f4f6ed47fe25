"""A real etcd cluster on loopback, for the length of some tests; its members can be killed, stopped, started again."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

from namespaces import Node
from ports import free_port

ETCD = shutil.which("etcd")
ETCDCTL = shutil.which("etcdctl")
# Only a failing test waits that long.
PATIENCE_SECONDS = 30.0

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_prefixes = itertools.count()


def new_prefix() -> str:
    """Where nobody else has keys: tests of one cluster do not see each other's."""
    return f"/test-{os.getpid()}-{next(_prefixes)}/"


class Member:
    """One etcd process; it keeps its ports and its data when it is killed and started again."""

    def __init__(self, name: str, folder: Path, tls: Sequence[str] = (), node: Node | None = None) -> None:
        """`tls` are options that have clients served by TLS. Without a `node` it is on loopback."""
        self.name = name
        self.folder = folder
        self.port = free_port()
        self.peer_port = free_port()
        host = "127.0.0.1" if node is None else node.host
        self.url = f"{'https' if tls else 'http'}://{host}:{self.port}"
        self.peer_url = f"http://{host}:{self.peer_port}"
        self._run: Sequence[str] = () if node is None else node.run
        self._tls = list(tls)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, cluster: str, options: Sequence[str] = ()) -> None:
        if self.is_running:
            return
        command = [
            *self._run,
            *[str(ETCD), "--name", self.name, "--data-dir", str(self.folder / self.name), "--logger", "zap"],
            *["--listen-client-urls", self.url, "--advertise-client-urls", self.url],
            *["--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url],
            *["--initial-cluster", cluster, "--initial-cluster-state", "new", "--log-level", "error"],
            *self._tls,
            *options,
        ]
        with open(self.folder / f"{self.name}.log", "ab") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it by a signal, and wait for that."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(PATIENCE_SECONDS)

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        if self.is_running:
            os.kill(self.pid, signal.SIGCONT)

    def status(self, within: float = 1.0) -> dict[str, object] | None:
        """What it says of itself; None where it does not answer."""
        if self._run:
            return self._status_in_its_namespace(within)
        request = urllib.request.Request(f"{self.url}/v3/maintenance/status", b"{}")
        with contextlib.suppress(OSError, ValueError), _direct.open(request, timeout=within) as answer:
            found: dict[str, object] = json.load(answer)
            return found
        return None

    def _status_in_its_namespace(self, within: float) -> dict[str, object] | None:
        """Which is reached also where the member is cut off."""
        program = (
            "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], b'{}', float(sys.argv[2])).read().decode())"
        )
        url = f"{self.url}/v3/maintenance/status"
        command = [*self._run, sys.executable, "-S", "-c", program, url, str(within)]
        environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        done = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, env=environ)
        with contextlib.suppress(ValueError):
            found: dict[str, object] = json.loads(done.stdout)
            return found
        return None


class EtcdCluster:
    """`size` members that have found a leader. A context manager: nothing of it is left behind."""

    def __init__(
        self, size: int, options: Sequence[str] = (), tls: Sequence[str] = (), nodes: Sequence[Node] = ()
    ) -> None:
        """On loopback, or each member in one of `nodes`."""
        self._folder = Path(
            tempfile.mkdtemp(prefix="sttp-etcd-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
        )
        self._options = list(options)
        self.members = [
            Member(f"etcd-{number}", self._folder, tls, nodes[number - 1] if nodes else None)
            for number in range(1, size + 1)
        ]
        self._cluster = ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    def __enter__(self) -> EtcdCluster:
        try:
            self.start()
            if not self.members[0].url.startswith("https"):
                self.wait_for_leader()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members]

    def start(self) -> None:
        """Whoever does not run."""
        for member in self.members:
            member.start(self._cluster, self._options)

    def restart(self, member: Member) -> None:
        member.start(self._cluster, self._options)

    def wait_for_leader(self) -> Member:
        """The leader that most of the members know."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (leader := self.leader()) is None:
            assert time.monotonic() < deadline, "no leader"
            time.sleep(0.02)
        return leader

    def leader(self) -> Member | None:
        statuses = [(member, member.status()) for member in self.members if member.is_running]
        known = [str(status.get("leader", "0")) for _, status in statuses if status is not None]
        for member, status in statuses:
            if status is not None:
                header = status.get("header")
                name = str(header.get("member_id")) if isinstance(header, dict) else ""
                if known.count(name) > len(self.members) // 2:
                    return member
        return None

    def followers(self) -> list[Member]:
        leader = self.wait_for_leader()
        return [member for member in self.members if member is not leader]

    def compact(self) -> None:
        """Forget all revisions before the newest."""
        for member in self.members:
            status = member.status()
            if status is not None and isinstance(header := status["header"], dict):
                body = json.dumps({"revision": header["revision"]}).encode()
                with contextlib.suppress(OSError):
                    _direct.open(urllib.request.Request(f"{member.url}/v3/kv/compaction", body), timeout=2).close()
                    return

    def close(self) -> None:
        for member in self.members:
            with contextlib.suppress(ProcessLookupError):
                if member.is_running:
                    member.thaw()
            member.kill()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def one_member(options: Sequence[str] = ()) -> Iterator[EtcdCluster]:
    with EtcdCluster(1, options) as cluster:
        yield cluster
