"""Running a server as a program: signals, the line that says it is ready, one process or several."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import io
import logging
import signal
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sttp_reactor.config import Loaded
from sttp_reactor.daemon import logs
from sttp_reactor.daemon.child import log_report, registry_of
from sttp_reactor.daemon.doors import open_gateway
from sttp_reactor.daemon.kind import ServerKind
from sttp_reactor.daemon.lifecycle import SIGNALS, Lifecycle, signals_blocked
from sttp_reactor.daemon.processes import Parent
from sttp_reactor.daemon.ration import Ration
from sttp_reactor.daemon.reload import Reloads, prepare, take_over
from sttp_reactor.daemon.running import Running
from sttp_reactor.daemon.samples import Pulse
from sttp_reactor.daemon.systemd import Notifier, activated_endpoints, activated_sockets
from sttp_reactor.limits import RELOAD_PAUSE_SECONDS, SWITCH_SECONDS
from sttp_reactor.metrics import Registry
from sttp_reactor.net.endpoints import Sockets
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.sttp.server import Server

log = logging.getLogger(__name__)


def run(kind: ServerKind, settings: Any, *, origin: str, read_again: Callable[[], Loaded[Any]]) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code; raises StartError when the server cannot start.

    `origin` names the configuration that was read, for the line that says we are ready; `read_again` reads it anew for
    a reload, and raises ConfigError.

    When it returns, SIGNALS stay blocked: for a program that now ends. Another SIGTERM, or a log rotation's SIGUSR1,
    has nobody left to tell, and must not kill it on its last steps.
    """
    _prepare_interpreter()
    with contextlib.ExitStack() as stack:
        stack.enter_context(logs.waiting_for_nobody(has_thread=settings.processes == 1))
        stack.enter_context(logs.uncaught(log))
        stack.enter_context(_fatal_errors_told())
        notifier = stack.enter_context(contextlib.closing(Notifier()))
        activated = activated_endpoints(activated_sockets())
        lifecycle = Lifecycle(kind, settings, origin, read_again, notifier, activated=activated is not None)
        if settings.processes > 1:
            return Parent(lifecycle, activated).run()
        return _run_alone(lifecycle, activated)


def _prepare_interpreter() -> None:
    """Have nobody wait for what the interpreter does behind our back."""
    sys.setswitchinterval(SWITCH_SECONDS)
    # A full collection looks at everything there is, and everybody waits: 20 ms for what is loaded by now, which will
    # stay, so it is not looked at again. Connections end without garbage: the rest is looked at a tenth as often.
    # A flood of TLS handshakes made others wait for 59 ms (99th percentile), and now for 19.
    gc.collect()
    gc.freeze()
    youngest, middle, oldest = gc.get_threshold()
    gc.set_threshold(youngest, middle, 10 * oldest)


def _run_alone(lifecycle: Lifecycle, activated: Sockets | None) -> int:
    with signals_blocked(), contextlib.closing(Reactor()) as reactor:
        server = Server(
            lifecycle.settings,
            reactor=reactor,
            sockets=activated,
            open_door=open_gateway,
            make_backend=lifecycle.kind.make_backend,
        )
        running = Running(reactor, [server], lambda: lifecycle.settings.shutdown_timeout)
        running.start()
        try:
            registry = registry_of(server)
            registry.add(lifecycle.samples)
            _listen_to_signals(running, server, lifecycle, registry, binds=activated is None)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # whoever called us may have blocked them already
            lifecycle.ready(server.addresses)
            _give_signs(reactor, lifecycle)
            Pulse(reactor, registry)
            reactor.run()
        finally:
            signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # closing, the reactor no longer listens to them
            running.close()
    log.info("stopped")
    return 0


def _listen_to_signals(
    running: Running, server: Server, lifecycle: Lifecycle, registry: Registry, *, binds: bool
) -> None:
    reactor = server.reactor

    def stop(number: signal.Signals) -> None:
        lifecycle.stopping()
        running.stop(number.name)

    def reload() -> None:
        if not running.is_stopping:
            reloads.begin()

    reloads = Reloads(
        lifecycle,
        prepare=lambda settings: prepare(server, settings, binds=binds),
        take_over=lambda change: take_over(server, change),
        cancel=lambda change: change.cancel(),
        wake=lambda: reactor.call_soon_threadsafe(lambda: reloads.go_on(is_stopping=running.is_stopping)),
    )
    handlers: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: partial(stop, signal.SIGTERM),
        signal.SIGINT: partial(stop, signal.SIGINT),
        signal.SIGHUP: Ration(reactor, reload, RELOAD_PAUSE_SECONDS).ask,
        signal.SIGUSR1: server.reopen_logs,
        signal.SIGUSR2: lambda: log_report(lifecycle.kind, server, registry),
    }
    for number, handler in handlers.items():
        reactor.on_signal(number, handler)


def _give_signs(reactor: Reactor, lifecycle: Lifecycle) -> None:
    """From a timer of the reactor's: one that no longer turns gives none, and that is what they are for."""
    seconds = lifecycle.sign_seconds
    if seconds is not None:
        lifecycle.alive()
        reactor.call_later(seconds, lambda: _give_signs(reactor, lifecycle))


@contextlib.contextmanager
def _fatal_errors_told() -> Iterator[None]:
    """A crash, and a watchdog's SIGABRT, leave every thread's stack on standard error."""
    # It may be closed, or never have been there (RuntimeError).
    with contextlib.suppress(AttributeError, io.UnsupportedOperation, RuntimeError, ValueError, OSError):
        faulthandler.enable()
    try:
        yield
    finally:
        faulthandler.disable()
