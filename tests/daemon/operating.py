"""A real sttpd as its operator sees it: a configuration file to change, signals to send, a log to read."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from running import PATIENCE_SECONDS, STTPD, Sttpd

READY = re.compile(r'ready: listening on (.+); docroot (.+); configuration ([^"\n]+)')
RELOADED = re.compile(r"reloaded .*|.*everything is as it was.*")


# Puts the descriptors named by its arguments where systemd has them, and becomes sttpd.
_HAND_OVER = """
import os, sys
names, count, *rest = sys.argv[1:]
given = [int(number) for number in rest[: int(count)]]
high = [os.dup2(number, 100 + place) for place, number in enumerate(given)]
for place, number in enumerate(high):
    os.dup2(number, 3 + place)
os.environ.update(LISTEN_FDS=count, LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=names)
os.execv(rest[len(given)], rest[len(given) :])
"""


class Operated(Sttpd):
    """`sttpd -c sttpd.yaml` in `folder`. A server of several processes logs through one pipe, a line at a time."""

    def __init__(
        self,
        folder: Path,
        settings: str = "",
        *arguments: str,
        environ: Mapping[str, str] | None = None,
        sockets: Sequence[socket.socket] = (),
        names: str = "",
        start: Sequence[str] = (*STTPD, "-c", "sttpd.yaml"),
    ) -> None:
        """`sockets` are handed over as systemd does it, with their `names`, separated by colons. `start` is the command
        line before the `arguments`."""
        self.folder = folder
        self.configure(settings)
        self.log = ""
        self._read = 0  # how much of the log `wait_for` has got past
        self._ended = False
        command = [*start, *arguments]
        descriptors = [sock.fileno() for sock in sockets]
        if sockets:
            command = [sys.executable, "-c", _HAND_OVER, names, str(len(sockets)), *map(str, descriptors), *command]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **(environ or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=descriptors,
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self) -> None:
        match = self.wait_for(READY)
        self.addresses, self.docroot, self.origin = match[1].split(", "), Path(match[2]), match[3]

    def configure(self, settings: str) -> None:
        """Write the file anew. Where `settings` names no docroot or port, those of every test are put in."""
        lines = [settings]
        lines += ["docroot: files"] * ("docroot:" not in settings)
        lines += ["port: 0"] * ("\nport:" not in f"\n{settings}")
        (self.folder / "sttpd.yaml").write_text("\n".join(lines) + "\n")

    def wait_for(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """The next place in the log that fits, behind the last one that was waited for."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        whole = re.compile(pattern)
        while (match := whole.search(self.log, self._read)) is None or "\n" not in self.log[match.end() - 1 :]:
            assert self.read_log(deadline - time.monotonic()), f"waiting for {pattern}; the log: {self.log}"
        self._read = match.end()
        return match

    def read_log(self, seconds: float) -> bool:
        """Add to `log` what comes within that time. False where nothing does."""
        assert self.process.stderr is not None
        descriptor = self.process.stderr.fileno()
        readable, _, _ = select.select([descriptor], [], [], max(0.0, seconds))
        piece = os.read(descriptor, 65536).decode() if readable else ""
        self.log += piece
        return bool(piece)

    def reload(self, settings: str | None = None) -> str:
        """Change the file, send SIGHUP, and wait for the outcome. Gives what was logged meanwhile."""
        before = len(self.log)
        if settings is not None:
            self.configure(settings)
        self.send_signal(signal.SIGHUP)
        outcome = self.wait_for(RELOADED)
        moved = re.search(r"listening on (.+)", outcome[0])
        if moved:
            self.addresses = moved[1].split(", ")
        return self.log[before:]


@contextlib.contextmanager
def operated(folder: Path, settings: str = "", *arguments: str, **options: Any) -> Iterator[Operated]:
    """The options are those of `Operated`. At the end it is stopped, and must end with 0 and without a traceback."""
    server = Operated(folder, settings, *arguments, **options)
    try:
        yield server
        server.finish()
    finally:
        server.kill()
