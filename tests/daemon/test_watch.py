"""A process that hangs is noticed and replaced; a debugger's is not, nor all of them after a night's sleep."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Sttpd

from sttp_reactor.daemon import watch as watch_module
from sttp_reactor.daemon.children import Child
from sttp_reactor.daemon.control import Control
from sttp_reactor.daemon.watch import Watch
from sttp_reactor.limits import HANG_SECONDS, WATCH_SECONDS
from sttp_reactor.sttp.team import Team

# A server whose parent is less patient than ours, so that the test need not be.
IMPATIENT = [
    sys.executable,
    "-c",
    """
import sys
from sttp_reactor.daemon import watch
watch.HANG_SECONDS, watch.WATCH_SECONDS = 2.0, 0.2
from sttp_reactor.cli.sttpd import main
sys.exit(main())
""",
]


class Watched:
    """Two children without processes, and a clock wound by hand."""

    def __init__(self) -> None:
        self.team = Team(2)
        self.members = [self.team.member(index) for index in range(2)]
        self.now = 1000.0
        self.watch = Watch(self.team, self.now)
        pairs = [Control.pair() for _ in range(2)]
        self.ends = [end for pair in pairs for end in pair]
        self.children = [Child(index, 1_000_000_000 + index, pairs[index][0]) for index in range(2)]

    def look(self, *turning: int, after: float = WATCH_SECONDS) -> list[int]:
        self.now += after
        for index in turning:
            self.members[index].beat(self.now)
        return [child.index for child in self.watch.hung(self.children, self.now)]

    def close(self) -> None:
        for end in self.ends:
            end.close()
        for member in self.members:
            member.__dict__.clear()
        self.team.close()


@pytest.fixture
def watched() -> Iterator[Watched]:
    with contextlib.closing(Watched()) as watched:
        yield watched


LOOKS = int(HANG_SECONDS / WATCH_SECONDS)


def test_who_shows_no_sign_for_long_hangs(watched: Watched) -> None:
    assert watched.look(0, 1) == []
    for _ in range(LOOKS - 1):
        assert watched.look(0) == []
    assert watched.look(0) == [1]
    assert watched.look(0, 1) == [], "it turns again"
    assert watched.look(0) == []


def test_a_successor_has_its_own_time(watched: Watched) -> None:
    watched.look(0, 1)
    for _ in range(LOOKS - 1):
        watched.look(0)
    watched.children[1].pid += 10
    assert watched.look(0) == []


def test_a_parent_that_has_slept_too_blames_nobody(watched: Watched) -> None:
    watched.look(0, 1)
    assert watched.look(after=100 * HANG_SECONDS) == []
    assert watched.look(0, 1) == []


def test_whom_a_debugger_holds_is_told_of_once(
    watched: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(watch_module, "_is_traced", lambda pid: pid == watched.children[1].pid)
    watched.look(0, 1)
    for _ in range(2 * LOOKS):
        assert watched.look(0) == []
    assert len(caplog.messages) == 1
    assert "a debugger holds it" in caplog.messages[0]


def test_a_process_without_a_tracer_is_seen_as_such() -> None:
    assert not watch_module._is_traced(os.getpid()) or "TracerPid:\t0" not in Path("/proc/self/status").read_text()
    assert not watch_module._is_traced(1 << 30)


def children(server: Sttpd) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


def test_a_stopped_process_is_replaced(tmp_path: Path) -> None:
    server = Sttpd(["-a", "127.0.0.1", "-p", "0", "-d", "files", "-o", "processes=2"], tmp_path, IMPATIENT)
    try:
        stuck, well = children(server)
        os.kill(stuck, signal.SIGSTOP)
        deadline = time.monotonic() + 20
        while stuck in (now := children(server)) or len(now) < 2:
            assert time.monotonic() < deadline, "nobody has noticed"
            time.sleep(0.05)
        assert well in now
        for _ in range(12):  # of either process
            assert server.converse(b"LIST /\n") == b"200 / OK\n\n"
        server.stop()
        assert f"({stuck}) has not turned for" in server.log
    finally:
        server.kill()
        with contextlib.suppress(ProcessLookupError):
            os.kill(stuck, signal.SIGKILL)
