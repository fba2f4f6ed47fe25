"""The engine on real sockets, against servers that are right and servers that are not."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, Files

from sttp_reactor.client import Endpoint
from sttp_reactor.load.connect import open_connections
from sttp_reactor.load.engine import Engine
from sttp_reactor.load.exact import Agenda, ExactSource, Pair
from sttp_reactor.load.faults import LoadError, Mistakes, Unreachable
from sttp_reactor.load.latency import Recorder
from sttp_reactor.load.link import Link
from sttp_reactor.load.outcomes import SHOW_200
from sttp_reactor.load.pacing import ClosedPacer, Pacer, SchedulePacer
from sttp_reactor.load.poller import READABLE, WRITABLE, EpollPoller, Poller, SelectorPoller
from sttp_reactor.load.stress import Stress
from sttp_reactor.load.target import Target

TEXT = b"Buy milk"
POLLERS = [SelectorPoller, *([EpollPoller] if hasattr(select, "epoll") else [])]


def _pairs(count: int) -> list[Pair]:
    return [(b"SHOW /%d\n" % n, b"200 /%d OK\n%s\n" % (n, TEXT)) for n in range(count)]


@contextmanager
def _engine(server: FakeServer, source: ExactSource, pacer: Pacer, **settings: Any) -> Iterator[Engine]:
    for number in range(1000):
        server.files.texts[b"/%d" % number] = TEXT
    sockets = open_connections(Target(Endpoint("127.0.0.1", server.port)), int(settings.pop("connections", 3)), 5)
    links = [Link(number, sock) for number, sock in enumerate(sockets)]
    try:
        yield Engine(links, source, pacer, pipeline=int(settings.pop("pipeline", 1)), **settings)
    finally:
        for link in links:
            link.close()


def _source(count: int) -> ExactSource:
    return ExactSource(Agenda(_pairs(count)).take, SHOW_200, Mistakes())


@pytest.mark.parametrize("pipeline", [1, 5, 400])
def test_a_right_server(pipeline: int) -> None:
    source, recorder = _source(1000), Recorder()
    with FakeServer() as server, _engine(server, source, ClosedPacer(recorder, pipeline), pipeline=pipeline) as engine:
        engine.run()
        assert (source.mistakes.samples, engine.lost, engine.unanswered) == ([], 0, [])
        assert sum(recorder.response.values()) == 1000
        assert engine.last_reply > engine.started


def test_a_schedule_is_kept() -> None:
    source, recorder = _source(50), Recorder()
    with FakeServer() as server, _engine(server, source, pacer := SchedulePacer(recorder, 1, 1_000_000)) as engine:
        pacer.limit(50)
        begun = time.monotonic()
        engine.run()
        assert sum(recorder.response.values()) == sum(recorder.service.values()) == sum(recorder.lag.values()) == 50
        assert time.monotonic() - begun >= 0.049


def test_requests_that_the_kernel_does_not_take_at_once() -> None:
    request = b"CREATE /%d " + b"x" * 100_000 + b"\n"
    pairs = [(request % n, b"100 /%d CREATED\n" % n) for n in range(200)]
    source = ExactSource(Agenda(pairs).take, SHOW_200, Mistakes())
    with (
        FakeServer() as server,
        _engine(server, source, ClosedPacer(Recorder(), 100), connections=1, pipeline=100) as engine,
    ):
        server.files.texts.clear()
        engine.run()
        assert source.mistakes.samples == []
        assert len(server.files.texts) == 200


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda line: b"200 %s OK\nBuy wine\n" % line.split()[1], "Buy wine"),
        (lambda line: b'500 - SERVER ERROR "too many connections"\n', "too many connections"),
        (lambda line: b"HTTP/1.1 400 Bad Request\r\n", "is not an STTP reply"),
        (lambda line: None, "the server closed connection"),
        (lambda line: b"200 %s OK\n%s\n" % (line.split()[1], TEXT) * 2, "nobody asked for"),
    ],
)
def test_a_wrong_server(answer: object, message: str) -> None:
    source = _source(20)
    with FakeServer(answer) as server, _engine(server, source, ClosedPacer(Recorder(), 4), pipeline=4) as engine:  # type: ignore[arg-type]
        engine.run()
        assert source.mistakes.count
        assert message in " ".join([*source.mistakes.samples, source.mistakes.first])


def test_a_server_that_says_nothing_is_given_up() -> None:
    source = _source(3)
    with (
        FakeServer(lambda line: b"") as server,
        _engine(server, source, ClosedPacer(Recorder(), 1), timeout=0.2) as engine,
    ):
        engine.run()
        assert engine.lost == 3
        assert len(engine.unanswered) == 3
        assert "no reply within 0.2 s" in source.mistakes.samples[0]


def test_stopping_waits_for_what_was_sent() -> None:
    source, recorder = _source(1000), Recorder()
    with FakeServer() as server, _engine(server, source, ClosedPacer(recorder, 2), pipeline=2) as engine:
        engine.at(time.monotonic_ns(), lambda now: engine.stop())
        engine.run()
        assert engine.unanswered == []
        assert sum(recorder.response.values()) >= 6


def test_stopping_twice_waits_for_nothing() -> None:
    source = _source(3)
    with FakeServer(lambda line: b"") as server, _engine(server, source, ClosedPacer(Recorder(), 1)) as engine:
        engine.stop()
        engine.stop()
        engine.run()
        assert source.mistakes.count == 0


def test_nobody_listens() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        target = Target(Endpoint("127.0.0.1", unused.getsockname()[1]))
        with pytest.raises(Unreachable, match="Connection refused"):
            open_connections(target, 3, 5)


def test_more_connections_than_files() -> None:
    with pytest.raises(LoadError, match="see ulimit -n"):
        open_connections(Target(), 1 << 40, 5)


@pytest.mark.parametrize("make", POLLERS)
def test_pollers(make: type[Poller]) -> None:
    poller = make()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        poller.register(ours.fileno(), READABLE)
        assert poller.wait(0) == []
        begun = time.monotonic()
        assert poller.wait(0.003) == []
        assert time.monotonic() - begun >= 0.003
        theirs.send(b"x")
        assert poller.wait(0.01) == poller.wait(1) == [(ours.fileno(), READABLE)]
        poller.modify(ours.fileno(), READABLE | WRITABLE)
        assert poller.wait(1) == [(ours.fileno(), READABLE | WRITABLE)]
        poller.unregister(ours.fileno())
        assert poller.wait(0) == []
    poller.close()


def _stress(server: FakeServer, count: int = 30, connections: int = 4, pause: float = 0.0) -> Stress:
    return Stress(Target(Endpoint("127.0.0.1", server.port)), connections, pause, count, lambda *_: None)


def test_stress_does_the_published_scripts_job() -> None:
    asked: list[bytes] = []
    files = Files()

    def answer(line: bytes) -> bytes | None:
        asked.append(line)
        return files.answer(line)

    with FakeServer(answer) as server:
        run = _stress(server)
        run.run()
    assert [(phase.name, phase.requests, phase.mistakes.count) for phase in run.phases] == [
        ("create", 30, 0), ("show", 33, 0), ("delete", 30, 0),
    ]  # fmt: skip
    assert b"CREATE /snippets/snippet_0.txt This is pre-defined snippet number 1" in asked
    assert asked.count(b"SHOW /snippets/snippet_10.txt") == 2
    assert asked.count(b"SHOW /snippets/snippet_11.txt") == 1
    assert (files.texts, run.left_over) == ({}, 0)
    assert all(len(phase.milliseconds()) == 4 and phase.rate > 0 for phase in run.phases)


def test_stress_with_a_pause() -> None:
    with FakeServer() as server:
        run = _stress(server, count=4, connections=2, pause=0.02)
        run.run()
    assert [phase.requests for phase in run.phases] == [4, 5, 4]
    assert run.phases[0].seconds > 0.02


def test_stress_on_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with FakeServer(family=socket.AF_UNIX, address=path):
        run = Stress(Target(Endpoint(path)), 3, 0.0, 10, lambda *_: None)
        run.run()
    assert [phase.mistakes.count for phase in run.phases] == [0, 0, 0]


def test_stress_leaves_alone_what_it_did_not_create() -> None:
    with FakeServer() as server:
        server.files.texts[b"/snippets/snippet_3.txt"] = b"mine"
        run = _stress(server, count=5)
        run.run()
        assert server.files.texts == {b"/snippets/snippet_3.txt": b"mine"}
    assert [phase.mistakes.count for phase in run.phases] == [1, 0, 0]
    assert [phase.requests for phase in run.phases] == [5, 5, 4], "the first is shown twice"


def test_stress_deletes_what_it_created_when_interrupted() -> None:
    with FakeServer() as server:
        run = _stress(server, count=1000, pause=0.005)
        timer = threading.Timer(0.1, run.interrupt)
        timer.start()
        run.run()
        timer.join()
        assert server.files.texts == {}
    assert run.is_interrupted
    assert run.left_over == 0
    assert [phase.name for phase in run.phases] == ["create"]
    assert 0 < run.phases[0].requests < 1000


def test_stress_deletes_what_it_created_when_a_server_goes_wrong() -> None:
    files = Files()
    with FakeServer(lambda line: None if line.startswith(b"SHOW") else files.answer(line)) as server:
        run = _stress(server)
        with pytest.raises(LoadError, match="every connection was lost: the server closed connection"):
            run.run()
    assert files.texts == {}
    assert run.left_over == 0


def test_stress_says_what_it_could_not_delete() -> None:
    files = Files()

    def answer(line: bytes) -> bytes | None:
        return b'500 - SERVER ERROR "read only"\n' if line.startswith(b"DELETE") else files.answer(line)

    with FakeServer(answer) as server:
        run = _stress(server)
        run.run()
    assert run.left_over == len(files.texts) == 30
    assert run.phases[-1].mistakes.count == 30
