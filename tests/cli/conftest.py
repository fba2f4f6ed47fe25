"""Running a daemon's command line within the tests' own process."""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator

import pytest

from sttp_reactor.daemon import logs


@pytest.fixture(autouse=True)
def _signals_and_logs_as_before() -> Iterator[None]:
    """A server that has run leaves its signals blocked, and every process that we start would be deaf to them."""
    logger = logging.getLogger(logs.ROOT)
    handlers, level = list(logger.handlers), logger.level
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    logger.handlers[:] = handlers
    logger.setLevel(level)
