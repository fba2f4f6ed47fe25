"""`call_soon_threadsafe`: never lost, from any thread, at any moment; above all while the reactor falls asleep.

The interleavings are forced: another thread posts, and is waited for, at the very point of the turn that is meant.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from net_support import Net

from sttp_reactor.net.reactor import Reactor


@pytest.fixture
def eager_switching() -> Iterator[None]:
    """Threads take turns far more often than usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def from_a_thread(call: Callable[[], None]) -> None:
    thread = threading.Thread(target=call, name="poster")
    thread.start()
    thread.join()


class Poster:
    """Posts once, from another thread, when it is called for the first time."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.posted_in: int | None = None
        self.delivered_in: list[int] = []
        self.sleeps_between = 0

    def __call__(self) -> None:
        if self.posted_in is None:
            self.posted_in = self.net.reactor.turns
            self.sleeps_between = -self.net.selector.slept
            from_a_thread(lambda: self.net.reactor.call_soon_threadsafe(self._deliver))

    def _deliver(self) -> None:
        self.delivered_in.append(self.net.reactor.turns)
        self.sleeps_between += self.net.selector.slept


def before_the_clock_is_read(net: Net, post: Poster) -> None:
    """After the last look at the inbox, before the wait is computed."""
    net.reactor.call_later(100.0, lambda: None)
    net.clock.when_read = post


def before_the_wait(net: Net, post: Poster) -> None:
    net.selector.before_select = post


def after_the_wait(net: Net, post: Poster) -> None:
    net.selector.after_select = post


def from_a_socket(net: Net, post: Poster) -> None:
    end = net.connect(net.recorder(data=lambda _: post()))
    end.peer.send(b"x")


def from_a_timer(net: Net, post: Poster) -> None:
    net.reactor.call_later(0.0, post)


def from_a_ready_callback(net: Net, post: Poster) -> None:
    net.reactor.call_soon(post)


def at_turn_end(net: Net, post: Poster) -> None:
    net.reactor.call_at_turn_end(post)


POINTS = [
    before_the_clock_is_read,
    before_the_wait,
    after_the_wait,
    from_a_socket,
    from_a_timer,
    from_a_ready_callback,
    at_turn_end,
]


@pytest.mark.parametrize("point", POINTS)
def test_a_callback_posted_at_any_point_of_the_turn_is_called_without_a_sleep_between(
    any_net: Net, point: Callable[[Net, Poster], None]
) -> None:
    post = Poster(any_net)
    point(any_net, post)
    any_net.turns(2)
    assert post.posted_in is not None
    assert len(post.delivered_in) == 1
    assert post.delivered_in[0] <= post.posted_in + 1
    # A wait that went on after the post, with nothing ready, would have lasted.
    assert post.sleeps_between == 0


def test_a_post_to_a_reactor_that_is_awake_writes_nothing(net: Net) -> None:
    """The byte is for a sleeper: a worker that delivers a result while the loop is busy saves the system call."""
    end = net.connect(net.recorder(data=lambda _: net.reactor.call_soon_threadsafe(lambda: None)))
    end.peer.send(b"x")
    net.turns()
    assert net.selector.inner.select(0) == []


def test_more_wake_ups_than_the_waker_can_hold_are_no_loss(any_net: Net) -> None:
    called: list[int] = []

    def flood() -> None:
        any_net.selector.before_select = lambda: None
        for number in range(5000):
            any_net.reactor.call_soon_threadsafe(partial(called.append, number))

    any_net.selector.before_select = flood
    any_net.turns()
    assert called == list(range(5000))
    any_net.turns(3)  # the bytes are gone; it sleeps again
    assert any_net.selector.inner.select(0) == []


def test_posts_from_many_threads_all_arrive_each_thread_s_in_order(eager_switching: None) -> None:
    threads, posts = 8, 500
    reactor = Reactor()
    arrived: list[tuple[int, int]] = []

    def note(thread: int, number: int) -> None:
        arrived.append((thread, number))
        if len(arrived) == threads * posts:
            reactor.stop()

    def post(thread: int) -> None:
        for number in range(posts):
            reactor.call_soon_threadsafe(partial(note, thread, number))
            if number % 50 == 0:
                never.wait(0.0005)  # let the reactor fall asleep now and then

    never = threading.Event()
    workers = [threading.Thread(target=post, args=(thread,)) for thread in range(threads)]
    for worker in workers:
        worker.start()
    reactor.run()
    for worker in workers:
        worker.join()
    reactor.close()
    for thread in range(threads):
        assert [number for owner, number in arrived if owner == thread] == list(range(posts))


def test_a_late_post_to_a_closed_reactor_is_harmless() -> None:
    reactor = Reactor()
    reactor.close()
    reactor.call_soon_threadsafe(lambda: None)


def test_stop_from_another_thread_ends_a_sleep(any_net: Net) -> None:
    asleep = threading.Event()
    any_net.selector.patience = 10.0
    any_net.selector.before_select = asleep.set

    def stop() -> None:
        asleep.wait(5.0)
        any_net.reactor.call_soon_threadsafe(any_net.reactor.stop)

    thread = threading.Thread(target=stop)
    thread.start()
    any_net.reactor.run()
    thread.join()
    assert any_net.selector.slept == 0
