"""Every way out of a docroot that file servers have been known to have, tried on a running one.

The store's own tests (tests/store/test_store_links.py, test_store_files.py) swap links in before any one system call,
and the corpus (tests/corpus) has what the grammar refuses. Here all of it meets: whatever the reply, no secret is in
it, and nothing outside has changed.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Stopwatch, Sttpd, Wire

SECRET = b"s3cret"
# What outside is called; with the docroot in `site/files` it is `../outside`.
OUTSIDE = "outside"
SWAP_SECONDS = 0.5

# One step up in every spelling that some server has taken for one.
UP = {
    "plain": b"..",
    "percent": b"%2e%2e",
    "half percent": b".%2e",
    "capitals": b"%2E%2E",
    "twice percent": b"%252e%252e",
    "sixteen bits": b"%u002e%u002e",
    "overlong, two bytes": b"\xc0\xae\xc0\xae",
    "overlong, three bytes": b"\xe0\x80\xae\xe0\x80\xae",
    "overlong, percent": b"%c0%ae%c0%ae",
    "fullwidth": "\uff0e\uff0e".encode(),
    "two dot leader": "\u2025".encode(),
    "one dot leaders": "\u2024\u2024".encode(),
    "with a joiner": ".\u200d.".encode(),
    "trailing dot": b"...",
    "trailing dots": b"....",
    "trailing space": b"..%20",
    "tab": b"..\t",
    "nul": b"..\0",
    "percent nul": b"..%00",
    "carriage return": b"..\r",
    "semicolon": b"..;",
    "doubled to survive one removal": b"....//",
    "stream": b"..::$DATA",
    "quoted": b'".."',
    "home": b"~",
    "variable": b"$HOME",
}
SLASH = {
    "slash": b"/",
    "backslash": b"\\",
    "percent slash": b"%2f",
    "percent backslash": b"%5c",
    "overlong slash": b"\xc0\xaf",
    "fullwidth slash": "\uff0f".encode(),
    "division slash": "\u2215".encode(),
    "two": b"//",
    "slash dot": b"/./",
}
# Whole paths; {} is the absolute path of what is outside.
PATHS = [
    b"{}/secret",
    b"/{}/secret",
    b"//{}/secret",
    b"file://{}/secret",
    b"sttp://localhost{}/secret",
    b"/proc/self/root{}/secret",
    b"/proc/self/cwd/../outside/secret",
    b"/dev/stdin",
    b"/dev/fd/0",
    b"..",
    b"/..",
    b"/.",
    b"/../",
    b"/./",
    b"//",
    b"/\0",
    b"/inside/../../outside/secret",
    b"/inside/./../../outside/secret",
    b"/nothing/../../outside/secret",
    b"/inside/file/../../../outside/secret",
    b"/inside/file\0/../../../outside/secret",
    b"/inside/file%00.txt",
    b"/inside/../.sttp/journal",
    b"/.sttp/journal",
    b"/.sttp/../../outside/secret",
    b"/./.sttp/journal",
    b"//.sttp/journal",
    b"/.sttp./journal",
    b"\\\\?\\C:\\outside\\secret",
    b"C:/outside/secret",
    b"/" + b"../" * 2000 + b"etc/passwd",
    b"/" + b"d/" * 100 + b"../" * 102 + b"outside/secret",
]


class Site:
    """A running server, a docroot with a file in it, and next to the docroot a directory that nobody may touch."""

    def __init__(self, server: Sttpd) -> None:
        self.server = server
        self.docroot = server.docroot
        self.outside = server.docroot.parent / OUTSIDE
        (self.outside / "below").mkdir(parents=True)
        for name in ("secret", "below/secret", "file"):
            (self.outside / name).write_bytes(SECRET)
        (self.docroot / "inside").mkdir()
        (self.docroot / "inside" / "file").write_text("text")
        self._before = self._look()

    def _look(self) -> dict[str, object]:
        """All there is next to the docroot, and its times of change: so a write of the same bytes shows."""
        return {
            os.fspath(path): (path.lstat().st_mode, path.lstat().st_ino, path.lstat().st_mtime_ns)
            for path in (self.outside, *self.outside.rglob("*"))
        } | {"beside": sorted(os.listdir(self.docroot.parent))}

    def assert_untouched(self) -> None:
        assert self._look() == self._before

    def ask_all(self, wire: Wire, path: bytes) -> list[bytes]:
        """The reply to each action on `path`. None may give a secret away."""
        replies = [
            wire.ask(line % path)
            for line in (b"SHOW %b", b"LIST %b", b"UPDATE %b owned", b"CREATE %b owned", b"SHOW %b", b"DELETE %b")
        ]
        for reply in replies:
            assert SECRET not in reply, path
            assert b"secret" not in reply.replace(path, b"").replace(path.rpartition(b"/")[0], b""), path
            assert b"root:" not in reply, path
            own = os.fsencode(self.docroot.parent)
            assert own in path or own not in reply, "a path of the server's own"
        return replies


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    server = Sttpd(["-a", "127.0.0.1", "-p", "0", "-d", "files", "-o", "sync=false"], tmp_path_factory.mktemp("site"))
    try:
        yield Site(server)
        server.finish()
    finally:
        server.kill()


@pytest.fixture
def trap(site: Site) -> Iterator[Path]:
    """`trap` in the docroot, for the test to put something there."""
    path = site.docroot / "trap"
    yield path
    with contextlib.suppress(FileNotFoundError):
        path.unlink()


def test_every_spelling_of_a_step_up(site: Site) -> None:
    with site.server.connect() as wire:
        for (up_name, up), (slash_name, slash) in itertools.product(UP.items(), SLASH.items()):
            for steps in (up, b"inside" + slash + up + slash + up, slash + up):
                path = b"/" + steps + slash + b"outside" + slash + b"secret"
                replies = site.ask_all(wire, path)
                is_a_name = replies[3].startswith(b"100 ")  # strange, and inside: then all of it works as for any
                assert replies[3][:3] in (b"100", b"300", b"310"), (up_name, slash_name, replies)
                assert is_a_name == replies[5].startswith(b"600 "), (up_name, slash_name, replies)
    site.assert_untouched()


def test_whole_paths_that_lead_out(site: Site) -> None:
    with site.server.connect() as wire:
        for path in PATHS:
            site.ask_all(wire, path.replace(b"{}", os.fsencode(site.outside)))
            site.ask_all(wire, path.replace(b"{}", os.fsencode(site.outside)) + b"/")
    site.assert_untouched()
    assert (site.docroot / "inside" / "file").read_text() == "text"


# -- What stands in the docroot and leads out of it --

LINKS: dict[str, Callable[[Site], str]] = {
    "absolute, to a file": lambda site: f"{site.outside}/secret",
    "relative, to a file": lambda site: f"../{OUTSIDE}/secret",
    "absolute, to a directory": lambda site: f"{site.outside}",
    "relative, to a directory": lambda site: f"../{OUTSIDE}/",
    "to what is not there yet": lambda site: f"../{OUTSIDE}/made",
    "up": lambda site: "..",
    "to the root": lambda site: "/",
    "to itself": lambda site: "trap",
    "to the docroot": lambda site: ".",
    "inside, to a file": lambda site: "inside/file",
    "inside, to a directory": lambda site: "inside",
    "the server's root": lambda site: "/proc/self/root",
    "the server's directory": lambda site: "/proc/self/cwd",
    "the server's descriptors": lambda site: "/proc/self/fd",
    "the server's own file": lambda site: "/proc/self/exe",
    "the server's environment": lambda site: "/proc/self/environ",
    "a directory by its descriptor": lambda site: "/proc/self/fd/3",
    "standard input": lambda site: "/dev/stdin",
    "the journal": lambda site: ".sttp",
}


@pytest.mark.parametrize("link", LINKS)
def test_no_link_is_followed(site: Site, trap: Path, link: str) -> None:
    trap.symlink_to(LINKS[link](site))
    with site.server.connect() as wire:
        last = site.ask_all(wire, b"/trap")
        assert [reply[:3] for reply in last] == [b"400", b"400", b"400", b"300", b"400", b"400"]
        assert wire.ask(b"LIST /trap/").startswith(b"400 ")
        for below in (b"/trap/secret", b"/trap/below/secret", b"/trap/outside/secret", b"/trap/file", b"/trap/made"):
            replies = site.ask_all(wire, below)
            assert [reply[:3] for reply in replies] == [b"410", b"410", b"410", b"510", b"410", b"410"], below
        assert b"trap" not in wire.ask(b"LIST /")
    assert os.readlink(trap) == LINKS[link](site), "the link itself stays what it is"
    assert (site.docroot / "inside" / "file").read_text() == "text"
    site.assert_untouched()


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):  # a socket's path may not be long
        made.bind(path.name)


SPECIAL: dict[str, Callable[[Path], None]] = {"a FIFO": os.mkfifo, "a socket": make_socket}


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_files_are_no_files_and_make_nobody_wait(site: Site, trap: Path, kind: str) -> None:
    SPECIAL[kind](trap)
    with site.server.connect() as wire, Stopwatch() as watch:
        replies = site.ask_all(wire, b"/trap")
        assert [reply[:3] for reply in replies] == [b"400", b"400", b"400", b"300", b"400", b"400"]
        replies = site.ask_all(wire, b"/trap/below")
        assert [reply[:3] for reply in replies] == [b"410", b"410", b"410", b"510", b"410", b"410"]
    assert watch.seconds < 5, "to open a FIFO waits for somebody at its other end"
    assert not trap.is_file()


def test_a_file_that_has_another_name_outside_is_left_as_it_is_there(site: Site, trap: Path) -> None:
    os.link(site.outside / "file", trap)
    with site.server.connect() as wire:
        assert wire.ask(b"UPDATE /trap owned") == b"200 /trap OK\nowned\n"
        assert wire.ask(b"CREATE /trap owned").startswith(b"300 ")
        assert wire.ask(b"SHOW /trap") == b"200 /trap OK\nowned\n"
        assert wire.ask(b"DELETE /trap") == b"600 /trap DELETED\n"
    assert (site.outside / "file").read_bytes() == SECRET
    site.assert_untouched()


@contextlib.contextmanager
def swapped(directory: Path, outside: Path) -> Iterator[list[int]]:
    """A thread that has `directory` be itself, a link to `outside`, and nothing, by turns, as fast as it can."""
    away = directory.with_name(directory.name + ".away")
    stop = threading.Event()
    swaps = [0]

    def swap() -> None:
        while not stop.is_set():
            directory.rename(away)
            directory.symlink_to(outside)
            swaps[0] += 1
            directory.unlink()
            away.rename(directory)

    thread = threading.Thread(target=swap, name="swapping")
    thread.start()
    try:
        yield swaps
    finally:
        stop.set()
        thread.join()


def test_a_link_that_is_swapped_in_while_requests_run(site: Site) -> None:
    """No CREATE among them: it would make the directory anew in the moment when there is none."""
    lines = [b"SHOW /inside/file", b"UPDATE /inside/file text", b"SHOW /inside/secret", b"UPDATE /inside/secret owned"]
    lines += [b"DELETE /inside/secret", b"LIST /inside", b"LIST /inside/below", b"SHOW /inside/below/secret"]
    seen = set()
    with site.server.connect() as wire, swapped(site.docroot / "inside", site.outside) as swaps:
        deadline = time.monotonic() + SWAP_SECONDS
        while time.monotonic() < deadline or not swaps[0]:
            for line in lines:
                reply = wire.ask(line)
                assert SECRET not in reply
                assert b"secret" not in reply.partition(b"OK\n")[2]
                seen.add(line + b": " + reply[:3])
    assert {b"SHOW /inside/file: 200", b"SHOW /inside/file: 410"} <= seen, "both faces of the path were met"
    site.assert_untouched()
