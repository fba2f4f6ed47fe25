"""Whatever hangs, SIGTERM ends it: every place where a server may wait, and every way to tell it to stop.

A signal is heard at once, and it ends when it has waited `shutdown_timeout` for what hangs, or by a second signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from operating import Operated
from running import PATIENCE_SECONDS, Stopwatch, Wire

SCRIPT = str(Path(__file__).with_name("hanging_sttpd.py"))
SHUTDOWN_SECONDS = 0.5
# What a reader of the access log has to take the last lines, where `shutdown_timeout` allows it.
LOG_SECONDS = 5.0
# Beside what it may wait for what hangs; on a machine that has other things to do.
ALLOWED_SECONDS = PATIENCE_SECONDS / 4

Trouble = Callable[[Operated, contextlib.ExitStack], None]


def ask(*lines: bytes) -> Trouble:
    """Requests that come to the place that hangs."""

    def trouble(server: Operated, stack: contextlib.ExitStack) -> None:
        for line in lines:
            wire = stack.enter_context(server.connect())
            wire.send(line + b"\n")

    return trouble


def reload(settings: str) -> Trouble:
    def trouble(server: Operated, stack: contextlib.ExitStack) -> None:
        server.configure(f"{settings}\n{SETTINGS}")
        server.send_signal(signal.SIGHUP)

    return trouble


def read_nothing(server: Operated, stack: contextlib.ExitStack) -> None:
    """A peer that is owed more than the kernel takes."""
    wire = stack.enter_context(server.connect())
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    wire.socket.settimeout(0.3)
    with contextlib.suppress(TimeoutError):
        while True:
            wire.send(b"SHOW /there\n" * 1000)


def begin_lines(server: Operated, stack: contextlib.ExitStack) -> None:
    for piece in (b"SHOW /a", b"C", b""):
        stack.enter_context(server.connect()).send(piece)


def fill_standard_error(server: Operated, stack: contextlib.ExitStack) -> None:
    """Nobody reads it any more; `log.level: debug` fills the pipe."""
    for _ in range(600):
        with server.connect() as wire:
            wire.ask(b"nonsense")


def fill_the_access_log(server: Operated, stack: contextlib.ExitStack) -> None:
    """It is a pipe that somebody has opened and does not read."""
    with server.connect() as wire:
        for _ in range(40):
            wire.send(b"SHOW /there\n" * 100)
            for _ in range(100):
                wire.reply()


SETTINGS = f"shutdown_timeout: {SHUTDOWN_SECONDS}\nlog: {{level: debug}}"

# What hangs, how it is come to, and settings.
PLACES: dict[str, tuple[str, Trouble, str]] = {
    "the disk, while it syncs": ("fdatasync", ask(b"CREATE /new x", b"UPDATE /there y", b"DELETE /there"), ""),
    "the disk, while it opens": ("open", ask(b"SHOW /cold", b"LIST /", b"CREATE /new x"), ""),
    "the disk, while it reads": ("pread", ask(b"SHOW /there", b"SHOW /there"), "cache: {enabled: false}"),
    "the disk, while it lists": ("scandir", ask(b"LIST /", b"LIST /"), ""),
    "the lock of the turn": ("flock", ask(b"CREATE /new x"), "processes: 2"),
    "the resolver": ("getaddrinfo", reload("listen_address: [127.0.0.1, slow.example]"), ""),
    "the selector": ("selector", ask(b"SHOW /there"), ""),
    "the wake-up pair": ("waker", ask(b"SHOW /cold", b"CREATE /new x"), ""),
    "a peer that does not read": ("nothing", read_nothing, ""),
    "peers that have begun": ("nothing", begin_lines, ""),
    "standard error": ("nothing", fill_standard_error, ""),
    "the access log": ("nothing", fill_the_access_log, "log: {access: pipe}"),
}
WAYS = {
    "SIGTERM": (signal.SIGTERM,),
    "SIGINT": (signal.SIGINT,),
    "a second SIGTERM": (signal.SIGTERM, signal.SIGTERM),
    "SIGINT after SIGTERM": (signal.SIGTERM, signal.SIGINT),
}


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[None]:
    """A reader that does not read."""
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    yield
    os.close(descriptor)


@pytest.mark.parametrize("way", [pytest.param(each, marks=[pytest.mark.long] * ("SIGINT" in each)) for each in WAYS])
@pytest.mark.parametrize("what", PLACES)
@pytest.mark.usefixtures("pipe")
def test_whatever_hangs_it_ends(tmp_path: Path, what: str, way: str) -> None:
    place, trouble, settings = PLACES[what]
    numbers = WAYS[way]
    seconds = SHUTDOWN_SECONDS if len(numbers) == 1 else 60
    settings = f"{settings}\n{SETTINGS}" if "log:" not in settings else f"{settings}\nshutdown_timeout: 0.5"
    settings = settings.replace("shutdown_timeout: 0.5", f"shutdown_timeout: {seconds}")
    hang = tmp_path / "hang"
    start = [sys.executable, SCRIPT, place, str(hang), "-c", "sttpd.yaml"]
    server = Operated(tmp_path, settings, start=start)
    try:
        with contextlib.ExitStack() as stack:
            with server.connect() as wire:
                assert wire.ask(b"CREATE /there x") == b"100 /there CREATED\n"
            stack.callback(hang.unlink, missing_ok=True)
            hang.touch()
            trouble(server, stack)
            time.sleep(0.1)  # it comes to the place, as far as it goes; if it has not yet, it does so while it stops
            with Stopwatch() as watch:
                for number in numbers:
                    server.send_signal(number)
                    if len(numbers) > 1:
                        time.sleep(0.2)  # or the two would be one
                assert server.process.wait(PATIENCE_SECONDS) in (0, 1)
            allowed = LOG_SECONDS if what == "the access log" and len(numbers) > 1 else SHUTDOWN_SECONDS
            assert watch.seconds < allowed + ALLOWED_SECONDS
    finally:
        server.kill()


def test_the_places_are_come_to(tmp_path: Path) -> None:
    """Or the table above would prove nothing: what hangs is not answered before it goes on."""
    for place, line in (("fdatasync", b"CREATE /new x"), ("open", b"SHOW /cold"), ("scandir", b"LIST /")):
        folder = tmp_path / place
        folder.mkdir()
        hang = folder / "hang"
        server = Operated(folder, start=[sys.executable, SCRIPT, place, str(hang), "-c", "sttpd.yaml"])
        try:
            hang.touch()
            with server.connect() as wire:
                wire.send(line + b"\n")
                assert is_silent(wire)
                hang.unlink()
                assert wire.reply()
        finally:
            hang.unlink(missing_ok=True)
            server.finish()


def is_silent(wire: Wire) -> bool:
    wire.socket.settimeout(0.3)
    try:
        return not wire.socket.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return True
    finally:
        wire.socket.settimeout(PATIENCE_SECONDS)
