"""One of several processes that serve together: a whole `Server`, and the ear it has for its parent.

The end of its control socket is the parent's end: then the child stops too.
"""

from __future__ import annotations

import contextlib
import logging
import signal
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sttp_reactor.daemon import logs
from sttp_reactor.daemon.background import Background
from sttp_reactor.daemon.control import Control, Message
from sttp_reactor.daemon.doors import open_gateway
from sttp_reactor.daemon.kind import ServerKind
from sttp_reactor.daemon.report import details, report
from sttp_reactor.daemon.running import Running
from sttp_reactor.daemon.samples import Pulse, process_samples
from sttp_reactor.errors import StartError
from sttp_reactor.limits import BEAT_SECONDS, CONTROL_SECONDS
from sttp_reactor.metrics import Registry
from sttp_reactor.net.endpoints import Endpoint, Sockets
from sttp_reactor.net.reactor import READ, Reactor
from sttp_reactor.sttp.change import Change
from sttp_reactor.sttp.server import Server
from sttp_reactor.sttp.settings import Settings
from sttp_reactor.sttp.stores import Claim
from sttp_reactor.sttp.team import Member

if TYPE_CHECKING:
    from sttp_reactor.net.tls_context import TlsContext

log = logging.getLogger(__name__)

# What a parent orders. PREPARE brings settings, all endpoints and the new ones among them, whose sockets come along.
PREPARE: Final = "prepare"
APPLY: Final = "apply"
CANCEL: Final = "cancel"
PUBLISH: Final = "publish"
REPORT: Final = "report"
STOP: Final = "stop"  # on the signal that it brings the name of; the second time at once

# Sent without being asked, when a child serves; or instead of it why it cannot.
STARTED: Final = "started"
FAILED: Final = "failed"

Plan = tuple[Settings, list[Endpoint], list[Endpoint]]


def serve(
    kind: ServerKind,
    settings: Settings,
    sockets: Sockets,
    member: Member,
    control: Control,
    blocked: Iterable[signal.Signals],
    sign_seconds: float | None,
    tls: TlsContext | None,
    claim: Claim,
) -> int:
    """Serve until the parent says STOP, or ends; returns the exit code. Tells the parent whether it could start.

    The signals in `blocked`, which a parent waits for, are let through once each is seen to. `sign_seconds` is how
    often the service manager wants a sign of life; None where it wants none. With the parent's `tls`, sessions that
    began with one of its children can be resumed with another; with its `claim` on the docroot, all may serve that.
    """
    with logs.waiting_for_nobody(), contextlib.closing(Reactor()) as reactor:
        server = Server(
            settings,
            reactor=reactor,
            team=member,
            sockets=sockets,
            tls=tls,
            claim=claim,
            open_door=open_gateway,
            make_backend=kind.make_backend,
        )
        running = Running(reactor, [server], lambda: server.settings.shutdown_timeout)
        return _serve(kind, running, server, member, control, blocked, sign_seconds)


def _serve(
    kind: ServerKind,
    running: Running,
    server: Server,
    member: Member,
    control: Control,
    blocked: Iterable[signal.Signals],
    sign_seconds: float | None,
) -> int:
    try:
        running.start()
    except StartError as error:
        control.send(0, FAILED, str(error), patience=CONTROL_SECONDS)
        return 1
    try:
        registry = registry_of(server)
        orders = Orders(running, server, control, registry)
        # Ctrl-C at a terminal, `pkill sttpd`, or a service manager that means all of a group reaches everybody; the
        # parent passes it on by the control socket, and once is enough: a second one would mean "at once", and what
        # has been received would be dropped.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        server.reactor.on_signal(signal.SIGUSR1, server.reopen_logs)
        server.reactor.on_signal(signal.SIGUSR2, lambda: log_report(kind, server, registry))
        beat(server, member, BEAT_SECONDS if sign_seconds is None else min(BEAT_SECONDS, sign_seconds / 2))
        Pulse(server.reactor, registry)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)
        control.send(0, STARTED, patience=CONTROL_SECONDS)
        server.reactor.run()
        orders.close()
    finally:
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)  # closing, the reactor no longer listens to them
        running.close()
    return 0


def registry_of(server: Server) -> Registry:
    """What this process counts."""
    server.registry.add(process_samples)
    return server.registry


def log_report(kind: ServerKind, server: Server, registry: Registry) -> None:
    logs.block(log, "the state of the server:", report(kind.name, server, registry))


def beat(server: Server, member: Member, seconds: float) -> None:
    """Show the parent that the reactor turns, now and from now on."""
    member.beat(server.reactor.clock())
    server.reactor.call_later(seconds, lambda: beat(server, member, seconds))


class Orders:
    """Carries out what the parent says: the handler of the control socket."""

    def __init__(self, running: Running, server: Server, control: Control, registry: Registry) -> None:
        self._running = running
        self._server = server
        self._registry = registry
        self._control = control
        self._preparing: Background[Change] | None = None
        self._change: Change | None = None
        self._sockets: Sockets = {}
        server.reactor.register(control, READ, self)

    def on_readable(self) -> None:
        try:
            message = self._control.receive(patience=CONTROL_SECONDS)
        except OSError:
            self._orphaned()
            return
        if message.kind == PREPARE:
            self._prepare(message)  # answered when it is done
        else:
            self._answer(message.serial, message.kind, self._carry_out(message))

    def on_writable(self) -> None:
        pass

    def close(self) -> None:
        if self._control.fileno() >= 0:
            self._cancel()
            self._server.reactor.unregister(self._control)
            self._control.close()

    def _carry_out(self, message: Message) -> str:
        """Returns what went wrong, in words."""
        if message.kind == APPLY:
            return self._apply()
        if message.kind == CANCEL:
            self._cancel()
        elif message.kind == PUBLISH:
            self._registry.publish()
        elif message.kind == REPORT:
            logs.block(log, "the state of this process:", details(self._server))
        elif message.kind == STOP:
            self._running.stop(message.content)
        return ""

    def _answer(self, serial: int, kind: str, fault: str) -> None:
        try:
            self._control.send(serial, kind, fault, patience=CONTROL_SECONDS)
        except OSError:
            self._orphaned()

    def _orphaned(self) -> None:
        log.error("the parent process is gone; stopping")
        self.close()
        if not self._running.is_stopping:
            self._running.stop()

    def _prepare(self, message: Message) -> None:
        """In a thread, for files may lie on a disk that does not answer; meanwhile we do."""
        self._cancel()
        settings, endpoints, new = message.content
        self._sockets = dict(zip(new, message.sockets, strict=True))
        for sock in message.sockets:
            sock.setblocking(False)
        wake = self._server.reactor.call_soon_threadsafe
        preparing = Background(
            lambda: self._server.prepare(settings, endpoints),
            lambda: wake(lambda: self._prepared(preparing, message.serial)),
        )
        self._preparing = preparing

    def _prepared(self, preparing: Background[Change], serial: int) -> None:
        is_wanted, fault = preparing is self._preparing, ""
        try:
            change = preparing.result()
            if not is_wanted:
                change.cancel()  # told to cancel meanwhile, or to prepare another one
                return
            self._preparing, self._change = None, change
            change.complete()
        except StartError as error:
            fault = str(error)
        except Exception as error:
            log.exception("new settings could not be prepared")
            fault = repr(error)
        if is_wanted:
            if fault:
                self._cancel()
            self._answer(serial, PREPARE, fault)

    def _apply(self) -> str:
        if self._change is None:
            return "nothing is prepared"
        change, self._change = self._change, None
        sockets, self._sockets = self._sockets, {}
        try:
            change.apply(sockets)
            logs.set_up(change.settings.log.level, change.settings.log.format)
        except Exception as error:
            # It must not fail. Where it does, the parent starts another process with the new settings in our place.
            log.exception("new settings could not be put in force; stopping")
            self._running.stop()
            return repr(error)
        return ""

    def _cancel(self) -> None:
        self._preparing = None
        if self._change is not None:
            self._change.cancel()
            self._change = None
        for sock in self._sockets.values():
            sock.close()
        self._sockets = {}
