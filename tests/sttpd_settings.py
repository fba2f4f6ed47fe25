"""The settings of sttpd, for tests that need some, or that show at its table what holds for any."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sttp_reactor import config
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.settings import Settings

Loaded = config.Loaded[Settings]


def load(path: Path | None, overrides: Sequence[tuple[str, str, str]] = ()) -> Loaded:
    return config.load(TABLE, path, overrides)
