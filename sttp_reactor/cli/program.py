"""What the command lines of all daemons have in common, from the arguments to the exit code.

A program brings its text of usage, its table of keys, and what it does; `-c`, `-o`, `-t`, `--print-config`, `-q` and
`--pid-file` are seen to here, and have to be in the usage.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sttp_reactor import config
from sttp_reactor.command.arguments import COMMAND_LINE_EXIT, parse, print_out, refuse
from sttp_reactor.daemon import logs
from sttp_reactor.daemon.pidfile import pid_file
from sttp_reactor.errors import StartError, ToldToStop, UnfitError
from sttp_reactor.printable import printable

log = logging.getLogger(__name__)

FAILED_EXIT = 1
# EX_CONFIG of sysexits.h, which systemd and others know by name.
CONFIGURATION_EXIT = 78
INTERRUPTED_EXIT = 130

S = TypeVar("S")


@dataclass(frozen=True)
class Program(Generic[S]):
    """`usage` is docopt's text, `example` a setting as `-o` takes it. `flags` are those that stand for one key (flag,
    key, None) or for one value of it (flag, key, text).

    `serve` runs the program with what was loaded, and returns its exit code; it gets a function, too, that loads anew
    for a reload and raises ConfigError. It raises StartError where the program cannot start. `obstacles` yields what
    would keep it from starting, without starting it. `log_style` gives the level and the form of the log.
    """

    name: str
    usage: str
    example: str
    table: config.Table[S]
    serve: Callable[[config.Loaded[S], Callable[[], config.Loaded[S]]], int]
    flags: Sequence[tuple[str, str, str | None]] = ()
    obstacles: Callable[[S], Iterable[StartError]] = lambda settings: ()
    log_style: Callable[[S], tuple[str, str]] = lambda settings: ("info", "text")


def run_program(program: Program[S], argv: Sequence[str] | None = None) -> int:
    """Return the exit code. A wrong command line, --help and --version leave by `SystemExit`."""
    arguments = parse(program.usage, sys.argv[1:] if argv is None else argv, command=program.name)
    return _Run(program, arguments).run()


class _Run(Generic[S]):
    """One run of a program, with its arguments."""

    def __init__(self, program: Program[S], arguments: dict[str, Any]) -> None:
        self._program = program
        self._arguments = arguments
        self._path = self._config_path()
        self._overrides = self._given()

    def run(self) -> int:
        try:
            return self._do()
        except config.ConfigError as error:
            return self._report(error)
        except StartError as error:
            self._say(str(error))
            return _exit_code(error)
        except KeyboardInterrupt:
            # Before the server is up, or after it; in between it handles the signal itself.
            return INTERRUPTED_EXIT

    def _do(self) -> int:
        loaded = self._load()
        if self._arguments["--print-config"]:
            _print_config(loaded)
            return 0
        if self._arguments["--check-config"]:
            return self._check(loaded)
        return self._serve(loaded)

    def _check(self, loaded: config.Loaded[S]) -> int:
        code = 0
        for obstacle in self._program.obstacles(loaded.settings):
            self._say(str(obstacle))
            code = max(code, _exit_code(obstacle))
        if not code and not self._arguments.get("-q"):
            self._say(f"the configuration ({loaded.source}) is valid")
        return code

    def _config_path(self) -> Path | None:
        name = self._arguments["--config"]
        if name == "":
            self._refuse("option --config lacks its value FILE")
        return None if name is None else Path(name)

    def _given(self) -> list[config.Override]:
        overrides = []
        for flag, key, text in self._program.flags:
            given = self._arguments[flag]
            if given is not None and given is not False:
                overrides.append(config.Override(flag, key, given if text is None else text))
        for setting in self._arguments["--set"]:
            key, equals, text = setting.partition("=")
            if not equals or not key:
                self._refuse(f"option --set wants KEY=VAL, as in {self._program.example}, and got {setting!r}")
            overrides.append(config.Override("--set", key, text))
        return overrides

    def _load(self, *, again: bool = False) -> config.Loaded[S]:
        return config.load(self._program.table, self._path, self._overrides, again=again)

    def _serve(self, loaded: config.Loaded[S]) -> int:
        from sttp_reactor.daemon.lifecycle import signals_blocked  # late: checking a configuration needs no server

        level, style = self._program.log_style(loaded.settings)
        pid_name = self._arguments["--pid-file"]
        logs.set_up(level, style)
        if not loaded.is_reloadable:
            log.warning("%s is not a regular file, so it cannot be reloaded: SIGHUP will change nothing", loaded.source)
        # Whoever has read our pid from the file may send a signal at once; it waits until there is somebody to hear it.
        # Where nobody ever will, because the start fails, it is still held back when we end: it would kill us before
        # the reason is told.
        with signals_blocked():
            try:
                with pid_file(Path(pid_name)) if pid_name is not None else contextlib.nullcontext():
                    return self._program.serve(loaded, lambda: self._load(again=True))
            except ToldToStop as error:
                log.info("stopped before it was ready: %s", error)
                return 0
            except StartError as error:
                if style == "text":
                    self._say(str(error))
                else:
                    log.critical("%s", error)  # who reads objects wants nothing else
                return _exit_code(error)

    def _report(self, error: config.ConfigError) -> int:
        """Print the mistakes. Those of the file begin with its name, as a compiler's do, so that editors can jump to
        them; the others with ours."""
        for mistake in error.mistakes:
            if self._path is not None and mistake.startswith(f"{printable(str(self._path))}:"):
                print(mistake, file=sys.stderr)
            else:
                self._say(mistake)
        return COMMAND_LINE_EXIT if isinstance(error, config.FlagError) else CONFIGURATION_EXIT

    def _refuse(self, what: str) -> None:
        refuse(self._program.name, what)

    def _say(self, sentence: str) -> None:
        print(f"{self._program.name}: {printable(sentence)}", file=sys.stderr)


def _exit_code(error: StartError) -> int:
    return CONFIGURATION_EXIT if isinstance(error, UnfitError) else FAILED_EXIT


def _print_config(loaded: config.Loaded[Any]) -> None:
    if hasattr(sys.stdout, "reconfigure"):
        # What the locale cannot print comes out in YAML's own escapes.
        sys.stdout.reconfigure(errors="backslashreplace")
    print_out(config.print_config(loaded).rstrip("\n"))
