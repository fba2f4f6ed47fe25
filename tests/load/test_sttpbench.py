"""The command, with processes of its own, against a server in this one."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_server import FakeServer, Files

from sttp_reactor.cli.sttpbench import DOC, main
from sttp_reactor.client import Endpoint
from sttp_reactor.command.usage import read_usage
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.gathering import Gathering
from sttp_reactor.load.live import Silence
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.processes import Load
from sttp_reactor.load.target import Target

ROOT = Path(__file__).parents[2]
STRESS = ROOT / "tools" / "stress.sh"
INSTALLED = ROOT / ".venv" / "bin" / "sttpbench"

Bench = Callable[..., int]


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def _bench(server: FakeServer, *words: str) -> int:
    """A short run with few keys; `words` may say otherwise, as the last word on an option holds for the test's eyes."""
    given = {word.split("=")[0] for word in words}
    usual = {"-w": "0", "-d": "0.15s", "-c": "4", "--keys": "20", "-q": ""}
    options = [part for name, value in usual.items() if name not in given for part in (name, value) if part]
    return main([*options, *words, f"127.0.0.1:{server.port}"])


def _refused(*words: str) -> int:
    with pytest.raises(SystemExit) as refusal:
        main(list(words))
    return int(str(refusal.value.code))


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["-P", "8"],
        ["--mix=show=5,update=3,create=2,delete=2,list=1", "-P", "3"],
        ["--mix=create=1", "--dist=seq"],
        ["-j", "2", "--mix=show=1,update=1", "--dist=zipf:1.1"],
        ["-r", "500", "-j", "2"],
        ["-j", "3", "-d", "10s", "-n", "700"],
    ],
    ids=" ".join,
)
def test_runs_verify_and_clean_up(server: FakeServer, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with server:
        assert _bench(server, *words) == 0
        assert server.files.texts == {}
    printed = capsys.readouterr()
    assert "every reply right" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["-n", "200", "-w", "20ms"], 200),
        (["-n", "10", "-c", "50", "-w", "20ms"], 10),
        (["-n", "10", "-c", "50"], 10),
        (["-n", "33", "-P", "16", "-w", "20ms"], 33),
        (["-n", "7", "-j", "3", "-w", "20ms"], 7),
        (["-n", "2", "-j", "3"], 2),
        (["-n", "60", "-r", "1k", "-w", "20ms"], 60),
        (["-n", "60", "-r", "1k", "-j", "2", "--mix=show=1,update=1", "-w", "20ms"], 60),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_a_number_of_requests_is_exact(words: list[str], count: int, server: FakeServer, tmp_path: Path) -> None:
    with server:
        assert _bench(server, "-d", "10s", *words, "-o", str(tmp_path / "a.json")) == 0
    assert json.loads((tmp_path / "a.json").read_text())["summary"]["requests"] == count


def test_without_a_warm_up_the_server_is_asked_no_more_than_the_number_of_requests(tmp_path: Path) -> None:
    files = Files()
    shows: list[bytes] = []

    def answer(line: bytes) -> bytes | None:
        shows.extend([line] * line.startswith(b"SHOW"))
        return files.answer(line)

    with FakeServer(answer) as server:
        assert _bench(server, "-d", "10s", "-n", "10", "-P", "3", "-w", "0") == 0
    assert len(shows) == 10


def test_progress_goes_to_standard_error(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    with server:
        assert main(["-w", "0", "-d", "0.2s", "--keys=5", f"127.0.0.1:{server.port}"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "measuring"
    assert "/s  p50 " in lines[1]


def test_what_an_earlier_run_left_is_taken_over(server: FakeServer) -> None:
    with server:
        server.files.texts[b"/sttpbench/0.0/00"] = b"left over"
        server.files.texts[b"/sttpbench/0.0/01"] = b"left over"
        assert _bench(server, "--mix=show=1,create=1,delete=1") == 0
        assert server.files.texts == {}


@pytest.mark.parametrize("mix", ["show=1", "show=1,update=1"])
def test_wrong_replies(mix: str, capsys: pytest.CaptureFixture[str]) -> None:
    files = Files()
    files.show = lambda path, text: b"200 %s OK\nwine\n" % path  # type: ignore[method-assign]
    with FakeServer(files.answer) as server:
        assert _bench(server, f"--mix={mix}", "--check=rate>0") == 1
    printed = capsys.readouterr()
    assert " WRONG" in printed.out
    assert printed.err.startswith("wrong: SHOW /sttpbench/0.0/")
    assert files.texts == {}


def test_a_server_that_closes_in_the_middle(capsys: pytest.CaptureFixture[str]) -> None:
    files, shows = Files(), iter(range(100))

    def answer(line: bytes) -> bytes | None:
        if line.startswith(b"SHOW") and next(shows, None) is None:
            return None
        return files.answer(line)

    with FakeServer(answer) as server:
        assert _bench(server) == 1
        assert files.texts == {}, "deleted over fresh connections"
    printed = capsys.readouterr()
    assert "100 requests in" in printed.out
    assert "4 connections lost" in printed.out
    assert "the server closed connection" in printed.err


def test_a_server_that_is_killed_is_not_said_to_have_been_slow(capsys: pytest.CaptureFixture[str]) -> None:
    files, shows = Files(), iter(range(100))

    def answer(line: bytes) -> bytes | None:
        return None if line.startswith(b"SHOW") and next(shows, None) is None else files.answer(line)

    with FakeServer(answer) as server:
        assert _bench(server, "-r", "1k", "-d", "20s") == 1
    printed = capsys.readouterr().out
    assert "! every connection was lost by " in printed
    assert "did not keep up" not in printed


def test_a_server_that_closes_in_the_warm_up(capsys: pytest.CaptureFixture[str]) -> None:
    files, shows = Files(), iter(range(100))

    def answer(line: bytes) -> bytes | None:
        # The last of the range is reached once: one connection is closed, and the others go on.
        if line.startswith(b"SHOW") and next(shows, -1) == 99:
            return None
        return files.answer(line)

    with FakeServer(answer) as server:
        assert _bench(server, "-w", "0.1s", "-d", "0.1s") == 1
        assert files.texts == {}, "deleted over fresh connections"
    printed = capsys.readouterr()
    assert "1 connection lost" in printed.out
    assert "the server closed connection" in printed.err


def test_keys_that_cannot_be_made(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(lambda line: b'500 %s SERVER ERROR "disk full"\n' % line.split()[1]) as server:
        assert _bench(server) == 1
    assert "the keys could not be made: CREATE /sttpbench/0.0/" in capsys.readouterr().err


FULL = 'sttpbench: the server is full: it refused 2 of 4 connections ("too many connections; try again later")'


@pytest.mark.parametrize("mix", ["show=1", "show=1,update=1"])
def test_a_server_that_is_full_from_the_start(mix: str, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(most=2) as server:
        # So many keys that each connection is asked for some of them, and is heard refusing.
        assert _bench(server, f"--mix={mix}", "--keys=200") == 7
        assert server.files.texts == {}
    printed = capsys.readouterr()
    assert (printed.out, printed.err.splitlines()[0]) == ("", FULL)


@pytest.mark.parametrize("words", [[], ["--mix=show=1,update=1"], ["-r", "2k"], ["-w", "50ms"]], ids=str)
def test_a_server_that_has_no_room_for_all(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(most=70) as server:
        assert _bench(server, "-c", "80", *words) == 1
        assert server.files.texts == {}
    printed = capsys.readouterr()
    assert printed.out.splitlines()[0] == (
        '! the server is full: it refused 10 of 80 connections ("too many connections; try again later"); '
        "the figures are those of the others"
    )
    assert "10 connections lost" in printed.out
    assert printed.err == ""


def test_a_server_that_has_no_room_for_all_processes(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(most=70) as server:
        # The second process may find no room for making its keys, or both may have come so far.
        code = _bench(server, "-c", "80", "-j", "2")
        assert server.files.texts == {}
    printed = capsys.readouterr()
    first = (printed.out if code == 1 else printed.err).splitlines()[0]
    assert code in (1, 7)
    assert "the server is full: it refused " in first


def test_stress_on_a_server_that_is_full(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(most=2) as server:
        assert main(["stress", "-a", "127.0.0.1", "-p", str(server.port), "-n", "20", "-c", "4"]) == 1
        assert server.files.texts == {}
    assert capsys.readouterr().err.splitlines()[0] == FULL.replace("sttpbench", "stress.sh")
    with FakeServer(most=0) as server:
        assert main(["stress", "-a", "127.0.0.1", "-p", str(server.port), "-n", "20", "-c", "4"]) == 7
    assert "the server is full: it refused 4 of 4 connections" in capsys.readouterr().err


def test_keys_that_cannot_be_deleted(capsys: pytest.CaptureFixture[str]) -> None:
    files = Files()
    files.delete = lambda path, text: b'500 - SERVER ERROR "no"\n'  # type: ignore[method-assign]
    with FakeServer(files.answer) as server:
        assert _bench(server) == 0
    assert "20 keys below /sttpbench/ were not deleted" in capsys.readouterr().err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert main(["-q", f"127.0.0.1:{port}"]) == 7
        assert main(["stress", "-a", "127.0.0.1", "-p", str(port)]) == 7
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all("Connection refused" in line for line in lines)


def test_checks_decide(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    with server:
        pid = f"--server-pid={os.getpid()}"
        assert _bench(server, "--check=p99<10s", "--check=rss<9GB", pid) == 0
        assert _bench(server, "--check=p99<10s", "--check=max<1us") == 99
    printed = capsys.readouterr().out
    assert "check p99<10s: passed, " in printed
    assert "check max<1us: FAILED, " in printed
    assert "CPU a request, " in printed


def test_files_and_comparing_them(server: FakeServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with server:
        for name, rate in (("a", "500"), ("b", "200")):
            page, data = tmp_path / f"{name}.html", tmp_path / f"{name}.json"
            assert _bench(server, "-r", rate, "-o", str(data), f"--report={page}") == 0
            assert page.read_text().startswith("<!DOCTYPE html>")
    capsys.readouterr()
    both = tmp_path / "both.html"
    runs = [str(tmp_path / "a.json"), str(tmp_path / "b.json")]
    assert main(["compare", *runs, f"--report={both}"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "(rate: 500.0 / 200.0); --force compares" in printed.err
    assert main(["compare", *runs, f"--report={both}", "--force"]) == 0
    assert "rate: 500.0 / 200.0" in capsys.readouterr().out
    assert main(["compare", *runs, "--force", "--tolerance=5%"]) == 99
    assert "worse by more than 5%: requests a second, " in capsys.readouterr().out
    assert main(["compare", runs[0], runs[0], "--tolerance=0"]) == 0
    assert "no figure of B is worse by more than 0%" in capsys.readouterr().out
    assert both.read_text().count("<svg") == 3
    assert main(["compare", str(tmp_path / "a.json"), str(page)]) == 1
    assert main(["compare", str(tmp_path / "none"), str(page)]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in errors] == ["sttpbench compare"] * 2


def test_a_percentile_file(server: FakeServer, tmp_path: Path) -> None:
    pytest.importorskip("hdrh")
    with server:
        assert _bench(server, f"--hgrm={tmp_path / 'x'}") == 0
    assert "Percentile" in (tmp_path / "x").read_text()


def test_the_extra_is_named_where_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    assert main(["--hgrm=/tmp/x"]) == 2
    assert capsys.readouterr().err == "sttpbench: --hgrm needs hdrhistogram: pip install 'sttp_reactor[bench]'\n"


@pytest.mark.parametrize(
    "words",
    [
        ["-c", "0"], ["-P", "x"], ["-j", "51"], ["-d", "soon"], ["-n", "-5"], ["-r", "0"],
        ["--mix=read=1"], ["--keys=0"], ["--dist=normal"], ["--size=0"], ["--seed=x"], ["--check=p99"],
        ["--check=cpu<1us"], ["--server-pid=0"], ["--server-pid=99999999"], ["-o", "/nowhere/x"],
        ["--report=/"], ["http://h:80/"], ["a", "b"], ["--nonsense"], ["stress", "-p", "0"],
        ["stress", "-i", "-1"], ["stress", "-c", "x"], ["stress", "x"], ["compare", "x"],
        ["compare", "x", "y", "--report=/nowhere/z"], ["compare", "x", "y", "--tolerance=much"],
        ["--timeout=0"], ["-w", "x"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_wrong_command_lines_get_one_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused(*words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "--help'." in printed.err


@pytest.mark.parametrize("words", [["-h"], ["stress", "-h"], ["compare", "-h"]], ids=" ".join)
def test_help(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert _refused(*words) == 0
    assert "Usage:" in capsys.readouterr().out


def test_every_option_is_explained() -> None:
    assert {option.long for option in read_usage(DOC).options} >= {
        "--connections", "--pipeline", "--processes", "--duration", "--requests", "--warm-up", "--rate", "--mix",
        "--keys", "--dist", "--size", "--seed", "--server-pid", "--check", "--output", "--hgrm", "--report",
    }  # fmt: skip


def test_a_process_that_is_killed(server: FakeServer) -> None:
    class Killer(Silence):
        def tick(self, gathering: Gathering) -> None:
            for process in load._processes[:1]:
                process.kill()

    with server:
        target = Target(Endpoint("127.0.0.1", server.port))
        load = Load(Plan(target=target, processes=2, connections=2, keys=10), Killer())
        with pytest.raises(LoadError, match="a process of sttpbench has ended before its time"):
            load.run()


@pytest.mark.parametrize("words", [["-w", "0"], ["-w", "0", "-r", "100"], ["-w", "20s"]], ids=" ".join)
def test_ctrl_c_shows_what_there_is_and_cleans_up(server: FakeServer, words: list[str]) -> None:
    with server:
        command = [
            sys.executable,
            "-m",
            "sttp_reactor.cli.sttpbench",
            "--mix=show=1,create=1,delete=1",
            "-d",
            "20s",
            *words,
        ]
        bench = subprocess.Popen(
            [*command, f"127.0.0.1:{server.port}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        with bench:
            assert bench.stderr is not None
            first = "warming up\n" if "20s" in words else "measuring\n"
            while bench.stderr.readline() != first:
                assert bench.poll() is None
            if "20s" not in words:
                bench.stderr.readline()
            bench.send_signal(signal.SIGINT)
            printed, errors = bench.communicate(timeout=10)
        assert bench.returncode == 130
        assert server.files.texts == {}
    assert "requests interrupted after" in printed
    assert "Traceback" not in errors


def test_stress(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    with server:
        assert main(["stress", "-a", "127.0.0.1", "-p", str(server.port), "-n", "20"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        ["create", "20", "0"],
        ["show", "22", "0"],
        ["delete", "20", "0"],
    ]
    assert lines[0].split()[-8:] == ["p50", "ms", "p90", "ms", "p99", "ms", "max", "ms"]


def test_stress_finds_wrong_replies(capsys: pytest.CaptureFixture[str]) -> None:
    files = Files()
    files.show = lambda path, text: b"200 %s OK\nwine\n" % path  # type: ignore[method-assign]
    with FakeServer(files.answer) as server:
        assert main(["stress", "-a", "127.0.0.1", "-p", str(server.port), "-n", "20"]) == 1
    printed = capsys.readouterr()
    assert "show: SHOW /snippets/snippet_" in printed.err
    assert "show: 22 wrong in all" in printed.err
    assert files.texts == {}


def test_stress_is_interrupted(server: FakeServer, capsys: pytest.CaptureFixture[str]) -> None:
    with server:
        timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        assert main(["stress", "-a", "127.0.0.1", "-p", str(server.port), "-i", "5"]) == 130
        timer.join()
        assert server.files.texts == {}
    assert "create" in capsys.readouterr().out


@pytest.mark.skipif(not INSTALLED.exists(), reason="the script uses .venv, which tools/test.sh makes")
def test_the_script_works_from_any_directory(server: FakeServer, tmp_path: Path) -> None:
    with server:
        words = [str(STRESS), "-a", "127.0.0.1", "-p", str(server.port), "-c", "3", "-n", "10", "-i", "0"]
        done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "delete" in done.stdout
