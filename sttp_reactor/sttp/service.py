"""The service: a request in, a reply out, by way of the cache or of a worker and the store.

It owns what is known about files that are being read right now. `_reads` holds one read for each path, and everybody
who waits for it, so that a hundred SHOWs of one file that is not cached read the disk once. A read leaves `_reads`
when its path changes: it still answers those who asked before, but what it brings never enters the cache, and whoever
asks from then on starts a new one.

A change can be seen before it is acknowledged: by a LIST, or by a SHOW in another process. Whoever asks after somebody
has seen it must see it too (PROTOCOL.md section 2), so while a change is under way what is cached of its file is not
shown, reads that begin meanwhile are not cached, and nobody joins one that a worker has begun. Where several processes
serve the files, `team` says which are changing; a process that is alone notes it itself. It cannot do without because
everybody shares its cache and its reads: a read that an earlier change has cast out of `_reads` may still look at the
file, and show what a later change has put there, while another one has brought what was there before.

Replies are bytes, ready to send; the cache keeps them as they are.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any, Final

from sttp_reactor.errors import StoreError, StoreFailed
from sttp_reactor.limits import (
    CHECKPOINT_SECONDS,
    COMMIT_DIRECTORIES,
    COMMIT_WRITES,
    DISK_THREADS,
    LIST_THREADS,
    MAX_PATH_SEGMENTS,
    QUEUED_JOBS,
    QUEUED_LISTS,
    SLOW_SECONDS,
    SWEEP_SECONDS,
    SWEEP_SLICE,
    VERY_SLOW_SECONDS,
)
from sttp_reactor.metrics import GAUGE, Sample
from sttp_reactor.net.loop import Loop, Timer
from sttp_reactor.net.pool import Pool
from sttp_reactor.net.throttle import Throttle, unthrottled
from sttp_reactor.printable import printable
from sttp_reactor.store.base import Found, Operation, Read, Store, Write
from sttp_reactor.sttp.answerer import ANYBODY, Asker, Done, FastWay, Waiter, no_replies
from sttp_reactor.sttp.cache import Cache
from sttp_reactor.sttp.cached_shows import CachedShows
from sttp_reactor.sttp.counts import Counts
from sttp_reactor.sttp.team import Member
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import STATUS_BY_CODE, SUCCESS_OF, Action, Request, Response, Status

log = logging.getLogger(__name__)

_OPERATIONS: Final = {
    Action.CREATE: Operation.CREATE,
    Action.UPDATE: Operation.UPDATE,
    Action.DELETE: Operation.DELETE,
}
_SHOW: Final = Action.SHOW  # a module's name is quicker than an enum's on CPython 3.11
_LIST: Final = Action.LIST
_OK: Final = Status.OK


class _Read(Read):
    """A SHOW or LIST under way, and who waits for its reply."""

    __slots__ = ("begun_at", "is_begun", "is_kept", "is_stable", "key", "waiter", "waiters", "waiting")

    def __init__(
        self,
        key: bytes,
        path: bytes,
        begun_at: float,
        done: Done,
        waiter: Waiter,
        *,
        is_list: bool,
        is_stable: bool,
        is_kept: bool,
    ) -> None:
        self.path = path
        self.is_list = is_list
        self.is_stable = is_stable  # a SHOW, and no change of its file was under way when we were asked
        self.is_kept = is_kept  # the same, or those who are shown it later ask the barrier first
        self.is_begun = False  # where it is not stable, a worker sets it before anybody looks at the file
        self.key = key
        self.begun_at = begun_at  # before the disk is read, so that nothing cached passes for younger than it is
        self.waiting = [done]
        self.waiter = waiter  # whose turn it takes up: the first one's
        self.waiters = [waiter]

    @property
    def word(self) -> bytes:
        return _LIST.word if self.is_list else _SHOW.word

    @property
    def is_abandoned(self) -> bool:
        """Nobody waits any more. The loop lets nobody join such a read, so a worker that finds it abandoned may leave
        it undone: nobody can have come since."""
        return all(waiter.is_gone for waiter in self.waiters)

    @property
    def may_be_joined(self) -> bool:
        """Whether what it brings is true for somebody who asks now: where the file is being changed, only as long as
        nobody has looked at it. That goes for every LIST, too: nobody keeps account of who changes which directory."""
        return (self.is_stable or not self.is_begun) and not self.is_abandoned


class _Change:
    """A CREATE, UPDATE or DELETE under way; only the one who asked waits for it."""

    __slots__ = ("begun_at", "done", "request", "waiter")

    def __init__(self, request: Request, begun_at: float, done: Done, waiter: Waiter) -> None:
        self.request = request
        self.begun_at = begun_at
        self.done = done
        self.waiter = waiter

    @property
    def word(self) -> bytes:
        return self.request.action.word

    @property
    def path(self) -> bytes:
        return self.request.path


class _Checkpoint:
    """A job of the writer's that changes no file: empty the journal. Nobody waits for it."""

    waiter = ANYBODY


_WAITER_OF: Final = attrgetter("waiter")


class Service:
    """An `answerer.Answerer`. Its methods belong to the loop's thread, but `_read` and `_commit`, for workers."""

    keeps_order = True

    def __init__(
        self,
        loop: Loop,
        store: Store,
        cache: Cache | None,
        disk_threads: int = DISK_THREADS,
        team: Member | None = None,
        throttle: Throttle | None = None,
    ) -> None:
        """`cache` is None where caching is off, `team` where no other process serves the same files. `throttle`, where
        there is one, logs what is answered 500; otherwise each is logged. `close` ends the threads."""
        self._loop = loop
        self._store = store
        self.cache = cache
        self._team = team
        self._barrier: CachedShows | None = None
        if store.barrier is not None:
            self._barrier = CachedShows(loop, store.barrier, self._up_to_date, self._start_read, self._when_readers_can)
        # Others change files, too; otherwise all there is to know stands in `_changing`.
        self._is_shared = team is not None or self._barrier is not None or not store.is_telling
        self._warn = unthrottled(log) if throttle is None else throttle.warn
        self._reads: dict[bytes, _Read] = {}
        self._changing: dict[bytes, int] = {}  # without a team: changes under way, by cache key
        self._readers = self._make_readers("sttp-read", disk_threads, QUEUED_JOBS)
        # A LIST may take a thousand times as long as a SHOW, so SHOWs do not queue behind LISTs.
        self._listers = self._make_readers("sttp-list", min(disk_threads, LIST_THREADS), QUEUED_LISTS)
        self._writer: Pool[_Change | _Checkpoint, bytes] = Pool(
            loop,
            "sttp-write",
            1,
            self._commit,
            self._after_commit,
            lambda job, _: _internal(job.request.path) if isinstance(job, _Change) else b"",
            _WAITER_OF,
            most=COMMIT_WRITES,
        )
        self._sweep_timer: Timer | None = None  # while the cache is being swept, or will be
        self._last_write = -math.inf
        self._checkpoint_due = False
        self.counts = Counts()
        if team is not None and team.has_inherited:
            self._writer.submit(_Checkpoint())  # its turn recovers what our predecessor has left

    def _make_readers(self, name: str, threads: int, capacity: int) -> Pool[_Read, bytes]:
        return Pool(
            self._loop,
            name,
            threads,
            self._read,
            self._after_reads,
            lambda read, _: _internal(read.path),
            _WAITER_OF,
            capacity=capacity,
        )

    def fast_way(self, asker: Asker | None = None) -> FastWay:
        """Called with a chunk and the time, it gives the joined replies where all of the chunk is whole SHOW lines
        whose replies are cached; else None. Good until `use_cache` is called: where nothing else is to be looked at,
        it is the cache's own method, because one call more would cost 0.1 us a request."""
        if self.cache is None:
            return no_replies
        if self._barrier is not None:
            return no_replies if asker is None else self._barrier.fast_way(self.cache, asker)
        return self.cache.replies_to if self._team is None else partial(self._team_replies, self.cache, self._team)

    def _team_replies(self, cache: Cache, team: Member, chunk: bytes, now: float) -> bytes | None:
        if team.has_news:
            self._catch_up(team)
        return cache.replies_to(chunk, now)

    def cached(self, request: Request) -> bytes | None:
        """The reply to one SHOW, if it is cached, and may be shown without further question."""
        if self.cache is None or request.action is not _SHOW or self._barrier is not None:
            return None
        if self._team is not None and self._team.has_news:
            self._catch_up(self._team)
        return self.cache.get(_key(request.path))

    def when_room(self, request: Request, callback: Callable[[], None]) -> None:
        readers = self._listers if request.action is _LIST else self._readers
        pool: Pool[Any, bytes] = self._writer if request.action.is_write else readers
        pool.when_room(callback)

    def start(self, request: Request, done: Done, waiter: Waiter = ANYBODY) -> bool:
        """Have the disk asked. `done(reply)` is called once, later; or, where the queue is full, never: then the
        answer is False, and `when_room` tells when to ask again. A change is made even if its waiter is gone by then; a
        read is not, and what it is answered means nothing."""
        if request.action.is_write:
            return self._start_change(request, done, waiter)
        if self._barrier is not None and request.action is _SHOW and self._barrier.take(request, done, waiter):
            return True
        return self._start_read(request, done, waiter)

    def _start_read(self, request: Request, done: Done, waiter: Waiter) -> bool:
        if self._team is not None and self._team.has_news:
            self._catch_up(self._team)
        is_list = request.action is _LIST
        key = b"LIST %b\n" % request.path if is_list else b"SHOW %b\n" % request.path
        read = self._reads.get(key)
        if read is not None and read.may_be_joined:
            read.waiting.append(done)
            read.waiters.append(waiter)
            return True
        is_stable = is_kept = not is_list
        if is_stable and (self._changing or self._is_shared):
            is_settled = self._is_settled(key)
            is_stable = is_settled and self._store.is_telling
            is_kept = is_stable or (is_settled and self._barrier is not None)
        now = self._loop.now
        read = _Read(key, request.path, now, done, waiter, is_list=is_list, is_stable=is_stable, is_kept=is_kept)
        if not (self._listers if is_list else self._readers).submit(read):
            return False
        self._reads[key] = read
        return True

    def _when_readers_can(self, callback: Callable[[], None]) -> None:
        self._readers.when_room(callback)

    def _is_settled(self, key: bytes) -> bool:
        """Whether no change of this file is under way."""
        return key not in self._changing and (
            self._team is None or not self._team.unsettled or self._team.is_settled(key)
        )

    def _start_change(self, request: Request, done: Done, waiter: Waiter) -> bool:
        if not self._writer.submit(_Change(request, self._loop.now, done, waiter)):
            return False
        if self._team is None:
            key = _key(request.path)
            self._changing[key] = self._changing.get(key, 0) + 1
            self._forget(key)
        return True

    def changed_elsewhere(self, paths: Collection[bytes] | None) -> None:
        """These files have changed, or are about to, by nobody's request; None: any may have. Any thread may call it,
        and calls it again when the change is made."""
        keys = None if paths is None else [_key(path) for path in paths]
        if self._team is not None:
            self._team.announce(keys)
        else:
            self._loop.call_soon_threadsafe(partial(self._forget_many, keys))

    def use_cache(self, cache: Cache | None) -> None:
        """Go on with another cache, with none, or with the same one after its limits have changed."""
        if self.cache is not None and self.cache is not cache:
            self.counts.keep_those_of(self.cache)
        self.cache = cache
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None
        if cache is not None:
            self._see_to_sweeping()

    @property
    def under_way(self) -> int:
        """Requests that wait for the disk."""
        at_barrier = 0 if self._barrier is None else self._barrier.under_way
        return at_barrier + sum(pool.under_way for pool in self._pools)

    def samples(self) -> Iterator[Sample]:
        """For metrics."""
        yield from self.counts.samples(self.cache)
        for name, pool in (("write", self._writer), ("read", self._readers), ("list", self._listers)):
            yield Sample("sttp_requests_waiting", GAUGE, (("queue", name),), pool.under_way)

    @property
    def _pools(self) -> tuple[Pool[Any, bytes], ...]:
        return self._writer, self._readers, self._listers

    def __repr__(self) -> str:
        pools = ", ".join(map(repr, self._pools))
        return f"<Service {self.counts.reads} reads and {self.counts.writes} writes answered: {pools}>"

    def close(self, timeout: float) -> bool:
        """End the threads, waiting `timeout` seconds at most. False where one did not end."""
        deadline = time.monotonic() + timeout
        ended = [pool.close(max(0.0, deadline - time.monotonic())) for pool in self._pools]
        if self._barrier is not None:
            ended.append(self._barrier.close(deadline - time.monotonic()))
        return all(ended)

    def _up_to_date(self) -> Cache | None:
        """The cache, with what the other processes have changed gone from it."""
        if self._team is not None and self._team.has_news:
            self._catch_up(self._team)
        return self.cache

    # -- In the workers --

    def _read(self, reads: Iterator[_Read]) -> Iterator[tuple[_Read, bytes]]:
        abandoned: list[_Read] = []
        for read, found in self._store.read(_begun(reads, abandoned)):
            if found.__class__ is bytes:
                yield read, b"200 %b OK\n%b\n" % (read.path, found)
            else:
                yield read, _reply_to_read(read, found)
        for read in abandoned:
            yield read, b""

    def _commit(self, jobs: Iterator[_Change | _Checkpoint]) -> list[tuple[_Change | _Checkpoint, bytes]]:
        taken = list(_one_commit(jobs))
        changes = [job for job in taken if isinstance(job, _Change)]
        if len(changes) < len(taken):
            self._checkpoint()
        outcomes = iter(self._carry_out([_write(change.request) for change in changes]))
        return [
            (job, _reply_to_change(job.request, next(outcomes)) if isinstance(job, _Change) else b"") for job in taken
        ]

    def _carry_out(self, writes: Sequence[Write]) -> list[StoreError | None]:
        if self._team is None or not writes:
            return self._store.commit(writes)
        self._team.begin([_key(write.path) for write in writes])
        try:
            return self._store.commit(writes)
        finally:
            self._team.settle()

    def _checkpoint(self) -> None:
        # Nobody asked for it, so nobody is answered; least of all the writes that happen to share its batch.
        try:
            self._store.checkpoint()
            if self._team is not None and self._team.has_inherited:
                self._team.settle_inherited()
        except StoreError as error:
            self.counts.failed_checkpoints += 1
            log.warning("the journal could not be emptied: %s", error)
        except Exception:
            self.counts.failed_checkpoints += 1
            log.exception("a checkpoint failed")

    # -- Back in the loop --

    def _after_reads(self, results: list[tuple[_Read, bytes]]) -> None:
        if self._team is not None and self._team.has_news:
            self._catch_up(self._team)
        answers = self.counts.of_store
        for read, reply in results:
            if reply:  # else it was left undone, because nobody waited any more
                answers[read.word, reply[:3]] += len(read.waiting)
            if self._reads.get(read.key) is read:
                del self._reads[read.key]
                if read.is_kept and self.cache is not None and reply.startswith(b"200"):
                    self.cache.put(read.key, reply, read.begun_at)
                    self._see_to_sweeping()
            self._answer(read.waiting, reply)
        self._see_to_time([read for read, _ in results for _ in read.waiting])

    def _after_commit(self, results: list[tuple[_Change | _Checkpoint, bytes]]) -> None:
        changes = [(job, reply) for job, reply in results if isinstance(job, _Change)]
        if self._team is None:
            for change, _ in changes:
                self._changed(change.request)
        answers = self.counts.of_store
        for change, reply in changes:
            answers[change.word, reply[:3]] += 1
            self._answer((change.done,), reply)
        if changes:
            self._see_to_time([change for change, _ in changes])
            self._last_write = self._loop.now
            self._see_to_checkpoint()

    def _see_to_time(self, jobs: Sequence[_Read | _Change]) -> None:
        """Of those that are answered now, one for each who has asked. Who has joined a read that somebody else had
        begun is taken to have waited for all of it."""
        now = self._loop.now
        waited = [now - job.begun_at for job in jobs]
        self.counts.durations.observe(waited)
        longest = max(waited, default=0.0)
        if longest >= SLOW_SECONDS:
            self._tell_slow(jobs[waited.index(longest)], longest)

    def _tell_slow(self, job: _Read | _Change, seconds: float) -> None:
        """At the level debug, of each batch; as a warning, where that is far too long."""
        name = f"{job.word.decode()} {printable(job.path.decode())}"
        log.debug("slow: %s has waited %.3f s for the disk, longest of those answered with it", name, seconds)
        if seconds >= VERY_SLOW_SECONDS:
            message = "%s has waited %.1f s for the disk: it is slow, or too much is asked of it"
            self._warn("slow_disk", message, name, seconds, cause=isinstance(job, _Change))

    def _answer(self, waiting: Iterable[Done], reply: bytes) -> None:
        if reply.startswith(b"500"):
            self._warn_of(reply)
        for done in waiting:
            try:
                done(reply)
            except Exception:  # what goes wrong with one client must not cost the others of its batch their replies
                log.exception("a reply could not be delivered")

    def _warn_of(self, reply: bytes) -> None:
        """Of a 500. What is wrong and in which directory tells its causes apart; the file hardly ever matters."""
        path, _, message = reply[4:].partition(b" ")
        cause = (path[: path.rstrip(b"/").rfind(b"/") + 1], message)
        self._warn("server_error", "answered %s", printable(reply.decode().rstrip()), cause=cause)

    def _changed(self, request: Request) -> None:
        """The store is done with it. What was known of the file was forgotten before, and nothing kept since."""
        key = _key(request.path)
        if self._changing[key] > 1:
            self._changing[key] -= 1
        else:
            del self._changing[key]

    def _forget(self, key: bytes) -> None:
        """The file has changed or is about to: what is cached of it, or being read, is not to be shown any more."""
        self._reads.pop(key, None)
        if self.cache is not None:
            self.cache.drop(key)

    def _forget_many(self, keys: Iterable[bytes] | None) -> None:
        for key in keys or ():
            self._forget(key)
        if keys is None:
            self._forget_everything()

    def _forget_everything(self) -> None:
        self._reads = {}
        if self.cache is not None:
            self.cache.clear()

    def _catch_up(self, team: Member) -> None:
        """The same for what any process, this one too, has begun to change."""
        changed = team.news()
        if changed is None:
            self._forget_everything()
            return
        self._reads = {key: read for key, read in self._reads.items() if hash(key) not in changed}
        if self.cache is not None:
            self.cache.drop_hashed(changed)

    # -- Background --

    def _see_to_sweeping(self) -> None:
        if self._sweep_timer is None:
            self._sweep_timer = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        assert self.cache is not None
        earliest = self.cache.sweep(SWEEP_SLICE)
        if earliest == math.inf:
            self._sweep_timer = None
        elif earliest <= self._loop.now:
            self._sweep_timer = self._loop.call_later(0.0, self._sweep)  # the next slice, but the sockets first
        else:
            pause = max(SWEEP_SECONDS, earliest - self._loop.now)
            self._sweep_timer = self._loop.call_later(pause, self._sweep)

    def _see_to_checkpoint(self) -> None:
        if not self._checkpoint_due:
            self._checkpoint_due = True
            self._loop.call_later(CHECKPOINT_SECONDS, self._maybe_checkpoint)

    def _maybe_checkpoint(self) -> None:
        quiet = self._loop.now - self._last_write
        self._checkpoint_due = quiet < CHECKPOINT_SECONDS
        if self._checkpoint_due:
            self._loop.call_later(CHECKPOINT_SECONDS - quiet, self._maybe_checkpoint)
        else:
            self._writer.submit(_Checkpoint())


def _key(path: bytes) -> bytes:
    """The cache's key of a file: the request line that shows it, as a well-behaved client sends it."""
    return b"SHOW %b\n" % path


def _one_commit(jobs: Iterator[_Change | _Checkpoint]) -> Iterator[_Change | _Checkpoint]:
    """As many of the next jobs as one commit takes: until its CREATEs may have to make COMMIT_DIRECTORIES, those
    counted once that several of them need. Everybody in a commit waits for the whole of it."""
    seen = {b""}
    for job in jobs:
        yield job
        if isinstance(job, _Change) and job.request.action is Action.CREATE:
            directory = job.request.path
            while (directory := directory[: directory.rfind(b"/")]) not in seen:
                seen.add(directory)
            if len(seen) > COMMIT_DIRECTORIES:
                return


def _write(request: Request) -> Write:
    return Write(_OPERATIONS[request.action], request.path, request.contents)


def _begun(reads: Iterator[_Read], abandoned: list[_Read]) -> Iterator[_Read]:
    """Those of `reads` that somebody waits for, marked as begun; the others go to `abandoned`."""
    for read in reads:
        if read.waiter.is_gone and read.is_abandoned:
            abandoned.append(read)
            continue
        if not read.is_stable:
            read.is_begun = True
        yield read


def _reply_to_read(read: Read, found: Found) -> bytes:
    if isinstance(found, StoreError):
        return _reply_to_error(read.path, found)
    contents = b", ".join(_nameable(read.path, found)) if isinstance(found, list) else found
    return encode_response(Response(_OK, read.path, contents))


def _nameable(directory: bytes, names: list[bytes]) -> list[bytes]:
    """Without those that no request could name, because their paths would be too deep (PROTOCOL.md section 3). Other
    programs may have put them there."""
    return names if directory.rstrip(b"/").count(b"/") < MAX_PATH_SEGMENTS else []


def _reply_to_change(request: Request, error: StoreError | None) -> bytes:
    if error is not None:
        return _reply_to_error(request.path, error)
    return encode_response(Response(SUCCESS_OF[request.action], request.path, request.contents))


def _reply_to_error(path: bytes, error: StoreError) -> bytes:
    if error.at_directory:
        path = path[: path.rstrip(b"/").rfind(b"/") + 1]
    return encode_response(Response(STATUS_BY_CODE[error.code], path, None, error.message))


def _internal(path: bytes) -> bytes:
    return _reply_to_error(path, StoreFailed("internal error; the server's log has more"))
