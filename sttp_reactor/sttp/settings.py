"""`Settings`: what the rest of the package reads. Plain data; every rule about it is in the table of keys."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

# An access log is off, a file, or "-" for standard output.
AccessLog = Literal[False, "-"] | Path


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Sizes in bytes, times in seconds."""

    enabled: bool
    max_files: int
    max_size: int
    expiration: float


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Line length in bytes with its line end, times in seconds; 0 connections per address are any number."""

    max_connections: int
    max_connections_per_address: int
    max_line: int
    idle_timeout: float
    request_timeout: float
    write_timeout: float
    handshake_timeout: float


@dataclass(frozen=True, slots=True)
class LogSettings:
    level: str
    format: str
    access: AccessLog


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One rule of `access`, in the words of the file. `who` holds ranges of addresses (an address alone has /32 or
    /128), `unix`, `unix:` and a user's number, `certificate`, `certificate:` and a name, `anybody`; `may` is `read`,
    `write`, `read,write` or `none`; `below` is a path without a trailing `/`, or `/`."""

    who: tuple[str, ...]
    may: str
    below: str


@dataclass(frozen=True, slots=True)
class ProxyProtocolSettings:
    """Whose connections begin with a header: `from_`, in the words of an `AccessRule`'s `who`."""

    from_: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """`certificate` and `key` are both there or both None, and then there is no TLS. Files are absolute and need not
    exist. `min_version` is "1.2" or "1.3"."""

    certificate: Path | None
    key: Path | None
    client_ca: Path | None
    min_version: str
    port: int


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """The gateway. `listen_address` is as that of `Settings`; `host_names` are lower-case names without a port."""

    enabled: bool
    listen_address: tuple[str, ...]
    port: int
    tls: bool
    write: bool
    host_names: tuple[str, ...]
    debug: bool


@dataclass(frozen=True, slots=True)
class StoreTlsSettings:
    """How we make sure of the cluster, and what we show it. Files are absolute and need not exist."""

    ca: Path | None
    certificate: Path | None
    key: Path | None


@dataclass(frozen=True, slots=True)
class StoreTimeoutSettings:
    """In seconds: of a connection, of one try of a read, of a write; and how old a cached answer may be."""

    connect: float
    read: float
    write: float
    stale: float


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """`engine` is "disk", which has no use for the rest, or "etcd"; `reads` is "linearizable" or "cached". `prefix`
    begins and ends with "/"; `user` may be empty."""

    engine: str
    endpoints: tuple[str, ...]
    prefix: str
    reads: str
    tls: StoreTlsSettings
    user: str
    password_file: Path | None
    timeout: StoreTimeoutSettings


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration. A key's dotted name is its attribute: `cache.max_files` is `settings.cache.max_files`.

    `listen_address` holds IP addresses and host names without brackets, and paths of Unix sockets, which begin with
    "/". `unix_socket_mode` is four octal digits. `docroot` and a file in `log.access` are absolute; neither need exist.
    Times are seconds.
    """

    listen_address: tuple[str, ...]
    port: int
    unix_socket_mode: str
    docroot: Path
    sync: bool
    disk_threads: int
    processes: int
    read_only: bool
    access: tuple[AccessRule, ...]
    proxy_protocol: ProxyProtocolSettings
    store: StoreSettings
    cache: CacheSettings
    limits: LimitSettings
    tls: TlsSettings
    http: HttpSettings
    shutdown_timeout: float
    log: LogSettings
