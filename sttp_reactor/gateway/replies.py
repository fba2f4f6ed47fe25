"""From replies of the service to responses: the status, the words, and the form in which they are told (RFC 9457)."""

from __future__ import annotations

import hashlib
import http
import json
from dataclasses import dataclass
from typing import Final, NamedTuple

from sttp_reactor.gateway.negotiate import preferred
from sttp_reactor.http.messages import TEXT, Header, Request, Response
from sttp_reactor.printable import printable

_JSON: Final = "application/json"
_PROBLEM: Final = "application/problem+json"

# How a 500 begins that will pass by itself, or when somebody has seen to the disk: asking again makes sense.
_PASSING: Final = ("the docroot is missing", "another process keeps the store locked", "outcome unknown", "the cluster")


class Reply(NamedTuple):
    """A reply of the service, taken apart. `contents` are those of a 200, `message` that of a 300 or 500."""

    status: int
    contents: bytes
    message: str

    @property
    def exists(self) -> bool:
        """A CREATE was refused because there is such a file."""
        return self.status == 300 and self.message == FILE_EXISTS


def parse_reply(data: bytes) -> Reply:
    """No data, which is what a read brings that nobody waits for, counts as a failure."""
    if not data:
        return Reply(500, b"", "nobody waited")
    first, _, rest = data.partition(b"\n")
    status = int(first[:3])
    message = first.decode().split(' "', 1)[1][:-1] if status in (300, 500) else ""
    return Reply(status, rest[:-1], message)


# Of a 300: the only words that we go by.
FILE_EXISTS: Final = "it exists already; use UPDATE"

_STATUS: Final = {300: 400, 310: 414, 400: 404, 410: 404, 510: 409}
_WORDS: Final = {
    310: "The file's name is too long; at most 32 characters.",
    400: "There is no such file.",
    410: "There is no such directory.",
    510: "A directory of that path cannot be made.",
}


def status_of(reply: Reply) -> int:
    """The status in HTTP of a reply that is no success."""
    if reply.status == 500:
        return 503 if reply.message.startswith(_PASSING) else 500
    return _STATUS[reply.status]


def failure(request: Request, reply: Reply) -> Response:
    message = reply.message and f"{reply.message[0].upper()}{reply.message[1:]}."
    return problem(request, status_of(reply), message or _WORDS[reply.status])


def problem(request: Request, status: int, detail: str, *headers: Header) -> Response:
    """What is wrong, as the client would rather have it: for a program, or a sentence."""
    if preferred(request.headers.get("accept"), (_PROBLEM, _JSON, "text/plain")) == "text/plain":
        return Response(status, detail.encode() + b"\n", TEXT, [*headers, ("Vary", "Accept")])
    told = {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status, "detail": detail}
    return Response(status, json.dumps(told).encode() + b"\n", _PROBLEM, [*headers, ("Vary", "Accept")])


@dataclass(slots=True)
class FileResponse(Response):
    """The text of a file, or that it has not changed. `line` is what asks for it in STTP, `reply` what that is
    answered: as long as the cache has that very reply, the response holds."""

    line: bytes = b""
    reply: bytes = b""


def etag_of(text: bytes) -> str:
    """Strong: of the text, which is all there is of a file."""
    return f'"{hashlib.blake2b(text, digest_size=12).hexdigest()}"'


def is_named(etag: str, header: str) -> bool:
    """Whether an If-Match or If-None-Match names it; weak ones are as good, as nothing of ours is weak."""
    names = [name.strip().removeprefix("W/") for name in header.split(",")]
    return etag in names or "*" in names


def shown(path: bytes) -> str:
    """A path for a person's eyes."""
    return printable(path.decode(errors="replace"))
