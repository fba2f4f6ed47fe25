"""tools/soak.sh: a short soak passes, what is wrong is found, and the command line explains itself."""

from __future__ import annotations

import importlib
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

TOOLS = Path(__file__).parent.parent / "tools"

pytestmark = [
    pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the tool needs Linux's /proc"),
    pytest.mark.long,
]


def soak_sh(*arguments: str, cwd: Path, seconds: float = 90) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS / "soak.sh"), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=seconds)


def soak_module(monkeypatch: pytest.MonkeyPatch, name: str) -> Any:
    monkeypatch.syspath_prepend(str(TOOLS))
    return importlib.import_module(f"soak.{name}")


def test_help_from_any_directory(tmp_path: Path) -> None:
    done = soak_sh("-h", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Keep sttpd under mixed load" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["soon"], "DURATION: expected a time"),
        (["1s"], "DURATION: expected two seconds at least"),
        (["--clients=0"], "--clients: expected a whole number"),
        (["--every=x"], "--every: expected a time"),
        (["--for=2m"], "unknown option --for"),
        (["2m", "3m"], "superfluous argument '3m'"),
    ],
)
def test_a_wrong_command_line_is_refused(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    done = soak_sh(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr


@pytest.mark.timeout(120)
def test_a_short_soak_of_two_processes(tmp_path: Path) -> None:
    options = ["--no-tests", "--every=1s", "--seed=1", "--clients=3", "-o", "processes=2", f"--work-dir={tmp_path}"]
    done = soak_sh(*options, "3s", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert re.search(
        r"(?m)^ +\d s +[\d,]+ requests .* 0 wrong .* \d+ descriptors +\d+ threads +[\d.]+ MB$", done.stdout
    )
    assert done.stdout.endswith("\nwrong replies: 0; passed\n")
    (total,) = re.findall(r"requests: ([\d,]+) answered", done.stdout)
    assert int(total.replace(",", "")) > 500
    before, after = (
        re.search(rf"(?m)^{when} +(\d+) +(\d+) +[\d.]+$", done.stdout) for when in ("after the warm-up", "at the end")
    )
    assert before
    assert after
    assert before.groups() == after.groups()
    assert list(tmp_path.iterdir()) == []  # nothing is left


def test_a_server_that_does_not_start_fails_the_soak(tmp_path: Path) -> None:
    done = soak_sh("--no-tests", "-o", "cache.max_files=0", "2s", cwd=tmp_path)
    assert done.returncode == 1
    assert "it did not start" in done.stderr


def test_sigterm_stops_the_server_and_removes_the_files(tmp_path: Path) -> None:
    command = [str(TOOLS / "soak.sh"), "--no-tests", f"--work-dir={tmp_path}", "60s"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 10
            while not list(tmp_path.glob("*/files/soak0")):
                assert time.monotonic() < deadline, "it does not begin"
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 130
    assert list(tmp_path.iterdir()) == []


# -- What is wrong is found --


class _Sock:
    """Gives what a server is to have said."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def sendall(self, data: bytes) -> None:
        pass

    def recv(self, size: int) -> bytes:
        data, self._data = self._data[:size], self._data[size:]
        return data


def _complaints(monkeypatch: pytest.MonkeyPatch, said: bytes, *questions: Any) -> list[str]:
    wire_module = soak_module(monkeypatch, "wire")
    tally = wire_module.Tally()
    wire = wire_module.Wire.__new__(wire_module.Wire)
    wire._tally, wire.sock, wire._asked, wire._rest = tally, _Sock(said), wire_module.deque(), b""
    wire.send(questions)
    try:
        wire.receive_all()
    except wire_module.Broken:
        assert tally.mistakes.count
    return list(tally.mistakes.samples)


def test_every_wrong_reply_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    question = soak_module(monkeypatch, "talk").Question
    show = question(b"SHOW /a\n", b"200 /a OK\nx\n")
    assert _complaints(monkeypatch, b"200 /a OK\nx\n", show) == []
    assert _complaints(monkeypatch, b"200 /a OK\nx\n" * 2, show, show) == []
    assert _complaints(monkeypatch, b"200 /a OK\ny\n", show) == [
        "SHOW /a: got '200 /a OK\\ny\\n', expected '200 /a OK\\nx\\n'"
    ]
    assert _complaints(monkeypatch, b"200 /a OK\nx\n", show, show) == ["closed, with 1 requests unanswered"]
    assert _complaints(monkeypatch, b"200 /a OK\nx\n" * 2, show) == ["nobody asked for '200 /a OK\\nx\\n'"]
    assert _complaints(monkeypatch, b"200 /a OK\n", show) == ["closed, with 1 requests unanswered"]


def test_after_a_lost_connection_old_and_new_are_right_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    talk_module = soak_module(monkeypatch, "talk")
    talk = talk_module.Talk(0, random.Random(1))
    for question in talk.first():
        question.changed.acknowledge()
    key = talk.files.keys[0]
    old = key.latest
    changes = [talk.files.change(key) for _ in range(3)]
    states = [old, *key.pending]
    changes[0].changed.acknowledge()
    talk.lose()
    request, fits, _ = talk.look()[0]
    assert request == b"SHOW %b\n" % key.path
    assert [fits(talk_module._shown(key, state)) for state in states] == [state in states[1:] for state in states]
    assert not fits(talk_module._shown(key, b"another text"))
    assert talk.settle() == [], "the server may still be at work"
    ((_, settles, _),) = talk.settle(all_of_them=True)
    assert not settles(b'500 %b SERVER ERROR "no"\n' % key.path)
    assert settles(talk_module._shown(key, states[2]))
    assert key.possible == [states[2]]
    assert talk.settle(all_of_them=True) == []


def test_leaks_and_growth_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = soak_module(monkeypatch, "watch")
    before = watch.Sample(9, 6, 15_000_000)
    assert watch.leaks(before, watch.Sample(9, 6, 25_000_000)) == []
    assert watch.leaks(before, watch.Sample(10, 6, 15_000_000)) == [
        "descriptors: 9 before and 10 after, with no connection open"
    ]
    assert watch.leaks(before, watch.Sample(9, 7, 15_000_000)) == [
        "threads: 6 before and 7 after, with no connection open"
    ]
    assert watch.growth([15_000_000] * 19) is None
    assert watch.growth([5_000_000] * 10 + [15_000_000] * 10) == (0, 2_000_000)
    assert watch.growth([15_000_000] * 15 + [100_000_000] + [18_000_000] * 4) == (3_000_000, 2_000_000)
    assert watch.growth([200_000_000] * 30 + [205_000_000] * 10) == (5_000_000, 10_000_000)
