"""What an operator and the service manager see of a running server: that it is ready, reloads, lives and stops."""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple

from sttp_reactor.config import ConfigError, Difference, Loaded, as_yaml, differences, keep
from sttp_reactor.daemon import logs
from sttp_reactor.daemon.kind import ServerKind
from sttp_reactor.daemon.systemd import Notifier
from sttp_reactor.errors import StartError
from sttp_reactor.metrics import COUNTER, GAUGE, Sample
from sttp_reactor.sttp.listening import LISTENING
from sttp_reactor.sttp.settings import Settings

log = logging.getLogger(__name__)

# Descriptors that are not connections: standard streams, selector, waker, listeners, journal, and the files and
# directories that the workers have open.
OWN_DESCRIPTORS: Final = 128

# Blocked until somebody listens to them: a signal that comes while the server starts must not end it.
SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})

# A sign of life comes this often within the time in which one must come (sd_watchdog_enabled(3) asks for two).
_SIGNS_OF_LIFE: Final = 3


@contextlib.contextmanager
def signals_blocked() -> Iterator[None]:
    """Block SIGNALS: for the rest of the program where all goes well, for the block where it raises."""
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    except BaseException:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)
        raise


class Wanted(NamedTuple):
    """The settings of a reload: with those of the keys that cannot change as they were, which are `refused`."""

    settings: Settings
    refused: list[Difference]


class Lifecycle:
    """`settings` are those in force. One for the whole server, in the process that the service manager knows."""

    def __init__(
        self,
        kind: ServerKind,
        settings: Settings,
        origin: str,
        read_again: Callable[[], Loaded[Settings]],
        notifier: Notifier,
        *,
        activated: bool,
    ) -> None:
        """`origin` names the configuration; `read_again` loads it anew, and raises ConfigError; `activated` tells that
        the sockets were handed to us, so that no setting says where to listen."""
        self.kind = kind
        self.settings = settings
        self._origin = origin
        self._read_again = read_again
        self._notifier = notifier
        self._fixed = [*kind.table.fixed, *(LISTENING if activated else ())]
        self._addresses = ""
        self._reloads = {"success": 0, "failure": 0}
        self._is_reloaded = True  # as the configuration is, or was when it was last read
        self._loaded_at = time.time()
        raise_open_file_limit(self.settings)

    @property
    def sign_seconds(self) -> float | None:
        """The time between two calls of `alive` that the service manager wants; None where it does not watch."""
        watchdog = self._notifier.watchdog_seconds
        return None if watchdog is None else watchdog / _SIGNS_OF_LIFE

    def ready(self, addresses: Iterable[str]) -> None:
        self._addresses = ", ".join(addresses)
        served = self.kind.describe(self.settings)
        log.info("ready: listening on %s; %s; configuration %s", self._addresses, served, self._origin)
        self._notifier.ready(f"listening on {self._addresses}")

    def alive(self) -> None:
        self._notifier.alive()

    def stopping(self) -> None:
        self._notifier.stopping("answering what has been asked, then stopping")

    def reloading(self) -> None:
        """From now until `reload`."""
        self._notifier.reloading()

    def read(self) -> Wanted:
        """Read the configuration again. In any thread. Raises ConfigError."""
        return Wanted(*keep(self.kind.table, self.settings, self._read_again().settings, self._fixed))

    def reload(self, change_over: Callable[[], tuple[Wanted, Iterable[str]]]) -> None:
        """Have what was read put in force. `change_over` does that and returns it with the addresses listened on; where
        it raises ConfigError or StartError it has changed nothing. Never raises: all is told in the log."""
        outcome = "the last reload failed, see the log; "
        try:
            self._reload(change_over)
            outcome = ""
        except ConfigError as error:
            for mistake in error.mistakes:
                log.error("%s", mistake)
        except StartError as error:
            log.error("%s", error)
        except Exception:
            log.exception("the reload failed")
        if outcome:
            log.error("the configuration was not reloaded; everything is as it was")
        self._count_reload(succeeded=not outcome)
        self._notifier.ready(f"{outcome}listening on {self._addresses}")

    def _count_reload(self, *, succeeded: bool) -> None:
        self._reloads["success" if succeeded else "failure"] += 1
        self._is_reloaded = succeeded
        if succeeded:
            self._loaded_at = time.time()

    def samples(self) -> Iterator[Sample]:
        """For metrics."""
        for result, count in self._reloads.items():
            yield Sample("sttp_reloads_total", COUNTER, (("result", result),), count)
        yield Sample("sttp_reload_success", GAUGE, (), int(self._is_reloaded))
        yield Sample("sttp_reload_success_timestamp_seconds", GAUGE, (), self._loaded_at)

    def _reload(self, change_over: Callable[[], tuple[Wanted, Iterable[str]]]) -> None:
        (settings, refused), addresses = change_over()
        self._addresses = ", ".join(addresses)
        logs.set_up(settings.log.level, settings.log.format)
        changes = differences(self.kind.table, self.settings, settings)
        self.settings = settings
        for key, before, after in refused:
            log.warning("%s stays %s; it takes a restart to make it %s", key, as_yaml(before), as_yaml(after))
        told = "; ".join(map(str, changes)) or "nothing has changed"
        if settings.tls.certificate is not None:
            told += "; certificates read again"  # the files may be other ones under their old names
        log.info("reloaded %s: %s; listening on %s", self._origin, told, self._addresses)
        raise_open_file_limit(settings)


def raise_open_file_limit(settings: Settings) -> None:
    """Raise the limit on open files to the hard limit, and say so where that is not enough for the connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    connections = settings.limits.max_connections
    if soft != resource.RLIM_INFINITY and soft < connections + OWN_DESCRIPTORS:
        log.warning(
            "the system allows %d open files, too few for limits.max_connections = %d; "
            "raise it (ulimit -Hn) or lower the setting",
            soft,
            connections,
        )
