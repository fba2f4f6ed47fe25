"""Bytes in, whole requests out (RFC 9112). No I/O.

llhttp refuses by itself what requests are smuggled with: both lengths, two lengths, a bare LF, a folded line, a space
before a colon, a NUL. What it leaves to its user is refused here: no Host or two of them in HTTP/1.1, one that is no
authority, a transfer coding in HTTP/1.0 or one that is not `chunked` alone, a body behind an `Upgrade` (httptools
would take it for what follows the request), and whatever is too large. Trailers and chunk extensions are dropped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httptools

from sttp_reactor.http.messages import Request


@dataclass(frozen=True, slots=True)
class Limits:
    """Bytes and counts of one request. Other servers take 8 to 64 KiB of head, and 100 headers (nginx, Apache, h11)."""

    max_target: int = 8192
    max_head: int = 16384
    max_headers: int = 100
    max_body: int = 65536


class BadRequest(Exception):
    """A request that is answered with `status` and a sentence, and is the last of its connection."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


# What llhttp knows besides HTTP's own: a tunnel, the first line of HTTP/2, and the methods of RTSP and Icecast. What
# follows one of these would be no HTTP/1.1.
_FOREIGN: Final = frozenset(
    {
        *("CONNECT", "PRI", "SOURCE", "DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "PAUSE", "TEARDOWN"),
        *("GET_PARAMETER", "SET_PARAMETER", "REDIRECT", "RECORD", "FLUSH"),
    }
)
# A host and a port (RFC 3986, section 3.2), without a user's name, which has no business in HTTP (RFC 9110, 4.2.4).
_AUTHORITY: Final = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|(?:[\w.~!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*)(?::[0-9]*)?", re.ASCII)


class RequestParser:
    """Feed it bytes; it gives whole requests, and at the end what was wrong with the next one."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._requests: list[Request] = []
        self._renew()
        self.fault: BadRequest | None = None
        """What came after the requests that were given. Nothing is read after it."""

    def _renew(self) -> None:
        self._parser = httptools.HttpRequestParser(self)
        self._unparsed = 0
        self.in_head = self.in_body = False
        """Whether part of a request has come: of its head, or all of its head and not all of its body."""
        self.expects_continue = False
        """The peer waits for a 100 before it sends the body of the request that `in_body` tells of."""

    def feed(self, data: bytes) -> list[Request]:
        """The requests that `data` completes; then look at `fault`."""
        try:
            self._feed(data)
        except BadRequest as fault:
            self.fault = fault
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            self.fault = cause if isinstance(cause, BadRequest) else BadRequest(400, "this is not HTTP/1.1")
        except httptools.HttpParserInvalidMethodError:
            self.fault = BadRequest(501, "no such method")
        except httptools.HttpParserError as error:
            self.fault = BadRequest(400, str(error) or "this is not HTTP/1.1")
        requests, self._requests = self._requests, []
        return requests

    def _feed(self, data: bytes) -> None:
        self.in_head = self.in_head or not self.in_body
        self._unparsed += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # We speak nothing to upgrade to, and go on in HTTP (RFC 9110, section 7.8).
            self._renew()
            if len(data) > upgrade.args[0]:
                self._feed(data[upgrade.args[0] :])
            return
        # Only of what is whole do we learn the exact size. A line that never ends, or empty ones without end, are cut
        # by the bytes that have come; so are extensions of chunks, of which we are never told.
        if self.in_head and self._unparsed > 2 * self._limits.max_head:
            raise BadRequest(431, f"the head is too long; at most {self._limits.max_head} bytes")
        if self.in_body and self._unparsed > 2 * self._limits.max_head + 8 * self._limits.max_body:
            raise BadRequest(413, f"the body is too long; at most {self._limits.max_body} bytes")

    # -- Called by httptools --

    def on_message_begin(self) -> None:
        self._target = b""
        self._headers: dict[str, str] = {}
        self._count = self._hosts = self._size = 0
        self._body = bytearray()
        self.in_head, self.in_body = True, False

    def on_url(self, piece: bytes) -> None:
        self._target += piece
        if len(self._target) > self._limits.max_target:
            raise BadRequest(414, f"the target is too long; at most {self._limits.max_target} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._count += 1
        self._size += len(name) + len(value) + 4
        if self._count > self._limits.max_headers:
            raise BadRequest(431, f"too many headers; at most {self._limits.max_headers}")
        if self._size + len(self._target) > self._limits.max_head:
            raise BadRequest(431, f"the head is too long; at most {self._limits.max_head} bytes")
        if self.in_body:
            return  # a trailer
        key, text = name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t")
        self._hosts += key == "host"
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        version, headers = self._parser.get_http_version(), self._headers
        if version not in ("1.0", "1.1"):
            raise BadRequest(505, "HTTP/1.1 is spoken here")
        self._method = self._parser.get_method().decode()
        if self._method in _FOREIGN:
            raise BadRequest(501, "no such method")
        if self._hosts > 1 or (version == "1.1" and not self._hosts):
            raise BadRequest(400, "exactly one Host header is needed")
        self._check_body(version, headers)
        self._url = _split(self._target.decode("latin-1"), headers.get("host", ""), self._method)
        self._unparsed = 0
        self.in_head, self.in_body = False, True

    def _check_body(self, version: str, headers: dict[str, str]) -> None:
        coding, length = headers.get("transfer-encoding"), int(headers.get("content-length", "0"))
        if coding is not None and version == "1.0":
            raise BadRequest(400, "HTTP/1.0 knows no Transfer-Encoding")
        if coding is not None and coding.lower() != "chunked":
            raise BadRequest(501, "the only transfer coding understood is chunked")
        if (coding is not None or length) and self._parser.should_upgrade():
            raise BadRequest(501, "a request with a body cannot ask for an upgrade")
        if length > self._limits.max_body:
            raise BadRequest(413, f"the body is too long; at most {self._limits.max_body} bytes")
        expectation = headers.get("expect", "").lower()
        if expectation and expectation != "100-continue":
            raise BadRequest(417, "the only expectation understood is 100-continue")
        self.expects_continue = bool(expectation) and version == "1.1"

    def on_body(self, piece: bytes) -> None:
        self._body += piece
        self.expects_continue = False  # it does not wait any longer
        if len(self._body) > self._limits.max_body:
            raise BadRequest(413, f"the body is too long; at most {self._limits.max_body} bytes")

    def on_message_complete(self) -> None:
        path, query, host = self._url
        old = self._parser.get_http_version() == "1.0"
        keep = self._parser.should_keep_alive() and not old
        self._requests.append(Request(self._method, path, query, host, self._headers, bytes(self._body), keep, old))
        self._unparsed = 0
        self.in_head = self.in_body = self.expects_continue = False


def _split(target: str, host: str, method: str) -> tuple[str, str, str]:
    """Path, query and authority (RFC 9112, section 3.2). Raises BadRequest."""
    path, _, query = target.partition("?")
    if "#" in target:
        raise BadRequest(400, "a target has no fragment")
    if not target.startswith("/") and not (target == "*" and method == "OPTIONS"):
        try:
            parts = urlsplit(target)
        except ValueError:
            raise BadRequest(400, "the target is no URL") from None
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise BadRequest(400, "the target begins with / or is a whole http URL")
        # What the header says does not count then (RFC 9112, section 3.2.2), but it must be right.
        path, query = parts.path or "/", parts.query
        _check_authority(host)
        host = parts.netloc
    _check_authority(host)
    return path, query, host


def _check_authority(host: str) -> None:
    if _AUTHORITY.fullmatch(host) is None:
        raise BadRequest(400, "the host is a name or an address, perhaps with a port")
