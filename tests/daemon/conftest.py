"""Starting servers for a test, and making sure that each ends in good order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Start, Sttpd, Wire, starter


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start("-o", "cache.enabled=false")` gives a running server on a free port, with the docroot `tmp_path/files`.

    At the end of the test each one is stopped, and must end with 0 and without a traceback.
    """
    with starter(tmp_path) as start:
        yield start


@pytest.fixture(scope="module")
def start_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """The same for servers that the tests of a module share."""
    with starter(tmp_path_factory.mktemp("served")) as start:
        yield start


@pytest.fixture(scope="module")
def server(start_for_all: Start) -> Sttpd:
    """A server with the settings' defaults, shared by the tests of a module: each uses names of its own."""
    return start_for_all()


@pytest.fixture
def wire(server: Sttpd) -> Iterator[Wire]:
    with server.connect() as wire:
        yield wire
