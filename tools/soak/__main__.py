"""The command line of tools/soak.sh, and a soak from its start to its end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from bench.servers import ROOT, Failed
from bench.table import simple_table

from soak.clients import Client, Gate, Hoarder, Idler, Person
from soak.server import Soaked
from soak.watch import GROWTH_BYTES, GROWTH_SHARE, Sample, growth, leaks, look, look_when_settled
from soak.wire import Broken
from sttp_reactor.command.arguments import parse, refuse
from sttp_reactor.load.faults import LoadError
from sttp_reactor.load.plan import parse_seconds

_COMMAND = "soak.sh"

DOC = f"""Keep sttpd under mixed load, prove every reply, and watch that nothing grows.

Usage:
  soak.sh [options] [--set=KEY=VAL]... [DURATION]

DURATION is such as 90s, 30m or 2h; 2m without one. A real sttpd is started, and clients that know the only right reply
to each of their requests: one by one and pipelined, refused ones among them; they half-close, reset in the middle of a
reply, leave half a line, read slowly, or not at all, or say nothing. Meanwhile the server reloads its configuration,
opens its logs anew and reports what it is doing, and its cache forgets within moments. Then the long tests are run.

Options:
  --clients=N        Clients with files of their own. [default: 6]
  --seed=N           What is drawn at random is drawn from this. By default another one each time, which is told.
  -o KEY=VAL, --set KEY=VAL
                     A further setting for sttpd, as in -o processes=2.
  --every=TIME       How often a line of progress is printed. [default: 10s]
  --work-dir=DIR     Where the files are made, in a folder of their own. By default the system's temporary folder.
  --no-tests         Leave out the long tests.
  -h, --help         Show this text.

What must hold: no wrong reply; after the warm-up and at the end, with no connection open, as many descriptors and
threads; the median of the memory in the last quarter of the time at most {GROWTH_BYTES / 1e6:g} MB,
or {GROWTH_SHARE:.0%}, above that of the third quarter (where each has five samples, one a second); no traceback in the
server's log; and, at the end, exactly the acknowledged texts in its files.
Exit: 0 all of it holds, 1 something does not, 2 wrong command line, 130 interrupted.
"""

_WARM_UP_SHARE, _WARM_UP_MOST = 0.2, 20.0
_SAMPLE_SECONDS = 1.0
_OPERATOR_PAUSE = (0.5, 3.0)


class Operator(threading.Thread):
    """Sends the server every signal it has a use for."""

    def __init__(self, server: Soaked, rng: random.Random) -> None:
        super().__init__(name="operator", daemon=True)
        self.done: Counter[str] = Counter()
        self.faults: list[str] = []
        self._server = server
        self._rng = rng
        self._is_over = threading.Event()

    def run(self) -> None:
        way = 0
        while not self._is_over.wait(self._rng.uniform(*_OPERATOR_PAUSE)):
            match self._rng.choice(("reload", "reload", "rotate", "report")):
                case "rotate":
                    self._server.rotate()
                    self.done["SIGUSR1"] += 1
                case "report":
                    self._server.report()
                    self.done["SIGUSR2"] += 1
                case _:
                    way += 1
                    self.done["SIGHUP"] += 1
                    if not self._server.reload(way):
                        self.faults.append("a reload was not carried out")

    def end(self) -> None:
        """Leaves the server as it was started."""
        self._is_over.set()
        self.join()
        if not self._server.has_ended and not self._server.reload(0):
            self.faults.append("the last reload was not carried out")


class Soak:
    def __init__(self, server: Soaked, clients: int, seed: int, every: float) -> None:
        self._server = server
        self._every = every
        self._gate = Gate()
        self._rng = random.Random(seed)

        def another() -> random.Random:
            return random.Random(self._rng.random())

        self.clients = [Client(number, server.address, another(), self._gate) for number in range(clients)]
        others: list[Person] = [kind(kind.__name__, server.address, another(), self._gate) for kind in (Idler, Hoarder)]
        self.people: list[Person] = [*self.clients, *others]
        self.memory: list[int] = []
        self.looks: dict[str, Sample] = {}
        self.faults: list[str] = []
        self.signals: Counter[str] = Counter()
        self.seconds = 0.0

    def run(self, seconds: float) -> None:
        """Raises KeyboardInterrupt; the threads end by themselves then, with the process."""
        warm_up = min(_WARM_UP_MOST, seconds * _WARM_UP_SHARE)
        self.looks["at the start"] = look(self._server)
        for person in self.people:
            person.start()
        self._go_on(warm_up, is_warm_up=True)
        before = self._stand_aside("after the warm-up")
        self._gate.open()
        self._go_on(seconds - warm_up)
        after = self._stand_aside("at the end", before)
        self._check(before, after)
        self._gate.end()
        for person in self.people:
            person.join()

    @property
    def answered(self) -> Counter[str]:
        return sum((person.tally.answered for person in self.people), Counter[str]())

    @property
    def done(self) -> Counter[str]:
        return sum((person.tally.done for person in self.people), Counter[str]())

    @property
    def wrong(self) -> int:
        return sum(person.tally.mistakes.count for person in self.people)

    def _go_on(self, seconds: float, *, is_warm_up: bool = False) -> None:
        operator = Operator(self._server, random.Random(self._rng.random()))
        operator.start()
        began = time.monotonic()
        told, sampled, answered = began, began, self.answered.total()
        while (now := time.monotonic()) < began + seconds and not self._server.has_ended:
            time.sleep(0.1)
            if now - sampled >= _SAMPLE_SECONDS:
                sampled = now
                if not is_warm_up:
                    self.memory.append(look(self._server).memory)
            if now - told >= self._every:
                total = self.answered.total()
                self._tell(self.seconds + now - began, (total - answered) / (now - told))
                told, answered = now, total
        self.seconds += time.monotonic() - began
        operator.end()
        self.signals += operator.done
        self.faults += operator.faults
        if self._server.has_ended:
            raise Failed(f"it has ended with {self._server.exit_code}")

    def _tell(self, seconds: float, rate: float) -> None:
        sample = look(self._server)
        print(
            f"{seconds:6.0f} s  {self.answered.total():>12,} requests  {rate:>8,.0f}/s  {self.wrong} wrong"
            f"  {sample.descriptors:>5} descriptors  {sample.threads} threads  {sample.memory / 1e6:.1f} MB",
            flush=True,
        )

    def _stand_aside(self, when: str, expected: Sample | None = None) -> Sample:
        if not self._gate.close(len(self.people)):
            raise Failed("the clients do not come to an end: it leaves a request unanswered")
        self.looks[when] = sample = look_when_settled(self._server, expected)
        return sample

    def _check(self, before: Sample, after: Sample) -> None:
        self.faults += leaks(before, after)
        grown = growth(self.memory)
        if grown is not None and grown[0] > grown[1]:
            self.faults.append(
                f"memory: {grown[0] / 1e6:.1f} MB more in the last quarter, {grown[1] / 1e6:.1f} allowed"
            )
        for client in self.clients:
            try:
                client.finish()
            except (Broken, OSError) as error:
                self.faults.append(f"at the end: {error}")
        self._check_files()

    def _check_files(self) -> None:
        docroot = self._server.docroot
        keys = [key for client in self.clients for key in client.talk.files.keys]
        expected = {key.path.decode(): key.possible[0] for key in keys if key.possible[0] is not None}
        found = {
            "/" + str(path.relative_to(docroot)): path.read_bytes()
            for path in docroot.rglob("*")
            if path.is_file() and path.name not in ("turn", "journal")
        }
        found.pop("/hoard", None)
        for path in sorted(expected.keys() | found.keys()):
            if expected.get(path) != found.get(path):
                self.faults.append(f"{path} holds {found.get(path)!r}, and should hold {expected.get(path)!r}")


def main() -> int:
    options = parse(DOC, sys.argv[1:], command=_COMMAND)
    seconds = _seconds(options["DURATION"] or "2m", "DURATION")
    if seconds < 2:
        refuse(_COMMAND, f"DURATION: expected two seconds at least, got '{options['DURATION']}'")
    every = _seconds(options["--every"], "--every")
    clients = _whole(options, "--clients")
    seed = random.SystemRandom().randrange(1 << 32) if options["--seed"] is None else _whole(options, "--seed")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _work_folder(options) as work:
            is_fine = _soak(Path(work), options["--set"], seconds, clients, seed, every)
        if not options["--no-tests"]:
            is_fine = _run_long_tests() and is_fine
    except KeyboardInterrupt:
        return 130
    return 0 if is_fine else 1


def _soak(work: Path, settings: list[str], seconds: float, clients: int, seed: int, every: float) -> bool:
    print(f"{clients} clients with files of their own for {seconds:g} s, --seed={seed}", flush=True)
    try:
        server = Soaked(work, settings)
    except Failed as error:
        _say(f"sttpd: {error}")
        return False
    soak = Soak(server, clients, seed, every)
    try:
        soak.run(seconds)
    except (Failed, OSError) as error:
        soak.faults.append(f"sttpd: {error}")
    finally:
        server.stop()
    if server.exit_code != 0:
        soak.faults.append(f"sttpd ended with {server.exit_code}")
    if "Traceback" in server.log:
        soak.faults.append(
            "there is a traceback in sttpd's log:\n" + server.log[server.log.index("Traceback") :][:3000]
        )
    _print(soak)
    return not soak.faults and not soak.wrong


def _print(soak: Soak) -> None:
    rows = [
        [when, f"{sample.descriptors}", f"{sample.threads}", f"{sample.memory / 1e6:.1f}"]
        for when, sample in soak.looks.items()
    ]
    grown = growth(soak.memory)
    print()
    print(simple_table(["with no connection open", "descriptors", "threads", "MB"], rows))
    print()
    if grown is not None:
        middle = f"from {min(soak.memory) / 1e6:.1f} to {max(soak.memory) / 1e6:.1f} MB under load"
        print(f"memory: {middle}; last quarter {grown[0] / 1e6:+.2f} MB above the third, {grown[1] / 1e6:.1f} allowed")
    total = soak.answered.total()
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(soak.answered.items()))
    print(f"requests: {total:,} answered in {soak.seconds:.0f} s ({total / max(soak.seconds, 1):,.0f}/s): {counts}")
    print("behaviour: " + ", ".join(f"{count:,} {name}" for name, count in sorted(soak.done.items())))
    print("signals: " + ", ".join(f"{count} {name}" for name, count in sorted(soak.signals.items())))
    for person in soak.people:
        for sample in person.tally.mistakes.samples:
            print(f"WRONG, {person.name}: {sample}")
    for fault in soak.faults:
        print(f"FAULT: {fault}")
    print(f"wrong replies: {soak.wrong}; " + ("FAILED" if soak.wrong or soak.faults else "passed"), flush=True)


def _run_long_tests() -> bool:
    print("\nthe long tests:", flush=True)
    return subprocess.run([str(ROOT / "tools" / "test.sh"), "-m", "long"]).returncode == 0


def _seconds(text: str, name: str) -> float:
    try:
        return parse_seconds(text, name)
    except LoadError as error:
        refuse(_COMMAND, str(error))


def _whole(options: dict[str, Any], name: str) -> int:
    text: str = options[name]
    if not (text.isascii() and text.isdigit() and (name == "--seed" or 1 <= int(text) <= 200)):
        refuse(_COMMAND, f"{name}: expected a whole number, got '{text}'")
    return int(text)


def _work_folder(options: dict[str, Any]) -> tempfile.TemporaryDirectory[str]:
    parent = options["--work-dir"]
    try:
        return tempfile.TemporaryDirectory(prefix="sttp-soak-", dir=parent)
    except OSError as error:
        refuse(_COMMAND, f"--work-dir: {parent}: {error.strerror}")


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM ends us as Ctrl-C does: the server is stopped and the files removed."""
    raise KeyboardInterrupt


def _say(sentence: str) -> None:
    print(f"{_COMMAND}: {sentence}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    if not os.path.exists("/proc/self/stat"):
        sys.exit(f"{_COMMAND}: this needs Linux, whose /proc tells what a process takes")
    sys.exit(main())
