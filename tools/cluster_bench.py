"""What a server whose files are in an etcd cluster does, beside one on a disk: prints a table.

    .venv/bin/python tools/cluster_bench.py [--endpoints URL,...] [--seconds N] [--files N]

The cluster is one that runs (default: that of `tools/cluster.sh up`); servers on it are started here, with a prefix of
their own, and loaded by sttpbench from 50 connections. All share this machine's cores, so read ratios, not figures. A
row's CPU time is the servers' own, of all their threads. With `--files` so many are loaded first, and what they have
added to each member's database and memory is printed.

"one transaction each" is what the same client code does without batches: 50 threads, each of which commits one write,
waits for the cluster, and commits the next.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.etcd.channel import endpoint_of
from sttp_reactor.store.etcd.cluster import Cluster, Timeouts
from sttp_reactor.store.etcd.store import EtcdStore

CONNECTIONS = 50
KEYS = 1000
BATCH = 60
_PROGRAM = "import sys; from sttp_reactor.cli.{0} import main; sys.exit(main())"
_LISTENING = re.compile(r"ready: listening on 127\.0\.0\.1:(\d+)")


class Server:
    """An sttpd on a free port, that logs to a file."""

    def __init__(self, folder: Path, *options: str) -> None:
        words = [word for option in options for word in ("-o", option)]
        self._log = folder / f"{id(self)}.log"
        with self._log.open("wb") as log:
            command = [sys.executable, "-c", _PROGRAM.format("sttpd"), "-a", "127.0.0.1", "-p", "0", *words]
            self.process = subprocess.Popen([*command, "-d", str(folder / "files")], cwd=folder, stderr=log)
        deadline = time.monotonic() + 20
        while (match := _LISTENING.search(self._log.read_text())) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise SystemExit(f"sttpd does not start: {self._log.read_text().strip()}")
            time.sleep(0.05)
        self.url = f"127.0.0.1:{match[1]}/sttpbench/"

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


@contextlib.contextmanager
def servers(count: int, *options: str) -> Iterator[list[Server]]:
    with tempfile.TemporaryDirectory(prefix="sttp-cluster-bench-") as folder, contextlib.ExitStack() as running:
        started = []
        for _ in range(count):
            started.append(Server(Path(folder), *options))
            running.callback(started[-1].stop)
        yield started


def bench(loaded: list[Server], mix: str, pipeline: int, seconds: float) -> list[dict[str, float]]:
    """What each of the servers did, all at the same time: `rate` a second, `p50` in ms, `cpu` in us a request."""
    runs = []
    for number, server in enumerate(loaded):
        command = [sys.executable, "-c", _PROGRAM.format("sttpbench"), "-q", "-o", "-", "-P", str(pipeline)]
        command += ["-c", str(CONNECTIONS // len(loaded)), "-d", f"{seconds:g}s", "--mix", mix, "--keys", str(KEYS)]
        command += ["--server-pid", str(server.process.pid), f"{server.url}{number}/"]
        runs.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    found = []
    for run in runs:
        out, err = run.communicate(timeout=seconds + 120)
        if run.returncode:
            raise SystemExit(f"sttpbench: {err.decode().strip()}")
        summary = json.loads(out)["summary"]
        found.append(
            {
                "rate": summary["rate"],
                "p50": summary["response_ms"]["p50"],
                "cpu": summary["server_cpu_us_per_request"],
            }
        )
    return found


def row(name: str, found: list[dict[str, float]]) -> None:
    rate = sum(each["rate"] for each in found)
    cpu = sum(each["cpu"] * each["rate"] for each in found) / rate
    p50 = max(each["p50"] for each in found)
    print(f"{name:<58} {rate:>9,.0f}/s {p50:>8.2f} ms {cpu:>8.2f} us", flush=True)


def store_at(endpoints: list[str], prefix: str) -> EtcdStore:
    return EtcdStore(Cluster([endpoint_of(url) for url in endpoints], Timeouts(5.0, 5.0, 10.0, 10.0)), prefix)


def one_transaction_each(store: EtcdStore, seconds: float) -> float:
    """UPDATEs a second by 50 threads, in batches of one."""
    paths = [b"/single/%d" % number for number in range(CONNECTIONS)]
    store.commit([Write(Operation.CREATE, path, b"0") for path in paths])
    end = time.monotonic() + seconds
    done = [0] * CONNECTIONS

    def update(number: int) -> None:
        while time.monotonic() < end:
            if store.commit([Write(Operation.UPDATE, paths[number], b"%d" % done[number])]) == [None]:
                done[number] += 1

    threads = [threading.Thread(target=update, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / seconds


def sizes(endpoints: list[str]) -> list[tuple[int, int]]:
    """Of each member, the bytes that its database uses, and those of its memory; 0 where it runs elsewhere."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    found = []
    for url in endpoints:
        request = urllib.request.Request(f"{url}/v3/maintenance/status", b"{}")
        status = json.load(direct.open(request, timeout=10))
        found.append((int(status.get("dbSizeInUse", status["dbSize"])), _memory(url)))
    return found


def _memory(url: str) -> int:
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            if url.encode() in (status.parent / "cmdline").read_bytes().split(b"\0") and (
                found := re.search(r"VmRSS:\s+(\d+)", status.read_text())
            ):
                return int(found[1]) * 1024
    return 0


def load_files(store: EtcdStore, endpoints: list[str], count: int) -> None:
    before = sizes(endpoints)
    began = time.monotonic()
    for first in range(0, count, BATCH):
        numbers = range(first, min(first + BATCH, count))
        writes = [Write(Operation.CREATE, b"/many/%d/%d" % (each // 1000, each), b"x" * 160) for each in numbers]
        if any(store.commit(writes)):
            raise SystemExit("the cluster does not take so many files")
    seconds = time.monotonic() - began
    print(f"{count:,} files of 160 characters, {count / seconds:,.0f}/s from one thread; a file takes of each member")
    for (disk, memory), (disk_before, memory_before) in zip(sizes(endpoints), before, strict=True):
        print(f"  {(disk - disk_before) / count:,.0f} bytes of database", end=", ")
        print(f"{(memory - memory_before) / count:,.0f} of memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    base = int(os.environ.get("STTP_CLUSTER_PORT", "28000"))
    ports = ",".join(f"http://127.0.0.1:{base + number}" for number in (1, 2, 3))
    parser.add_argument("--endpoints", default=ports, metavar="URL,...")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each row")
    parser.add_argument("--files", type=int, default=0, metavar="N")
    given = parser.parse_args()
    endpoints, seconds = given.endpoints.split(","), given.seconds
    prefix = f"/cluster-bench-{os.getpid()}"
    store = store_at(endpoints, f"{prefix}-single/")
    store.open()
    try:
        if given.files:
            load_files(store, endpoints, given.files)
        rate = one_transaction_each(store, seconds)
        print(f"{'UPDATE, one transaction each, 50 threads':<58} {rate:>9,.0f}/s", flush=True)
    finally:
        store.close()
    on_etcd = ("store.engine=etcd", f"store.endpoints={given.endpoints}", f"store.prefix={prefix}/")
    on_etcd += ("store.timeout.read=5", "store.timeout.write=10", f"cache.max_files={4 * KEYS}")
    for count in (1, 2, 3):
        with servers(count, *on_etcd) as started:
            row(f"UPDATE, {count} sttpd", bench(started, "update=100", 1, seconds))
            row(
                f"SHOW from the cache, linearizable, 16 pipelined, {count} sttpd",
                bench(started, "show=100", 16, seconds),
            )
    with servers(1, *on_etcd, "cache.enabled=false") as started:
        row("SHOW without a cache", bench(started, "show=100", 1, seconds))
    cached, disk = "SHOW from the cache, reads: cached", "SHOW from the cache, on a disk"
    for pipeline in (1, 16):
        with servers(1, *on_etcd, "store.reads=cached") as started, servers(1, f"cache.max_files={4 * KEYS}") as plain:
            for _ in range(2):  # in turn, so that a machine that drifts hits both alike
                row(f"{cached}, {pipeline} pipelined", bench(started, "show=100", pipeline, seconds))
                row(f"{disk}, {pipeline} pipelined", bench(plain, "show=100", pipeline, seconds))


if __name__ == "__main__":
    main()
