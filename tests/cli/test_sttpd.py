"""sttpd's command line, up to the call of the server and from its result to the exit code."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sttpd_settings import load

from sttp_reactor.cli import sttpd
from sttp_reactor.errors import StartError
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.settings import Settings

Calls = list[tuple[Settings, str]]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """The calls of a server that stops at once; where there are none, nothing was started."""
    made: Calls = []

    def run(_kind: Any, settings: Settings, *, origin: str, read_again: Any) -> int:
        made.append((settings, origin))
        return 0

    install(monkeypatch, run)
    return made


def install(monkeypatch: pytest.MonkeyPatch, run: Callable[..., int]) -> None:
    monkeypatch.setitem(sys.modules, "sttp_reactor.daemon.run", types.SimpleNamespace(run=run))


def test_the_server_gets_the_settings_and_where_they_are_from(calls: Calls) -> None:
    Path("sttpd.yaml").write_text("port: 81\nlog: {level: error}")
    assert sttpd.main(["-c", "sttpd.yaml", "-d", "files"]) == 0
    assert sttpd.main([]) == 0
    (settings, origin), (defaults, no_origin) = calls
    assert (settings.port, settings.docroot, origin) == (81, Path("files").absolute(), "sttpd.yaml")
    assert (defaults, no_origin) == (load(None).settings, "defaults")


@pytest.mark.parametrize(
    ("argv", "key", "expected"),
    [
        (["-a", "::1"], "listen_address", ("::1",)),
        (["--listen-address", "::1,/run/s"], "listen_address", ("::1", "/run/s")),
        (["-p", "81"], "port", 81),
        (["--port=81"], "port", 81),
        (["-d", "/x"], "docroot", Path("/x")),
        (["--docroot", "/x"], "docroot", Path("/x")),
        (["-o", "cache.max_files=500"], "cache.max_files", 500),
        (["--set", "log.access=/a=b"], "log.access", Path("/a=b")),
        (["--log-level", "error"], "log.level", "error"),
        (["--log-format", "json"], "log.format", "json"),
        (["--access-log", "-"], "log.access", "-"),
        (["-v"], "log.level", "debug"),
        (["-q"], "log.level", "warning"),
    ],
)
def test_every_flag_sets_its_key_and_no_other(argv: list[str], key: str, expected: Any, calls: Calls) -> None:
    def flat(settings: Settings) -> dict[str, Any]:
        return {name: TABLE.value_of(settings, name) for name in TABLE.keys}

    assert sttpd.main(argv) == 0
    assert flat(calls[0][0]) == {**flat(load(None).settings), key: expected}


def test_every_documented_flag_is_read() -> None:
    flags = {flag for flag, _, _ in sttpd._FLAGS}
    others = {"-c", "--config", "-o", "--set", "-t", "--check-config", "--print-config", "--pid-file"}
    for line in sttpd.DOC.splitlines():
        words = line.strip().replace(",", "").split()
        if words and words[0].startswith("-"):
            spellings = {word for word in words[:4] if word.startswith("-") and word != "-"}
            assert spellings & (flags | others | {"--help", "--version"}), line


@pytest.mark.parametrize(
    ("argv", "code", "err"),
    [
        (["-p", "x"], 2, "sttpd: --port: expected a whole number from 0 to 65535, got 'x'\n"),
        (
            ["-o", "cache.max_file=5", "-o", "sync=1"],
            2,
            "sttpd: --set cache.max_file: unknown key; did you mean cache.max_files?\n"
            "sttpd: --set sync: expected true or false, got '1'\n",
        ),
        (["-v", "-q"], 2, "sttpd: -q: contradicts -v: both set log.level; give only one of them\n"),
        (["-c", "bad.yaml"], 78, "bad.yaml:1:7: port: expected a whole number from 0 to 65535, got 'many'\n"),
        (
            ["-c", "bad.yaml", "-p", "x"],
            78,
            "bad.yaml:1:7: port: expected a whole number from 0 to 65535, got 'many'\n"
            "sttpd: --port: expected a whole number from 0 to 65535, got 'x'\n",
        ),
        (["-c", "none.yaml"], 78, "none.yaml: cannot be read: No such file or directory\n"),
        (["-c", "."], 78, ".: cannot be read: Is a directory\n"),
    ],
)
@pytest.mark.parametrize("mode", [[], ["-t"], ["--print-config"]])
def test_mistakes(
    argv: list[str], code: int, err: str, mode: list[str], calls: Calls, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.yaml").write_text("port: many")
    assert sttpd.main(mode + argv) == code
    assert capsys.readouterr() == ("", err)
    assert calls == []


@pytest.mark.parametrize("setting", ["x", "=x", ""])
def test_a_setting_without_key_or_value(setting: str, calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        sttpd.main(["-o", setting])
    assert caught.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("sttpd: option --set wants KEY=VAL, as in cache.max_files=500, and got '")
    assert calls == []


def test_no_file_name(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        sttpd.main(["--config="])
    assert caught.value.code == 2
    assert "option --config lacks its value FILE" in capsys.readouterr().err


def test_checking_and_printing_start_nothing(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    Path("sttpd.yaml").write_text("port: 81")
    assert sttpd.main(["-c", "sttpd.yaml", "-t", "--pid-file", "pid"]) == 0
    assert capsys.readouterr() == ("", "sttpd: the configuration (sttpd.yaml) is valid\n")
    assert sttpd.main(["-tq"]) == 0
    assert capsys.readouterr() == ("", "")
    assert sttpd.main(["-c", "sttpd.yaml", "--print-config", "-t"]) == 0
    out, err = capsys.readouterr()
    assert "port: 81                            # sttpd.yaml:1\n" in out
    assert err == ""
    assert calls == []
    assert not Path("pid").exists()


def test_what_is_printed_loads_again(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    assert sttpd.main(["--print-config", "-p", "81", "-o", "shutdown_timeout=0.5", "--access-log", "-"]) == 0
    Path("again.yaml").write_text(capsys.readouterr().out)
    assert sttpd.main(["-c", "again.yaml"]) == 0
    ((settings, _),) = calls
    assert (settings.port, settings.shutdown_timeout, settings.log.access) == (81, 0.5, "-")


def test_what_is_printed_in_ascii_loads_again_too(calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("again.yaml").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert sttpd.main(["--print-config", "-d", "/srv/\u00e9\U0001f600\udcff"]) == 0
    assert sttpd.main(["-c", "again.yaml"]) == 0
    assert calls[0][0].docroot == Path("/srv/\u00e9\U0001f600\udcff")


def test_the_log_is_set_up_before_the_server_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(_kind: Any, settings: Settings, *, origin: str, read_again: Any) -> int:
        logging.getLogger("sttp_reactor.sttp.server").debug("hello")
        return 0

    install(monkeypatch, run)
    assert sttpd.main(["-v", "--log-format", "json"]) == 0
    assert '"level": "debug", "logger": "sttp_reactor.sttp.server", "message": "hello"}\n' in capsys.readouterr().err
    assert sttpd.main([]) == 0
    assert capsys.readouterr().err == ""


def test_the_pid_file_is_there_while_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    held = []

    def run(_kind: Any, settings: Settings, *, origin: str, read_again: Any) -> int:
        held.append(Path("pid").exists())
        return 3

    install(monkeypatch, run)
    assert sttpd.main(["--pid-file", "pid"]) == 3
    assert held == [True]
    assert not Path("pid").exists()


@pytest.mark.parametrize(
    ("error", "code", "err"),
    [
        (StartError("cannot bind 127.0.0.1:80: Permission denied"), 1, "cannot bind 127.0.0.1:80: Permission denied"),
        (StartError("a\n\x1b"), 1, "a\\n\\x1b"),
        (KeyboardInterrupt(), 130, None),
    ],
)
def test_a_server_that_cannot_start(
    error: BaseException,
    code: int,
    err: str | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(_kind: Any, settings: Settings, *, origin: str, read_again: Any) -> int:
        raise error

    install(monkeypatch, run)
    assert sttpd.main(["--pid-file", "pid"]) == code
    assert capsys.readouterr() == ("", f"sttpd: {err}\n" if err else "")
    assert not Path("pid").exists()


def test_a_pid_file_in_the_way(calls: Calls, capsys: pytest.CaptureFixture[str]) -> None:
    Path("notes").write_text("my notes")
    assert sttpd.main(["--pid-file", "notes"]) == 1
    err = capsys.readouterr().err
    assert err == f"sttpd: the file {Path('notes').absolute()} exists and holds no pid; it was not replaced\n"
    assert Path("notes").read_text() == "my notes"
    assert calls == []


def test_printing_to_a_pipe_that_nobody_reads() -> None:
    """As in `sttpd --print-config | head -1`, in a process of its own: the interpreter's last flush counts too."""
    reader, writer = os.pipe()
    os.close(reader)
    program = "import sys; from sttp_reactor.cli.sttpd import main; sys.exit(main(['--print-config']))"
    try:
        done = subprocess.run([sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, timeout=20)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
