"""The error tree: every error this package raises on purpose, sorted by whose fault it is.

- `LocalError`: we were asked for something the protocol cannot carry, or used out of order.
- `RemoteError`: the peer sent bytes that are not STTP.
- `ReplyError`: the server answered, and the answer is not success; it carries the reply's status.
- `StoreError`: the store could not do what a request asked; each kind knows the status it has on the wire.
- `StartError`, `ConfigError`: the server cannot start as it was told to.

No module of ours is imported here, so every layer can raise and catch these.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class SttpError(Exception):
    """The root of the tree."""


class LocalError(SttpError):
    """The caller asked for what PROTOCOL.md cannot carry, or called out of order; nothing was sent."""


class RemoteError(SttpError):
    """The peer broke the protocol; the connection cannot be used any further."""


class LineTooLong(RemoteError):
    """A line is longer than its reader accepts (PROTOCOL.md section 1, `max_line`)."""


class StartError(SttpError):
    """The server cannot start: an address cannot be bound, or the docroot cannot be used."""


class UnfitError(StartError):
    """What the configuration names cannot be used: a file or folder is missing or is not what it should be, or a name
    means nothing. Starting again would not help."""


class ToldToStop(StartError):
    """A signal to stop came while the start had to wait for somebody else: nothing has failed."""


class ConfigError(SttpError):
    """The configuration is wrong. `mistakes` holds one line for each, in the order of the file."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = list(mistakes)


class StoreError(SttpError):
    """The store refused or failed. `code` is the reply's status, `message` what a 300 or 500 says.

    `at_directory` is true where the reply names the directory part instead of the path (410 and 510).
    A message holds no `"`, no control character and no path of the server's own (PROTOCOL.md section 3).
    """

    code = 500
    at_directory = False

    def __init__(self, message: str = "") -> None:
        super().__init__(message or type(self).__name__)
        self.message = message


class Refused(StoreError):
    """300: the request cannot be carried out on what is there (it exists, it is a directory, it is a file)."""

    code = 300


class FileMissing(StoreError):
    """400: the directory is there, the file (LIST: the directory itself) is not."""

    code = 400


class PathMissing(StoreError):
    """410: the directory that should hold the file (LIST: the parent) is not there."""

    code = 410
    at_directory = True


class StoreFailed(StoreError):
    """500: disk full, permission, an I/O error, or a stored file that is not valid contents."""

    code = 500


class CannotCreatePath(StoreError):
    """510: CREATE needs a directory that cannot be made."""

    code = 510
    at_directory = True


# -- A client's. `LocalError` above is also one: nothing was sent. --


class HostUnknown(SttpError):
    """The name of the host has no address; nothing was sent."""


class CannotConnect(SttpError):
    """No address of the host could be connected to; nothing was sent."""


class TlsFailed(CannotConnect):
    """Connected, but not by TLS: the server speaks none, or the two could not agree. It has carried out nothing."""


class NotTrusted(TlsFailed):
    """The server's certificate comes from nobody we trust, is for another host, or has run out."""


class TimedOut(SttpError):
    """The operation took longer than its time-out. Its two kinds say whether anything was sent."""


class ConnectTimedOut(TimedOut, CannotConnect):
    """Time ran out while looking up the host or connecting; nothing was sent."""


class NoReply(SttpError):
    """A request was sent, wholly or in part, and no reply came: it was carried out or it was not, nobody knows.

    `replies` holds those that did come: of a pipeline, the replies to its first requests.
    """

    def __init__(self, message: str, replies: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.replies = list(replies)


class ReplyTimedOut(TimedOut, NoReply):
    """Time ran out while sending or waiting for a reply."""


class ConnectionLost(NoReply):
    """The server closed or reset the connection instead of replying."""


class NotSttp(NoReply, RemoteError):
    """What the server sent is not an STTP reply, or not one to this request."""


class ReplyError(SttpError):
    """The server answered, and the answer is not success. `reply` is the whole of it (a `wire.messages.Response`)."""

    def __init__(self, reply: Any) -> None:
        path = reply.path.decode()
        super().__init__(f"{path}: {reply.message or reply.status.text.lower()} ({reply.status:d})")
        self.reply = reply
        self.status = int(reply.status)
        self.path: str = path
        self.message: str | None = reply.message


class RequestRefused(ReplyError):
    """300, 310: the request breaks a rule, or cannot be carried out on what is there."""


class NotFound(ReplyError):
    """400, 410: the file, or the directory that should hold it, is not there."""


class ServerFailed(ReplyError):
    """500, 510: the server could not do what it was asked."""
