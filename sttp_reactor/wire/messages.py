"""The messages of STTP: `Request`, `Response` and what they are made of.

Paths and contents are bytes that have already been checked to be UTF-8: the store wants bytes, the encoder wants
bytes, and only a length in characters ever needs the text.

They are named tuples, not frozen dataclasses: both are immutable, and every request that is not a cache hit builds
one (CPython 3.11: 0.2 us against 0.5 us).
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple


class Action(enum.Enum):
    """What a request asks for (PROTOCOL.md section 1); the value is the word on the wire."""

    CREATE = b"CREATE"
    SHOW = b"SHOW"
    LIST = b"LIST"
    UPDATE = b"UPDATE"
    DELETE = b"DELETE"

    takes_contents: bool
    is_write: bool
    word: bytes
    """The value; as a plain attribute it is read in a fifth of the time."""

    def __init__(self, word: bytes) -> None:
        self.word = word
        self.takes_contents = word in (b"CREATE", b"UPDATE")
        self.is_write = word in (b"CREATE", b"UPDATE", b"DELETE")


class Status(enum.IntEnum):
    """The status that begins a reply (PROTOCOL.md section 3).

    `text` is what follows the path; where `has_message`, a quoted message follows the text. `has_contents` says that
    a second line follows: framing is decided here and nowhere else.
    """

    CREATED = 100, "CREATED"
    OK = 200, "OK"
    CLIENT_ERROR = 300, "CLIENT ERROR"
    FILENAME_TOO_LONG = 310, "FILENAME TOO LONG"
    NOT_FOUND = 400, "NOT FOUND"
    PATH_NOT_FOUND = 410, "PATH NOT FOUND"
    SERVER_ERROR = 500, "SERVER ERROR"
    CANNOT_CREATE_PATH = 510, "CANNOT CREATE PATH"
    DELETED = 600, "DELETED"

    text: str
    has_contents: bool
    has_message: bool

    def __new__(cls, code: int, text: str) -> Status:
        member = int.__new__(cls, code)
        member._value_ = code
        member.text = text
        member.has_contents = code == 200
        member.has_message = code in (300, 500)
        return member

    @property
    def is_success(self) -> bool:
        return self in (Status.CREATED, Status.OK, Status.DELETED)


SUCCESS_OF: Final = {
    Action.CREATE: Status.CREATED,
    Action.SHOW: Status.OK,
    Action.LIST: Status.OK,
    Action.UPDATE: Status.OK,
    Action.DELETE: Status.DELETED,
}
"""The status of a reply that says that all went well (PROTOCOL.md section 3)."""

STATUS_BY_CODE: Final = {int(status): status for status in Status}


class Request(NamedTuple):
    """One request. `contents` is None for SHOW, LIST and DELETE; its outer quotes are gone."""

    action: Action
    path: bytes
    contents: bytes | None = None


class Response(NamedTuple):
    """One reply. `contents` is the second line of a 200, `message` the quoted text of a 300 or 500."""

    status: Status
    path: bytes
    contents: bytes | None = None
    message: str | None = None


# What a reply's path field says where the request's own cannot be repeated (PROTOCOL.md section 3).
NO_PATH = b"-"


def client_error(path: bytes, message: str) -> Response:
    return Response(Status.CLIENT_ERROR, path, None, message)


def server_error(path: bytes, message: str) -> Response:
    return Response(Status.SERVER_ERROR, path, None, message)
