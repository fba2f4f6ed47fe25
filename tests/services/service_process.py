"""A service started as its users start it, and stopped again."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def service(name: str, *arguments: str) -> Iterator[int]:
    """Run `python -m sttp_reactor.services.NAME`; gives the port it says it listens on. It must end with 0."""
    command = [sys.executable, "-m", f"sttp_reactor.services.{name}", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = process.stderr.readline()
            found = re.search(r"listening on [^,]*:(\d+)\b", line)
            assert found, line + process.stderr.read()
            yield int(found[1])
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                code = process.wait(10)
            finally:
                process.kill()
        assert (code, process.stderr.read()) == (0, "")
