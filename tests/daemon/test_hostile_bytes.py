"""Bytes that would steer a terminal, or forge a line of a log: not stored, not shown, not logged as they are."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from operating import Operated, operated
from running import Start, Sttpd

# What the terminal is told, as bytes, and whether STTP calls it text (PROTOCOL.md section 1: category Cc is not).
SEQUENCES = {
    "colour": b"\x1b[31m",
    "clear": b"\x1b[2J",
    "title": b"\x1b]0;owned\x07",
    "report": b"\x1b[6n",
    "device string": b"\x1bP$q\x1b\\",
    "colour, 8 bits": b"\xc2\x9b31m",
    "title, 8 bits": b"\xc2\x9d0;owned\xc2\x9c",
    "8 bits, not UTF-8": b"\x9b31m",
    "overlong escape": b"\xc0\x9b[31m",
    "overwrite": b"a\rb",
    "rub out": b"\x08\x08",
    "bell": b"\x07",
    "shift out": b"\x0e",
    "delete": b"\x7f",
    "form feed": b"\x0c",
    "vertical tab": b"\x0b",
    "next line": b"\xc2\x85",
    "nul": b"\0",
}
LINES = [
    b"CREATE /e/new %b",
    b"CREATE /e/new text%btext",
    b'CREATE /e/new "%b"',
    b'CREATE /e/new "text" %b',
    b"UPDATE /e/old %b",
    b'UPDATE /e/old "%b',
    b"CREATE /e/%b text",
    b"CREATE /e/%b/new text",
    b"CREATE /%b/new text",
    b"UPDATE /e/old%b text",
    b"DELETE /e/old%b",
    b"SHOW /e/old%b",
    b"LIST /e/%b",
    b"LIST /e/%b/",
    b"%b",
    b"%b /e/old",
    b"SHOW%b /e/old",
    b"SHOW /e/old %b",
]


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_no_escape_is_stored_or_sent_back(server: Sttpd, sequence: bytes) -> None:
    with server.connect() as wire:
        wire.ask(b"CREATE /e/old text")
        for line in LINES:
            reply = wire.ask(line % sequence)
            assert re.match(rb"300 ", reply), line
            assert is_plain(reply), line
        assert wire.ask(b"SHOW /e/old") == b"200 /e/old OK\ntext\n"
    names = [os.fsencode(path.relative_to(server.docroot)) for path in (server.docroot / "e").rglob("*")]
    assert names == [b"e/old"]


def is_plain(reply: bytes) -> bool:
    return all(unicodedata.category(character) != "Cc" for character in reply.decode().replace("\n", ""))


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES.keys())
def test_what_another_program_has_put_there_is_not_shown(server: Sttpd, sequence: bytes) -> None:
    folder = os.fsencode(server.docroot) + b"/by-others"
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    Path(os.fsdecode(folder), "contents").write_bytes(b"text" + sequence)
    Path(os.fsdecode(folder), "sound").write_bytes(b"text")
    if b"\0" not in sequence:
        Path(os.fsdecode(folder + b"/name" + sequence)).write_bytes(b"text")
    with server.connect() as wire:
        shown = wire.ask(b"SHOW /by-others/contents")
        assert re.fullmatch(rb'500 /by-others/contents SERVER ERROR "[^"]+"\n', shown)
        assert is_plain(shown)
        assert wire.ask(b"LIST /by-others") == b"200 /by-others OK\ncontents, sound\n"


# -- The logs --

# The path field as it came is in the access log: these are paths of STTP, and the worst of them.
PATHS = [
    "/plain",
    "/quote\"'\\",
    "/turned\u202egnp.exe",
    "/line\u2028separator\u2029",
    "/joined\u200d\u200b\ufeff",
    "/wide\u3000space\u00a0too",
    "/tags\U000e0041",
    "/private\ue000",
    "/200",
    "/%0a%1b[31m",
    "/{0}%s%(message)s",
    "/" + "\u00e9" * 32,
]
# Whole lines that are refused, for their own reasons.
JUNK = [
    b"\x1b[31m\x07",
    b"SHOW /a\x1b[2J",
    b"SHOW /a\r2026-11-21T02:03:04.123Z 127.0.0.1:1 DELETE /root 600 1 0.1",
    b"\xff\xfe",
    b"DELETE /a\x00b",
    b"X" * 3000 + b" /a",
    b"SHOW /" + "\u202e".encode() * 500,
    b'{"action": "DELETE"}',
    b"%s%n /%s",
]


def hostile_script() -> bytes:
    lines = []
    for path in PATHS:
        raw = path.encode()
        lines += [b"CREATE %b %b" % (raw, "\u202econtents\u2028\t".encode()), b"SHOW " + raw, b"SHOW " + raw + b"/"]
        lines += [b"UPDATE " + raw, b"LIST " + raw, b"DELETE " + raw]
    return b"\n".join(lines + JUNK) + b"\n\n"


REPLIES = 6 * len(PATHS) + len(JUNK)


@pytest.fixture(params=["text", "json"])
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def told(tmp_path: Path, form: str) -> Iterator[tuple[Operated, bytes]]:
    """A server that logs all it can, and all it was asked and that went wrong with it; and its access log."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "bad").write_bytes(b"\x1b[31m")
    settings = (
        f"log: {{level: debug, format: {form}, access: access.log}}\n"
        "limits: {request_timeout: 50ms, max_connections_per_address: 4}\naccess: {who: 127.0.0.3, may: none}\n"
    )
    with operated(tmp_path, settings) as server:
        with server.connect() as wire:
            wire.send(hostile_script())
            replies = wire.rest()
        with server.connect() as wire:
            wire.send(b"SHOW /bad\nSHOW /\x1b[31mnever ending")
            wire.rest()
        with server.connect(source="127.0.0.3") as wire:
            wire.ask("SHOW /refused\u202e".encode())
        yield server, replies


def test_the_access_log(told: tuple[Operated, bytes], form: str) -> None:
    server, replies = told
    server.stop()
    raw = (server.folder / "access.log").read_bytes()
    assert len(raw.splitlines()) == raw.count(b"\n") == REPLIES + 3, "one line for each request, and no more"
    text = raw.decode()
    assert all(line.isprintable() for line in text.split("\n"))
    if form == "json":
        assert raw.isascii()
        paths = [json.loads(line)["path"] for line in text.splitlines()]
    else:
        fields = [line.split(" ") for line in text.splitlines()]
        assert {len(each) for each in fields} == {7}
        paths = [each[3].encode().decode("unicode_escape") if "\\u" in each[3].lower() else each[3] for each in fields]
    assert paths[: 6 * len(PATHS) : 6][2:8] == PATHS[2:8], "escaped, and not left out"
    assert replies.count(b"\n") > REPLIES


def test_the_log(told: tuple[Operated, bytes], form: str) -> None:
    server, _ = told
    server.stop()
    assert server.log.count("\n") >= 3
    for line in server.log.removesuffix("\n").split("\n"):
        assert line.isprintable()
        if form == "json":
            assert {"time", "level", "logger", "message"} <= json.loads(line).keys()
        else:
            assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [a-z]+ sttp_reactor[.a-z_]*: ", line), line


def test_the_access_log_on_standard_output(start: Start) -> None:
    server = start("--access-log", "-")
    with server.connect() as wire:
        wire.send(hostile_script())
        wire.rest()
    server.send_signal(15)
    lines = server.ends().split("\n")
    assert len(lines) == REPLIES + 1
    assert all(line.isprintable() for line in lines)
