"""A standard error that nobody reads keeps nobody waiting, and what it costs is counted."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

import pytest
from operating import Operated, operated
from running import PATIENCE_SECONDS

from sttp_reactor.daemon import log_queue, logs
from sttp_reactor.daemon.log_lock import LogLock
from sttp_reactor.daemon.log_queue import LogQueue

CONNECTIONS = 600


class Pipe:
    """One that nobody reads until `rest` is called."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()

    def rest(self) -> bytes:
        """Everything that is written until the writing end is closed."""
        received = b""
        while piece := os.read(self.reader, 65536):
            received += piece
        return received

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    yield made
    made.close_writer()
    os.close(made.reader)


def tell_dropped(lines: int) -> bytes:
    return b"%d missing\n" % lines


@pytest.mark.parametrize("has_thread", [True, False])
def test_a_pipe_that_is_not_read_keeps_nobody_waiting(pipe: Pipe, has_thread: bool) -> None:
    queue = LogQueue(pipe.writer, tell_dropped, has_thread=has_thread, most_waiting=100_000)
    line = b"x" * 99 + b"\n"
    for _ in range(5000):  # half a megabyte; the pipe has 64 KiB
        queue.put(line)
    dropped = queue.dropped
    assert 5000 - 2 * 1700 < dropped < 5000
    assert not queue.close(0.01), "all of it cannot have been written"
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.rest()))
    reader.start()
    assert queue.close(PATIENCE_SECONDS)
    pipe.close_writer()
    reader.join()
    *lines, last = received[0].splitlines(keepends=True)
    assert lines == [line] * (5000 - dropped)
    assert last == tell_dropped(dropped), "where it goes on, the log says what is missing"


@pytest.mark.parametrize("has_thread", [True, False])
def test_what_a_slow_reader_takes_in_time_is_all_there(pipe: Pipe, has_thread: bool) -> None:
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append(pipe.rest()))
    queue = LogQueue(pipe.writer, tell_dropped, has_thread=has_thread)
    long = b"\n".join(b"%d" % number for number in range(3000)) + b"\n"  # more than goes at once
    for _ in range(10):
        queue.put(long)
    reader.start()
    assert queue.close(PATIENCE_SECONDS)
    pipe.close_writer()
    reader.join()
    assert received == [long * 10]
    assert queue.dropped == 0


@pytest.mark.parametrize("has_thread", [True, False])
def test_a_reader_that_is_gone_costs_lines_only(has_thread: bool) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    queue = LogQueue(writer, tell_dropped, has_thread=has_thread)
    for _ in range(3):
        queue.put(b"one\ntwo\n")
    assert queue.close(PATIENCE_SECONDS)
    os.close(writer)
    assert queue.dropped == 6


def written_by_children(pipe: Pipe, count: int, write: Callable[[int], None]) -> bytes:
    """What `count` processes, which call `write` with their numbers, have written together."""
    pids = []
    for number in range(count):
        if (pid := os.fork()) == 0:
            try:
                write(number)
            finally:
                os._exit(0)
        pids.append(pid)
    pipe.close_writer()
    received = pipe.rest()
    for pid in pids:
        os.waitpid(pid, 0)
    return received


@pytest.mark.parametrize("has_thread", [True, False])
def test_records_of_several_processes_stay_whole_however_long(
    pipe: Pipe, has_thread: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_WAIT_SECONDS", "_LOCK_SECONDS"):  # this machine may be busy with other things
        monkeypatch.setattr(log_queue, name, PATIENCE_SECONDS)
    lock = LogLock()

    def block(number: int) -> bytes:
        return b"%d begins\n" % number + (b"    %d " % number + b"x" * 200 + b"\n") * 100

    def write(number: int) -> None:
        queue = LogQueue(pipe.writer, tell_dropped, has_thread=has_thread, lock=lock)
        for _ in range(20):
            queue.put(block(number))
        queue.close(PATIENCE_SECONDS)

    received = written_by_children(pipe, 3, write)
    lock.close()
    blocks = re.findall(rb"\d begins\n(?:    .*\n)*", received)
    assert b"".join(blocks) == received
    assert sorted(blocks) == sorted(block(number) for number in range(3) for _ in range(20))


def test_a_process_that_is_stopped_or_killed_in_its_turn_keeps_nobody_from_logging(pipe: Pipe) -> None:
    lock = LogLock()
    reader, writer = os.pipe()
    if (holder := os.fork()) == 0:
        with lock.held(0.0):
            os.write(writer, b".")
            signal.pause()
        os._exit(0)
    try:
        os.read(reader, 1)
        queue = LogQueue(pipe.writer, tell_dropped, has_thread=False, lock=lock)
        queue.put(b"one\n")
        assert os.read(pipe.reader, 100) == b"one\n"
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        with lock.held(0.0):
            if (other := os.fork()) == 0:
                os._exit(lock._take(lock._descriptor or 0, 0.0))
            assert os.waitpid(other, 0)[1] == 0, "it is ours: another process does not get it"
    finally:
        os.close(reader)
        os.close(writer)
        lock.close()


def test_its_thread_hears_no_signal(pipe: Pipe) -> None:
    """It lives until after the last one has been blocked, so a late SIGTERM would kill the process by way of it."""
    queue = LogQueue(pipe.writer, tell_dropped, has_thread=True)
    (thread,) = [each for each in threading.enumerate() if each.name == "sttp-log"]
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    assert queue.close(PATIENCE_SECONDS)
    blocked = int(re.findall(r"SigBlk:\s*([0-9a-f]+)", status)[0], 16)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        assert blocked >> (number - 1) & 1, number


@pytest.fixture
def stream(pipe: Pipe) -> Iterator[TextIO]:
    """What leads into the pipe, as standard error would."""
    logger = logging.getLogger(logs.ROOT)
    handlers, level = list(logger.handlers), logger.level
    with open(pipe.writer, "w", encoding="ascii", closefd=False) as stream:
        yield stream
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.mark.parametrize("has_thread", [True, False])
def test_records_keep_their_order_and_format_on_the_way_through_the_queue(
    pipe: Pipe, stream: TextIO, has_thread: bool
) -> None:
    log = logging.getLogger("sttp_reactor.x")
    logs.set_up("info", "text", stream)
    log.info("before")
    with logs.waiting_for_nobody(has_thread=has_thread):
        log.info("within é")
        logs.set_up("warning", "json", stream)  # as a reload does
        log.info("unimportant")
        log.warning("still within")
    log.warning("after")
    pipe.close_writer()
    lines = pipe.rest().decode().splitlines()
    assert [line.partition(" sttp_reactor.x: ")[2] or line.partition('"message": ')[2] for line in lines] == [
        "before",
        "within \\xe9",
        '"still within"}',
        '"after"}',
    ]


def test_where_the_reader_has_stopped_nobody_waits_for_him_afterwards_either(
    pipe: Pipe, stream: TextIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "LOG_CLOSE_SECONDS", 0.01)
    logs.set_up("info", "text", stream)
    with logs.waiting_for_nobody():
        for _ in range(2000):
            logging.getLogger("sttp_reactor.x").info("x" * 100)
    logging.getLogger("sttp_reactor.x").info("the last words")
    reader = threading.Thread(target=pipe.rest)
    reader.start()
    for thread in threading.enumerate():
        if thread.name == "sttp-log":
            thread.join(PATIENCE_SECONDS)
    pipe.close_writer()
    reader.join()


# -- The whole server --


@contextlib.contextmanager
def many_connections(server: Operated) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < CONNECTIONS + 200:
        pytest.skip("too few descriptors")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, CONNECTIONS + 200), hard))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(CONNECTIONS):
                stack.enter_context(server.connect())
            yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("processes", [1, 2], ids=["alone", "two processes"])
def test_reports_that_nobody_reads_cost_no_reply_and_no_sigterm(tmp_path: Path, processes: int) -> None:
    with operated(tmp_path, f"processes: {processes}") as server, server.connect() as wire:
        wire.ask(b"CREATE /a x")
        with many_connections(server):
            for _ in range(40):  # several times what the pipe holds
                server.send_signal(signal.SIGUSR2)
                assert wire.ask(b"SHOW /a") == b"200 /a OK\nx\n"
        server.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
        server.ends()
    assert "the state of the server:" in server.log
