"""sttp-proxy: the proxy's command line, from the arguments to the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from sttp_reactor.cli.program import run_program
from sttp_reactor.cli.server_program import LISTENING_FLAGS, LOG_FLAGS, server_program
from sttp_reactor.proxy.keys import TABLE

if TYPE_CHECKING:
    from sttp_reactor.daemon.kind import ServerKind

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

_FLAGS: Final = (*LISTENING_FLAGS, ("--servers", "servers", None), ("--balance", "balance", None), *LOG_FLAGS)


def main(argv: Sequence[str] | None = None) -> int:
    """Run sttp-proxy; return its exit code. A wrong command line, --help and --version leave by `SystemExit`."""
    return run_program(_PROGRAM, argv)


def _load_kind() -> ServerKind:
    from sttp_reactor.daemon.kind import ServerKind
    from sttp_reactor.proxy.answerer import describe, open_proxy, targets_of

    return ServerKind("sttp-proxy", TABLE, describe, targets_of, lambda settings, _: targets_of(settings), open_proxy)


_PROGRAM: Final = server_program("sttp-proxy", DOC, "upstream.tries=2", TABLE, _FLAGS, _load_kind)


if __name__ == "__main__":
    raise SystemExit(main())
