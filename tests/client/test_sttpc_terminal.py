"""Whatever a server answers, sttpc sends a terminal text and line ends and nothing else: no escape, no control, nothing
that turns text around or hides it. Standard error is as clean where it is not a terminal: it may end up in one."""

from __future__ import annotations

import io
import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from scripted_server import Peer, ScriptedServer

from sttp_reactor.cli import sttpc
from sttp_reactor.command.arguments import parse

Serve = Callable[..., ScriptedServer]

# What no part of a reply may hold (PROTOCOL.md section 1), each of which a terminal or a reader of a log would obey.
CONTROLS = {
    "escape": b"\x1b[31m",
    "title": b"\x1b]0;owned\x07",
    "report": b"\x1b[6n",
    "device string": b"\x1bP$q\x1b\\",
    "C1 control sequence": b"\xc2\x9b31m",
    "C1 operating system command": b"\xc2\x9d0;owned\xc2\x9c",
    "next line": b"\xc2\x85",
    "bell": b"\x07",
    "carriage return": b"sound\rforged",
    "backspace": b"\x08\x08",
    "shift out": b"\x0e",
    "form feed": b"\x0c",
    "vertical tab": b"\x0b",
    "nul": b"\0",
    "delete": b"\x7f",
}
NOT_UTF8 = {
    "C1 of one byte": b"\x9b31m",
    "overlong escape": b"\xc0\x9b[31m",
    "surrogate": b"\xed\xa0\x80",
    "cut short": b"\xf0\x9f\x98",
}
# These are text to STTP, so they get as far as they can.
TRICKS = {
    "right-to-left override": "\u202egnp.exe".encode(),
    "isolate": "\u2066x\u2069".encode(),
    "right-to-left mark": "\u200f".encode(),
    "line separator": "\u2028sttpc: forged".encode(),
    "paragraph separator": "\u2029".encode(),
    "invisible": "\u2060\ufeff".encode(),
    "tags": "\U000e0041\U000e007f".encode(),
    "private": "\ue000\U0010ffff".encode(),
}
ALL = CONTROLS | NOT_UTF8 | TRICKS
MIXTURES = [b"x".join(kind.values()) for kind in (CONTROLS, NOT_UTF8, TRICKS)]

# Where in a reply they stand.
PLACES = [
    b"200 /d/ OK\n%b\n",
    b"200 /d/ OK\na, %b, %b/, c/\n",
    b"200 /%b OK\nb\n",
    b'300 /d/ CLIENT ERROR "%b"\n',
    b"310 /d/%b FILENAME TOO LONG\n",
    b"400 /%b NOT FOUND\n",
    b"410 /%b/ PATH NOT FOUND\n",
    b'500 - SERVER ERROR "%b"\n',
    b"510 /%b/ CANNOT CREATE PATH\n",
    b"100 /d/ CREATED%b\n",
    b"600 /d/ DELETED\n%b\n",
    b"%b 200 /d/ OK\n",
    b"%b",
    b"200 /d/ OK\n%b",
]


def hostile_replies() -> Iterator[bytes]:
    """Each mixture in each place, and each of all in some."""
    for place, harm in itertools.product(PLACES, MIXTURES):
        yield place.replace(b"%b", harm)
    for place, harm in zip(itertools.cycle(PLACES[:9]), ALL.values(), strict=False):
        yield place.replace(b"%b", harm)


COMMANDS = {
    "fetch a file": ["fetch", "HOST", "/d/a"],
    "fetch a directory": ["fetch", "HOST", "/d/"],
    "show": ["show", "HOST/d/a", "HOST/d/b"],
    "list": ["list", "HOST/d/"],
    "list recursively": ["list", "-r", "HOST/d/"],
    "list long": ["list", "-l", "HOST/d/"],
    "list everything": ["list", "-r", "-l", "HOST/d/"],
    "create": ["create", "HOST/d/a", "x"],
    "create by force": ["create", "-f", "HOST/d/a", "x"],
    "update": ["update", "HOST/d/a", "x"],
    "delete": ["delete", "HOST/d/a"],
    "delete by force": ["delete", "-f", "HOST/d/a"],
    "ping": ["ping", "HOST"],
}
# Every one of them with the commands that print most; the others print through the same few lines.
FLAGS: list[list[str]] = [["-i", "-v"], ["-v", "-j", "--time"], [], ["-j"], ["-i", "-n", "--time"], ["-q"]]
TALKATIVE = {"show", "list everything"}
CASES = [
    pytest.param(command, flags, id=" ".join([name, *flags]))
    for name, command in COMMANDS.items()
    for flags in (FLAGS if name in TALKATIVE else FLAGS[:2])
]


class Terminal(io.TextIOWrapper):
    """A standard stream that says it is a terminal, and keeps every byte."""

    def __init__(self, *, is_terminal: bool = True) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def taken(self) -> str:
        """What has been written since this was last asked. It must be UTF-8."""
        assert isinstance(self.buffer, io.BytesIO)
        written = self.buffer.getvalue()
        self.buffer.seek(0)
        self.buffer.truncate()
        return written.decode()


class HostileServer:
    """Answers the first line of every connection with `reply`, and closes: nobody waits for the rest of it.

    `first`, where it is not empty, is the answer to the line before: so that a listing is believed, and what comes
    after it is not."""

    def __init__(self, serve: Serve) -> None:
        self.reply = self.first = b""
        self._server = serve(*[self._script] * 600)
        self.host = f"127.0.0.1:{self._server.port}"

    def _script(self, peer: Peer) -> None:
        if self.first and peer.line():
            peer.send(self.first)
        if peer.line():
            peer.send(self.reply)


@pytest.fixture
def hostile(serve: Serve) -> HostileServer:
    return HostileServer(serve)


@pytest.fixture(autouse=True)
def _one_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test says the same words each time, and to parse them takes ten times as long as all the rest."""
    parsed: dict[tuple[str, ...], dict[str, Any]] = {}

    def parse_once(doc: str, argv: Sequence[str], *, command: str, **options: Any) -> dict[str, Any]:
        words = tuple(argv)
        if words not in parsed:
            parsed[words] = parse(doc, argv, command=command, **options)
        return parsed[words]

    monkeypatch.setattr(sttpc, "parse", parse_once)


def said(monkeypatch: pytest.MonkeyPatch, is_terminal: bool, *argv: str) -> tuple[str, str]:
    """What sttpc writes to standard output and to standard error."""
    with (
        Terminal(is_terminal=is_terminal) as out,
        Terminal(is_terminal=is_terminal) as err,
        monkeypatch.context() as at,
    ):
        at.setattr(sys, "stdout", out)
        at.setattr(sys, "stderr", err)
        sttpc.main(argv)
        return out.taken(), err.taken()


def raw(text: str, allowed: str = "\n") -> str:
    """What of `text` a terminal would not show as it is."""
    return "".join(c for c in text if not c.isprintable() and c not in allowed)


def escapes(text: str) -> int:
    """How much of what has come was escaped rather than left out."""
    return text.count("\\x") + text.count("\\u") + text.count("\\U")


@pytest.mark.parametrize(("command", "flags"), CASES)
def test_nothing_that_steers_a_terminal(
    hostile: HostileServer, monkeypatch: pytest.MonkeyPatch, command: list[str], flags: list[str]
) -> None:
    argv = [word.replace("HOST", hostile.host) for word in command] + flags
    escaped = 0
    for hostile.reply in hostile_replies():
        out, err = said(monkeypatch, True, *argv)
        assert raw(out, "\n\t") == raw(err) == "", (hostile.reply, out, err)
        escaped += escapes(out + err)
    assert "-q" in flags or escaped > 50, "it has been printed at all"


@pytest.mark.parametrize("flags", [["-r"], ["-l"], ["-r", "-l", "-v"], ["-r", "-l", "-j"]], ids=" ".join)
def test_nothing_of_what_a_listing_leads_to(
    hostile: HostileServer, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    """Names and texts below a directory that looks sound, or is a trick itself."""
    trick = "\u202egnp".encode()
    escaped = 0
    for hostile.first in (b"200 /d/ OK\na, b/\n", b"200 /d/ OK\n%b, b%b/\n" % (trick, trick)):
        for hostile.reply in hostile_replies():
            out, err = said(monkeypatch, True, "list", *flags, f"{hostile.host}/d/")
            assert raw(out, "\n\t") == raw(err) == "", (hostile.reply, out, err)
            escaped += escapes(out + err)
    assert escaped > 50


@pytest.mark.parametrize("flags", [[], ["-v"], ["-j"], ["-i"]], ids=" ".join)
def test_a_file_gets_the_data_as_it_is_stored_and_still_no_control(
    hostile: HostileServer, monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    """JSON has escapes of its own, and uses them anywhere."""
    tricks = "" if "-j" in flags else "".join(trick.decode() for trick in TRICKS.values())
    for hostile.reply in hostile_replies():
        out, err = said(monkeypatch, False, "show", f"{hostile.host}/d/a", *flags)
        assert raw(out, "\n\t" + tricks) == raw(err) == "", (hostile.reply, out, err)
