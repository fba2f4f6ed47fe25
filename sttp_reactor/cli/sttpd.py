"""sttpd: the server's command line, from the arguments to the exit code."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sttp_reactor import config
from sttp_reactor.command.arguments import COMMAND_LINE_EXIT, parse, print_out, refuse
from sttp_reactor.daemon import logs
from sttp_reactor.daemon.pidfile import pid_file
from sttp_reactor.errors import StartError
from sttp_reactor.printable import printable

log = logging.getLogger(__name__)

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
  -t, --check-config               Check the configuration and stop.
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
Exit codes: 0 stopped, 1 cannot bind or failed, 2 command line, 78 configuration.
"""

FAILED_EXIT = 1
# EX_CONFIG of sysexits.h, which systemd and others know by name.
CONFIGURATION_EXIT = 78
INTERRUPTED_EXIT = 130

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
    arguments = parse(DOC, sys.argv[1:] if argv is None else argv, command="sttpd")
    path = _config_path(arguments)
    try:
        overrides = _overrides(arguments)
        loaded = config.load(path, overrides)
        if arguments["--print-config"]:
            _print_config(loaded)
            return 0
        if arguments["--check-config"]:
            if not arguments["-q"]:
                _say(f"the configuration ({loaded.source}) is valid")
            return 0
        return _serve(loaded, lambda: config.load(path, overrides, again=True), arguments["--pid-file"])
    except config.ConfigError as error:
        return _report(error, path)
    except StartError as error:
        _say(str(error))
        return FAILED_EXIT
    except KeyboardInterrupt:
        # Before the server is up, or after it; in between it handles the signal itself.
        return INTERRUPTED_EXIT


def _config_path(arguments: dict[str, Any]) -> Path | None:
    name = arguments["--config"]
    if name == "":
        refuse("sttpd", "option --config lacks its value FILE")
    return None if name is None else Path(name)


def _overrides(arguments: dict[str, Any]) -> list[config.Override]:
    overrides = []
    for flag, key, text in _FLAGS:
        given = arguments[flag]
        if given is not None and given is not False:
            overrides.append(config.Override(flag, key, given if text is None else text))
    for setting in arguments["--set"]:
        key, equals, text = setting.partition("=")
        if not equals or not key:
            refuse("sttpd", f"option --set wants KEY=VAL, as in cache.max_files=500, and got {setting!r}")
        overrides.append(config.Override("--set", key, text))
    return overrides


def _print_config(loaded: config.Loaded) -> None:
    if hasattr(sys.stdout, "reconfigure"):
        # What the locale cannot print comes out in YAML's own escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    print_out(config.print_config(loaded).rstrip("\n"))


def _serve(loaded: config.Loaded, read_again: Callable[[], config.Loaded], pid_name: str | None) -> int:
    # Imported late: checking a configuration needs no server.
    from sttp_reactor.daemon.lifecycle import signals_blocked
    from sttp_reactor.daemon.run import run

    logs.set_up(loaded.settings.log.level, loaded.settings.log.format)
    if not loaded.is_reloadable:
        log.warning("%s is not a regular file, so it cannot be reloaded: SIGHUP will change nothing", loaded.source)
    try:
        # Whoever has read our pid from the file may send a signal at once; it waits until there is somebody to hear it.
        with signals_blocked(), pid_file(Path(pid_name)) if pid_name is not None else contextlib.nullcontext():
            return run(loaded.settings, origin=loaded.source, read_again=read_again)
    except StartError as error:
        if loaded.settings.log.format == "text":
            raise
        log.critical("%s", error)  # who reads objects wants nothing else
        return FAILED_EXIT


def _report(error: config.ConfigError, path: Path | None) -> int:
    """Print the mistakes. Those of the file begin with its name, as a compiler's do, so that editors can jump to them;
    the others with ours."""
    for mistake in error.mistakes:
        if path is not None and mistake.startswith(f"{printable(str(path))}:"):
            print(mistake, file=sys.stderr)
        else:
            _say(mistake)
    return COMMAND_LINE_EXIT if isinstance(error, config.FlagError) else CONFIGURATION_EXIT


def _say(sentence: str) -> None:
    print(f"sttpd: {printable(sentence)}", file=sys.stderr)
