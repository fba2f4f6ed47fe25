"""`sttpbench`: the load tool's command line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from sttp_reactor.cli.sttpbench_compare import compare
from sttp_reactor.cli.sttpbench_output import check_files, complain, say, takes_standard_output, write_file
from sttp_reactor.cli.sttpbench_signals import on_interrupt
from sttp_reactor.cli.sttpbench_stress import stress
from sttp_reactor.cli.sttpbench_target import read_target, with_trust
from sttp_reactor.command.arguments import COMMAND_LINE_EXIT, parse, refuse
from sttp_reactor.load.checks import CHECK_FAILED_EXIT, Check, parse_check
from sttp_reactor.load.draws import parse_distribution
from sttp_reactor.load.faults import LoadError, MissingExtra, Unreachable
from sttp_reactor.load.hdr import is_installed, percentile_file
from sttp_reactor.load.live import Silence, make_view
from sttp_reactor.load.page import render
from sttp_reactor.load.plan import (
    MAX_CONNECTIONS,
    MAX_KEYS,
    MAX_PIPELINE,
    MAX_PROCESSES,
    Plan,
    parse_count,
    parse_mix,
    parse_rate,
    parse_seconds,
    parse_seed,
    parse_sizes,
)
from sttp_reactor.load.printing import tell
from sttp_reactor.load.processes import Load, View
from sttp_reactor.load.procfs import check_pid
from sttp_reactor.load.result import Result
from sttp_reactor.load.summary import summarise

DOC = """Load an STTP server, verify every reply, and measure.

Usage:
  sttpbench [options] [--check=EXPR]... [URL]

URL is sttp://host[:port]/directory/, host[:port]/directory/, unix:/path/of/socket, or a plain /directory/ on the server
that -a and -p name. The port is that of -p or STTPC_PORT, or 8080, unless given; an IPv6 address stands in brackets.
sttps://host[:port]/directory/ is the same by TLS, on port 8443.
The keys are made in the directory (/sttpbench/) before the load and deleted after it.

Server:
  -a, --address=ADDR    The host without a URL that names one, sttps://host for TLS, or, beginning with "/" or "unix:/",
                        its Unix socket. Without: STTPC_ADDRESS or 127.0.0.1.
  -p, --port=PORT       Its port, and that of a host without one. Without: STTPC_PORT, 8080, or 8443 for TLS.

Load:
  -c, --connections=N   Connections. [default: 50]
  -P, --pipeline=N      Requests in flight on each connection. [default: 1]
  -j, --processes=N     Processes of sttpbench that share the connections. [default: 1]
  -d, --duration=TIME   How long to measure, such as 10s or 2m; 10s unless -n is given.
  -n, --requests=N      How many requests to measure, such as 20k: exactly so many, after the warm-up.
  -w, --warm-up=TIME    Load before measuring, of which every reply is awaited first; 0 for none. [default: 1s]
  -r, --rate=N          Requests a second of all connections together, due on a fixed schedule; latency counts from
                        when a request was due. Without it each connection asks again once it is answered.
  --timeout=TIME        How long a reply may take before its connection is given up. [default: 10s]

TLS:
  --cacert=FILE         Trust servers whose certificate comes from an authority in FILE, and no others. Without: the
                        system's authorities.
  --cert=FILE           The certificate to show to a server that asks.
  --key=FILE            Its private key, without a passphrase; without, it is looked for in the same file.
  --insecure            Trust any server: whoever can come between can read and change everything.

Work:
  --mix=MIX             Actions and their weights, of show, list, create, update and delete, as in
                        show=90,update=10. [default: show=100]
  --keys=N              Files to work on. [default: 1000]
  --dist=DIST           Which key is next: uniform, zipf:1.1, hot:80/20 (80 % of the requests go to 20 % of the
                        keys) or seq. [default: uniform]
  --size=CHARACTERS     Length of the texts, such as 40 or 1-160. [default: 1-160]
  --seed=N              The same seed asks for the same keys in the same order. [default: 1]

Results:
  --server-pid=PID      Also measure CPU time and memory of this process and its children.
  --check=EXPR          Exit with 99 unless it holds, as in 'p99<5ms', 'update.p99.9<=20ms', 'rate>10k', 'cpu<10us',
                        'rss<50MB'. May be given several times.
  -o, --output=FILE     Write the run as JSON, which compare reads. For this and the next two FILE may be -: standard
                        output, and what is otherwise printed there goes to standard error.
  --hgrm=FILE           Write the latencies' percentiles as HdrHistogram does.
  --report=FILE         Write an HTML page with plots.
  -q, --quiet           No progress while it runs.
  -h, --help            Show this text.
  --version             Show the version.

sttpbench compare A.json B.json sets two runs side by side; sttpbench stress is tools/stress.sh. Both explain
themselves with -h.
Exit: 0 done, 1 wrong replies, 2 wrong command line, 7 cannot connect, 99 a check failed, 130 interrupted.
"""
_COMMAND = "sttpbench"
_FILES = ("--output", "--hgrm", "--report")


def main(argv: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["stress"]:
        return stress(words[1:])
    if words[:1] == ["compare"]:
        return compare(words[1:])
    return _bench(parse(DOC, words, command=_COMMAND, texts=("URL",)))


def _bench(options: dict[str, Any]) -> int:
    try:
        plan = make_plan(options)
        checks = [parse_check(text) for text in options["--check"]]
        pid = check_pid(options["--server-pid"]) if options["--server-pid"] else None
        if pid is None and any(check.needs_server for check in checks):
            raise LoadError("--check: cpu and rss are the server's, which needs --server-pid")
        check_files(options, _FILES)
    except LoadError as error:
        refuse(_COMMAND, str(error))
    if options["--hgrm"] and not is_installed():
        return _complain(MissingExtra("--hgrm", "hdrhistogram"), COMMAND_LINE_EXIT)
    return _run(plan, checks, pid, options)


def make_plan(options: dict[str, Any]) -> Plan:
    """Raises LoadError with a sentence for the first option that is wrong."""
    requests = options["--requests"] and parse_count(options["--requests"], "-n")
    seconds = options["--duration"] and parse_seconds(options["--duration"], "-d")
    plan = Plan(
        target=with_trust(read_target(options), options),
        connections=parse_count(options["--connections"], "-c", MAX_CONNECTIONS),
        pipeline=parse_count(options["--pipeline"], "-P", MAX_PIPELINE),
        processes=parse_count(options["--processes"], "-j", MAX_PROCESSES),
        seconds=seconds or (None if requests else 10.0),
        requests=requests,
        warmup=parse_seconds(options["--warm-up"], "-w", zero=True),
        rate=parse_rate(options["--rate"]) if options["--rate"] else None,
        mix=parse_mix(options["--mix"]),
        keys=parse_count(options["--keys"], "--keys", MAX_KEYS),
        distribution=parse_distribution(options["--dist"]),
        sizes=parse_sizes(options["--size"]),
        seed=parse_seed(options["--seed"]),
        timeout=parse_seconds(options["--timeout"], "--timeout"),
    )
    plan.check()
    return plan


def _run(plan: Plan, checks: list[Check], pid: int | None, options: dict[str, Any]) -> int:
    view: View = Silence() if options["--quiet"] else make_view(plan, sys.stdout, sys.stderr)
    load = Load(plan, view, pid)
    try:
        with on_interrupt(load.interrupt):
            load.run()
    except LoadError as error:
        view.close()
        return _complain(error, 7 if isinstance(error, Unreachable) else 1)
    finally:
        view.close()
    result = load.gathering.result(interrupted=load.is_interrupted)
    aside = takes_standard_output(options, _FILES)
    say(summarise(result), _COMMAND, aside=aside)
    for sample in result.samples:
        tell(f"wrong: {sample}", sys.stderr)
    if load.left:
        reason = f" ({load.problem})" if load.problem else ""
        complain(f"{load.left:,} keys below {plan.target.directory} were not deleted{reason}", _COMMAND)
    code = _write_files(result, options)
    failed = [check for check in checks if not _report_check(check, result, aside=aside)]
    if result.interrupted:
        return 130
    return 1 if result.wrong or result.lost else code or (CHECK_FAILED_EXIT if failed else 0)


def _report_check(check: Check, result: Result, *, aside: bool) -> bool:
    passes = check.passes(result)
    say(
        f"check {check.text}: {'passed' if passes else 'FAILED'}, {check.show(check.value(result))}",
        _COMMAND,
        aside=aside,
    )
    return passes


def _write_files(result: Result, options: dict[str, Any]) -> int:
    makers: dict[str, Callable[[], str]] = {
        "--output": result.to_json,
        "--hgrm": lambda: percentile_file(result.counts()),
        "--report": lambda: render([result]),
    }
    try:
        for option, make in makers.items():
            if options[option]:
                write_file(option, options[option], make(), _COMMAND)
    except LoadError as error:
        return _complain(error, 1)
    return 0


def _complain(error: LoadError, code: int) -> int:
    complain(str(error), _COMMAND)
    return code


if __name__ == "__main__":
    sys.exit(main())
