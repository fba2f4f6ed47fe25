"""What the store's tests share: short words for what is asked, and processes to be killed or to run without rights."""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from etcd_cluster import ETCD, EtcdCluster, new_prefix

from sttp_reactor.errors import StoreError
from sttp_reactor.store.base import Found, Operation, Read, Store, Write
from sttp_reactor.store.disk.claim import Claim
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.etcd.channel import endpoint_of
from sttp_reactor.store.etcd.cluster import Cluster, Timeouts
from sttp_reactor.store.etcd.store import EtcdStore

needs_etcd = pytest.mark.skipif(ETCD is None, reason="etcd is not installed")

# A busy machine is not what these tests are about.
PATIENT = Timeouts(connect=10, read=10, write=30, stale=30)

NOBODY = 65534
DONE = 0


def create(path: str, text: str = "text") -> Write:
    return Write(Operation.CREATE, path.encode(), text.encode())


def update(path: str, text: str = "other") -> Write:
    return Write(Operation.UPDATE, path.encode(), text.encode())


def delete(path: str) -> Write:
    return Write(Operation.DELETE, path.encode())


def commit(store: Store, *writes: Write) -> list[int]:
    """The status code of each write's error; DONE where there is none."""
    return [DONE if error is None else error.code for error in store.commit(writes)]


def message(store: Store, write: Write) -> str:
    (error,) = store.commit([write])
    assert error is not None
    return error.message


def found(store: Store, *reads: Read) -> list[Found]:
    """What one batch of reads finds, in the order of `reads`."""
    results = {id(read): what for read, what in store.read(iter(reads))}
    return [results[id(read)] for read in reads]


def show(store: Store, path: str) -> str | int:
    """The text, or the code of the error."""
    (what,) = found(store, Read(path.encode()))
    assert not isinstance(what, list)
    return what.code if isinstance(what, StoreError) else what.decode()


def listed(store: Store, path: str = "/") -> list[str] | int:
    """The names, or the code of the error."""
    (what,) = found(store, Read(path.encode(), is_list=True))
    assert not isinstance(what, bytes)
    return what.code if isinstance(what, StoreError) else [name.decode() for name in what]


@contextlib.contextmanager
def disk(docroot: Path, *, sync: bool = False, claim: Claim | None = None) -> Iterator[DiskStore]:
    """With `claim`, one of several stores of a server."""
    store = DiskStore(docroot, sync=sync, claim=claim)
    store.open()
    try:
        yield store
    finally:
        store.close()


def in_cluster(cluster: EtcdCluster, prefix: str = "") -> EtcdStore:
    """A store of its own, not opened yet, or one that shares `prefix`."""
    endpoints = [endpoint_of(url) for url in cluster.urls]
    return EtcdStore(Cluster(endpoints, PATIENT), prefix or new_prefix())


def abandon(store: DiskStore) -> None:
    """Leave a store as a killed server leaves it."""
    store._drop_journal()
    store._claim.release()


def left_over(docroot: Path) -> list[str]:
    return os.listdir(docroot / ".sttp" / "tmp")


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but the server's own, by its path below it, with a `/` in front."""
    return {
        "/" + str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink() and path.relative_to(folder).parts[0] != ".sttp"
    }


@contextlib.contextmanager
def open_to_all() -> Iterator[Path]:
    """A directory that processes without rights can reach; pytest's own are closed to them."""
    folder = Path(tempfile.mkdtemp(prefix="sttp-store-"))
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder)


def in_child(function: Callable[[], Any], *, user: int | None = None) -> Any:
    """What `function` returns (or raises), in a process of its own, run as `user`. Skips where that may not be."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _run_child(function, user, writing)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    assert status == 0, f"the child ended with {status}"
    result = pickle.loads(answer)
    if isinstance(result, BaseException):
        raise result
    return result


def as_nobody(function: Callable[[], Any]) -> Any:
    """`function` without root's rights, which no permission would keep out."""
    if os.geteuid() != 0:
        return function()
    return in_child(function, user=NOBODY)


def _run_child(function: Callable[[], Any], user: int | None, writing: int) -> NoReturn:
    status = 1
    try:
        if user is not None:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        try:
            result = function()
        except BaseException as error:
            result = error
        os.write(writing, pickle.dumps(result))
        status = 0
    finally:
        os._exit(status)  # not the test runner's own end


def killed(function: Callable[[], Any]) -> bool:
    """Run `function` in a process that is expected to kill itself; False if it came to its end."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            function()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"the child ended with {status}"
    return status != 0


def kill_oneself(*call: Any) -> None:
    """A fault."""
    os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def mounted(folder: Path, *arguments: str) -> Iterator[Path]:
    """`mount arguments folder`, for the length of the block. Skips where that is not permitted."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder.mkdir(exist_ok=True)
    made = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"cannot mount here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
