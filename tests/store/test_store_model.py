"""Any sequence of batches leaves a disk as it leaves memory, whatever ends and starts lie in between."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from store_support import abandon, found

from sttp_reactor.errors import StoreError
from sttp_reactor.store.base import Operation, Read, Store, Write
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.memory import MemoryStore

PATHS = [b"/a", b"/b", b"/a/a", b"/a/b", b"/a/b/c", b"/b/a/d", "/é".encode()]
DIRECTORIES = [b"/", b"/a/", b"/b/", b"/a/b/", b"/b/a/", b"/none/none/"]
TEXTS = st.sampled_from([b"", b"x", b"y" * 160, b'a "quoted" text', "\U0001f600".encode() * 160])

ENDS = ["restart", "crash"]


def make_write(operation: Operation, path: bytes, text: bytes) -> Write:
    return Write(operation, path, None if operation is Operation.DELETE else text)


batches = st.lists(st.builds(make_write, st.sampled_from(Operation), st.sampled_from(PATHS), TEXTS), max_size=6)
steps = st.lists(st.one_of(batches, st.sampled_from(ENDS)), min_size=1, max_size=12)


def outcomes(store: Store, batch: list[Write]) -> list[tuple[type, str] | None]:
    return [None if error is None else (type(error), error.message) for error in store.commit(batch)]


def answers(store: Store) -> list[object]:
    """To every question there is."""
    reads = [Read(path) for path in PATHS] + [Read(path, is_list=True) for path in PATHS + DIRECTORIES]
    answers = found(store, *reads)
    return [(type(each), each.message) if isinstance(each, StoreError) else each for each in answers]


@given(steps)
def test_a_disk_is_like_memory(steps: list[list[Write] | str]) -> None:
    memory = MemoryStore()
    shared = "/dev/shm" if Path("/dev/shm").is_dir() else None
    with tempfile.TemporaryDirectory(dir=shared) as docroot:
        store = DiskStore(docroot, sync=False)
        store.open()
        for step in steps:
            if isinstance(step, str):
                store.close() if step == "restart" else abandon(store)
                store = DiskStore(docroot, sync=False)
                store.open()
            else:
                assert outcomes(store, step) == outcomes(memory, step)
            assert answers(store) == answers(memory)
        store.close()
