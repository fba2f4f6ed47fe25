"""sttpd: the server's command line, from the arguments to the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sttp_reactor import config
from sttp_reactor.cli.program import Program, run_program
from sttp_reactor.errors import StartError
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.settings import Settings

DOC = """sttpd: serve short texts over STTP, the Short Text Transfer Protocol.

Usage:
  sttpd [options] [--set=KEY=VAL]...

Configuration:
  -c FILE, --config FILE           Read the configuration from FILE, in YAML.
  -a ADDR, --listen-address ADDR   Listen on ADDR; commas separate several, and one that begins with "/" or "unix:/"
                                   is a Unix socket.
  -p PORT, --port PORT             The TCP port; 0 takes any free one.
  -d DIR, --docroot DIR            The folder of the texts; made if it is missing.
  -o KEY=VAL, --set KEY=VAL        Set any key, as in -o cache.max_files=500.
  -t, --check-config               Check the configuration, and the files that it names, and stop.
  --print-config                   Print the configuration, with where each value came from, and stop.

Running:
  --pid-file FILE                  Keep the process id in FILE while the server runs.
  --log-level LEVEL                Log debug, info, warning, error or critical messages and above.
  --log-format FORMAT              Log as text or json.
  --access-log FILE                Log every request to FILE; "-" is standard output.
  -v                               The same as --log-level debug.
  -q                               The same as --log-level warning.
  -h, --help                       Print this text and stop.
  --version                        Print the version and stop.

Flags beat the file, the file beats the defaults. All keys: sttpd --print-config.
Signals: HUP reads the configuration again, USR1 opens log files anew, USR2 logs what the server is doing,
TERM and INT stop it once what was asked is answered, and at once the second time.
Exit codes: 0 stopped, 1 cannot bind or failed, 2 command line, 78 configuration, or a file or folder that it names.
"""

# Flags that stand for one key; with a text, flags that stand for one value.
_FLAGS: tuple[tuple[str, str, str | None], ...] = (
    ("--listen-address", "listen_address", None),
    ("--port", "port", None),
    ("--docroot", "docroot", None),
    ("--log-level", "log.level", None),
    ("--log-format", "log.format", None),
    ("--access-log", "log.access", None),
    ("-v", "log.level", "debug"),
    ("-q", "log.level", "warning"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run sttpd; return its exit code. A wrong command line, --help and --version leave by `SystemExit`."""
    return run_program(_PROGRAM, argv)


def _serve(loaded: config.Loaded[Settings], read_again: Callable[[], config.Loaded[Settings]]) -> int:
    # Late: checking a configuration needs no server.
    from sttp_reactor.daemon.kind import FILES
    from sttp_reactor.daemon.run import run

    return run(FILES, loaded.settings, origin=loaded.source, read_again=read_again)


def _log_style(settings: Settings) -> tuple[str, str]:
    return settings.log.level, settings.log.format


def _obstacles(settings: Settings) -> Iterator[StartError]:
    # Late: printing a configuration needs no server.
    from sttp_reactor.daemon.doors import check_doors
    from sttp_reactor.sttp.check import obstacles
    from sttp_reactor.sttp.stores import check_store

    yield from obstacles(settings, (check_store, check_doors))


_PROGRAM = Program("sttpd", DOC, "cache.max_files=500", TABLE, _serve, _FLAGS, _obstacles, _log_style)


if __name__ == "__main__":
    raise SystemExit(main())
