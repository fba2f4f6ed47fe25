"""The store on a disk: a docroot of ordinary files, with the server's own names in `.sttp` at its top."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from sttp_reactor.errors import StartError, StoreError, StoreFailed, ToldToStop, UnfitError
from sttp_reactor.metrics import Sample
from sttp_reactor.store.base import AnyRead, Found, OnChange, Write
from sttp_reactor.store.disk.claim import Claim, Served
from sttp_reactor.store.disk.files import Temporaries, close_quietly
from sttp_reactor.store.disk.journal import FOLDER, MAX_RECORD_BYTES, Journal
from sttp_reactor.store.disk.reading import read_batch
from sttp_reactor.store.disk.records import Change
from sttp_reactor.store.disk.recovery import redo
from sttp_reactor.store.disk.runs import in_runs
from sttp_reactor.store.disk.tree import Tree, failed
from sttp_reactor.store.disk.turnlock import holder_of
from sttp_reactor.store.disk.writing import Plan

log = logging.getLogger(__name__)

# What waiting for another process's turn comes to: it is told of, then given up, and the writes that wait get their
# 500. A commit takes milliseconds, on a disk that is stuck some seconds.
TOLD_SECONDS: Final = 2.0
GIVEN_UP_SECONDS: Final = 10.0
# How often who starts looks whether it is to stop.
_LOOK_SECONDS: Final = 0.1
# A server was killed and what it forked still ends: a start waits for that.
ORPHANS_SECONDS: Final = 5.0

_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})

_FOLDER_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Turn(NamedTuple):
    tree: Tree
    temporaries: Temporaries
    journal: Journal


class DiskStore:
    """Implements `store.base.Store`.

    The docroot is opened anew for each batch, so that one that is removed is noticed, and one that is back is used.
    """

    is_telling = True
    barrier = None

    def __init__(self, docroot: str | os.PathLike[str], *, sync: bool = True, claim: Claim | None = None) -> None:
        """With `sync`, an acknowledged write survives a power cut; without, it survives whatever the system does.

        One docroot has one server: stores that are to share it, of several processes mostly, are given one `claim`.
        Whoever made it releases it. Without one the store takes the docroot for itself, until it is closed."""
        self._docroot = os.fspath(docroot)
        self._sync = sync
        self._claim = Claim() if claim is None else claim
        self._owns_claim = claim is None
        self._journal: Journal | None = None
        self._on_change: OnChange | None = None
        self._is_swept = False  # of what killed processes have left in its directory for temporary files

    def take(self) -> None:
        """Make the docroot if it is missing, and take it for this server: for a parent, before it forks.

        Raises UnfitError where it cannot be made or read, StartError where another server has it."""
        try:
            os.makedirs(self._docroot, exist_ok=True)
            os.scandir(self._docroot).close()
        except FileExistsError as error:
            raise UnfitError(f"docroot {self._docroot}: this is not a directory") from error
        except OSError as error:
            raise UnfitError(f"docroot {self._docroot}: {error.strerror}") from error
        begun = time.monotonic()
        while True:
            try:
                self._hold()
                return
            except Served as error:
                if error.is_over and _is_told_to_stop():
                    raise ToldToStop(f"docroot {self._docroot}: told to stop, while {error.by} served it") from error
                if not error.is_over or time.monotonic() - begun > ORPHANS_SECONDS:
                    raise StartError(f"docroot {self._docroot}: it is served already, by {error.by}") from error
            except (OSError, StoreError):
                return  # it cannot be written; `open` says so
            time.sleep(_LOOK_SECONDS)

    def open(self, on_change: OnChange | None = None) -> None:
        """Takes the docroot (see `take`), applies what a crash left undone, removes left-overs; leaves an empty
        journal, so that nothing of what others do from now on is undone one day.

        Raises StartError also where somebody else keeps us from that, and ToldToStop where SIGTERM or SIGINT, which the
        caller holds back, have come meanwhile. Where the docroot cannot be written it is served all the same: every
        write then gets its 500, until the cause is gone.
        """
        self._on_change = on_change
        self.take()
        try:
            with self._turn(is_start=True):
                pass
        except (OSError, StoreError) as error:
            log.warning("docroot %s cannot be written: %s", self._docroot, error)
        except BaseException:
            self._let_go()
            raise

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        return read_batch(reads, self._docroot, self._mend)

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        outcomes: list[StoreError | None] = []
        for run in in_runs(writes, self._most_record_bytes()):
            outcomes += self._commit(run)
        return outcomes

    def samples(self) -> Iterable[Sample]:
        return ()

    def checkpoint(self) -> None:
        """Sync the file system and empty the journal, so that there is nothing to recover. Raises StoreError."""
        try:
            with self._turn() as (_, _, journal):
                if not journal.is_empty:
                    journal.reset()
        except OSError as error:
            raise failed(error) from error

    def close(self) -> None:
        if self._journal is not None:
            try:
                self.checkpoint()
            except StoreError as error:
                log.warning("docroot %s: the journal is left for the next start: %s", self._docroot, error)
        self._let_go()

    # -- Within --

    def _hold(self) -> None:
        with Tree(self._docroot) as tree:
            folder = _own_folder(tree.root, FOLDER)
            try:
                self._claim.hold(folder)
            finally:
                close_quietly(folder)

    def _let_go(self) -> None:
        self._drop_journal()
        if self._owns_claim:
            self._claim.release()

    def _most_record_bytes(self) -> int:
        try:
            return MAX_RECORD_BYTES if self._journal is None else self._journal.most_record_bytes
        except OSError:
            return MAX_RECORD_BYTES

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
    def _turn(self, *, is_start: bool = False) -> Iterator[_Turn]:
        """Ours alone until the block ends, with everything before it done. Raises StoreError or OSError; at a start
        StartError, too, where nobody of this server has had a turn yet and we have to wait for it for too long."""
        with Tree(self._docroot) as tree, contextlib.ExitStack() as cleanup:
            folder = _own_folder(tree.root, FOLDER)
            cleanup.callback(close_quietly, folder)
            temporary_folder = _own_folder(folder, b"tmp")
            cleanup.callback(close_quietly, temporary_folder)
            temporaries = Temporaries(temporary_folder)
            journal = self._lock_journal(folder, is_start=is_start)
            cleanup.callback(self._unlock, journal)
            journal.recover(lambda changes: self._redo(tree, temporaries, changes))
            if not self._is_swept:
                temporaries.sweep()
                self._is_swept = True
            yield _Turn(tree, temporaries, journal)

    def _lock_journal(self, folder: int, *, is_start: bool) -> Journal:
        """The journal in `folder`, locked. While we waited another process may have found it gone and made another."""
        while True:
            if self._journal is not None and self._journal.is_inherited:
                self._drop_journal()
            if self._journal is None:
                token = self._claim.hold(folder)
                substitute = self._claim.open_substitute()
                self._journal = Journal(folder, sync=self._sync, token=token, substitute=substitute)
            self._lock(self._journal, is_start=is_start)
            if self._journal.is_at(folder):
                return self._journal
            log.warning("docroot %s: it is not the one it was; starting a new journal", self._docroot)
            self._drop_journal()

    def _lock(self, journal: Journal, *, is_start: bool) -> None:
        if journal.turn_lock.lock(0.0):
            return
        begun, is_told = time.monotonic(), False
        while not journal.turn_lock.lock(_LOOK_SECONDS):
            waited = time.monotonic() - begun
            if is_start and _is_told_to_stop():
                raise ToldToStop(f"docroot {self._docroot}: told to stop, while {holder_of(journal.turn_file)} had it")
            if waited > TOLD_SECONDS and not is_told:
                is_told = True
                log.warning("docroot %s: %s has the turn; waiting", self._docroot, holder_of(journal.turn_file))
            if waited > GIVEN_UP_SECONDS:
                who = holder_of(journal.turn_file)
                if is_start and not journal.is_ours:
                    raise StartError(f"docroot {self._docroot}: {who} has locked .sttp/turn, and does not give it up")
                log.error("docroot %s: %s has the turn, and does not give it up", self._docroot, who)
                raise StoreFailed("another process keeps the store locked; the server's log says which")

    def _unlock(self, journal: Journal) -> None:
        try:
            journal.turn_lock.unlock()
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
            self._on_change({change.path for change in changes})

    def _mend(self) -> None:
        """Take a turn, in which whatever a killed process has left half done is done. For readers, who are in other
        threads than `commit`: so with another journal object."""
        other = DiskStore(self._docroot, sync=self._sync, claim=self._claim)
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


def _is_told_to_stop() -> bool:
    return bool(signal.sigpending() & _STOPPING)


def _own_folder(parent: int, name: bytes) -> int:
    try:
        return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
    except FileNotFoundError:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=parent)
    return os.open(name, _FOLDER_FLAGS, dir_fd=parent)
