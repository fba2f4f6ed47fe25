"""Several single-threaded servers behind one address: a parent that starts them, watches them and stops them.

Each child is a whole `Server` with a reactor, workers and a cache of its own. They share the TCP port by SO_REUSEPORT,
so the kernel spreads the connections; Unix sockets, and those of socket activation, are inherited. What else they share
is in `team`, and the store's journal takes turns by itself.

The parent serves nobody and has no threads, but for the one that reads for a reload, so it can fork at any other time.
It waits for signals and does one thing for
each: a child that has died is started again, SIGTERM and SIGINT end them all, SIGHUP has all of them go on with other
settings, or none. It waits for nothing else without a bound, least of all for a child to start, so that it always
hears that it is to stop. A child that hangs is ended, and then started again as any other that has died. Should the
parent itself die, each child sees the end of its control socket, and stops.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from sttp_reactor.daemon import child, logs
from sttp_reactor.daemon.children import Child, Children
from sttp_reactor.daemon.control import Control
from sttp_reactor.daemon.doors import check_doors
from sttp_reactor.daemon.lifecycle import SIGNALS, Lifecycle
from sttp_reactor.daemon.reload import Reloads, wanted_endpoints
from sttp_reactor.daemon.report import summary
from sttp_reactor.daemon.samples import process_samples
from sttp_reactor.daemon.watch import Watch
from sttp_reactor.errors import StartError
from sttp_reactor.limits import HANG_SECONDS, RELOAD_PAUSE_SECONDS, RESTART_PAUSE_SECONDS, START_LOOK_SECONDS
from sttp_reactor.metrics import COUNTER, GAUGE, Registry, Sample
from sttp_reactor.net.address import Address
from sttp_reactor.net.endpoints import (
    Endpoint,
    Sockets,
    bind_all,
    hold_port,
    names_of,
    release,
    remove_files,
    set_modes,
)
from sttp_reactor.net.listener import bind
from sttp_reactor.profiling import stacks
from sttp_reactor.sttp.access_log import check_access_log
from sttp_reactor.sttp.listening import endpoints_at_start, tls_context_at_start, tls_context_of, unix_mode_of
from sttp_reactor.sttp.settings import Settings
from sttp_reactor.sttp.stores import Claim
from sttp_reactor.sttp.team import Team

if TYPE_CHECKING:
    from sttp_reactor.net.tls_context import TlsContext

log = logging.getLogger(__name__)

_STOPPING: Final = frozenset({signal.SIGTERM, signal.SIGINT})
_WATCHED: Final = SIGNALS | {signal.SIGCHLD}

# Beyond `shutdown_timeout`, which the children keep themselves.
_KILL_AFTER_SECONDS: Final = 5.0


# While a reload reads, nobody is forked; but not for longer.
_FORK_BESIDE_SECONDS: Final = 2.0


class _Plan(NamedTuple):
    """A reload, prepared: `endpoints` are all to listen on."""

    settings: Settings
    endpoints: list[Endpoint]
    tls: TlsContext | None


class Parent:
    """Runs `processes` servers. `activated` are listening sockets that were handed to us, None where we bind."""

    def __init__(self, lifecycle: Lifecycle, activated: Sockets | None = None) -> None:
        self._lifecycle = lifecycle
        self._team = Team(self._settings.processes)
        self._member = self._team.member(-1)
        self._registry = Registry(self._team.board, self._member.place)
        for source in (self._samples, lifecycle.samples, process_samples):
            self._registry.add(source)
        self._deaths = 0  # of processes that had served
        self._claim = Claim()  # on the docroot, for all children, and until the last of them has ended
        self._children = Children(lambda: bool(signal.sigpending() & _STOPPING))
        self._watch = Watch(self._team, time.monotonic())
        self._unstarted = list(range(self._settings.processes))  # one after the other, so that one recovers for all
        self._is_ready = False
        self._reloads = Reloads(
            lifecycle,
            prepare=self._prepare,
            take_over=self._change_over,
            cancel=lambda plan: None,
            wake=lambda: os.kill(os.getpid(), signal.SIGCHLD),  # it is waited for in any case
        )
        self._reload_at: float | None = None
        self._next_reload = 0.0  # not before
        self._tls: TlsContext | None = None  # for the children yet to be started; those that serve read their own
        self._restarts: list[tuple[float, int]] = []  # (when, index), in order
        self._kill_at: float | None = None  # set once we are stopping
        self._next_sign = time.monotonic() if lifecycle.sign_seconds is not None else None
        self._activated = activated
        # Bound by us or for us: Unix sockets and activated ones listening, TCP ports only kept for the children.
        self._held: Sockets = dict(activated or {})

    @property
    def _settings(self) -> Settings:
        """Those in force."""
        return self._lifecycle.settings

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
            self._tls = tls_context_at_start(self._settings, self._held)
            if self._activated is None:
                self._held = self._bind(endpoints_at_start(self._settings), self._settings)
            self._lifecycle.kind.take(self._settings, self._claim)
            # Each child opens these; here it is known why one cannot.
            check_access_log(self._settings.log.access)
            check_doors(self._settings)
            self._start_next()
            while self._children or self._restarts:
                self._handle(self._next_signal())
            log.info("stopped")
            return 0
        finally:
            self._release(self._held)
            self._claim.release()
            self._children.forget()

    # -- Sockets --

    def _bind(self, endpoints: Iterable[Endpoint], settings: Settings) -> Sockets:
        return bind_all(endpoints, partial(self._keep, unix_mode=unix_mode_of(settings)))

    def _keep(self, endpoint: Endpoint, unix_mode: int) -> socket.socket:
        """A Unix socket that all will share; or a TCP port that is ours from now on, on which nobody listens yet."""
        address = endpoint.address
        if address.is_unix:
            return bind(address, unix_mode=unix_mode)
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
        """Fork a server. It says by its control socket that it serves, or why it cannot; `_look` takes notice."""
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
        self._children.add(Child(index, pid, ours, is_serving=False))

    def _start_next(self) -> None:
        if self._unstarted:
            self._start_child(self._unstarted.pop(0))
        elif not self._is_ready and self._kill_at is None:
            self._is_ready = True
            self._lifecycle.ready(names_of(self._held))

    def _look(self) -> None:
        """What have those that are starting come to? Nobody waits for them, so that signals are heard meanwhile."""
        for starting in self._children.starting:
            starting.look()
            if starting.is_serving:
                if self._is_ready:
                    log.info("process %d serves again", starting.index)
                else:
                    self._start_next()

    def _be_child(self, index: int, control: Control) -> int:
        self._children.forget()
        sockets = self._listening(self._held)
        for sock in self._held.values():
            sock.close()
        sign_seconds = self._lifecycle.sign_seconds
        return child.serve(
            self._lifecycle.kind,
            self._settings,
            sockets,
            self._team.member(index),
            control,
            _WATCHED,
            sign_seconds,
            self._tls,
            self._claim,
        )

    # -- Signals --

    def _next_signal(self) -> int | None:
        """The next signal, or None when something is due."""
        optional = (self._kill_at, self._next_sign, self._reload_at if self._is_ready else None)
        due = [max(when, self._fork_at) for when, _ in self._restarts] + [when for when in optional if when is not None]
        due.append(self._watch.due)
        if self._children.starting:
            due.append(time.monotonic() + START_LOOK_SECONDS)
        info = signal.sigtimedwait(_WATCHED, max(0.0, min(due) - time.monotonic()))
        return None if info is None else info.si_signo

    def _handle(self, number: int | None) -> None:
        if number in _STOPPING:
            self._stop(signal.Signals(number).name)
        self._look()
        self._reap()
        self._reloads.go_on(is_stopping=self._kill_at is not None)
        now = time.monotonic()
        if number == signal.SIGHUP and self._reload_at is None:
            self._reload_at = max(now, self._next_reload)
        elif number == signal.SIGUSR1:
            self._children.signal(signal.SIGUSR1)
        elif number == signal.SIGUSR2:
            self._report()
        self._do_what_is_due(now)

    def _do_what_is_due(self, now: float) -> None:
        if self._kill_at is not None and now >= self._kill_at:
            self._children.signal(signal.SIGKILL)
            self._kill_at = now + RESTART_PAUSE_SECONDS
        if now >= self._watch.due:
            self._end_hung(now)
            self._registry.publish()
        if self._reload_at is not None and now >= self._reload_at and self._is_ready:
            self._reload()
        if self._next_sign is not None and now >= self._next_sign:
            self._give_sign(now)
        while self._restarts and max(self._restarts[0][0], self._fork_at) <= now:
            self._start_child(self._restarts.pop(0)[1])

    @property
    def _fork_at(self) -> float:
        """Not before. A process that is forked while a reload reads might find a lock held for ever; so that is waited
        for, but not for long, because it may never end."""
        began_at = self._reloads.began_at
        return 0.0 if began_at is None else began_at + _FORK_BESIDE_SECONDS

    def _end_hung(self, now: float) -> None:
        hung = list(self._watch.hung(self._children, now))
        if self._kill_at is not None:
            return  # one that ends turns no more, while it waits for its disk; for that it has as long as all of us
        for each in hung:
            log.error("process %d (%d) has not turned for %g s; ending it", each.index, each.pid, HANG_SECONDS)
            each.kill(signal.SIGKILL)

    def _stop(self, name: str) -> None:
        """Have the children drain; told a second time they close at once. `name` is the signal's."""
        if self._kill_at is None:
            log.info("stopping on %s: %d processes", name, len(self._children))
            self._kill_at = time.monotonic() + self._settings.shutdown_timeout + _KILL_AFTER_SECONDS
            self._lifecycle.stopping()
            # A Unix socket accepts for as long as anybody has it open, and so for all of a drain. Nobody is to be kept
            # waiting by a server that stops, nor a successor from binding the name.
            held, self._held = self._held, {}
            self._release(held)
        self._restarts.clear()
        self._unstarted.clear()
        self._children.tell(child.STOP, name)
        for starting in self._children.starting:
            starting.kill(signal.SIGKILL)  # it serves nobody, and what it recovers it will recover the next time

    def _reap(self) -> None:
        for ended, code in self._children.reap():
            self._lost(ended, code)

    def _lost(self, ended: Child, code: int) -> None:
        self._member.forget_connections_of(ended.index)
        # It may have changed a file and not lived to say so.
        self._member.announce(None)
        if self._kill_at is not None:
            return
        if not ended.is_serving:
            self._not_started(ended)
            return
        self._deaths += 1
        log.error("process %d ended with %s; starting it again", ended.index, code)
        lived = time.monotonic() - ended.started_at
        pause = 0.0 if lived > RESTART_PAUSE_SECONDS else RESTART_PAUSE_SECONDS
        self._restarts.append((time.monotonic() + pause, ended.index))

    def _not_started(self, ended: Child) -> None:
        fault = ended.fault or f"process {ended.index} did not start"
        if not self._is_ready:
            raise StartError(fault)
        log.error("process %d: %s; trying again", ended.index, fault)
        self._restarts.append((time.monotonic() + RESTART_PAUSE_SECONDS, ended.index))

    def _give_sign(self, now: float) -> None:
        """We are alive, unless one of the children is not: then the service manager is to start all of us anew."""
        seconds = self._lifecycle.sign_seconds
        assert seconds is not None
        self._next_sign = now + seconds
        if all(now - self._team.last_beat_of(each.index) < 2 * seconds for each in self._children):
            self._lifecycle.alive()

    def _report(self) -> None:
        faults = self._children.order(child.PUBLISH)
        lines = list(summary(self._lifecycle.kind.name, self._registry.samples(), self._settings))
        lines += [repr(each) for each in (*self._children, *self._children.starting)]
        lines += [f"process {index} will be started again" for _, index in self._restarts]
        logs.block(log, "the state of the server:", [*lines, *faults, *stacks()])
        self._children.order_in_turn(child.REPORT)

    def _samples(self) -> Iterator[Sample]:
        yield Sample("sttp_processes", GAUGE, (), len(list(self._children)))
        yield Sample("sttp_process_restarts_total", COUNTER, (), self._deaths)

    # -- Reloading --

    def _reload(self) -> None:
        self._reload_at = None
        if self._kill_at is None:
            self._reloads.begin()
            self._next_reload = time.monotonic() + RELOAD_PAUSE_SECONDS

    def _prepare(self, settings: Settings) -> _Plan:
        """In a thread. Raises StartError."""
        wanted = wanted_endpoints(self._settings, settings, list(self._held), binds=self._activated is None)
        return _Plan(settings, wanted, tls_context_of(settings, wanted))

    def _change_over(self, prepared: _Plan) -> Iterable[str]:
        """All children go on with the settings, or none does. Raises StartError."""
        settings, wanted, held = prepared.settings, prepared.endpoints, self._held
        for starting in self._children.starting:
            starting.kill(signal.SIGKILL)  # it has the old settings, and nobody yet
        fresh = self._bind([each for each in wanted if each not in held], settings)
        try:
            plan: child.Plan = (settings, wanted, list(fresh))
            faults = self._children.order(child.PREPARE, plan, lambda: list(self._listening(fresh).values()))
            if faults:
                raise StartError("; ".join(faults))
        except BaseException:
            self._children.order(child.CANCEL)
            release(fresh)
            raise
        self._tls = prepared.tls
        going = {endpoint: held[endpoint] for endpoint in held if endpoint not in wanted}
        remove_files(going)  # before the children accept for the last time, so that nobody is left waiting
        for fault in self._children.order(child.APPLY):
            log.error("new settings: %s", fault)
        for sock in going.values():
            sock.close()
        self._held = {endpoint: fresh.get(endpoint) or held[endpoint] for endpoint in wanted}
        set_modes(self._held, unix_mode_of(settings))
        return names_of(self._held)
