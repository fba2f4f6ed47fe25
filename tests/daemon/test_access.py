"""Who may do what, on a real server: rules, `read_only`, connections for each address, and all of it at a reload."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from operating import Operated, operated
from running import Wire, fails

REFUSED = re.compile(rb'300 (/[^ ]*) CLIENT ERROR "(you may [^"]+|the server is read-only[^"]*)"\n')
CROWDED = rb'500 - SERVER ERROR "too many connections from your address[^"]*"\n'

RULES = """
access:
  - {who: 127.0.0.2, may: read}
  - {who: 127.0.0.3, may: write, below: /drop}
  - {who: 127.0.0.3, may: read, below: /public}
  - {who: 127.0.0.3, may: none}
  - {who: 127.0.0.0/30, may: none, below: /secret}
"""


@pytest.fixture(scope="module")
def ruled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """A server with RULES, on TCP and on a Unix socket, that holds the same few files for every test."""
    folder = tmp_path_factory.mktemp("ruled")
    with operated(folder, f"listen_address: [127.0.0.1, {folder}/socket]\n{RULES}") as server:
        with server.connect(str(folder / "socket")) as wire:
            for path in (b"/drop/x", b"/public/x", b"/secret/x", b"/secrets", b"/x"):
                assert wire.ask(b"CREATE " + path + b" text") == b"100 %b CREATED\n" % path
                assert wire.ask(b"SHOW " + path) == b"200 %b OK\ntext\n" % path  # and now it is cached
        yield server


# source, request, whether it is refused
REQUESTS = [
    ("127.0.0.1", b"SHOW /public/x", False),
    ("127.0.0.1", b"UPDATE /public/x text", False),
    ("127.0.0.1", b"SHOW /secret/x", True),
    ("127.0.0.1", b"LIST /secret", True),
    ("127.0.0.1", b"LIST /secret/", True),
    ("127.0.0.1", b"UPDATE /secret/x new", True),
    ("127.0.0.1", b"SHOW /secrets", False),
    ("127.0.0.1", b"LIST /", False),
    ("127.0.0.2", b"SHOW /secret/x", False),
    ("127.0.0.2", b"LIST /", False),
    ("127.0.0.2", b"UPDATE /x new", True),
    ("127.0.0.2", b"DELETE /x", True),
    ("127.0.0.2", b"CREATE /new x", True),
    ("127.0.0.3", b"UPDATE /drop/x text", False),
    ("127.0.0.3", b"SHOW /drop/x", True),
    ("127.0.0.3", b"LIST /drop/", True),
    ("127.0.0.3", b"SHOW /public/x", False),
    ("127.0.0.3", b"LIST /public", False),
    ("127.0.0.3", b"DELETE /public/x", True),
    ("127.0.0.3", b"LIST /", True),
    ("127.0.0.3", b"SHOW /x", True),
    ("127.0.0.4", b"SHOW /secret/x", False),
    ("127.0.0.4", b"UPDATE /secret/x text", False),
]


@pytest.mark.parametrize(("source", "line", "is_refused"), REQUESTS)
def test_rules(ruled: Operated, source: str, line: bytes, is_refused: bool) -> None:
    with ruled.connect(source=source) as wire:
        for _ in range(3):  # the first one, one that may be cached, one that may be answered without a look at it
            reply = wire.ask(line)
            refusal = REFUSED.fullmatch(reply)
            assert (refusal is not None) is is_refused, reply
            assert is_refused or reply.startswith(b"200 ")
            if refusal is not None:
                assert refusal[1] == line.split(b" ")[1]


def test_pipelined_with_what_is_allowed(ruled: Operated) -> None:
    with ruled.connect(source="127.0.0.1") as wire:
        wire.ask(b"SHOW /x")
        for lines, texts in [
            (b"SHOW /x\nSHOW /secret/x\nSHOW /x\n\n", 2),
            (b"SHOW /secret/x\r\nDELETE /secret/x\nSHOW /x\n\n", 1),
        ]:
            with ruled.connect(source="127.0.0.1") as other:
                other.send(lines)
                replies = other.rest()
                assert replies.count(b"\ntext\n") == texts
                assert len(REFUSED.findall(replies)) == 3 - texts


def test_a_directory_is_made_on_the_way_to_where_one_may_write(ruled: Operated) -> None:
    with ruled.connect(source="127.0.0.3") as wire:
        assert wire.ask(b"CREATE /drop/a/b/c x") == b"100 /drop/a/b/c CREATED\n"
        assert REFUSED.fullmatch(wire.ask(b"CREATE /drops/a x"))
    assert not (ruled.docroot / "drops").exists()


@pytest.mark.parametrize("processes", [1, 2])
def test_read_only(tmp_path: Path, processes: int) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a").write_text("text")
    settings = f"read_only: true\nprocesses: {processes}\nlisten_address: [127.0.0.1, {tmp_path}/socket]\n"
    with operated(tmp_path, settings) as server:
        for address in server.addresses:
            with server.connect(address) as wire:
                for line in (b"CREATE /b x", b"CREATE /a x", b"UPDATE /a x", b"DELETE /a", b"DELETE /none"):
                    assert REFUSED.fullmatch(wire.ask(line)), line
                assert wire.ask(b"CREATE /a") != wire.ask(b"CREATE /a x"), "what is wrong with the line is said first"
                assert wire.ask(b"SHOW /a") == b"200 /a OK\ntext\n"
                assert wire.ask(b"LIST /") == b"200 / OK\na\n"
    assert (tmp_path / "files" / "a").read_text() == "text"


def test_users_of_a_unix_socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the kernel says who they are, not by what they say."""
    name = pwd.getpwuid(os.geteuid()).pw_name
    settings = (
        "listen_address: [127.0.0.1, socket]\n".replace("socket", str(tmp_path / "socket"))
        + f"access:\n  - {{who: 'unix:{name}', may: read, below: /a}}\n  - {{who: unix, may: none}}\n"
    )
    with operated(tmp_path, settings) as server:
        tcp, unix = server.addresses
        with server.connect(tcp) as wire:
            assert wire.ask(b"CREATE /a/x text") == b"100 /a/x CREATED\n", "no rule is about this one"
        with server.connect(unix) as wire:
            assert wire.ask(b"SHOW /a/x") == b"200 /a/x OK\ntext\n"
            assert REFUSED.fullmatch(wire.ask(b"DELETE /a/x"))
            assert REFUSED.fullmatch(wire.ask(b"LIST /"))
        if os.geteuid() == 0:
            tmp_path.chmod(0o755)
            (tmp_path / "socket").chmod(0o666)
            monkeypatch.chdir(tmp_path)
            with as_user(65534), at_unix_socket("socket") as wire:
                assert REFUSED.fullmatch(wire.ask(b"SHOW /a/x"))


def at_unix_socket(name: str) -> Wire:
    """From the working directory: the way that leads there may be closed to others."""
    return Wire(f"/proc/self/cwd/{name}")


@contextlib.contextmanager
def as_user(uid: int) -> Iterator[None]:
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_reload_changes_what_connections_may_do_that_are_there(tmp_path: Path) -> None:
    for processes in (1, 2):
        base = f"processes: {processes}\n"
        with operated(tmp_path, base) as server, server.connect() as one, server.connect(source="127.0.0.2") as other:
            assert one.ask(b"CREATE /%d text" % processes) == b"100 /%d CREATED\n" % processes
            show = b"SHOW /%d" % processes
            text = b"200 /%d OK\ntext\n" % processes
            for wire in (one, other):
                assert [wire.ask(show) for _ in range(3)] == [text] * 3
            assert "access is" in server.reload(base + "access: {who: 127.0.0.2, may: none}\n")
            assert REFUSED.fullmatch(other.ask(show))
            assert one.ask(show) == text
            server.reload(base + "read_only: true\n")
            assert other.ask(show) == text
            assert REFUSED.fullmatch(one.ask(b"DELETE /1"))
            log = server.reload(base + "access: {who: 127.0.0.2, may: nothing}\n")
            assert "access.may: expected read, write" in log, "a mistake changes nothing"
            assert REFUSED.fullmatch(one.ask(b"DELETE /1"))
            server.reload(base)
            assert one.ask(b"UPDATE /1 text") == b"200 /1 OK\ntext\n"


def test_a_change_of_rules_while_requests_pour_in(tmp_path: Path) -> None:
    """Every reply is one of the old rules or of the new ones, and once the new ones have spoken, they hold."""
    quick = "sync: false\n"  # megabytes of what has been poured are still to be carried out in the end
    with operated(tmp_path, quick) as server, server.connect() as wire, server.connect() as other:
        assert other.ask(b"CREATE /a text") == b"100 /a CREATED\n"
        ending = threading.Event()

        def pour() -> None:
            while not ending.is_set():
                wire.send(b"SHOW /a\n" * 50 + b"UPDATE /a text\n")
            wire.half_close()

        replies: list[bytes] = []
        reader = threading.Thread(target=lambda: replies.append(wire.rest()))
        writer = threading.Thread(target=pour)
        reader.start()
        writer.start()
        try:
            server.reload(quick + "access: {who: anybody, may: read, below: /b}\naccess_: 1\n")
            server.reload(quick + "access: {who: anybody, may: none}\n")
            assert REFUSED.fullmatch(other.ask(b"SHOW /a"))
        finally:
            ending.set()
            writer.join()
            reader.join()
        ok, refused = b"200 /a OK\ntext\n", REFUSED.pattern
        assert re.fullmatch(rb"(?:%b)+(?:%b)*" % (re.escape(ok), refused), replies[0])


def test_a_rule_with_a_mistake_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("access:\n  - {who: 127.0.0.1/8, may: read}\n")
    said = fails(["-c", "bad.yaml", "-p", "0", "-d", "files"], tmp_path, 78)
    assert said.startswith("bad.yaml:2:11: access.who: expected an address, a range of them such as 192.0.2.0/24, ")


# -- Connections of one address --


def test_each_address_has_so_many_connections(tmp_path: Path) -> None:
    settings = f"listen_address: [127.0.0.1, {tmp_path}/socket]\nlimits: {{max_connections_per_address: 2}}\n"
    with operated(tmp_path, settings) as server, contextlib.ExitStack() as open_wires:

        def connect(address: str | None = None, source: str | None = None) -> Wire:
            return open_wires.enter_context(server.connect(address, source))

        mine = [connect() for _ in range(2)]
        assert [wire.ask(b"LIST /") for wire in mine] == [b"200 / OK\n\n"] * 2
        for _ in range(30):
            with server.connect() as wire:
                wire.send(b"CREATE /x x\n")
                assert re.fullmatch(CROWDED, wire.rest())
        others = [connect(source="127.0.0.2") for _ in range(2)] + [connect(str(tmp_path / "socket")) for _ in range(5)]
        assert [wire.ask(b"LIST /") for wire in others] == [b"200 / OK\n\n"] * 7
        mine.pop().close()
        with connect_when_there_is_room(server) as wire:
            assert wire.ask(b"LIST /") == b"200 / OK\n\n"
    told = [line for line in server.log.splitlines() if "max_connections_per_address" in line]
    assert len(told) == 2, "at once, and at the end how often it happened since"
    assert "127.0.0.1" in told[0]
    assert re.search(r"\(\d+ more times", told[1])


def connect_when_there_is_room(server: Operated) -> Wire:
    """The server learns of a close when its turn comes, a moment later."""
    for _ in range(1000):
        wire = server.connect()
        wire.send(b"LIST /\n")
        if wire.reply().startswith(b"200"):
            return wire
        wire.close()
    raise AssertionError("a place that was left is not given to anybody")


def test_a_reload_changes_how_many(tmp_path: Path) -> None:
    with operated(tmp_path) as server, server.connect() as one, server.connect() as two:
        assert [wire.ask(b"LIST /") for wire in (one, two)] == [b"200 / OK\n\n"] * 2
        server.reload("limits: {max_connections_per_address: 2}\n")
        with server.connect() as refused:
            assert re.fullmatch(CROWDED, refused.rest())
        assert one.ask(b"LIST /") == b"200 / OK\n\n", "who is there stays"
        server.reload("limits: {max_connections_per_address: 3}\n")
        with server.connect() as three:
            assert three.ask(b"LIST /") == b"200 / OK\n\n"
