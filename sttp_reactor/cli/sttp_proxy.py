"""sttp-proxy: the proxy's command line, from the arguments to the exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from sttp_reactor import config
from sttp_reactor.cli.program import Program, run_program
from sttp_reactor.errors import StartError
from sttp_reactor.proxy.keys import TABLE
from sttp_reactor.proxy.settings import ProxySettings

DOC = """sttp-proxy: one address in front of many STTP servers.

Usage:
  sttp-proxy [options] [--set=KEY=VAL]...

Configuration:
  -c FILE, --config FILE           Read the configuration from FILE, in YAML.
  -a ADDR, --listen-address ADDR   Listen on ADDR; commas separate several, and one that begins with "/" or "unix:/"
                                   is a Unix socket.
  -p PORT, --port PORT             The TCP port; 0 takes any free one.
  -s SERVERS, --servers SERVERS    Ask these, such as 192.0.2.11:8080; commas separate several.
  -b WAY, --balance WAY            two_choices, round_robin, least_outstanding or hash.
  -o KEY=VAL, --set KEY=VAL        Set any key, as in -o upstream.tries=2.
  -t, --check-config               Check the configuration, and the files that it names, and stop.
  --print-config                   Print the configuration, with where each value came from, and stop.

Running:
  --pid-file FILE                  Keep the process id in FILE while the proxy runs.
  --log-level LEVEL                Log debug, info, warning, error or critical messages and above.
  --log-format FORMAT              Log as text or json.
  --access-log FILE                Log every request to FILE; "-" is standard output.
  -v                               The same as --log-level debug.
  -q                               The same as --log-level warning.
  -h, --help                       Print this text and stop.
  --version                        Print the version and stop.

Flags beat the file, the file beats the defaults. All keys: sttp-proxy --print-config.
Signals: HUP reads the configuration again, USR1 opens log files anew, USR2 logs what the proxy is doing,
TERM and INT stop it once what was asked is answered, and at once the second time.
Exit codes: 0 stopped, 1 cannot bind or failed, 2 command line, 78 configuration, or a file that it names.
"""

_FLAGS: tuple[tuple[str, str, str | None], ...] = (
    ("--listen-address", "listen_address", None),
    ("--port", "port", None),
    ("--servers", "servers", None),
    ("--balance", "balance", None),
    ("--log-level", "log.level", None),
    ("--log-format", "log.format", None),
    ("--access-log", "log.access", None),
    ("-v", "log.level", "debug"),
    ("-q", "log.level", "warning"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run sttp-proxy; return its exit code. A wrong command line, --help and --version leave by `SystemExit`."""
    return run_program(_PROGRAM, argv)


def _serve(loaded: config.Loaded[ProxySettings], read_again: Callable[[], config.Loaded[ProxySettings]]) -> int:
    # Late: checking a configuration needs no proxy.
    from sttp_reactor.daemon.kind import ServerKind
    from sttp_reactor.daemon.run import run
    from sttp_reactor.proxy.answerer import describe, open_proxy, targets_of

    kind = ServerKind("sttp-proxy", TABLE, describe, lambda settings, _: targets_of(settings), open_proxy)
    return run(kind, loaded.settings, origin=loaded.source, read_again=read_again)


def _log_style(settings: ProxySettings) -> tuple[str, str]:
    return settings.log.level, settings.log.format


def _obstacles(settings: ProxySettings) -> Iterator[StartError]:
    # Late: printing a configuration needs no proxy.
    from sttp_reactor.daemon.doors import check_doors
    from sttp_reactor.proxy.answerer import targets_of
    from sttp_reactor.sttp.check import obstacles

    yield from obstacles(settings, (targets_of, check_doors))


_PROGRAM = Program("sttp-proxy", DOC, "upstream.tries=2", TABLE, _serve, _FLAGS, _obstacles, _log_style)


if __name__ == "__main__":
    raise SystemExit(main())
