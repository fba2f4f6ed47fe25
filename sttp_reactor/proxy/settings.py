"""What a proxy is told beyond what any server is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sttp_reactor.sttp.settings import Settings


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """One server to ask. `address` is as `client.url.parse_endpoint` reads it; `ca` is absolute and need not exist."""

    address: str
    weight: int
    ca: Path | None


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Times in seconds. `retry_budget` is the part of what is under way that may be retries at a time."""

    connections: int
    connect_timeout: float
    read_timeout: float
    write_timeout: float
    most_outstanding: int
    queue: int
    tries: int
    retry_budget: float


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Times in seconds; `fall`, `rise` and `eject_after` count in a row. 0 for `slow_start` is none."""

    interval: float
    timeout: float
    fall: int
    rise: int
    eject_after: int
    slow_start: float


@dataclass(frozen=True, slots=True)
class ProxySettings(Settings):
    """Of `Settings` all that is about files is there, too, and nobody asks for it. `balance` is "two_choices",
    "round_robin", "least_outstanding" or "hash"."""

    balance: str
    send_proxy_protocol: bool
    servers: tuple[ServerSettings, ...]
    upstream: UpstreamSettings
    health: HealthSettings
