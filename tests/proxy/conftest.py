"""A real sttp-proxy in front of real servers, and of odd ones."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "daemon"))  # for running.py: these tests start the same daemon

from proxied import House


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with ExitStack() as stack:
        yield House(tmp_path, stack)


@pytest.fixture(scope="module")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """For the tests of a module that break nothing."""
    with ExitStack() as stack:
        yield House(tmp_path_factory.mktemp("house"), stack)
