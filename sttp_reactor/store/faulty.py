"""Faults to order: a store, or the system calls under a store, that dawdle, hang or fail when told to.

A fault is called before the call it belongs to, with that call's name and arguments, and may sleep, block or raise:

    FaultyStore(store, on("show", delay(0.2)))                          a disk that takes 200 ms a read
    FaultyStore(store, on("commit", fail(StoreFailed("no"))))           a store that takes no writes
    with faulty_calls(nth(7, fail(OSError(errno.EIO, "...")))): ...     a disk that fails once
    with faulty_calls(on("fdatasync", gate := Gate())): ...             a disk that hangs until `gate.open()`

A store's calls are `open`, `close`, `checkpoint`, `show`, `list` and `commit`; the system's go by the names they have
in Python's `os` and `fcntl`, and `syncfs`.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from sttp_reactor.errors import StoreError
from sttp_reactor.metrics import Sample
from sttp_reactor.store.base import AnyRead, Found, OnChange, Store, Write
from sttp_reactor.store.disk import attributes, claim, files, journal, reading, recovery, tree, turnlock, writing
from sttp_reactor.store.disk import store as disk

Fault = Callable[..., None]

_READING: Final = frozenset(
    {"access", "fstat", "fstatvfs", "getxattr", "listdir", "listxattr", "lstat", "open", "pread", "read", "scandir"}
)
_WRITING: Final = frozenset(
    {"fchmod", "fchown", "ftruncate", "link", "makedirs", "mkdir", "pwrite", "removexattr", "rename", "setxattr"}
)
_SYSTEM_CALLS: Final = _READING | _WRITING | {"close", "fcntl", "fdatasync", "flock", "fsync", "unlink"}

# Who hangs at a gate that nobody opens goes on after this: a test that fails is better than one that never ends.
_GATE_SECONDS: Final = 60.0


def delay(seconds: float) -> Fault:
    """Every call takes that much longer."""
    return lambda name, *arguments: time.sleep(seconds)


def fail(error: BaseException) -> Fault:
    """Every call raises `error`."""

    def raise_error(name: str, *arguments: Any) -> None:
        raise error

    return raise_error


def on(names: str, fault: Fault) -> Fault:
    """`fault` for calls of these names (divided by spaces) only."""
    chosen = frozenset(names.split())

    def maybe(name: str, *arguments: Any) -> None:
        if name in chosen:
            fault(name, *arguments)

    return maybe


def nth(first: int, fault: Fault, *, times: float = 1) -> Fault:
    """`fault` for the `first` call (they count from 1) and the ones behind it, `times` in all (math.inf: for good)."""
    lock = threading.Lock()
    calls = 0

    def maybe(name: str, *arguments: Any) -> None:
        nonlocal calls
        with lock:
            calls += 1
            is_chosen = first <= calls < first + times
        if is_chosen:
            fault(name, *arguments)

    return maybe


class Gate:
    """A fault: holds whoever comes, until it is opened; from then on nobody."""

    def __init__(self) -> None:
        self._reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self, name: str, *arguments: Any) -> None:
        self._reached.set()
        if not self._opened.wait(_GATE_SECONDS):
            raise TimeoutError(f"{name}: nobody has opened the gate")

    def wait_until_reached(self, seconds: float = 10.0) -> None:
        """Raises TimeoutError if nobody comes."""
        if not self._reached.wait(seconds):
            raise TimeoutError("nobody has come to the gate")

    def open(self) -> None:
        self._opened.set()


class FaultyStore:
    """Implements `store.base.Store` by another store, behind a fault."""

    def __init__(self, store: Store, fault: Fault) -> None:
        self._store = store
        self._fault = fault

    @property
    def is_telling(self) -> bool:
        return self._store.is_telling

    @property
    def barrier(self) -> Callable[[], bool] | None:
        return self._store.barrier

    def open(self, on_change: OnChange | None = None) -> None:
        self._fault("open")
        self._store.open(on_change)

    def close(self) -> None:
        self._fault("close")
        self._store.close()

    def samples(self) -> Iterable[Sample]:
        return self._store.samples()

    def checkpoint(self) -> None:
        self._fault("checkpoint")
        self._store.checkpoint()

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        self._fault("commit", writes)
        return self._store.commit(writes)

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        refused: list[tuple[AnyRead, StoreError]] = []
        yield from self._store.read(self._past_the_fault(reads, refused))
        yield from refused

    def _past_the_fault(self, reads: Iterator[AnyRead], refused: list[tuple[AnyRead, StoreError]]) -> Iterator[AnyRead]:
        for read in reads:
            try:
                self._fault("list" if read.is_list else "show", read.path)
            except StoreError as error:
                refused.append((read, error))
            else:
                yield read


@contextlib.contextmanager
def faulty_calls(fault: Fault) -> Iterator[None]:
    """While the block runs, the system calls of every DiskStore in this process go by way of `fault`."""
    originals = [
        (module, name, getattr(module, name))
        for module in (disk, attributes, claim, files, journal, reading, recovery, tree, turnlock, writing)
        for name in ("os", "fcntl", "sync_file_system")
        if hasattr(module, name)
    ]
    for module, name, original in originals:
        faulty = _behind("syncfs", original, fault) if callable(original) else _FaultyModule(original, fault)
        setattr(module, name, faulty)
    try:
        yield
    finally:
        for module, name, original in originals:
            setattr(module, name, original)


class _FaultyModule:
    """Stands in for `os` or `fcntl`."""

    def __init__(self, module: Any, fault: Fault) -> None:
        self._module = module
        self._fault = fault

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._module, name)
        return _behind(name, found, self._fault) if name in _SYSTEM_CALLS else found


def _behind(name: str, call: Callable[..., Any], fault: Fault) -> Callable[..., Any]:
    def faulty(*arguments: Any, **keywords: Any) -> Any:
        if name == "close":
            call(*arguments)  # whatever close says, the descriptor is gone
        fault(name, *arguments)
        return None if name == "close" else call(*arguments, **keywords)

    return faulty
