"""sttpc dump and load: all files of a server as JSON lines, and back.

One line for each file, such as {"path": "/notes/today", "text": "Buy milk"}: what `jq`, `sort` and `diff` can work on.
Requests are pipelined, a batch at a time, each batch with the whole time-out; so memory holds one directory's names and
one batch, however many files there are.

Both can be told to do their work again. A dump only reads. A load finds out what the last one has done already: a file
that is there with the same text is no mistake.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

from sttp_reactor.cli.sttpc_report import Report
from sttp_reactor.cli.sttpc_servers import Servers, exit_code
from sttp_reactor.cli.sttpc_targets import Target
from sttp_reactor.client import make_request, split_names
from sttp_reactor.errors import LocalError, SttpError
from sttp_reactor.limits import MAX_LINE_BYTES
from sttp_reactor.wire.encoder import encode_request
from sttp_reactor.wire.messages import Action, Request, Response, Status

_BATCH: Final = 500
# A LIST may have as much to say as a thousand SHOWs; the server answers one at a time on a connection.
_LIST_BATCH: Final = 50
_MISSING: Final = (Status.NOT_FOUND, Status.PATH_NOT_FOUND)
# In JSON one byte can take six, as in \u0001; no file that a request can carry makes a longer line.
_LONGEST_LINE_BYTES: Final = 6 * MAX_LINE_BYTES + 100
# Between a CREATE that finds a file and the UPDATE somebody may delete it; not three times in a row.
_ROUNDS: Final = 3
_PROGRESS_SECONDS: Final = 0.2
_WRONG_EXIT: Final = 2


class File(NamedTuple):
    """`where` it stands, for messages: the input's name and the number of the line."""

    where: str
    path: str
    text: str


class Progress:
    """A counter on standard error that is written over and over, for people who wait: where it is a terminal."""

    def __init__(self, done: str, *, is_shown: bool) -> None:
        """`done` as in "dumped"."""
        self.files = 0
        self._done = done
        self._is_shown = is_shown and sys.stderr is not None and sys.stderr.isatty()
        self._began = self._last = time.monotonic()

    def add(self, files: int) -> None:
        self.files += files
        now = time.monotonic()
        if self._is_shown and now - self._last >= _PROGRESS_SECONDS:
            self._last = now
            print(f"\r{self._sentence(now)}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        if self._is_shown:
            print(f"\r{self._sentence(time.monotonic())}\x1b[K", file=sys.stderr, flush=True)

    def _sentence(self, now: float) -> str:
        return f"{self.files} files {self._done}, {self.files / max(now - self._began, 0.001):.0f}/s"


class Moving:
    """What dump and load have in common: a server, and what to do when it fails them."""

    def __init__(self, servers: Servers, report: Report, target: Target, done: str) -> None:
        self._servers = servers
        self._report = report
        self._target = target
        output = report.output
        self._progress = Progress(done, is_shown=not (output.quiet or output.as_json))

    def _ask(self, requests: Sequence[Request]) -> list[Response]:
        return self._servers.pipeline(self._target.endpoint, list(requests))

    def _refused(self, request: Request, reply: Response) -> None:
        """Tell that this one was not done; the others go on."""
        timing = self._servers.client(self._target.endpoint).timing
        self._report.reply(self._target.at(request.path.decode()), request, reply, timing)

    def _run(self, work: Callable[[], None], advice: str) -> None:
        """Do `work`. Where the server fails it, nobody is to think that it came to its end: tell how far it came."""
        try:
            work()
        except SttpError as error:
            if isinstance(error, LocalError):
                raise
            self._progress.end()
            self._report.fail(exit_code(error))
            self._report.output.problem(f"{error}; {self._progress.files} files were done: {advice}")
        else:
            self._progress.end()


class Dump(Moving):
    def __init__(self, servers: Servers, report: Report, target: Target) -> None:
        """Of the directory `target`, and all below it."""
        super().__init__(servers, report, target, "dumped")

    def run(self) -> None:
        self._run(self._walk, "what was dumped is not everything")

    def _walk(self) -> None:
        directory = self._target.path if self._target.path.endswith("/") else f"{self._target.path}/"
        waiting = [directory]
        while waiting:
            # The last ones first, which is depth first: so few wait that they need no bound.
            batch = waiting[: -_LIST_BATCH - 1 : -1]
            del waiting[-_LIST_BATCH:]
            for path, names in self._names(batch, is_first=batch == [directory]):
                waiting += [f"{path}{name}" for name in reversed(names) if name.endswith("/")]
                self._dump_files([f"{path}{name}" for name in names if not name.endswith("/")])

    def _names(self, directories: list[str], *, is_first: bool) -> Iterator[tuple[str, list[str]]]:
        requests = [make_request(Action.LIST, path) for path in directories]
        for path, request, reply in zip(directories, requests, self._ask(requests), strict=True):
            if reply.status.is_success:
                yield path, [name for name in split_names(reply.contents or b"") if self._is_name(path, name)]
            elif is_first or reply.status not in _MISSING:  # else somebody has emptied it since it was listed
                self._refused(request, reply)

    def _is_name(self, directory: str, name: str) -> bool:
        """Else a server that is broken or means harm could have us list the same directory for ever."""
        is_name = name.removesuffix("/") not in ("", ".", "..") and "/" not in name[:-1]
        if not is_name:
            self._report.broken(f"{directory}: the server lists {name!r}, which is not a name")
        return is_name

    def _dump_files(self, paths: list[str]) -> None:
        for start in range(0, len(paths), _BATCH):
            requests = [make_request(Action.SHOW, path) for path in paths[start : start + _BATCH]]
            records = []
            for request, reply in zip(requests, self._ask(requests), strict=True):
                if reply.status.is_success:
                    text = (reply.contents or b"").decode()
                    records.append({"path": request.path.decode(), "text": text})
                elif reply.status not in _MISSING:  # else it has been deleted since it was listed
                    self._refused(request, reply)
            self._report.output.records(records)
            self._progress.add(len(records))


class Load(Moving):
    def __init__(self, servers: Servers, report: Report, target: Target, *, force: bool) -> None:
        """With `force` files that are there with another text are replaced; otherwise each of them is a mistake."""
        super().__init__(servers, report, target, "loaded")
        self._force = force

    def run(self, name: str) -> None:
        """Load the file `name`, or standard input for `-`. Raises LocalError where it cannot be read."""
        if name == "-":
            if sys.stdin is None:
                raise LocalError("standard input is closed")
            self._run(lambda: self._load(_lines("standard input", sys.stdin.buffer)), _AGAIN)
            return
        try:
            stream = open(name, "rb")  # noqa: SIM115 (what fails while it is open is told elsewhere)
        except OSError as error:
            raise LocalError(f"{name}: {error.strerror}") from None
        with stream:
            self._run(lambda: self._load(_lines(name, stream)), _AGAIN)

    def _load(self, lines: Iterable[tuple[str, bytes]]) -> None:
        batch: list[tuple[File, Request]] = []
        for where, line in lines:
            try:
                file = _file(where, line)
                batch.append((file, _request(Action.CREATE, file)))
            except LocalError as error:
                self._report.fail(_WRONG_EXIT)
                self._report.output.problem(f"{where}: {error}")
            if len(batch) == _BATCH:
                self._send(batch)
                batch = []
        self._send(batch)

    def _send(self, batch: list[tuple[File, Request]]) -> None:
        sent = len(batch)
        for _ in range(_ROUNDS):
            if not batch:
                break
            batch = self._create(batch)
        for _, request in batch:
            self._refused(request, Response(Status.NOT_FOUND, request.path))
        self._progress.add(sent - len(batch))

    def _create(self, batch: list[tuple[File, Request]]) -> list[tuple[File, Request]]:
        """Those that are to be tried again: they were there, and were gone when they should have been replaced."""
        replies = self._ask([request for _, request in batch])
        refused = [
            (file, request, reply)
            for (file, request), reply in zip(batch, replies, strict=True)
            if not reply.status.is_success
        ]
        if not refused:
            return []
        shown = self._ask([make_request(Action.SHOW, file.path) for file, _, _ in refused])
        different = []
        for (file, request, reply), there in zip(refused, shown, strict=True):
            if not there.status.is_success:
                self._refused(request, reply)
            elif there.contents != file.text.encode():
                different.append((file, request))
        if self._force:
            return self._replace(different)
        for file, _ in different:
            self._report.fail(Status.CLIENT_ERROR // 100)
            self._report.output.problem(f"{file.where}: {file.path} is there with another text; -f replaces it")
        return []

    def _replace(self, different: list[tuple[File, Request]]) -> list[tuple[File, Request]]:
        if not different:
            return []
        updates = [_request(Action.UPDATE, file) for file, _ in different]
        gone = []
        for each, update, reply in zip(different, updates, self._ask(updates), strict=True):
            if reply.status in _MISSING:
                gone.append(each)
            elif not reply.status.is_success:
                self._refused(update, reply)
        return gone


_AGAIN: Final = "load again to go on from there"


def _lines(name: str, stream: BinaryIO) -> Iterator[tuple[str, bytes]]:
    """Each line, and where it stands. Raises LocalError."""
    number = 0
    try:
        while line := stream.readline(_LONGEST_LINE_BYTES):
            number += 1
            whole = line
            while not whole.endswith(b"\n") and (whole := stream.readline(_LONGEST_LINE_BYTES)):
                line = b"too long"  # which is no JSON, so it is told like any other line that is none
            if line.strip():
                yield f"{name}:{number}", line
    except OSError as error:
        raise LocalError(f"{name}: {error.strerror}") from None


def _file(where: str, line: bytes) -> File:
    try:
        fields = json.loads(line)
        path, text = fields["path"], fields["text"]
    except (ValueError, KeyError, TypeError, RecursionError):
        path = text = None
    if not (isinstance(path, str) and isinstance(text, str)):
        raise LocalError('this is no line as dump writes it: {"path": "/notes/today", "text": "Buy milk"}')
    return File(where, path, text)


def _request(action: Action, file: File) -> Request:
    """Raises LocalError where STTP cannot carry it."""
    request = make_request(action, file.path, file.text)
    encode_request(request)
    return request
