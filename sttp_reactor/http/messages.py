"""Requests and responses as a handler sees them (RFC 9110), and a response as bytes (RFC 9112)."""

from __future__ import annotations

import http
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

TEXT: Final = "text/plain; charset=utf-8"

Header = tuple[str, str]


@dataclass(slots=True)
class Request:
    """One whole request. `headers` have lower-case names; a name that came twice has its values joined by `, `.

    `path` is as it was sent, still percent-encoded, without the query; `host` is the authority it was sent to: of an
    absolute target that target's, else the header's; "" where an HTTP/1.0 client named none.
    """

    method: str
    path: str
    query: str
    host: str
    headers: Mapping[str, str]
    body: bytes = b""
    keep_alive: bool = True
    is_old: bool = False  # HTTP/1.0: knows no chunked encoding


@dataclass(slots=True)
class Response:
    """`headers` are in the order they are sent; Content-Length, Date and Connection are not among them.

    `reusable`: the same bytes will always be answered the same, so nobody needs to be asked again."""

    status: int
    body: bytes = b""
    content_type: str = TEXT
    headers: list[Header] = field(default_factory=list)
    reusable: bool = False


def sentence(status: int, text: str, *headers: Header) -> Response:
    """A response that is one line for a person."""
    return Response(status, text.encode() + b"\n", TEXT, list(headers))


_NO_BODY: Final = frozenset({204, 304})
_REASONS: Final = {status.value: status.phrase for status in http.HTTPStatus}


def encode_head(
    response: Response,
    date: str,
    *,
    length: int | None,
    closes: bool,
    chunked: bool = False,
    extra: Iterable[Header] = (),
) -> bytes:
    """The head of a response, its empty line included. `length` is that of the body a GET would get; None leaves the
    header away, as a stream and a status without body want it. A header's value with a line break would be two headers:
    raises ValueError."""
    lines = [f"HTTP/1.1 {response.status} {_REASONS.get(response.status, '')}", f"Date: {date}"]
    if response.status not in _NO_BODY:
        lines.append(f"Content-Type: {response.content_type}")
    lines += [f"{name}: {value}" for name, value in (*response.headers, *extra)]
    if length is not None and response.status not in _NO_BODY:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    if closes:
        lines.append("Connection: close")
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1 or "\0" in head:
        raise ValueError("a header's value holds a line break")
    return head.encode("latin-1") + b"\r\n\r\n"


def encode(
    response: Response, date: str, *, is_head: bool = False, closes: bool = False, extra: Iterable[Header] = ()
) -> bytes:
    """The whole response; with `is_head` what a HEAD gets: the same head, no body."""
    head = encode_head(response, date, length=len(response.body), closes=closes, extra=extra)
    return head if is_head or response.status in _NO_BODY else head + response.body
