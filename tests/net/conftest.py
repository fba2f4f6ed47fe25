"""Fixtures of the net layer: a reactor on the platform's best selector, and one on each there is."""

from __future__ import annotations

import selectors
from collections.abc import Callable, Iterator

import pytest
from net_support import Net

from sttp_reactor.net.poller import default_selector

_NAMES = ("SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector", "DefaultSelector")

EVERY_SELECTOR: dict[str, Callable[[], selectors.BaseSelector]] = {
    name: getattr(selectors, name) for name in _NAMES if hasattr(selectors, name)
}
EVERY_SELECTOR["default_selector"] = default_selector


@pytest.fixture
def net() -> Iterator[Net]:
    with Net() as net:
        yield net


@pytest.fixture(params=list(EVERY_SELECTOR.values()), ids=list(EVERY_SELECTOR))
def any_net(request: pytest.FixtureRequest) -> Iterator[Net]:
    with Net(request.param()) as net:
        yield net
