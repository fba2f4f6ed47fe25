"""Target `config`: whatever is in a configuration file gives settings or mistakes, each a line that names it."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sttp_reactor.config import Loaded, load
from sttp_reactor.config.show import print_config
from sttp_reactor.errors import ConfigError
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.settings import Settings

_MEMORY = Path("/dev/shm")


@cache
def scratch() -> Path:
    """A folder of this process, in memory where there is such a thing: thousands of files are written here. Where
    TMPDIR is set somebody sees to what is left in it, after the hard end that a fuzzer makes, too."""
    in_memory = _MEMORY.is_dir() and "TMPDIR" not in os.environ
    folder = Path(tempfile.mkdtemp(prefix="sttp-fuzz-", dir=_MEMORY if in_memory else None))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def check_config(data: bytes) -> None:
    file = scratch() / "sttpd.yaml"
    file.write_bytes(data)
    loaded = _load(file)
    if loaded is None:
        return
    # "YAML that loads again to the same settings", in any encoding.
    file.write_text(print_config(loaded), encoding="ascii", errors="backslashreplace")
    again = _load(file)
    assert again is not None
    assert again.settings == loaded.settings


def _load(file: Path) -> Loaded[Settings] | None:
    try:
        return load(TABLE, file)
    except ConfigError as error:
        mistakes = error.mistakes
    assert mistakes
    for mistake in mistakes:
        assert mistake.startswith(f"{file}:"), mistake
        assert mistake.isprintable(), mistake
    return None
