"""The store on a disk: a docroot of ordinary files, with the server's own names in `.sttp` at its top."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from sttp_reactor.errors import StartError, StoreError, StoreFailed
from sttp_reactor.store.base import OnChange, Operation, Write
from sttp_reactor.store.disk.files import Temporaries, close_quietly
from sttp_reactor.store.disk.journal import FOLDER, MAX_RECORD_BYTES, Journal
from sttp_reactor.store.disk.reading import DiskReader
from sttp_reactor.store.disk.records import CHANGE_BYTES, Change
from sttp_reactor.store.disk.recovery import redo
from sttp_reactor.store.disk.tree import Tree, failed
from sttp_reactor.store.disk.writing import Plan

log = logging.getLogger(__name__)

_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Turn(NamedTuple):
    tree: Tree
    temporaries: Temporaries
    journal: Journal


class DiskStore:
    """Implements `store.base.Store`.

    The docroot is opened anew for each batch, so that one that is removed is noticed, and one that is back is used.
    """

    def __init__(self, docroot: str | os.PathLike[str], *, sync: bool = True) -> None:
        """With `sync`, an acknowledged write survives a power cut; without, it survives whatever the system does."""
        self._docroot = os.fspath(docroot)
        self._sync = sync
        self._journal: Journal | None = None
        self._on_change: OnChange | None = None
        self._is_swept = False  # of what killed processes have left in its directory for temporary files

    def open(self, on_change: OnChange | None = None) -> None:
        """Makes the docroot if it is missing, applies what a crash left undone, removes left-overs.

        Raises StartError where the docroot cannot be read. Where it cannot be written it is served all the same:
        every write then gets its 500, until the cause is gone.
        """
        self._on_change = on_change
        try:
            os.makedirs(self._docroot, exist_ok=True)
            os.scandir(self._docroot).close()
        except FileExistsError as error:
            raise StartError(f"docroot {self._docroot}: this is not a directory") from error
        except OSError as error:
            raise StartError(f"docroot {self._docroot}: {error.strerror}") from error
        try:
            with self._turn():
                pass
        except (OSError, StoreError) as error:
            log.warning("docroot %s cannot be written: %s", self._docroot, error)

    def reader(self) -> DiskReader:
        return DiskReader(self._docroot, self._mend)

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        outcomes: list[StoreError | None] = []
        for run in _records(writes):
            outcomes += self._commit(run)
        return outcomes

    def checkpoint(self) -> None:
        """Sync the file system and empty the journal, so that there is nothing to recover. Raises StoreError."""
        try:
            with self._turn() as (_, _, journal):
                if not journal.is_empty:
                    journal.reset()
        except OSError as error:
            raise failed(error) from error

    def close(self) -> None:
        if self._journal is None:
            return
        try:
            self.checkpoint()
        except StoreError as error:
            log.warning("docroot %s: the journal is left for the next start: %s", self._docroot, error)
        self._drop_journal()

    # -- Within --

    def _commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        try:
            with self._turn() as turn:
                plan = Plan(turn.tree, turn.temporaries)
                try:
                    return self._carry_out(plan, turn.journal, writes)
                finally:
                    plan.close()
        except OSError as error:
            return [failed(error)] * len(writes)
        except StoreError as error:
            return [error] * len(writes)

    def _carry_out(self, plan: Plan, journal: Journal, writes: Sequence[Write]) -> list[StoreError | None]:
        outcomes = [_added(plan, write) for write in writes]
        plan.prepare()
        changes = plan.changes()
        if changes:
            try:
                journal.append(changes)
            except OSError as error:
                return [failed(error) if outcome is None else outcome for outcome in outcomes]
            self._finish(journal, plan.apply())
        return [
            plan.outcome(write) if outcome is None else outcome for write, outcome in zip(writes, outcomes, strict=True)
        ]

    def _finish(self, journal: Journal, all_made: bool) -> None:
        """Everything is done and its outcome known. What fails here is left to the next turn's `recover`."""
        try:
            journal.applied()
            if not all_made:
                journal.reset()  # what was refused after all must not come out of the journal one day
        except OSError as error:
            log.warning("docroot %s: the journal: %s", self._docroot, error.strerror)

    @contextlib.contextmanager
    def _turn(self) -> Iterator[_Turn]:
        """Ours alone until the block ends, with everything before it done. Raises StoreError or OSError."""
        with Tree(self._docroot) as tree, contextlib.ExitStack() as cleanup:
            folder = _own_folder(tree.root, FOLDER)
            cleanup.callback(close_quietly, folder)
            temporary_folder = _own_folder(folder, b"tmp")
            cleanup.callback(close_quietly, temporary_folder)
            temporaries = Temporaries(temporary_folder)
            journal = self._lock_journal(folder)
            cleanup.callback(self._unlock, journal)
            journal.recover(lambda changes: self._redo(tree, temporaries, changes))
            if not self._is_swept:
                temporaries.sweep()
                self._is_swept = True
            yield _Turn(tree, temporaries, journal)

    def _lock_journal(self, folder: int) -> Journal:
        """The journal in `folder`, locked. While we waited another process may have found it gone and made another."""
        while True:
            if self._journal is not None and self._journal.is_inherited:
                self._drop_journal()
            if self._journal is None:
                self._journal = Journal(folder, sync=self._sync)
            self._journal.lock()
            if self._journal.is_at(folder):
                return self._journal
            log.warning("docroot %s: it is not the one it was; starting a new journal", self._docroot)
            self._drop_journal()

    def _unlock(self, journal: Journal) -> None:
        try:
            journal.unlock()
        except OSError as error:
            log.warning("docroot %s: the journal: %s", self._docroot, error.strerror)
            self._drop_journal()  # which gives up the lock

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None
            self._is_swept = False

    def _redo(self, tree: Tree, temporaries: Temporaries, changes: Iterable[Change]) -> None:
        """Whoever had the turn before us has recorded these and crashed, or could not sync them."""
        log.warning("docroot %s: applying recorded changes again", self._docroot)
        changes = list(changes)
        self._tell(changes)  # so that nobody goes on showing, from a cache, what others no longer see in the file
        try:
            redo(tree, temporaries, changes)
        finally:
            self._tell(changes)  # and what was read meanwhile is forgotten too

    def _tell(self, changes: Sequence[Change]) -> None:
        if self._on_change is not None:
            self._on_change({path for path, _ in changes})

    def _mend(self) -> None:
        """Take a turn, in which whatever a killed process has left half done is done. For readers, who are in other
        threads than `commit`: so with another journal object."""
        other = DiskStore(self._docroot, sync=self._sync)
        other._on_change = self._on_change
        try:
            with other._turn():
                pass
        except (OSError, StoreError) as error:
            log.warning("docroot %s cannot be written: %s", self._docroot, error)
        finally:
            other._drop_journal()


def _added(plan: Plan, write: Write) -> StoreError | None:
    try:
        plan.add(write)
    except StoreError as error:
        return error
    except Exception:
        log.exception("a write failed")  # its own client's 500; the others' writes go on
        return StoreFailed("internal error; the server's log has more")
    return None


def _own_folder(parent: int, name: bytes) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, _FOLDER_FLAGS, dir_fd=parent)


def _records(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """`writes` in runs that make one record of the journal each.

    A run is what fits, and ends before a CREATE below a path it creates or deletes itself: directories are made while
    the run is planned, when such a file is not there yet, or still is.
    """
    run: list[Write] = []
    names: set[bytes] = set()
    size = 0
    for write in writes:
        more = CHANGE_BYTES + len(write.path) + len(write.contents or b"")
        if run and (
            size + more > MAX_RECORD_BYTES or (write.operation is Operation.CREATE and _is_below(write, names))
        ):
            yield run
            run, names, size = [], set(), 0
        run.append(write)
        size += more
        if write.operation is not Operation.UPDATE:
            names.add(write.path)
    if run:
        yield run


def _is_below(write: Write, names: set[bytes]) -> bool:
    directory = write.path
    while directory:
        directory = directory[: directory.rfind(b"/")]
        if directory in names:
            return True
    return False
