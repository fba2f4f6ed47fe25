"""Target `session`: one connection of a server with a store in memory, from the bytes that come to those that go.

However they come, and in whatever order the workers answer, the replies are those that PROTOCOL.md gives (`wire_oracle`
for what a line means, `wire_driver.DictService` for what is in the files), with the cache and the fast way as without.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Final, NamedTuple

from fuzz_script import Step, read_script
from hand_pool import HandBench, HandTalk
from test_wire_properties import read_all
from wire_driver import DictService, in_pieces
from wire_oracle import Verdict, judge_all

from sttp_reactor.limits import MAX_LINE_BYTES, READ_BYTES, REQUESTS_IN_FLIGHT, REQUESTS_PER_TURN
from sttp_reactor.store.base import Operation, Write
from sttp_reactor.store.memory import MemoryStore
from sttp_reactor.sttp.session import SessionLimits
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import Action, Request, Status
from sttp_reactor.wire.parser import END_OF_SESSION

# |  the next chunk arrives          ,  a turn passes             .  everything that has come is answered
# r  a SHOW is looked up             R  all are, by one           w  the writer takes one        W  takes all
# d  the oldest SHOWs come back      D  the newest do             c  the oldest writes come back
# l  a LIST is looked up             L  the oldest come back
# p  the peer stops reading          P  it reads again            t  what is cached expires
# e  the peer half-closes            m  (at the beginning) lines have 60 bytes at most
# n  somebody else updates /w
LETTERS: Final = "|,.rRwWdDclLpPtemn"

FILES: Final = {
    b"/a": b"text of a",
    b"/b": b"",
    b"/d/c": b"\xc3\xa9\t\xe2\x80\xa8",
    b"/d/e": b'"quoted"',
    b"/w": b"0",
}
_SHARED: Final = b"/w"

_SMALL_MAX_LINE: Final = 60
_EXPIRATION: Final = 5.0
_NEVER: Final = 1e9  # seconds; time limits have tests of their own


def check_session(script: bytes) -> None:
    steps = read_script(script, LETTERS)
    max_line = _SMALL_MAX_LINE if steps[0] == Step(b"", "m") else MAX_LINE_BYTES
    verdicts = judge_all(_stream(steps), max_line)
    if any(path == _SHARED.decode() and action not in ("SHOW", "LIST", "") for _, path, action, _ in verdicts):
        steps = [Step(data, "|" if what == "n" else what) for data, what in steps]  # then nobody else writes it
    fast, slow = (_run(steps, max_line, is_fast=is_fast) for is_fast in (True, False))
    for run in (fast, slow):
        _check_replies(run, verdicts)
    if not fast.updates:
        assert fast.sent == slow.sent, "the fast way and the slow way differ"


class _Run(NamedTuple):
    """`updates` is how often somebody else has updated /w; `known` what of it was acknowledged when each line came."""

    sent: bytes
    updates: int
    known: list[int]


class _Neighbour:
    """Somebody else, who writes to /w how often it has been written."""

    def __init__(self, bench: HandBench) -> None:
        self._bench = bench
        self.begun = 0
        self.acknowledged = 0

    def update(self) -> None:
        number = self.begun + 1

        def done(reply: bytes) -> None:
            assert reply == b"200 /w OK\n%d\n" % number
            self.acknowledged = number

        if self._bench.service.start(Request(Action.UPDATE, _SHARED, b"%d" % number), done):
            self.begun = number


def _run(steps: list[Step], max_line: int, *, is_fast: bool) -> _Run:
    """Everything that the session sends. What rules the fast way out is an access log, or that there is no cache."""
    store = MemoryStore()
    store.commit([Write(Operation.CREATE, path, contents) for path, contents in FILES.items()])
    limits = SessionLimits(max_line, _NEVER, _NEVER)
    log = None if is_fast else SimpleNamespace(record=lambda access: None)
    known: list[int] = []
    with HandBench(store, caching=is_fast, expiration=_EXPIRATION) as bench:
        if bench.cache is not None:
            for path, contents in FILES.items():
                bench.cache.put(b"SHOW %b\n" % path, b"200 %b OK\n%b\n" % (path, contents), bench.clock())
        talk = HandTalk(bench, limits, log)
        neighbour = _Neighbour(bench)
        for number, (data, what) in enumerate(steps):
            if talk.is_over:
                break
            acknowledged = neighbour.acknowledged
            talk.arrive(*in_pieces(data, READ_BYTES))
            _check_bounds(talk, max_line)
            if neighbour.begun:
                known += [acknowledged] * (len(_asked(steps[: number + 1], max_line)) - len(known))
            _happen(bench, talk, neighbour, what)
            if what == ".":
                _check_all_is_answered(talk, steps[: number + 1], max_line)
        talk.settle()
        talk.arrive_end()
        talk.settle()
        assert talk.transport.is_closed
        assert not talk.session._slots
        talk.lose()
        assert talk.lost == [talk.session]
        return _Run(bytes(talk.transport.sent), neighbour.begun, known)


def _happen(bench: HandBench, talk: HandTalk, neighbour: _Neighbour, what: str) -> None:
    if what == ",":
        bench.turn()
    elif what == ".":
        talk.settle()
    elif what in tuple("rR"):
        bench.readers.work(1 if what == "r" else 100)
    elif what in tuple("wW"):
        bench.writer.work(1 if what == "w" else 100)
    elif what in tuple("dD"):
        bench.hear(bench.readers, newest=what == "D")
    elif what == "c":
        bench.hear(bench.writer)
    elif what == "l":
        bench.listers.work(1)
    elif what == "L":
        bench.hear(bench.listers)
    elif what == "p":
        talk.stop_reading()
    elif what == "P":
        talk.read_again()
    elif what == "t":
        bench.advance(_EXPIRATION + 1)
    elif what == "e":
        talk.arrive_end()
    elif what == "n":
        neighbour.update()
    talk.pump()


def _check_replies(run: _Run, verdicts: list[Verdict]) -> None:
    replies, end = read_all([run.sent])
    assert end is END_OF_SESSION, "no STTP"
    assert b"".join(map(encode_response, replies)) == run.sent
    assert len(replies) == len(verdicts), "a reply is missing, or one too many"
    files = DictService()
    for name, text in FILES.items():
        files.answer(Request(Action.CREATE, name, text))
    for number, (reply, verdict) in enumerate(zip(replies, verdicts, strict=True)):
        status, path, contents = _judged(files, verdict)
        if run.updates and (verdict.action, verdict.path) == ("SHOW", _SHARED.decode()):
            contents = reply.contents
            assert int(contents or b"-1") >= (run.known[number] if number < len(run.known) else 0), "an old text"
        assert reply[:3] == (status, path, contents)


def _check_bounds(talk: HandTalk, max_line: int) -> None:
    session = talk.session
    assert session._parser.buffered <= max_line + READ_BYTES
    assert len(session._slots) <= REQUESTS_IN_FLIGHT + REQUESTS_PER_TURN


def _check_all_is_answered(talk: HandTalk, steps: list[Step], max_line: int) -> None:
    """No reply to a whole line waits for what comes after it."""
    replies, _ = read_all([bytes(talk.transport.sent)])
    assert len(replies) == len(_asked(steps, max_line)), "a reply is missing, or one too many"


def _asked(steps: list[Step], max_line: int) -> list[Verdict]:
    """What has been asked so far; a line that is not whole yet may still become anything."""
    asked = judge_all(_stream(steps), max_line)
    return asked[:-1] if asked and asked[-1].stage == "no end" else asked


def _stream(steps: list[Step]) -> bytes:
    """All that the client sends; behind its half-close nothing comes."""
    stream = b""
    for data, what in steps:
        stream += data
        if what == "e":
            break
    return stream


def _judged(files: DictService, verdict: Verdict) -> tuple[Status, bytes, bytes | None]:
    """All of a reply but its message: that is the product's to word."""
    stage, path, action, contents = verdict
    if stage:
        return Status.FILENAME_TOO_LONG if stage == "name" else Status.CLIENT_ERROR, path.encode(), None
    text = None if contents is None else contents.encode()
    return files.answer(Request(Action(action.encode()), path.encode(), text))[:3]
