"""Command lines, right and wrong. docopt does the parsing; what it refuses is explained in one sentence."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest

from sttp_reactor import __version__
from sttp_reactor.command.arguments import parse, print_out, refuse

DAEMON = """daemon: serve.

Usage:
  daemon [options] [--set=KEY=VAL]...

Options:
  -p PORT, --port=PORT       The port.
  -o KEY=VAL, --set KEY=VAL  Any key.
  --print-config             Print.
  --log-level LEVEL          How much.
  --log-format FORMAT        How.
  -v                         More.
  -q                         Less.
  -h, --help                 This text.
  --version                  The version.
"""

CLIENT = """client: ask.

Usage:
  client fetch [options] HOST PATH
  client (show | delete) [options] URL...
  client list [options] [-r] [URL]
  client create [options] [-f] URL [CONTENT]
  client ping [options] [--fast | --slow] [URL]
  client (-h | --help)

Commands:
  create  Store a text.
  delete  Delete files,
          for good.

URL is where.

HOST is who.

Options:
  -a HOST, --address HOST  Where.
  -r                       Deep.
  -f                       Force,
                           and more of it.
  --fast                   Fast.
  --slow                   Slow.
  --timeout TIME           When to give up [default: 5].
  -h, --help               This text.
"""

LOAD = """load: measure.

Usage:
  load [options] [URL]
  load compare <a.json> <b.json>

Options:
  -c N        Connections [default: 50].
  -h, --help  This text.
"""

DOCS = {"daemon": DAEMON, "client": CLIENT, "load": LOAD}


def given(command: str, *argv: str) -> dict[str, Any]:
    """What `argv` gives, without what it does not mention."""
    return {name: value for name, value in parse(DOCS[command], argv, command=command).items() if value}


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ([], {}),
        (["--port", "80"], {"--port": "80"}),
        (["--port=80"], {"--port": "80"}),
        (["--po", "80"], {"--port": "80"}),
        (["-p80"], {"--port": "80"}),
        (["-vp", "80"], {"--port": "80", "-v": True}),
        (["-p", "-5"], {"--port": "-5"}),
        (["-p", "-"], {"--port": "-"}),
        (["--port=--set"], {"--port": "--set"}),
        (["--port", "a=b"], {"--port": "a=b"}),
        (["-o", "a=1", "--set", "b=2", "--set=c=3", "-oa=4"], {"--set": ["a=1", "b=2", "c=3", "a=4"]}),
        (["-vq"], {"-v": True, "-q": True}),
    ],
)
def test_options(argv: list[str], expected: dict[str, Any]) -> None:
    assert given("daemon", *argv) == expected


def test_an_empty_value_is_a_value() -> None:
    assert parse(DAEMON, ["--port="], command="daemon")["--port"] == ""
    assert parse(DAEMON, ["-p", ""], command="daemon")["--port"] == ""


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["fetch", "h", "/a"], {"fetch": True, "HOST": "h", "PATH": "/a"}),
        (["show", "/a", "/b"], {"show": True, "URL": ["/a", "/b"]}),
        (["ping", "--timeout", "3"], {"ping": True, "--timeout": "3"}),
        (["create", "/a", "-f", "x"], {"create": True, "-f": True, "URL": ["/a"], "CONTENT": "x"}),
        (["create", "/a", "--", "-f"], {"create": True, "URL": ["/a"], "CONTENT": "-f"}),
        (["create", "/a", "--", "-5"], {"create": True, "URL": ["/a"], "CONTENT": "-5"}),
        (["create", "--", "-a", "--b"], {"create": True, "URL": ["-a"], "CONTENT": "--b"}),
        (["create", "--", "/a", "--"], {"create": True, "URL": ["/a"], "CONTENT": "--"}),
        (["create", "/a", "-"], {"create": True, "URL": ["/a"], "CONTENT": "-"}),
        (["create", "/a", ""], {"create": True, "URL": ["/a"]}),
        (["show", "--", "-a", "-b"], {"show": True, "URL": ["-a", "-b"]}),
        (["create", "/a", "show"], {"create": True, "URL": ["/a"], "CONTENT": "show"}),
    ],
)
def test_commands_and_arguments(argv: list[str], expected: dict[str, Any]) -> None:
    assert given("client", *argv) == {"--timeout": "5", **expected}


WRONG = [
    ("daemon", "--prot 80", "unknown option --prot; did you mean --port?"),
    ("daemon", "--prot=80", "unknown option --prot; did you mean --port?"),
    ("daemon", "-port 80", "unknown option -port; did you mean --port?"),
    ("daemon", "-V", "unknown option -V; did you mean --version?"),
    ("daemon", "-P 80", "unknown option -P; did you mean -p?"),
    ("daemon", "--verbose", "unknown option --verbose; did you mean -v?"),
    ("daemon", "--quiet", "unknown option --quiet; did you mean -q?"),
    ("daemon", "-x", "unknown option -x."),
    ("daemon", "--color", "unknown option --color."),
    ("daemon", "--json", "unknown option --json."),
    ("client", "cat /a", "unknown command cat; there is fetch, show, delete, list, create and ping."),
    ("daemon", "--x\x1b[31m", "unknown option --x\\x1b[31m."),
    ("daemon", "-5", "unknown option -5; an argument that begins with '-' goes after '--'."),
    ("daemon", "--log x", "option --log is ambiguous: it could be --log-level or --log-format."),
    ("daemon", "--port", "option --port lacks its value PORT."),
    ("daemon", "-vp", "option -p lacks its value PORT."),
    ("daemon", "--set", "option --set lacks its value KEY=VAL."),
    ("daemon", "--port --set a=b", "option --port lacks its value PORT."),
    ("daemon", "-p --set=a=b", "option -p lacks its value PORT."),
    ("daemon", "-p -- 80", "option -p lacks its value PORT."),
    ("daemon", "-p=80", "option -p takes its value without '=': -p 80."),
    ("daemon", "-v=80", "option -v takes no value."),
    ("daemon", "--print=1", "option --print-config takes no value, but --print=1 gives it one."),
    ("daemon", "-p 1 --port=2", "option --port is given twice."),
    ("daemon", "-vv", "option -v is given twice."),
    ("daemon", "-o a=1 -o b=2 -q -q", "option -q is given twice."),
    ("daemon", "start", "superfluous argument 'start'."),
    ("daemon", "-- -x", "superfluous argument '-x'."),
    ("client", "", "a command is missing: fetch, show, delete, list, create or ping."),
    ("client", "--timeout 3", "a command is missing: fetch, show, delete, list, create or ping."),
    ("client", "shwo /a", "unknown command shwo; did you mean show?"),
    ("client", "rm /a", "unknown command rm; did you mean delete -f?"),
    ("client", "xyzzy", "unknown command xyzzy; there is fetch, show, delete, list, create and ping."),
    ("client", "fetch", "argument HOST is missing."),
    ("client", "fetch h", "argument PATH is missing."),
    ("client", "fetch h /a /b", "superfluous argument '/b'."),
    ("client", "show", "argument URL is missing."),
    ("client", "delete", "argument URL is missing."),
    ("client", "create", "argument URL is missing."),
    ("client", "create /a b c", "superfluous argument 'c'; a text of several words stands in quotes: 'b c'."),
    ("client", "create -f /a b c; d", "superfluous argument 'c;'; a text of several words stands in quotes: 'b c; d'."),
    ("client", "list -f", "option -f does not go with list."),
    ("client", "show -r /a", "option -r does not go with show."),
    ("client", "ping --fast --slow", "options --fast and --slow do not go together."),
    ("load", "compar a b", "unknown command compar; did you mean compare?"),
    ("load", "compare a", "argument <b.json> is missing."),
    ("load", "compare a b c", "superfluous argument 'c'."),
    ("load", "compare -c 3 a b", "option -c does not go with compare."),
    ("load", "x y", "superfluous argument 'y'."),
]


@pytest.mark.parametrize(("command", "line", "sentence"), WRONG, ids=[f"{c} {line}" for c, line, _ in WRONG])
def test_a_wrong_line_is_one_sentence(
    command: str, line: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(DOCS[command], line.split(), command=command, synonyms={"rm": "delete -f"})
    assert caught.value.code == 2
    assert capsys.readouterr() == ("", f"{command}: {sentence} Try '{command} --help'.\n")


@pytest.mark.parametrize(
    "argv",
    [
        ["-h"],
        ["--help"],
        ["--hel"],
        ["-vh"],
        ["--prot", "-h"],
        ["--prot", "-vh"],
        ["-p", "-h"],
        ["-o", "a=b", "x", "-h"],
        ["x", "--help", "--", "-y"],
        ["help"],
        ["help", "x"],
    ],
)
def test_help_goes_to_standard_output(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(DAEMON, argv, command="daemon")
    assert caught.value.code == 0
    assert capsys.readouterr() == (DAEMON, "")


CREATE_HELP = """client create: store a text.

Usage:
  client create [options] [-f] URL [CONTENT]

URL is where.

Options:
  -a HOST, --address HOST  Where.
  -f                       Force,
                           and more of it.
  --timeout TIME           When to give up [default: 5].
  -h, --help               This text.

'client --help' explains all commands.
"""


@pytest.mark.parametrize(
    "argv",
    [
        ["create", "--help"],
        ["-h", "create"],
        ["create", "/a", "b", "c", "-h"],
        ["create", "--nonsense", "-fh"],
        ["create", "-a", "-h"],
        ["help", "create"],
    ],
)
def test_the_help_of_a_command(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(CLIENT, argv, command="client")
    assert caught.value.code == 0
    assert capsys.readouterr() == (CREATE_HELP, "")


@pytest.mark.parametrize("argv", [["fetch", "--help"], ["--help"], ["xyzzy", "-h"], ["help"], ["help", "xyzzy"]])
def test_a_command_that_the_text_does_not_explain_gets_the_whole(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parse(CLIENT, argv, command="client")
    assert capsys.readouterr() == (CLIENT, "")


def test_a_command_named_with_others_in_one_line_has_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(CLIENT, ["delete", "-h"], command="client")
    said = capsys.readouterr().out
    assert said.startswith("client delete: delete files, for good.\n")
    assert "  client (show | delete) [options] URL...\n\n" in said
    assert "-f " not in said


def test_help_after_two_dashes_is_an_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(DAEMON, ["--", "--help"], command="daemon")
    assert caught.value.code == 2
    assert capsys.readouterr().out == ""


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(DAEMON, ["--version"], command="daemon")
    assert caught.value.code == 0
    assert capsys.readouterr() == (f"daemon {__version__}\n", "")


BARE = """bare: do.

Usage:
  bare [--to=FILE] [-x]
  bare (-h | --help)
  bare --version
"""


def test_an_option_that_only_a_usage_line_names_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    parsed = parse(BARE, ["--to", "f", "-x"], command="bare")
    assert (parsed["--to"], parsed["-x"]) == ("f", True)
    for argv, said in ((["--version"], f"bare {__version__}\n"), (["--help"], BARE), (["-h"], BARE)):
        with pytest.raises(SystemExit) as caught:
            parse(BARE, argv, command="bare")
        assert caught.value.code == 0
        assert capsys.readouterr() == (said, "")


def test_a_version_that_is_not_offered_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parse(LOAD, ["--version"], command="load")
    assert caught.value.code == 2


def test_refuse_says_it_in_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        refuse("load", "-c wants a number above 0, and got 'a\nb'")
    assert caught.value.code == 2
    assert capsys.readouterr().err == "load: -c wants a number above 0, and got 'a\\nb'. Try 'load --help'.\n"


def test_a_reader_that_has_gone_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        print_out("x")
        monkeypatch.undo()
        # What is left in the buffer goes nowhere, and so will the interpreter's last flush.
        assert os.readlink(f"/proc/self/fd/{writer}") == os.devnull


@pytest.mark.parametrize(("command", "name"), [(None, "daemon"), ("other", "other")])
def test_a_full_disk_is_one(
    command: str | None, name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        monkeypatch.setattr(sys, "argv", ["/usr/bin/daemon", "-x"])
        with pytest.raises(SystemExit) as caught:
            print_out("x", command=command)
        monkeypatch.undo()
    assert caught.value.code == 1
    assert capsys.readouterr().err == f"{name}: cannot write to standard output: No space left on device\n"
