"""A directory's names as lines, as JSON, or as a page: made piece by piece, because there may be 200,000 of them."""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from typing import Final
from urllib.parse import quote

from sttp_reactor.gateway.negotiate import preferred
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import TEXT, Response
from sttp_reactor.printable import printable
from sttp_reactor.sttp.unsent import Unsent

_JSON: Final = "application/json"
_HTML: Final = "text/html"

# Names that are put into a form in a turn: a millisecond. Who shares the turn with many is given less of it.
_TURN_NAMES: Final = 500
_LEAST_NAMES: Final = 10
# Up to so many bytes of names, the whole of it is made at once.
_SHORT_BYTES: Final = 4096

_PAGE_BEGINS: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<h1><bdi>{title}</bdi></h1>
<ul>
"""
_PAGE_ENDS: Final = "</ul>\n</html>\n"


def answer_listing(exchange: Exchange, path: bytes, contents: bytes, unsent: Unsent) -> None:
    """`contents` as LIST gives them: names joined by `, `, those of directories with a `/` behind."""
    form = preferred(exchange.request.headers.get("accept"), ("text/plain", _JSON, _HTML))
    headers = [("Vary", "Accept"), ("Cache-Control", "no-cache")]
    content_type = {_JSON: _JSON, _HTML: f"{_HTML}; charset=utf-8"}.get(form, TEXT)
    if len(contents) <= _SHORT_BYTES:
        exchange.answer(Response(200, _whole(form, path, contents), content_type, headers))
        return
    pieces = _pieces(form, path, contents, lambda: max(_LEAST_NAMES, _TURN_NAMES // exchange.busy))
    debt = _Debt(exchange)
    unsent.owe(debt, 0, contents)
    exchange.feed(Response(200, b"", content_type, headers), pieces, lambda: unsent.settle(debt))


class _Debt:
    """What is owed of one long list: a `sttp.unsent.Debtor`."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def give_up(self) -> None:
        self._exchange.abort()


@lru_cache(maxsize=32)
def _whole(form: str, path: bytes, contents: bytes) -> bytes:
    """Fifty who ask for one directory at a time are answered in one turn, so its form is made once."""
    return b"".join(_pieces(form, path, contents, lambda: _TURN_NAMES))


Share = Callable[[], int]


def _pieces(form: str, path: bytes, contents: bytes, share: Share) -> Iterator[bytes]:
    """`share()` says how many names to take next."""
    names = _names(contents)
    if form == _JSON:
        yield from _as_json(path, names, share)
    elif form == _HTML:
        yield from _as_page(path, names, share)
    else:
        while some := list(islice(names, share())):
            yield b"".join(name + b"\n" for name in some)


def _names(contents: bytes) -> Iterator[bytes]:
    """One by one: splitting megabytes would hold the loop."""
    at = 0
    while at < len(contents):
        end = contents.find(b", ", at)
        end = len(contents) if end < 0 else end
        yield contents[at:end]
        at = end + 2


def _as_json(path: bytes, names: Iterator[bytes], share: Share) -> Iterator[bytes]:
    before = json.dumps({"path": path.decode(), "entries": []}).removesuffix("]}")
    while some := list(islice(names, share())):
        yield (before + ", ".join(map(_entry, some))).encode()
        before = ", "
    yield b"]}\n" if before == ", " else before.encode() + b"]}\n"


def _entry(name: bytes) -> str:
    kind = "directory" if name.endswith(b"/") else "file"
    return json.dumps({"name": name.decode().removesuffix("/"), "kind": kind})


def _as_page(path: bytes, names: Iterator[bytes], share: Share) -> Iterator[bytes]:
    yield _PAGE_BEGINS.format(title=html.escape(printable(path.decode()))).encode()
    if path != b"/":
        yield _item(b"../").encode()
    while some := list(islice(names, share())):
        yield "".join(map(_item, some)).encode()
    yield _PAGE_ENDS.encode()


def _item(name: bytes) -> str:
    shown = html.escape(printable(name.decode()))
    # "./" first: what stands before a colon would else be the scheme of a URL.
    return f'<li><a href="./{quote(name, safe="/.")}"><bdi>{shown}</bdi></a>\n'
