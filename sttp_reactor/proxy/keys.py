"""The table of a proxy's keys: those of any server that are about connections, and its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sttp_reactor.client.url import parse_endpoint
from sttp_reactor.config import readers
from sttp_reactor.config.readers import Reader
from sttp_reactor.config.records import Record, records
from sttp_reactor.config.table import Key, Table
from sttp_reactor.config.values import Shape, Unfit, Value
from sttp_reactor.errors import LocalError
from sttp_reactor.proxy.settings import ProxySettings, ServerSettings
from sttp_reactor.sttp import keys as of_server
from sttp_reactor.sttp.contradictions import CONTRADICTIONS

_ADDRESS: Final = "an address such as 192.0.2.11:8080, sttps://name:8443, or a Unix socket's path"
_SERVERS: Final = f"{_ADDRESS}, {{address: ..., weight: 2, ca: ca.pem}}, or a list of these"


def _address() -> Reader:
    def read(value: Value) -> str:
        if value.shape is not Shape.TEXT:
            raise Unfit(value)
        try:
            return str(parse_endpoint(value.text))
        except LocalError as error:
            raise Unfit(value, str(error)) from None

    return Reader(_ADDRESS, read)


def _part() -> Reader:
    """A part of a whole."""

    def read(value: Value) -> float:
        text = value.text.replace("_", "")
        if value.shape is not Shape.NUMBER or not re.fullmatch(r"[01](\.[0-9]{1,9})?", text):
            raise Unfit(value)
        part = float(text)
        if part > 1:
            raise Unfit(value)
        return part

    return Reader("a number from 0 to 1", read)


_SERVER: Final = Record(
    ServerSettings,
    {"address": _address(), "weight": readers.whole(1, 100), "ca": readers.file_or_false()},
    {"weight": 1, "ca": None},
    alone="address",
)

_OF_FILES: Final = ("docroot", "sync", "disk_threads", "cache.", "store.")
_OF_ANY_SERVER: Final = tuple(key for key in of_server.KEYS if not key.name.startswith(_OF_FILES))

_OWN: Final = (
    Key(
        "balance",
        "two_choices",
        readers.choice("two_choices", "round_robin", "least_outstanding", "hash"),
        "Which server is asked: the better of two drawn by lot, each in turn, the one with the least to do, or the same"
        " one for all of a directory.",
    ),
    Key("servers", (), records(_SERVER, _SERVERS), "The servers to ask, each with a weight from 1 to 100."),
    Key(
        "send_proxy_protocol",
        False,
        readers.boolean(),
        "Tell the servers each client's address (version 2). Every client then has connections of its own to them.",
    ),
    Key("upstream.connections", 2, readers.whole(1, 64), "Connections to each server; many clients share them."),
    Key("upstream.connect_timeout", 1.0, readers.duration(), "How long a connection to a server may take."),
    Key("upstream.read_timeout", 2.0, readers.duration(), "How long a server may take to answer a SHOW or LIST."),
    Key("upstream.write_timeout", 5.0, readers.duration(), "How long a server may take to answer a write."),
    Key("upstream.most_outstanding", 1024, readers.whole(1), "Requests under way at each server at a time."),
    Key("upstream.queue", 4096, readers.whole(0), "Requests that wait for a server; a further one is answered 500."),
    Key("upstream.tries", 3, readers.whole(1, 10), "How many servers are asked for the same SHOW or LIST."),
    Key("upstream.retry_budget", 0.2, _part(), "The part of the requests under way that may be repeated ones."),
    Key("health.interval", 1.0, readers.duration(), "The time between two checks of a server, by LIST /."),
    Key("health.timeout", 1.0, readers.duration(), "How long a check may take."),
    Key("health.fall", 2, readers.whole(1, 100), "Failed checks in a row that take a server out."),
    Key("health.rise", 2, readers.whole(1, 100), "Checks in a row that bring it back."),
    Key("health.eject_after", 3, readers.whole(1, 1000), "Failures in a row that keep a server out for a while."),
    Key("health.slow_start", 10.0, readers.duration(zero=True), "How long one that is back gets less than others."),
)


class _ProxyTable(Table[ProxySettings]):
    """Only its own keys can be set; what settings hold beyond them is as a server has it by default."""

    def build(self, values: Mapping[str, Any]) -> ProxySettings:
        return _EVERYTHING.build({**_HIDDEN, **values})


_EVERYTHING: Final = Table(ProxySettings, (*of_server.KEYS, *_OWN))
_HIDDEN: Final = {
    key.name: Path("/dev/null") if key.name == "docroot" else key.default_value()
    for key in of_server.KEYS
    if key not in _OF_ANY_SERVER
} | {"cache.enabled": False}

TABLE: Final = _ProxyTable(ProxySettings, (*_OF_ANY_SERVER, *_OWN), CONTRADICTIONS)
