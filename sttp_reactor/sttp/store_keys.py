"""The keys of the section `store`: where a server keeps its files, if not below the docroot."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from sttp_reactor.config import readers
from sttp_reactor.config.readers import Reader
from sttp_reactor.config.table import Key
from sttp_reactor.config.values import Shape, Unfit, Value

_PREFIX: Final = re.compile(r"/([!-.0-~]+/)*")
_USER: Final = re.compile(r"[!-~]*")


def _endpoints() -> Reader:
    def read(value: Value) -> tuple[str, ...]:
        found: list[str] = []
        for item in value.items():
            if not _is_endpoint(item.text):
                raise Unfit(item)
            if item.text in found:
                raise Unfit(item, "it is there twice")
            found.append(item.text)
        if not found:
            raise Unfit(value, "it is empty")
        return tuple(found)

    return Reader("an URL such as http://192.0.2.1:2379 or https://etcd-1.example.com:2379, or a list of them", read)


def _is_endpoint(text: str) -> bool:
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port is not None
    except ValueError:
        return False
    is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment and parts.username is None
    return parts.scheme in ("http", "https") and named and is_bare and text.isprintable() and " " not in text


def _text(expected: str, pattern: re.Pattern[str]) -> Reader:
    def read(value: Value) -> str:
        if value.shape is not Shape.TEXT or not pattern.fullmatch(value.text):
            raise Unfit(value)
        return value.text

    return Reader(expected, read)


def _file(name: str, manual: str) -> Key:
    return Key(name, None, readers.file_or_false(), manual, fixed=True)


def _time(name: str, default: float, manual: str) -> Key:
    return Key(name, default, readers.duration(), manual, fixed=True)


STORE_KEYS: Final = (
    Key(
        "store.engine",
        "disk",
        readers.choice("disk", "etcd"),
        "Where the snippets are kept: in files below the docroot, or in an etcd cluster that several servers share.",
        fixed=True,
    ),
    Key(
        "store.endpoints",
        ("http://127.0.0.1:2379",),
        _endpoints(),
        "Where the members of the cluster are asked. Whichever answers is asked until it does not.",
        fixed=True,
    ),
    Key(
        "store.prefix",
        "/sttp/",
        _text("a text of printable ASCII that begins and ends with '/'", _PREFIX),
        "What all keys of ours in the cluster begin with.",
        fixed=True,
    ),
    Key(
        "store.reads",
        "linearizable",
        readers.choice("linearizable", "cached"),
        "Whether a read sees every write acknowledged before it by any server, or may be store.timeout.stale late for"
        " what other servers write.",
        fixed=True,
    ),
    Key(
        "store.user",
        "",
        _text("a user's name of printable ASCII without a space, or nothing", _USER),
        "Who we are to the cluster; nothing, where it does not ask.",
        fixed=True,
    ),
    _file("store.password_file", "A file with the user's password in its first line. Relative paths as for docroot."),
    _file(
        "store.tls.ca",
        "Certificates of the authorities that vouch for the cluster's endpoints with https; false are the system's.",
    ),
    _file("store.tls.certificate", "The certificate that we show to the cluster, in PEM form, if it wants one."),
    _file("store.tls.key", "Its private key in PEM form, without a passphrase."),
    _time("store.timeout.connect", 1.0, "How long a connection to one endpoint may take."),
    _time(
        "store.timeout.read",
        1.0,
        "How long one endpoint may take to answer a read; then others are asked, for three times as long altogether.",
    ),
    _time(
        "store.timeout.write",
        2.0,
        "How long a write may take; then it is answered 500, as nobody knows what has come of it.",
    ),
    _time("store.timeout.stale", 3.0, "How old an answer may be with store.reads: cached."),
)
