"""The fast way (a look-up of the very bytes) and the slow one (parser, slots, workers) answer byte for byte the same.

Every script is run through both, on stores that hold the same; and the corpus' expectations hold for either.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import corpus_files
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted import Bench, Talk

from sttp_reactor.errors import StoreError
from sttp_reactor.metrics import Sample
from sttp_reactor.store.base import AnyRead, Found, OnChange, Operation, Write
from sttp_reactor.store.memory import MemoryStore
from sttp_reactor.sttp.access_log import Access
from sttp_reactor.wire.messages import Response
from sttp_reactor.wire.parser import ResponseParser


class Shelf:
    """A `store.base.Store` that can be emptied: a new MemoryStore for each script."""

    def __init__(self) -> None:
        self.empty()

    is_telling = True
    barrier = None

    def empty(self) -> None:
        self.inner = MemoryStore()

    def open(self, on_change: OnChange | None = None) -> None:
        pass

    def close(self) -> None:
        pass

    def samples(self) -> Iterable[Sample]:
        return ()

    def checkpoint(self) -> None:
        pass

    def read(self, reads: Iterator[AnyRead]) -> Iterator[tuple[AnyRead, Found]]:
        return self.inner.read(reads)

    def commit(self, writes: Sequence[Write]) -> list[StoreError | None]:
        return self.inner.commit(writes)


class _NoLog:
    """An access log rules the fast way out."""

    def record(self, _access: Access) -> None:
        pass


class Way(Bench):
    """A bench on which scripts are run. `looked_up` counts the chunks that the fast way answered."""

    def __init__(self, *, is_fast: bool) -> None:
        self.shelf = Shelf()
        super().__init__(caching=is_fast, threads=2, served=self.shelf)
        self.is_fast = is_fast
        self.looked_up = 0
        look_up = self.service.fast_way()

        def counting(chunk: bytes, now: float) -> bytes | None:
            replies = look_up(chunk, now)
            self.looked_up += replies is not None
            return replies

        setattr(self.service, "fast_way", lambda _: counting)  # noqa: B010 - a method, and mypy minds

    def begin(self, files: dict[bytes, bytes]) -> Talk:
        """A new connection to a server that holds `files` and has shown each of them."""
        self.shelf.empty()
        if self.cache is not None:
            self.cache.clear()
        self.shelf.commit([Write(Operation.CREATE, path, contents) for path, contents in files.items()])
        for path in files:
            self.ask(b"SHOW " + path)
        return Talk(self, access_log=None if self.is_fast else _NoLog())

    def run(self, talk: Talk, chunks: Iterable[tuple[bytes, bool]]) -> tuple[bytes, bool, bytes]:
        """Replies to `chunks`, whether the server closed, replies at the half-close. A chunk's flag says whether it is
        answered before the next one arrives; if not, the next one arrives as soon as the session reads."""
        for chunk, waits in chunks:
            while not (talk.transport.is_reading or talk.transport.is_closed):
                self.rest()
            if not talk.transport.is_closed:
                talk.send(chunk)
            self.rest() if waits else self.turn()
        self.rest()
        replies, is_closed = talk.received(), talk.transport.is_closed
        if not is_closed:
            talk.half_close()
            self.rest()
            assert talk.transport.is_closed
        last_replies = talk.received()
        talk.lose()
        return replies, is_closed, last_replies


@pytest.fixture(scope="module")
def ways() -> Iterator[tuple[Way, Way]]:
    with Way(is_fast=True) as fast, Way(is_fast=False) as slow:
        yield fast, slow


def cut(data: bytes, places: Iterable[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(ends)]


def by_line(data: bytes) -> list[bytes]:
    return [piece + b"\n" for piece in data.split(b"\n")[:-1]] + [data.split(b"\n")[-1]]


CASES = corpus_files.all_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_corpus(ways: tuple[Way, Way], case: corpus_files.Case) -> None:
    for pieces in ([case.requests], by_line(case.requests), cut(case.requests, range(0, len(case.requests), 5))):
        chunks = [(piece, True) for piece in pieces if piece]
        fast, slow = (way.run(way.begin({}), chunks) for way in ways)
        assert fast == slow
        corpus_files.check(case, corpus_files.outcome(*fast))


FILES = {b"/a": b"text of a", b"/b": b"", b"/d/c": b"\xc3\xa9\t\xe2\x80\xa8", b"/d/e": b'"quoted"'}

SHOWS = [b"SHOW %b\n" % path for path in FILES]
OTHERS = [
    b"SHOW /a\r\n",
    b"SHOW /none\n",
    b"SHOW /a \n",
    b"SHOW /a",
    b"LIST /d/\n",
    b"UPDATE /a one\n",
    b"UPDATE /a two\n",
    b"DELETE /b\n",
    b"CREATE /b three\n",
    b"SHOW /%b\n" % (b"n" * 33),
    b"\xff\n",
    b"\r",
    b"X /a\n",
]

HITS = st.lists(st.sampled_from(SHOWS), min_size=1, max_size=6).map(b"".join)
MIXTURES = st.lists(st.sampled_from(SHOWS + OTHERS), min_size=1, max_size=4).map(b"".join)
ENDS = st.sampled_from([b"", b"", b"\n", b"\nSHOW /a\n", b"SHOW /a"])


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[bytes, bool]]:
    """Chunks, most of whole lines and many of hits alone, since only those are answered on the fast way."""
    pieces = draw(st.lists(st.one_of(HITS, HITS, MIXTURES), min_size=1, max_size=8))
    pieces = [draw(st.sampled_from([b"", b"\n"])), *pieces, draw(ENDS)]
    if draw(st.integers(0, 2)) == 0:
        pieces = cut(b"".join(pieces), draw(st.lists(st.integers(0, 1000), max_size=10)))
    return [(piece, draw(st.booleans())) for piece in pieces if piece]


def test_any_script_in_any_pieces(ways: tuple[Way, Way]) -> None:
    before = ways[0].looked_up

    @settings(max_examples=100)
    @given(scripts())
    def run(chunks: list[tuple[bytes, bool]]) -> None:
        fast, slow = (way.run(way.begin(FILES), chunks) for way in ways)
        assert fast == slow

    run()
    assert ways[0].looked_up > before, "the fast way was never taken, so nothing was compared"
    assert ways[1].looked_up == 0


@settings(max_examples=80)
@given(st.lists(st.tuples(st.one_of(st.binary(max_size=40), HITS, MIXTURES), st.booleans()), max_size=12))
def test_any_bytes_get_replies_and_no_more_than_that(chunks: list[tuple[bytes, bool]]) -> None:
    """No exception, no reply that is none, no session that never ends."""
    with Way(is_fast=True) as way:
        replies, _, last_replies = way.run(way.begin(FILES), [(chunk, waits) for chunk, waits in chunks if chunk])
    parser = ResponseParser()
    parser.receive_data(replies + last_replies)
    parser.receive_eof()
    count = 0
    while isinstance(parser.next_message(), Response):
        count += 1
    lines = b"".join(chunk for chunk, _ in chunks).count(b"\n")
    assert count <= lines + 1
