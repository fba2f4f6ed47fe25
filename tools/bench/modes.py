"""What is measured, and what the figures should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SMALL = 1000  # files in the docroot where nothing else is said
IDLE = 10_000
MANY_CONNECTIONS = 1000

# What the columns of figures are called in `Target.figure` and in `run.Measured`.
CPU, RATE, P99, MEMORY = "cpu", "rate", "p99", "memory"


@dataclass(frozen=True)
class Row:
    """One row of a mode's table: a server, and what is around it.

    `against` names the row that this one is compared with, where that is not the same for the whole table. `settings`
    are sttpd's, on top of `servers.SETTINGS`; `go_cores` is GOMAXPROCS: one where nothing is said, because
    sttpd has one process, and CPU per request is then about the same thing.
    """

    server: str
    label: str = ""
    against: str = ""
    is_cached: bool = True
    files: int = SMALL
    idle: int = 0
    is_beside_slow_disk: bool = False
    is_tls: bool = False
    go_cores: int = 1
    settings: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.server} ({self.label})" if self.label else self.server


@dataclass(frozen=True)
class Target:
    """`figure` of `row` should be at most `bound` times that of `base` (with `is_least`, at least); without a base, at
    most `bound` itself."""

    row: str
    figure: str
    bound: float
    base: str = ""
    is_least: bool = False


@dataclass(frozen=True)
class Mode:
    """`ratios`: for each column of them the figure and the row it is divided by; "" is each row's own `against`."""

    name: str
    title: str
    rows: tuple[Row, ...]
    ratios: tuple[tuple[str, str], ...]
    targets: tuple[Target, ...] = ()
    connections: int = 50
    pipeline: int = 1
    is_update: bool = False
    cores: int = 1  # that its servers need


SERVERS = ("sttpd", "go", "uvloop", "asyncio", "streams", "threads", "floor")

_CPU_RATIOS = ((CPU, "go"), (CPU, "uvloop"), (CPU, "floor"))
_OWN_RATIOS = ((CPU, ""), (RATE, ""), (P99, ""))


def make_modes(files: int) -> dict[str, Mode]:
    """By name. `files` is what a large docroot holds."""
    return {mode.name: mode for mode in (*_beside_peers(), *_beside_itself(files))}


def _rows(*, is_cached: bool = True) -> tuple[Row, ...]:
    return tuple(Row(server, is_cached=is_cached) for server in SERVERS)


def _beside_peers() -> tuple[Mode, ...]:
    return (
        Mode(
            "cached",
            "Cached SHOW, 50 connections, one request at a time on each",
            _rows(),
            _CPU_RATIOS,
            (
                Target("sttpd", CPU, 1.0, "go"),
                Target("sttpd", CPU, 0.9, "uvloop"),
                Target("sttpd", CPU, 1.45, "floor"),
            ),
        ),
        Mode(
            "pipelined",
            "Cached SHOW, 50 connections, 16 requests in flight on each",
            _rows(),
            _CPU_RATIOS,
            (Target("sttpd", CPU, 1.1, "go"), Target("sttpd", CPU, 0.65, "uvloop")),
            pipeline=16,
        ),
        Mode(
            "thousand",
            f"Cached SHOW, {MANY_CONNECTIONS:,} connections, one request at a time on each",
            _rows(),
            _CPU_RATIOS,
            (Target("sttpd", CPU, 1.0, "go"),),
            connections=MANY_CONNECTIONS,
        ),
        Mode(
            "uncached",
            "SHOW without a cache, 50 connections: every request reads its file",
            tuple(row for row in _rows(is_cached=False) if row.server != "floor"),
            ((CPU, "go"), (CPU, "uvloop"), (P99, "go")),
            (Target("sttpd", CPU, 1.1, "go"), Target("sttpd", P99, 1.0, "go")),
        ),
        Mode(
            "update",
            "Durable UPDATE, 50 connections: acknowledged when a power cut cannot take it back",
            (Row("sttpd"), Row("go")),
            ((RATE, "go"), (CPU, "go"), (P99, "go")),
            (Target("sttpd", RATE, 6.0, "go", is_least=True),),
            is_update=True,
        ),
    )


def _beside_itself(files: int) -> tuple[Mode, ...]:
    crowd, stock, slow = f"{IDLE:,} idle", f"{files:,} files", "200 ms disk"
    alone, both = "sttpd (1 process, uncached)", "2 processes, uncached"
    return (
        Mode(
            "idle",
            f"Cached SHOW, 50 connections, beside {IDLE:,} idle connections",
            tuple(
                row
                for server in ("sttpd", "go", "uvloop")
                for row in (Row(server), Row(server, crowd, against=server, idle=IDLE))
            ),
            _OWN_RATIOS,
            (Target(f"sttpd ({crowd})", CPU, 1.15, "sttpd"), Target(f"sttpd ({crowd})", MEMORY, 3072)),
        ),
        Mode(
            "stored",
            f"SHOW, 50 connections, with {files:,} files in the docroot instead of {SMALL:,}",
            (
                Row("sttpd", "cached"),
                Row("sttpd", f"cached, {stock}", against="sttpd (cached)", files=files),
                Row("sttpd", "uncached", is_cached=False),
                Row("sttpd", f"uncached, {stock}", against="sttpd (uncached)", files=files, is_cached=False),
            ),
            _OWN_RATIOS,
            (
                Target(f"sttpd (cached, {stock})", CPU, 1.15, "sttpd (cached)"),
                Target(f"sttpd (uncached, {stock})", CPU, 1.15, "sttpd (uncached)"),
            ),
        ),
        Mode(
            "slow-disk",
            "Cached SHOW, 50 connections, while 8 others ask a disk that takes 200 ms a read",
            (Row("sttpd"), Row("sttpd", slow, against="sttpd", is_beside_slow_disk=True)),
            _OWN_RATIOS,
            (Target(f"sttpd ({slow})", P99, 2.0, "sttpd"),),
        ),
        Mode(
            "processes",
            "SHOW, cached and not, 50 connections, 16 requests in flight on each, two processes",
            (
                Row("sttpd", "1 process"),
                Row("sttpd", "2 processes", against="sttpd (1 process)", settings={"processes": 2}),
                Row("sttpd", "1 process, uncached", is_cached=False),
                Row("sttpd", both, against=alone, settings={"processes": 2}, is_cached=False),
                Row("go", "1 core"),
                Row("go", "2 cores", against="go (1 core)", go_cores=2),
            ),
            _OWN_RATIOS,
            # Cached, the load generator takes half a core itself, which two processes would need on two cores.
            (
                Target("sttpd (2 processes)", RATE, 1.7, "sttpd (1 process)", is_least=True),
                Target(f"sttpd ({both})", RATE, 1.7, alone, is_least=True),
            ),
            pipeline=16,
            cores=2,
        ),
        *_by_tls(),
    )


def _by_tls() -> tuple[Mode, ...]:
    rows = (Row("sttpd", "plain"), Row("sttpd", "TLS", against="sttpd (plain)", is_tls=True))
    title = "Cached SHOW by TLS 1.3, 50 connections"
    return (
        Mode("tls", f"{title}, one request at a time on each", rows, _OWN_RATIOS),
        Mode("tls-pipelined", f"{title}, 16 requests in flight on each", rows, _OWN_RATIOS, pipeline=16),
    )
