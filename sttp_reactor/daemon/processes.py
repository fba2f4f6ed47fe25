"""Several single-threaded servers behind one address: a parent that starts them, watches them and stops them.

Each child is a whole `Server` with a reactor, workers and a cache of its own. They share the TCP port by SO_REUSEPORT,
so the kernel spreads the connections; Unix sockets, and those of socket activation, are inherited. What else they share
is in `team`, and the store's journal takes turns by itself.

The parent serves nobody and has no threads, so it can fork at any time. It waits for signals and does one thing for
each: a child that has died is started again, SIGTERM and SIGINT end them all, SIGHUP has all of them go on with other
settings, or none. Should the parent itself die, each child sees the end of its control socket, and stops.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from sttp_reactor.config import Settings
from sttp_reactor.daemon import child, logs
from sttp_reactor.daemon.children import Child, Children
from sttp_reactor.daemon.control import Control
from sttp_reactor.daemon.lifecycle import SIGNALS, Lifecycle
from sttp_reactor.daemon.reload import ENDPOINTS, differences
from sttp_reactor.daemon.report import stacks
from sttp_reactor.errors import StartError
from sttp_reactor.limits import RESTART_PAUSE_SECONDS
from sttp_reactor.net.address import Address
from sttp_reactor.net.endpoints import Endpoint, Sockets, bind_all, hold_port, names_of, release, remove_files
from sttp_reactor.net.listener import bind
from sttp_reactor.sttp.listening import endpoints_of, tls_context_of
from sttp_reactor.sttp.team import Team

if TYPE_CHECKING:
    from sttp_reactor.net.tls_context import TlsContext

log = logging.getLogger(__name__)

_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_WATCHED: Final = SIGNALS | {signal.SIGCHLD}

# Beyond `shutdown_timeout`, which the children keep themselves.
_KILL_AFTER_SECONDS: Final = 5.0


class Parent:
    """Runs `processes` servers. `activated` are listening sockets that were handed to us, None where we bind."""

    def __init__(self, lifecycle: Lifecycle, activated: Sockets | None = None) -> None:
        self._lifecycle = lifecycle
        self._settings = lifecycle.settings
        self._team = Team(self._settings.processes)
        self._member = self._team.member(-1)
        self._children = Children()
        self._tls: TlsContext | None = None  # for the children yet to be started; those that serve read their own
        self._restarts: list[tuple[float, int]] = []  # (when, index), in order
        self._kill_at: float | None = None  # set once we are stopping
        self._next_sign = time.monotonic() if lifecycle.sign_seconds is not None else None
        self._activated = activated
        # Bound by us or for us: Unix sockets and activated ones listening, TCP ports only kept for the children.
        self._held: Sockets = dict(activated or {})

    def run(self) -> int:
        """Until a signal ends it. Returns the exit code, with the signals still blocked; raises StartError."""
        previous = signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
        try:
            return self._run()
        except BaseException:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous)
            raise

    def _run(self) -> int:
        try:
            self._tls = tls_context_of(self._settings, self._held)
            if self._activated is None:
                self._held = bind_all(endpoints_of(self._settings), self._keep)
            for index in range(self._settings.processes):
                self._start_child(index)
            self._lifecycle.ready(names_of(self._held))
            while self._children or self._restarts:
                self._handle(self._next_signal())
            log.info("stopped")
            return 0
        finally:
            self._release(self._held)
            self._children.forget()

    # -- Sockets --

    def _keep(self, endpoint: Endpoint) -> socket.socket:
        """A Unix socket that all will share; or a TCP port that is ours from now on, on which nobody listens yet."""
        address = endpoint.address
        if address.is_unix:
            return bind(address)
        return hold_port(address, self._held.values())

    def _is_shared(self, endpoint: Endpoint) -> bool:
        return self._activated is not None or endpoint.address.is_unix

    def _listening(self, held: Sockets) -> Sockets:
        """What a child needs for these: duplicates of the shared ones, and for each port a socket of its own."""

        def for_child(endpoint: Endpoint) -> socket.socket:
            sock = held[endpoint]
            if self._is_shared(endpoint):
                return sock.dup()
            return bind(Address(endpoint.address.family, sock.getsockname()), reuse_port=True)

        made: Sockets = {}
        try:
            for endpoint in held:
                made[endpoint] = for_child(endpoint)
        except BaseException:
            for sock in made.values():
                sock.close()
            raise
        return made

    def _release(self, sockets: Sockets) -> None:
        if self._activated is None:
            release(sockets)
        for sock in sockets.values():
            sock.close()

    # -- Children --

    def _start_child(self, index: int) -> None:
        """Fork a server and wait until it listens. Raises StartError with what it says when it cannot."""
        ours, theirs = Control.pair()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # it may be closed, or its disk full
                stream.flush()
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                ours.close()
                code = self._be_child(index, theirs)
            except BaseException:
                log.exception("process %d failed", index)
            finally:
                os._exit(code)  # the parent's own clean-up is the parent's
        theirs.close()
        try:
            message = ours.receive(patience=None)
            fault = message.content if message.kind == child.FAILED else None
        except OSError:
            fault = f"process {index} did not start"
        if fault is not None:
            ours.close()
            os.waitpid(pid, 0)
            raise StartError(fault)
        self._children.add(Child(index, pid, ours))

    def _be_child(self, index: int, control: Control) -> int:
        self._children.forget()
        sockets = self._listening(self._held)
        for sock in self._held.values():
            sock.close()
        sign_seconds = self._lifecycle.sign_seconds
        return child.serve(
            self._settings, sockets, self._team.member(index), control, _WATCHED, sign_seconds, self._tls
        )

    # -- Signals --

    def _next_signal(self) -> int | None:
        """The next signal, or None when something is due."""
        due = [when for when, _ in self._restarts]
        due += [when for when in (self._kill_at, self._next_sign) if when is not None]
        if not due:
            return signal.sigwaitinfo(_WATCHED).si_signo
        info = signal.sigtimedwait(_WATCHED, max(0.0, min(due) - time.monotonic()))
        return None if info is None else info.si_signo

    def _handle(self, number: int | None) -> None:
        if number in _STOPPING:
            self._stop()
        self._reap()
        if number == signal.SIGHUP and self._kill_at is None:
            self._lifecycle.reload(self._change_over)
        elif number == signal.SIGUSR1:
            self._children.signal(signal.SIGUSR1)
        elif number == signal.SIGUSR2:
            self._report()
        now = time.monotonic()
        if self._kill_at is not None and now >= self._kill_at:
            self._children.signal(signal.SIGKILL)
        if self._next_sign is not None and now >= self._next_sign:
            self._give_sign(now)
        while self._restarts and self._restarts[0][0] <= now:
            self._restart(self._restarts.pop(0)[1])

    def _stop(self) -> None:
        """Have the children drain; told a second time they close at once."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._settings.shutdown_timeout + _KILL_AFTER_SECONDS
            self._lifecycle.stopping()
            # A Unix socket accepts for as long as anybody has it open, and so for all of a drain. Nobody is to be kept
            # waiting by a server that stops, nor a successor from binding the name.
            held, self._held = self._held, {}
            self._release(held)
        self._restarts.clear()
        self._children.tell(child.STOP)

    def _reap(self) -> None:
        for ended, code in self._children.reap():
            self._lost(ended, code)

    def _lost(self, ended: Child, code: int) -> None:
        self._member.forget_connections_of(ended.index)
        # It may have changed a file and not lived to say so.
        self._member.announce(None)
        if self._kill_at is not None:
            return
        log.error("process %d ended with %s; starting it again", ended.index, code)
        lived = time.monotonic() - ended.started_at
        pause = 0.0 if lived > RESTART_PAUSE_SECONDS else RESTART_PAUSE_SECONDS
        self._restarts.append((time.monotonic() + pause, ended.index))

    def _restart(self, index: int) -> None:
        try:
            self._start_child(index)
        except StartError as error:
            log.error("process %d: %s; trying again", index, error)
            self._restarts.append((time.monotonic() + RESTART_PAUSE_SECONDS, index))
        else:
            log.info("process %d serves again", index)

    def _give_sign(self, now: float) -> None:
        """We are alive, unless one of the children is not: then the service manager is to start all of us anew."""
        seconds = self._lifecycle.sign_seconds
        assert seconds is not None
        self._next_sign = now + seconds
        if all(now - self._team.member(each.index).last_beat < 2 * seconds for each in self._children):
            self._lifecycle.alive()

    def _report(self) -> None:
        lines = [repr(each) for each in self._children]
        lines += [f"process {index} will be started again" for _, index in self._restarts]
        logs.block(log, "the state of the parent process:", [*lines, *stacks()])
        self._children.order_in_turn(child.REPORT)

    # -- Reloading --

    def _change_over(self, settings: Settings) -> Iterable[str]:
        """All children go on with `settings`, or none does. Raises StartError."""
        held, wanted = self._held, list(self._held)
        if self._activated is None and differences(self._settings, settings, ENDPOINTS):
            wanted = endpoints_of(settings)
        tls = tls_context_of(settings, wanted)
        fresh = bind_all([each for each in wanted if each not in held], self._keep)
        try:
            plan: child.Plan = (settings, wanted, list(fresh))
            faults = self._children.order(child.PREPARE, plan, lambda: list(self._listening(fresh).values()))
            if faults:
                raise StartError("; ".join(faults))
        except BaseException:
            self._children.order(child.CANCEL)
            release(fresh)
            raise
        self._settings, self._tls = settings, tls
        logs.set_up(settings.log.level, settings.log.format)
        going = {endpoint: held[endpoint] for endpoint in held if endpoint not in wanted}
        remove_files(going)  # before the children accept for the last time, so that nobody is left waiting
        for fault in self._children.order(child.APPLY):
            log.error("new settings: %s", fault)
        for sock in going.values():
            sock.close()
        self._held = {endpoint: fresh.get(endpoint) or held[endpoint] for endpoint in wanted}
        return names_of(self._held)
