"""Every test is watched: it leaves no thread, no file descriptor and no signal handler behind.

A hung test shows where it hangs: pytest-timeout fails it with every thread's stack, and where even that is swallowed,
faulthandler ends the run with them (setup.cfg has both times).
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
from collections.abc import Generator, Iterator

import pytest
from hypothesis import settings

# No deadline per example: the machine may be busy with something else, and a test that fails for that says nothing.
# The blob printed with a failure repeats it exactly (@reproduce_failure), seed and all.
settings.register_profile("sttp", deadline=None, print_blob=True)
settings.load_profile("sttp")

# Who runs us in the background may have had Ctrl-C ignored (a shell does so to what is started with `&`), and every
# process that a test starts would inherit that.
for _number in (signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.default_int_handler if _number == signal.SIGINT else signal.SIG_DFL)

# How long a thread or a descriptor that is just going away may take; a good test waits for none of it.
_GRACE_SECONDS = 2.0

_DESCRIPTORS = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"

# pytest-timeout keeps SIGALRM for itself.
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGCHLD", "SIGPIPE")
    if hasattr(signal, name)
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    # What a test logs of bytes that are no text holds lone surrogates, and pytest-xdist cannot send those.
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def _watched() -> Iterator[None]:
    # Set up after the fixtures of wider scope and before the test's own, so what is left at the end is the test's.
    threads, descriptors, handlers = _threads(), _descriptors(), _handlers()
    yield
    deadline = time.monotonic() + _GRACE_SECONDS
    for thread in _threads() - threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    assert _names(_threads() - threads) == [], "threads outlive the test"
    # What only waits for the garbage collector is no leak by itself; but a socket or file that nobody closed makes
    # Python say so when it is collected (ResourceWarning), and that is an error here.
    if _new(descriptors):
        gc.collect()
        while _new(descriptors) and time.monotonic() < deadline:
            time.sleep(0.01)
    assert _new(descriptors) == {}, "file descriptors outlive the test"
    assert _handlers() == handlers, "signal handlers, blocked signals or the wakeup descriptor outlive the test"


def _threads() -> set[threading.Thread]:
    # pytest-timeout's own, where it has no SIGALRM to use.
    return {thread for thread in threading.enumerate() if not thread.name.startswith("pytest_timeout")}


def _names(threads: set[threading.Thread]) -> list[str]:
    return sorted(thread.name for thread in threads if thread.is_alive())


def _descriptors() -> dict[int, str]:
    """What each open descriptor leads to; the one that lists them has gone by the time it is looked at."""
    found = {}
    for name in os.listdir(_DESCRIPTORS):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"{_DESCRIPTORS}/{name}") if _DESCRIPTORS.startswith("/proc") else ""
    return found


def _new(before: dict[int, str]) -> dict[int, str]:
    return {fd: leads_to for fd, leads_to in _descriptors().items() if before.get(fd) != leads_to}


def _handlers() -> list[object]:
    wakeup = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [wakeup, blocked, *(signal.getsignal(number) for number in _SIGNALS)]
