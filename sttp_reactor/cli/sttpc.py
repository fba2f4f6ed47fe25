"""sttpc: the client's command line, from the arguments to the exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from sttp_reactor.cli.sttpc_commands import Commands
from sttp_reactor.cli.sttpc_input import read_contents
from sttp_reactor.cli.sttpc_output import CannotPrint, Output, say
from sttp_reactor.cli.sttpc_report import Report
from sttp_reactor.cli.sttpc_servers import Servers, error_name
from sttp_reactor.cli.sttpc_targets import PathUse, Target, fetch_target, read_targets
from sttp_reactor.cli.sttpc_tls import read_tls
from sttp_reactor.command.arguments import COMMAND_LINE_EXIT, mentions, parse, refuse
from sttp_reactor.errors import LocalError

DOC = """sttpc: store, show and list short texts on an STTP server.

Usage:
  sttpc fetch [options] HOST PATH
  sttpc show [options] URL...
  sttpc list [options] [-r] [-l] [URL]
  sttpc create [options] [-f] URL [CONTENT]
  sttpc update [options] URL [CONTENT]
  sttpc delete [options] [-f] URL...
  sttpc dump [options] [URL]
  sttpc load [options] [-f] FILE [URL]
  sttpc ping [options] [URL]
  sttpc stats [options] [--watch] [URL]

Commands:
  fetch   Print the text under PATH on HOST, or the names in it for a path that ends in "/".
  show    Print texts.
  list    Print the names in a directory; without URL in "/".
  create  Store a text under a new path. Prints nothing.
  update  Replace the text of a file that exists. Prints nothing.
  delete  Delete files. Prints nothing.
  dump    Print all files of a directory and those below it, without URL all there are, as JSON lines.
  load    Store the files of FILE, which dump has printed; "-" is standard input. What is there already is left.
  ping    Print how quickly a server answers from its disk.
  stats   Print the figures of a server whose HTTP gateway is on; URL is the gateway's, or http://127.0.0.1:8081.

URL is sttp://host[:port]/path, host[:port]/path, or a plain /path on the server that -a and -p name. The port is that
of -p or STTPC_PORT, or 8080, unless given; an IPv6 address stands in brackets. In the first two forms %XX is decoded
and "?" and "#" have to be written %3F and %23; a plain /path is taken literally. sttps://host[:port]/path is the same
by TLS, on port 8443. ping, list, dump and load take unix:/path/of/socket, too, which names a server and no path.

HOST is host[:port], sttps://host[:port] for TLS, or unix:/path/of/socket; a PATH apart from it is taken literally.

CONTENT is the text, without quotes of its own. If it is "-", or left out while standard input is not a terminal, one
line of standard input is the text; more than one line is an error, and then nothing is sent.

Server:
  -a ADDR, --address ADDR   The host of plain paths, sttps://host for TLS, or, beginning with "/" or "unix:/", its Unix
                            socket. Without: STTPC_ADDRESS or 127.0.0.1.
  -p PORT, --port PORT      Its port, and that of a host without one. Without: STTPC_PORT, 8080, or 8443 for TLS.
  --timeout SECONDS         Give up a request that takes longer, connecting included; 500ms and 2m are understood too.
                            [default: 5]
  --retry N                 Try N more times to connect, with growing pauses. A request that may have been carried out
                            is never sent again. [default: 0]

TLS:
  --cacert FILE             Trust servers whose certificate comes from an authority in FILE, and no others. Without:
                            STTPC_CACERT or the system's authorities.
  --cert FILE               The certificate to show to a server that asks. Without: STTPC_CERT.
  --key FILE                Its private key; without, and without STTPC_KEY, it is looked for in the same file.
  --insecure                Trust any server: whoever can come between can read and change everything.

What to do:
  -r, --recursive           list: the directories below, too; prints whole paths.
  -l, --long                list: each file's length in characters and its text, too.
  --watch                   stats: every second, each time about the second before.
  -f, --force               create: replace the text of a file that exists. delete: a missing file is no error.
                            load: replace the texts of files that are there with other ones.

Output:
  -i, --include             Print each reply's status line before its data.
  -n, --no-newline          Print no line end after the last line.
  -j, --json                Print one JSON object for each reply, or for what came instead of one; no error messages.
  --time                    Tell on standard error where the time went (with -j: in each object).
  -v, --verbose             Trace on standard error: * what happens, > what is sent, < what is received.
  -q, --quiet               Print no error messages, and nothing for ping; the exit code tells.
  -h, --help                Print this text and stop.
  --version                 Print the version and stop.

Standard output carries data only. What a terminal would not show as text is escaped, as in \\u202e.
Exit codes: 0 done, 1 other, 2 command line, or a text that STTP cannot carry, 3 refused (300, 310), 4 not found (400,
410), 5 server error (500, 510), 6 host unknown, 7 cannot connect, or not by TLS, 8 not an STTP reply, or none,
28 timed out, 130 interrupted. With several URLs, the first failure's.
"""

_COMMAND = "sttpc"
_TEXTS: Final = ("URL", "HOST", "PATH", "CONTENT")
# What shells, HTTP, FTP and other stores call it.
_SYNONYMS: Final = {
    **dict.fromkeys(("get", "cat", "read", "print", "type"), "show"),
    **dict.fromkeys(("ls", "dir", "find", "names"), "list"),
    **dict.fromkeys(("add", "new", "make", "post", "touch", "insert"), "create"),
    **dict.fromkeys(("set", "put", "write", "store", "save", "echo"), "create -f"),
    **dict.fromkeys(("edit", "change", "replace", "modify", "patch"), "update"),
    **dict.fromkeys(("rm", "del", "remove", "unlink", "erase"), "delete"),
    **dict.fromkeys(("export", "backup"), "dump"),
    **dict.fromkeys(("import", "restore"), "load"),
}
_PATH_USES: Final[tuple[tuple[str, PathUse], ...]] = (
    ("ping", "unused"),
    ("load", "unused"),
    ("list", "optional"),
    ("dump", "optional"),
)
OTHER_EXIT = 1
INTERRUPTED_EXIT = 130
_DAY_SECONDS = 86_400.0
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_MOST_RETRIES = 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Run sttpc; return its exit code. A wrong command line, --help and --version leave by `SystemExit`."""
    words = sys.argv[1:] if argv is None else argv

    def on_wrong(sentence: str, kind: str = "wrong command line") -> NoReturn:
        if mentions(words, "-j", "--json"):
            Output(as_json=True).local_error(kind, sentence)
            raise SystemExit(COMMAND_LINE_EXIT)
        refuse(_COMMAND, sentence)

    try:
        arguments = parse(DOC, words, command=_COMMAND, synonyms=_SYNONYMS, texts=_TEXTS, on_wrong=on_wrong)
        try:
            return _run(arguments, os.environ)
        except LocalError as error:
            on_wrong(str(error), error_name(error))
    except CannotPrint as error:
        error.silence()
        if error.reason:
            say(f"{_COMMAND}: cannot write to standard output: {error.reason}")
        return OTHER_EXIT
    except KeyboardInterrupt:
        return INTERRUPTED_EXIT


def _run(arguments: dict[str, Any], environ: Mapping[str, str]) -> int:
    if arguments["--quiet"] and arguments["--verbose"]:
        raise LocalError("options --quiet and --verbose contradict each other")
    if arguments["stats"]:
        return _stats(arguments)
    targets = _targets(arguments, environ)
    trace = (lambda mark, line: say(f"{mark} {line}")) if arguments["--verbose"] else None
    report = Report(_output(arguments))
    tls = read_tls(arguments, environ, targets)
    with Servers(_seconds(arguments["--timeout"]), _retries(arguments["--retry"]), trace, tls) as servers:
        if arguments["dump"] or arguments["load"]:
            _move(arguments, targets[0], servers, report)
        else:
            _carry_out(arguments, targets, Commands(servers, report))
    return report.exit_code


def _move(arguments: dict[str, Any], target: Target, servers: Servers, report: Report) -> None:
    from sttp_reactor.cli.sttpc_moving import Dump, Load  # imported late: not for those who ask one thing

    if arguments["dump"]:
        Dump(servers, report, target).run()
        return
    if target.path != "/":
        raise LocalError(f"load stores files under the paths that they bring; {target.label} is to name a server alone")
    Load(servers, report, target, force=arguments["--force"]).run(arguments["FILE"])


def _stats(arguments: dict[str, Any]) -> int:
    from sttp_reactor.cli.sttpc_stats import DEFAULT_URL, Stats  # imported late: urllib is much, and for this alone

    useless = next((flag for flag in ("--address", "--port", "--cert", "--key") if arguments[flag] is not None), None)
    if useless is not None:
        raise LocalError(f"{useless} is of no use for stats, which takes the URL of an HTTP gateway")
    url = arguments["URL"][0] if arguments["URL"] else DEFAULT_URL
    tls = {"cacert": arguments["--cacert"], "insecure": arguments["--insecure"]}
    return Stats(url, _output(arguments), _seconds(arguments["--timeout"]), **tls).tell(watch=arguments["--watch"])


def _output(arguments: dict[str, Any]) -> Output:
    return Output(
        as_json=arguments["--json"],
        include=arguments["--include"],
        no_newline=arguments["--no-newline"],
        quiet=arguments["--quiet"],
        timed=arguments["--time"],
    )


def _targets(arguments: dict[str, Any], environ: Mapping[str, str]) -> list[Target]:
    address, port = arguments["--address"], arguments["--port"]
    if not arguments["fetch"]:
        path: PathUse = (
            "unused"
            if arguments["ping"] or arguments["load"]
            else "optional"
            if arguments["list"] or arguments["dump"]
            else "needed"
        )
        return read_targets(arguments["URL"], address, port, environ, path=path)
    if address is not None:
        raise LocalError("fetch takes its server as HOST[:PORT], not from --address")
    return [fetch_target(arguments["HOST"], arguments["PATH"], port, environ)]


def _carry_out(arguments: dict[str, Any], targets: list[Target], commands: Commands) -> None:
    if arguments["fetch"]:
        commands.fetch(targets[0])
    elif arguments["show"]:
        commands.show(targets)
    elif arguments["list"]:
        commands.list(targets[0], is_recursive=arguments["--recursive"], is_long=arguments["--long"])
    elif arguments["create"]:
        commands.create(targets[0], read_contents(arguments["CONTENT"]), force=arguments["--force"])
    elif arguments["update"]:
        commands.update(targets[0], read_contents(arguments["CONTENT"]))
    elif arguments["delete"]:
        commands.delete(targets, force=arguments["--force"])
    else:
        commands.ping(targets[0])


def _seconds(text: str) -> float:
    number = text.rstrip("ms")
    try:
        seconds = float(number) * _UNITS[text[len(number) :] or "s"]
    except (ValueError, KeyError):
        seconds = 0.0
    if not 0 < seconds <= _DAY_SECONDS:
        raise LocalError(f"--timeout: expected seconds above 0, as in 5, 0.5, 500ms or 2m, got {text!r}")
    return seconds


def _retries(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text[:8]) <= _MOST_RETRIES):
        raise LocalError(f"--retry: expected a whole number, as in 3, got {text!r}")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
