"""A real sttpd: started, operated while it serves, stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from bench.servers import ROOT, Server, free_port

from soak.clients import IDLE_SECONDS, WRITE_SECONDS

_RELOADED = re.compile(r"reloaded .*|.*everything is as it was.*")
_PATIENCE_SECONDS = 15.0

# Two files, in turns: with an access log and without, which is answered by other ways; entries that live for moments.
_SETTINGS = """\
listen_address: 127.0.0.1
port: {port}
docroot: files
limits: {{idle_timeout: {idle}, write_timeout: {write}}}
"""
_WAYS = (
    "cache: {max_files: 100, expiration: 500ms}\n",
    "cache: {max_files: 20, expiration: 200ms}\nlog: {access: access.log}\n",
)


class Soaked(Server):
    def __init__(self, folder: Path, options: Sequence[str]) -> None:
        """`options` are `KEY=VAL`. Raises bench.servers.Failed where it does not start."""
        self.folder = folder
        self.docroot = folder / "files"
        self.address = ("127.0.0.1", free_port())
        self._configure(0)
        settings = [f"--set={option}" for option in options]
        command = [str(ROOT / ".venv" / "bin" / "sttpd"), "-c", str(folder / "sttpd.yaml"), *settings]
        super().__init__(command, self.address[1], folder / "sttpd.log", 1, os.sched_getaffinity(0))
        try:
            self.wait_until_ready(b"LIST /\n", b"200 / OK\n\n")
        except BaseException:
            self.stop()
            raise

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def exit_code(self) -> int | None:
        return self._process.returncode

    def reload(self, way: int) -> bool:
        """Change the file and have it read. False where that is not done in time."""
        before = len(_RELOADED.findall(self.log))
        self._configure(way % len(_WAYS))
        self._signal(signal.SIGHUP)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while len(_RELOADED.findall(self.log)) == before:
            if time.monotonic() > deadline or self.has_ended:
                return False
            time.sleep(0.02)
        return True

    def rotate(self) -> None:
        """Move the access log away, over the one before, and have a new one opened."""
        with contextlib.suppress(FileNotFoundError):
            (self.folder / "access.log").rename(self.folder / "access.log.1")
        self._signal(signal.SIGUSR1)

    def report(self) -> None:
        self._signal(signal.SIGUSR2)

    def _configure(self, way: int) -> None:
        settings = _SETTINGS.format(port=self.address[1], idle=IDLE_SECONDS, write=WRITE_SECONDS) + _WAYS[way]
        fresh = self.folder / "sttpd.yaml.new"
        fresh.write_text(settings)
        fresh.rename(self.folder / "sttpd.yaml")

    def _signal(self, number: int) -> None:
        if not self.has_ended:
            self._process.send_signal(number)
