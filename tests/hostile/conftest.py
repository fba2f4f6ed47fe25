"""A real sttpd for each test, and the record of how its honest clients fared."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "daemon"))  # for running.py: these tests start the same daemon

from honest import Ordeal
from running import Sttpd


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """How long honest clients wait is what these tests are about: nothing else may run beside them."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.alone)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Sttpd]]:
    """`start("limits.request_timeout=0.5")` gives a running server with the docroot `tmp_path/files`; at the end of the
    test it is stopped, and must end with 0 and without a traceback."""
    with ExitStack() as running:

        def start(*settings: str) -> Sttpd:
            flags = [word for setting in settings for word in ("-o", setting)]
            server = Sttpd(["-a", "127.0.0.1", "-p", "0", "-d", "files", *flags], tmp_path)
            running.callback(server.finish)
            return server

        yield start


@pytest.fixture
def tell(
    request: pytest.FixtureRequest, record_property: Callable[[str, object], None], capsys: pytest.CaptureFixture[str]
) -> Callable[[Ordeal], None]:
    """`tell(ordeal)` prints how it went, past the capture, and keeps the figures for --junit-xml."""

    def tell(ordeal: Ordeal) -> None:
        for name, figure in ordeal.figures().items():
            record_property(name, figure)
        with capsys.disabled():
            print(f"\n{request.node.name}: {ordeal}", flush=True)

    return tell
