"""`kill -9` of a real sttpd in a storm of changes: what was acknowledged is there, whole, and there is nothing else.

Fifty connections change files, each its own, so that what each file may hold after the kill is known exactly: what was
acknowledged last, or what one of the requests still unanswered would have made of it (tools/soak/model.py). The next
server on the same docroot is asked, and the files are looked at behind its back.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from operating import operated
from running import PATIENCE_SECONDS, Start, Sttpd

from sttp_reactor.load.connect import open_connections
from sttp_reactor.load.engine import Engine
from sttp_reactor.load.exact import ExactSource, Pair
from sttp_reactor.load.faults import Mistakes
from sttp_reactor.load.latency import Recorder
from sttp_reactor.load.link import Link
from sttp_reactor.load.outcomes import UPDATE_200
from sttp_reactor.load.pacing import ClosedPacer
from sttp_reactor.load.target import parse_target
from sttp_reactor.store.disk.journal import JOURNAL_BYTES

sys.path.append(str(Path(__file__).parents[2] / "tools"))

from soak.model import Asked, Files, Key, State, settle_by

CONNECTIONS = 50
FILES_EACH = 4
PIPELINE = 8
LONGEST_STORM_SECONDS = 0.15
FOR_EVER = sys.maxsize

# How many rounds in a run of the long tests; STTP_KILL_ROUNDS=1000 is for a whole evening.
ROUNDS = int(os.environ.get("STTP_KILL_ROUNDS", "50"))
SEED = int(os.environ.get("STTP_KILL_SEED", "20240607"))


class Storm:
    """What fifty connections ask, and what was answered. A source for the load tool's engine."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._files = [Files(f"/c{number}/", FILES_EACH, rng) for number in range(CONNECTIONS)]
        self.acknowledged = self.unanswered = 0
        self._begin()

    def _begin(self) -> None:
        self._asked: list[deque[Asked]] = [deque() for _ in self._files]
        self._wrong = Mistakes()  # what the server said
        self.mistakes = Mistakes()  # what the engine says: of connections that end, as they do when a server is killed
        self._exact = [ExactSource(self._taker(number), UPDATE_200, self._wrong) for number in range(CONNECTIONS)]
        self._is_over = False
        self._raging_from = FOR_EVER
        self._on_raging: Callable[[], None]

    def compose(self, link: Link, count: int) -> bytes:
        return b"" if self._is_over else self._exact[link.number].compose(link, count)

    def digest(self, link: Link, data: bytes) -> list[int]:
        outcomes = self._exact[link.number].digest(link, data)
        for _ in outcomes:
            asked = self._asked[link.number].popleft()
            assert asked.changed is not None
            asked.changed.acknowledge()
        self.acknowledged += len(outcomes)
        if self.acknowledged >= self._raging_from:
            self._raging_from = FOR_EVER
            self._on_raging()
        return outcomes

    def rage(self, server: Sttpd, kill: Callable[[], None], goes_on: float = 0.0) -> int:
        """Ask until `kill` is called, at a random moment of the storm, and `goes_on` seconds longer. Returns how many
        connections the server ended."""
        self._begin()
        sockets = open_connections(parse_target(server.addresses[0]), CONNECTIONS, PATIENCE_SECONDS)
        links = [Link(number, sock) for number, sock in enumerate(sockets)]
        engine = Engine(links, self, ClosedPacer(Recorder(), PIPELINE), pipeline=PIPELINE, timeout=PATIENCE_SECONDS)

        def stop(now: int) -> None:
            self._is_over = True

        def strike(now: int) -> None:
            if not goes_on:
                stop(now)
            kill()
            engine.at(now + int(goes_on * 1e9), stop)

        def wait_for_the_moment() -> None:
            engine.at(time.monotonic_ns() + int(self._rng.random() * LONGEST_STORM_SECONDS * 1e9), strike)

        self._on_raging = wait_for_the_moment
        self._raging_from = self.acknowledged + CONNECTIONS
        try:
            engine.run()
        finally:
            for link in links:
                link.close()
        self.unanswered += len(engine.unanswered)
        assert self._wrong.samples == []
        assert not [sample for sample in self.mistakes.samples if "no reply within" in sample]
        for files in self._files:
            files.lose()
        return engine.lost

    def _taker(self, number: int) -> Callable[[int], list[Pair]]:
        files, asked = self._files[number], self._asked[number]

        def take(count: int) -> list[Pair]:
            new = [files.change(self._rng.choice(files.keys)) for _ in range(count)]
            asked.extend(new)
            return [(each.request, each.reply) for each in new]

        return take

    @property
    def keys(self) -> list[Key]:
        return [key for files in self._files for key in files.keys]

    def check(self, server: Sttpd) -> None:
        """Every file, by SHOW and by looking at it; and that there is nothing but these files."""
        assert settle_by(self._asker(server), self.keys) == []
        for key in self.keys:
            assert text_in(server.docroot, key.path) == key.possible[0], f"{key.path!r} on the disk"
        expected = {key.path.decode() for key in self.keys if key.possible[0] is not None}
        assert files_below(server.docroot) == expected | {"/.sttp/turn", "/.sttp/journal", "/.sttp/lock"}
        assert (server.docroot / ".sttp" / "journal").stat().st_size <= JOURNAL_BYTES[0]
        assert (server.docroot / ".sttp" / "turn").stat().st_size < 200
        assert sorted(os.listdir(server.docroot / ".sttp")) == ["journal", "lock", "tmp", "turn"]

    def _asker(self, server: Sttpd) -> Callable[[Key], State]:
        answers = server.converse(b"".join(b"SHOW %b\n" % key.path for key in self.keys)).split(b"\n")
        answers.reverse()

        def look(key: Key) -> State:
            status = answers.pop()
            if status == b"200 %b OK" % key.path:
                return answers.pop()
            assert status[:4] in (b"400 ", b"410 "), status
            return None

        return look


def text_in(docroot: Path, path: bytes) -> State:
    try:
        with open(docroot / path.decode().lstrip("/"), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def files_below(docroot: Path) -> set[str]:
    return {
        "/" + str((Path(folder) / name).relative_to(docroot)) for folder, _, names in os.walk(docroot) for name in names
    }


@pytest.fixture
def chance() -> random.Random:
    print(f"STTP_KILL_SEED={SEED} makes the same storm")  # shown with a failure
    return random.Random(SEED)


def started(start: Start, processes: int) -> Sttpd:
    """In a process group of its own, so that all its processes can be killed at the same moment."""
    return start("-o", f"processes={processes}", preexec_fn=os.setsid)


def kill_all(server: Sttpd) -> None:
    os.killpg(server.pid, signal.SIGKILL)
    server.kill()


def storm_and_kill(start: Start, chance: random.Random, processes: int, rounds: int) -> None:
    storm = Storm(chance)
    server = started(start, processes)
    for round_number in range(rounds):
        print(f"round {round_number}")
        before = server

        def kill(server: Sttpd = before) -> None:
            os.killpg(server.pid, signal.SIGKILL)

        storm.rage(server, kill)
        kill_all(server)
        server = started(start, processes)
        storm.check(server)
    assert storm.unanswered > rounds, "nobody was in the middle of anything"


def test_killed_in_a_storm(start: Start, chance: random.Random) -> None:
    storm_and_kill(start, chance, 1, 3)


@pytest.fixture
def files_in_memory(tmp_path: Path) -> Iterator[None]:
    """What a kill leaves is in the system's memory either way. Without waiting for a disk there are more changes, and
    more kills in the middle of one; and it does not depend on what else the disk is doing."""
    if not os.access("/dev/shm", os.W_OK):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="sttp-kill-", dir="/dev/shm") as folder:
        (tmp_path / "files").symlink_to(folder)
        yield


@pytest.mark.long
@pytest.mark.timeout(60 + ROUNDS * 3)
@pytest.mark.usefixtures("files_in_memory")
def test_killed_again_and_again(start: Start, chance: random.Random) -> None:
    storm_and_kill(start, chance, 1, ROUNDS)


@pytest.mark.long
@pytest.mark.timeout(60 + ROUNDS * 3)
def test_killed_again_and_again_with_two_processes(start: Start, chance: random.Random) -> None:
    storm_and_kill(start, chance, 2, max(1, ROUNDS // 10))


# -- One of several processes --


def children_of(server: Sttpd) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()]


def kill_one_child(folder: Path, chance: random.Random, rounds: int) -> None:
    """The other serves on, with whatever was left half done, until the parent has started another in its place."""
    storm = Storm(chance)
    survivors = 0
    with operated(folder, "processes: 2") as server:
        for round_number in range(rounds):
            print(f"round {round_number}")

            def kill() -> None:
                os.kill(chance.choice(children_of(server)), signal.SIGKILL)

            survivors += CONNECTIONS - storm.rage(server, kill, goes_on=0.05)
            server.wait_for(r"process \d serves again")
            storm.check(server)
    assert survivors


needs_children = pytest.mark.skipif(
    not Path(f"/proc/self/task/{os.getpid()}/children").exists(),
    reason="this system does not tell a process's children",
)


@needs_children
@pytest.mark.long
@pytest.mark.timeout(60 + ROUNDS * 3)
def test_one_process_of_two_is_killed_in_a_storm(tmp_path: Path, chance: random.Random) -> None:
    kill_one_child(tmp_path, chance, max(1, ROUNDS // 10))
