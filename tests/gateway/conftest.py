"""A real sttpd with its gateway, for the tests of a module, and what a client needs of it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "daemon"))  # for running.py: these tests start the same daemon

pytest.importorskip("httptools", reason="the extra `http`")

from web import StartWeb, Web, serve


@pytest.fixture
def start_web(tmp_path: Path) -> Iterator[StartWeb]:
    """`start_web("http.write=true")` gives a running server with a gateway, and the docroot `tmp_path/files`. At the
    end of the test it is stopped, and must end with 0 and without a traceback."""
    with ExitStack() as running:
        yield lambda *settings, **options: running.enter_context(serve(tmp_path, *settings, **options))


@pytest.fixture
def web(shared_web: Web) -> Iterator[Web]:
    """A server that the tests of a module share, and may write; each uses names of its own."""
    yield shared_web
    shared_web.client.close()


@pytest.fixture(scope="module")
def shared_web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with serve(tmp_path_factory.mktemp("served"), "http.write=true") as web:
        yield web
