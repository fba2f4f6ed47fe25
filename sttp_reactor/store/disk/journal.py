"""The journal: what makes many small writes durable with one sync, and whole without a rename for each.

Writes that wait together become one checksummed record, appended and synced at once; then the files themselves are
written without any sync, because the record holds their text. The files under the docroot stay ordinary files.

    .sttp/journal   a header, then records (`store.records`)
    .sttp/turn      who may write: its lock is held for the length of a commit, so all processes that serve a docroot
                    take turns; its content says where the journal ends and what state the last turn has left
    .sttp/lock      whose docroot it is (`store.claim`), and with it who may believe `turn`

What each kind of end leaves, and what `recover` does about it:

- One of several processes is killed. What was written is in the system's memory and stays true, but for the last
  record: `turn` says where it is, from before it is written until all its changes are made. If it is whole it is
  applied (again); if it is not, nothing has been applied, and the next one takes its place.
- The whole server is killed, the power fails, or the disk goes and comes back with what it had kept. `turn` was
  written by another server, so it is not believed: it is never synced, and may say less than the journal holds, or
  more. Every record up to the first that is incomplete or out of sequence is applied again, in order, and all is
  synced. A start ends with an empty journal, so what is changed by hand after it is safe from the next one.
- A sync fails. What it was to bring to the disk may be lost though the system's memory still shows it, and syncing
  again would not say so. So all that was acknowledged since the journal's beginning is written again first.
- Recovery itself is interrupted: it starts over. A record says what a file holds, not how it changes, so applying it
  twice is applying it once.

When the journal is full the file system is synced and the journal starts again from its beginning; the sequence
numbers go on, so that an old record further down is never taken for a new one. It is overwritten in place and keeps
its size: a sync of data alone is several times cheaper than one that has a new file size to write too.

A record also says what it found, and is applied again only where that, or its own half-done work, is still there: what
another program has written since stays (`store.recovery`). The price that is left: where it has put back what a file
held before, has emptied it, or has deleted what was created since the last quiet moment, nobody can tell that from
what a power cut leaves, and the acknowledged text comes back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import struct
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from sttp_reactor.store.disk.claim import TOKEN_BYTES
from sttp_reactor.store.disk.files import close_quietly, write_at
from sttp_reactor.store.disk.records import (
    HEADER_BYTES,
    MAX_SEQUENCE,
    RECORD_BYTES,
    Change,
    decode_header,
    encode_changes,
    encode_header,
    encode_record,
    number_of_first,
    records,
)
from sttp_reactor.store.disk.turnlock import TurnLock

FOLDER: Final = b".sttp"

# Some 40,000 small updates between two syncs of the file system. On a disk that is nearly full a small one does.
JOURNAL_BYTES: Final = (4 << 20, 64 << 10)
# Where a record ends at the most, also in a journal that was made with another size.
MAX_JOURNAL_END: Final = 1 << 40
_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# The large one is made where it takes no more than this share of the room there is.
_SHARE_OF_ROOM: Final = 8
# A file-size limit of the process (RLIMIT_FSIZE) may leave less than the small one. One record fits in this.
_SMALLEST_BYTES: Final = 4096
# One record at most, and more where the journal has room for it: 256 small writes should share one sync. In a small
# journal one always fits, for the longest single change has some 10 KB at the default `max_line`.
MAX_RECORD_BYTES: Final = 48 << 10
_MAX_LARGE_RECORD_BYTES: Final = 512 << 10

# `turn`: magic, token of who wrote it, next sequence, offset of the last record, offset behind it, state.
_TURN: Final = struct.Struct(f"<8s{TOKEN_BYTES}sQQQB")
_TURN_MAGIC: Final = b"STTPtrn2"

_PENDING: Final = 0  # the last record may be incomplete, or applied in part
_APPLIED: Final = 1
_DOUBTFUL: Final = 2  # a reset was begun, or a sync has failed: all records are to be applied again, and synced

Apply = Callable[[Iterable[Change]], None]


class _Turn(NamedTuple):
    """What `turn` says: the next record's number, where the last one is, where the next one goes."""

    sequence: int
    last: int
    end: int
    state: int


class Journal:
    """The open journal of one docroot. Every method but `close` is called between `turn_lock.lock` and its `unlock`,
    and `recover` before `append`, `reset` and `is_empty`. Raises OSError for whatever the system refuses."""

    def __init__(self, folder: int, *, sync: bool, token: bytes, substitute: int = -1) -> None:
        """Opens or makes the files in `folder`, a descriptor of `.sttp`. `token` is the claim's (`store.claim`), and
        so is `substitute`, which is locked in the place of `turn` and closed by us; -1 where `turn` has locks."""
        self._sync = sync
        self._token = token
        self._substitute = substitute
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._turn_file = self._file = -1
        try:
            self._turn_file = os.open(b"turn", flags, 0o600, dir_fd=folder)
            self._file = os.open(b"journal", flags, 0o600, dir_fd=folder)
        except OSError:
            self._close_files()
            raise
        self.turn_lock = TurnLock(self._turn_file if substitute < 0 else substitute)
        self._turn: _Turn
        self._process = os.getpid()
        # Nobody knows how well what is here was synced: who made these files may have been killed before their names
        # were on the disk, or may not have had to sync, or they were copied. The first record is preceded by a sync
        # of everything.
        self._is_trusted = not sync

    @property
    def is_inherited(self) -> bool:
        """Whether this process got it by a fork: then its lock is the parent's as well, and keeps nobody out."""
        return self._process != os.getpid()

    @property
    def is_ours(self) -> bool:
        """Whether a process of this server has had the turn already. May be asked out of turn."""
        return self._read_turn() is not None

    @property
    def turn_file(self) -> int:
        return self._turn_file

    @property
    def most_record_bytes(self) -> int:
        """How large one record should be at the most. May be asked out of turn. Raises OSError."""
        room = os.fstat(self._file).st_size - HEADER_BYTES
        most = max(MAX_RECORD_BYTES, min(room, _MAX_LARGE_RECORD_BYTES))
        return min(most, _file_size_limit() - HEADER_BYTES)

    def close(self) -> None:
        self.turn_lock.abandon()
        self._close_files()

    def _close_files(self) -> None:
        for descriptor in (self._turn_file, self._file, self._substitute):
            if descriptor >= 0:
                close_quietly(descriptor)

    def is_at(self, folder: int) -> bool:
        """Whether `folder` still holds the files that are open here (it may have been removed, or made anew)."""
        try:
            return os.path.samestat(os.lstat(b"turn", dir_fd=folder), os.fstat(self._turn_file)) and os.path.samestat(
                os.lstat(b"journal", dir_fd=folder), os.fstat(self._file)
            )
        except FileNotFoundError:
            return False

    def recover(self, apply: Apply) -> None:
        """Begin a turn: learn where the journal ends. Where a crash has left changes undone, `apply` makes them."""
        first = decode_header(os.pread(self._file, HEADER_BYTES, 0))
        turn = None if first is None else self._read_turn()
        if turn is None or turn.state == _DOUBTFUL:
            self._recover_all(first, turn, apply)
        elif turn.state == _PENDING:
            self._recover_last(turn, apply)
        else:
            self._turn = turn

    def append(self, changes: list[Change]) -> None:
        """Put `changes` on the disk as one record; once this returns they cannot be lost. `applied` comes after."""
        body = encode_changes(changes)
        size = RECORD_BYTES + len(body)
        if not self._is_trusted or self._turn.end + size > os.fstat(self._file).st_size:
            self.reset()
        turn = self._turn
        # `turn` first: a record it knew nothing of would come to light at the next power cut, maybe days later.
        self._write_turn(_Turn(turn.sequence + 1, turn.end, turn.end + size, _PENDING))
        try:
            write_at(self._file, encode_record(turn.sequence, body), turn.end)
            self._sync_file()
        except OSError:
            self._write_turn(turn._replace(state=_DOUBTFUL))  # the record is refused, and its number not used again
            raise

    def applied(self) -> None:
        """The last record's changes have all been made."""
        self._write_turn(self._turn._replace(state=_APPLIED))

    def reset(self) -> None:
        """Sync the file system and start from the beginning: all that has been recorded is in the files."""
        self._write_turn(self._turn._replace(state=_DOUBTFUL))
        self._restart(self._turn.sequence)

    @property
    def is_empty(self) -> bool:
        return self._turn.end == HEADER_BYTES

    # -- Within --

    def _recover_all(self, first: int | None, turn: _Turn | None, apply: Apply) -> None:
        """`turn` is None where it is of no use: there is no journal yet, or another server has written it."""
        data = self._read()
        if first is None:
            # The header is damaged, so nobody knows where this journal's numbers begin; its first record says so.
            # It could be left over from an older journal, which is unlikely; without it every record would be lost.
            first = number_of_first(data)
        before = None if turn is None else turn.sequence
        found = [] if first is None else list(records(data, HEADER_BYTES, first, before))
        if found:
            self._sync_file()  # whoever was killed may not have come to it, and the files must not be ahead
            apply(change for changes in found for change in changes)
        if first is None:
            os.ftruncate(self._file, 0)  # with no number to go on from, nothing of the old may stay
        # One is left out, in case a record that was refused is on the disk.
        self._restart(max((first or 0) + len(found), before or 0) + 1)

    def _recover_last(self, turn: _Turn, apply: Apply) -> None:
        changes = next(records(self._read(), turn.last, turn.sequence - 1), None)
        if changes is None:
            self._write_turn(_Turn(turn.sequence - 1, turn.last, turn.last, _APPLIED))
            return
        try:
            self._sync_file()  # as in `_recover_all`
        except OSError:
            self._write_turn(turn._replace(state=_DOUBTFUL))
            raise
        apply(changes)
        self._write_turn(turn._replace(state=_APPLIED))

    def _restart(self, sequence: int) -> None:
        # In this order: a header that is on the disk before the files are would lose what they do not hold yet.
        if self._sync:
            sync_file_system(self._file)
        self._make_room()
        write_at(self._file, encode_header(sequence), 0)
        self._sync_file()
        self._write_turn(_Turn(sequence, HEADER_BYTES, HEADER_BYTES, _APPLIED))
        self._is_trusted = True

    def _make_room(self) -> None:
        """Give the journal its size, in zeros that are really written: syncing later changes no metadata."""
        size = os.fstat(self._file).st_size
        large, small = JOURNAL_BYTES
        if size >= large:
            return
        system = os.fstatvfs(self._file)
        wanted = large if system.f_bavail * system.f_frsize >= large * _SHARE_OF_ROOM else small
        wanted = min(wanted, _file_size_limit())
        if size >= wanted:
            return
        try:
            write_at(self._file, bytes(wanted - size), size)
        except OSError as error:
            least = _SMALLEST_BYTES if error.errno == errno.EFBIG else small
            if error.errno not in _NO_ROOM or os.fstat(self._file).st_size < least:
                raise
        if self._sync:
            os.fsync(self._file)

    def _read_turn(self) -> _Turn | None:
        """None when another server has written it, or nobody."""
        data = os.pread(self._turn_file, _TURN.size, 0)
        if len(data) < _TURN.size:
            return None
        magic, token, sequence, last, end, state = _TURN.unpack(data)
        if magic != _TURN_MAGIC or token != self._token:
            return None
        # Only what can be counted on from: a last record and the next one's place behind the header, and a number.
        if not (0 < sequence <= MAX_SEQUENCE and HEADER_BYTES <= last <= end <= MAX_JOURNAL_END and state <= _DOUBTFUL):
            return None
        return _Turn(sequence, last, end, state)

    def _write_turn(self, turn: _Turn) -> None:
        write_at(self._turn_file, _TURN.pack(_TURN_MAGIC, self._token, *turn), 0)
        self._turn = turn

    def _read(self) -> bytes:
        return os.pread(self._file, os.fstat(self._file).st_size, 0)

    def _sync_file(self) -> None:
        if self._sync:
            getattr(os, "fdatasync", os.fsync)(self._file)


def _file_size_limit() -> int:
    """What the process may write to one file, in bytes."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return MAX_JOURNAL_END if limit == resource.RLIM_INFINITY else limit


def sync_file_system(descriptor: int) -> None:
    """Everything written so far on the file system of `descriptor` reaches the disk. Raises OSError."""
    try:
        syncfs = ctypes.CDLL(None, use_errno=True).syncfs
    except AttributeError:
        os.sync()  # not Linux: all file systems then
        return
    if syncfs(descriptor):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
