"""The table of a server's keys. A new key is one row here and one field in `settings.py`; nothing else knows them.

Defaults that are limits come from `sttp_reactor.limits`, which gives their reasons.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from sttp_reactor import limits
from sttp_reactor.config import readers
from sttp_reactor.config.table import Key, Table
from sttp_reactor.sttp.access_rules import access_rules, proxies
from sttp_reactor.sttp.contradictions import CONTRADICTIONS
from sttp_reactor.sttp.settings import Settings
from sttp_reactor.sttp.store_keys import STORE_KEYS


def default_docroot() -> Path:
    """`sttp` in the XDG data home, which counts only where it is absolute (XDG Base Directory Specification).

    Raises `RuntimeError` where no home folder is known.
    """
    data_home = os.environ.get("XDG_DATA_HOME", "")
    base = Path(data_home) if os.path.isabs(data_home) else Path.home() / ".local" / "share"
    return base / "sttp"


KEYS: Final = (
    Key(
        "listen_address",
        ("127.0.0.1",),
        readers.addresses(),
        "Where to listen; a path that begins with '/' is a Unix socket.",
    ),
    Key(
        "port",
        limits.DEFAULT_PORT,
        readers.whole(0, 65535),
        "The TCP port of every address; 0 takes any free one.",
    ),
    Key(
        "unix_socket_mode",
        "0660",
        readers.mode(),
        "The mode of a Unix socket's file, whatever the umask: who may write to it may connect.",
    ),
    Key(
        "docroot",
        default_docroot,
        readers.folder(),
        "The folder of the snippets, made if it is missing. A relative path counts from the file that names it,"
        " in a flag from the working directory.",
        default_text="$XDG_DATA_HOME/sttp, or ~/.local/share/sttp",
        fixed=True,
    ),
    Key(
        "sync",
        True,
        readers.boolean(),
        "Whether an acknowledged write survives a power cut, not only a crash of the server.",
        fixed=True,
    ),
    Key(
        "processes",
        1,
        readers.whole(1, limits.MAX_PROCESSES),
        "How many single-threaded servers share the port. One per core is plenty; their caches stay coherent.",
        fixed=True,
    ),
    Key(
        "disk_threads",
        limits.DISK_THREADS,
        readers.whole(1, 256),
        "Threads that read and write files.",
        fixed=True,
    ),
    Key(
        "read_only",
        False,
        readers.boolean(),
        "Whether CREATE, UPDATE and DELETE are refused, for everybody.",
    ),
    Key(
        "access",
        (),
        access_rules(),
        "Who may do what below which path; the first rule that is about the client and the path decides. With any rule,"
        " all that no rule is about is refused, but for clients on this machine.",
    ),
    Key(
        "proxy_protocol.from",
        (),
        proxies(),
        "The proxies in front, whose connections must begin with a header of the PROXY protocol (version 1 or 2) and"
        " then count as their clients'. Nobody else may send one.",
    ),
    *STORE_KEYS,
    Key("cache.enabled", True, readers.boolean(), "Whether SHOW replies are kept in memory."),
    Key("cache.max_files", limits.CACHE_FILES, readers.whole(1), "Files kept; the least recently used go first."),
    Key("cache.max_size", limits.CACHE_BYTES, readers.size(), "Bytes kept, likewise; 1K is 1,024 bytes, 1M is 1,024K."),
    Key(
        "cache.expiration",
        limits.CACHE_EXPIRATION,
        readers.duration(),
        "For how long an entry is served. A file changed by another program shows after this time at the latest.",
    ),
    Key(
        "limits.max_connections",
        limits.MAX_CONNECTIONS,
        readers.whole(1),
        "Connections at a time; a further one is answered 500 and closed.",
    ),
    Key(
        "limits.max_connections_per_address",
        0,
        readers.whole(0, 1_000_000),
        "Connections at a time from one address (of IPv6, from one /64 network), counted by each process; a further one"
        " is refused likewise. 0 sets no such limit, and Unix sockets have none.",
    ),
    Key(
        "limits.max_line",
        limits.MAX_LINE_BYTES,
        readers.whole(limits.SHORTEST_MAX_LINE, limits.LONGEST_MAX_LINE),
        "Bytes of a request line with its line end; a longer one is answered 300 and its connection closed.",
    ),
    Key(
        "limits.idle_timeout",
        limits.IDLE_TIMEOUT,
        readers.duration(),
        "How long a connection may rest with no request open.",
    ),
    Key(
        "limits.request_timeout",
        limits.REQUEST_TIMEOUT,
        readers.duration(),
        "How long a request line may take from its first byte to its end.",
    ),
    Key(
        "limits.write_timeout",
        limits.WRITE_TIMEOUT,
        readers.duration(),
        "How long a peer may refuse to read a waiting reply.",
    ),
    Key(
        "limits.handshake_timeout",
        limits.HANDSHAKE_TIMEOUT,
        readers.duration(),
        "How long a TLS handshake may take, from the connection to its end; and a header of the PROXY protocol.",
    ),
    Key(
        "tls.certificate",
        None,
        readers.file_or_false(),
        "The server's certificate in PEM form, those that lead to its authority behind it. With it and tls.key, the TCP"
        " addresses are served over TLS too. Relative paths as for docroot.",
    ),
    Key("tls.key", None, readers.file_or_false(), "The certificate's private key in PEM form, without a passphrase."),
    Key(
        "tls.client_ca",
        None,
        readers.file_or_false(),
        "Certificates of authorities. With it, only clients whose certificate comes from one of them are served over"
        " TLS.",
    ),
    Key("tls.min_version", "1.2", readers.choice("1.2", "1.3"), "The oldest version of TLS that is spoken."),
    Key(
        "tls.port",
        limits.DEFAULT_TLS_PORT,
        readers.whole(0, 65535),
        "The TCP port of every address for TLS; 0 takes any free one.",
    ),
    Key(
        "http.enabled",
        False,
        readers.boolean(),
        "Whether the same files are served over HTTP too, with a page to look at, and metrics.",
    ),
    Key(
        "http.listen_address",
        ("127.0.0.1",),
        readers.addresses(),
        "Where to listen for HTTP, as for listen_address.",
    ),
    Key("http.port", limits.DEFAULT_HTTP_PORT, readers.whole(0, 65535), "The TCP port of every such address."),
    Key(
        "http.tls",
        False,
        readers.boolean(),
        "Whether that is spoken over TLS, with tls.certificate and tls.client_ca.",
    ),
    Key("http.write", False, readers.boolean(), "Whether POST, PUT and DELETE are allowed over HTTP."),
    Key(
        "http.host_names",
        (),
        readers.host_names(),
        "Further names under which browsers may ask for it; localhost and addresses always are. What asks for another"
        " name is answered 421.",
    ),
    Key("http.debug", False, readers.boolean(), "Whether /debug/ is there, for clients on this machine."),
    Key(
        "shutdown_timeout",
        limits.SHUTDOWN_TIMEOUT,
        readers.duration(zero=True),
        "How long connections may take to finish once the server is told to stop.",
    ),
    Key(
        "log.level",
        "info",
        readers.choice("debug", "info", "warning", "error", "critical"),
        "The least important messages that are logged, on standard error. debug tells of every connection, every"
        " refused line and whatever waits long for the disk.",
    ),
    Key("log.format", "text", readers.choice("text", "json"), "Lines to read, or one JSON object per line."),
    Key(
        "log.access",
        False,
        readers.access_log(),
        "A file for one line per request, '-' for standard output, or false. Relative paths as for docroot.",
    ),
)

TABLE: Final = Table(Settings, KEYS, CONTRADICTIONS)
