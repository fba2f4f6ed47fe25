"""Drives the sans-IO layer: bytes in pieces to messages, and messages to replies by a service that lives in a dict."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from sttp_reactor.limits import MAX_LINE_BYTES
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import Action, Request, Response, Status, client_error
from sttp_reactor.wire.parser import END_OF_SESSION, NEED_DATA, BadLine, RequestParser, Signal

Message = Request | BadLine


def drain(parser: RequestParser) -> tuple[list[Message], Signal]:
    """Every message the parser has now, and the signal after them."""
    messages: list[Message] = []
    while not isinstance(message := parser.next_message(), Signal):
        messages.append(message)
    return messages, message


def messages_of(pieces: Iterable[bytes], max_line: int = MAX_LINE_BYTES) -> tuple[list[Message], bool, list[Message]]:
    """Messages of `pieces`; whether the session has ended by itself; messages that the half-close then brings."""
    parser = RequestParser(max_line)
    messages, signal = drain(parser)
    for piece in pieces:
        parser.receive_data(piece)
        more, signal = drain(parser)
        messages += more
    parser.receive_eof()
    last_messages, last_signal = drain(parser)
    assert last_signal is END_OF_SESSION
    return messages, signal is not NEED_DATA, last_messages


def in_pieces(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def cut_at(data: bytes, places: Iterable[int]) -> list[bytes]:
    """`data` cut at the given places; empty pieces are left in."""
    cuts = [0, *sorted(min(place, len(data)) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(cuts)]


class DictService:
    """PROTOCOL.md section 3 on a dict: every rule that needs files and directories but no disk."""

    def __init__(self) -> None:
        self.files: dict[bytes, bytes] = {}
        self.directories = {b"/"}  # each with its trailing slash

    def replies(self, messages: Iterable[Message]) -> bytes:
        return b"".join(encode_response(m.response if isinstance(m, BadLine) else self.answer(m)) for m in messages)

    def answer(self, request: Request) -> Response:
        action, path, contents = request
        if action is Action.LIST:
            return self._list(path)
        if action is Action.CREATE:
            return self._create(path, contents or b"")
        return self._missing(path) or self._on_file(action, path, contents or b"")

    def _missing(self, path: bytes) -> Response | None:
        directory = path[: path.rindex(b"/") + 1]
        if directory not in self.directories:
            return Response(Status.PATH_NOT_FOUND, directory)
        if path + b"/" in self.directories:
            return client_error(path, "this is a directory")
        return None if path in self.files else Response(Status.NOT_FOUND, path)

    def _on_file(self, action: Action, path: bytes, contents: bytes) -> Response:
        if action is Action.DELETE:
            del self.files[path]
            return Response(Status.DELETED, path)
        if action is Action.UPDATE:
            self.files[path] = contents
        return Response(Status.OK, path, self.files[path])

    def _create(self, path: bytes, contents: bytes) -> Response:
        parents = [path[: at + 1] for at, byte in enumerate(path) if byte == 0x2F]
        if any(parent[:-1] in self.files for parent in parents):
            return Response(Status.CANNOT_CREATE_PATH, parents[-1])
        if path + b"/" in self.directories:
            return client_error(path, "this is a directory")
        if path in self.files:
            return client_error(path, "the file exists; use UPDATE")
        self.directories.update(parents)
        self.files[path] = contents
        return Response(Status.CREATED, path)

    def _list(self, path: bytes) -> Response:
        name = path.rstrip(b"/")
        parent = name[: name.rfind(b"/") + 1] or b"/"
        if parent not in self.directories:
            return Response(Status.PATH_NOT_FOUND, parent)
        if name in self.files:
            return client_error(path, "this is a file")
        if name + b"/" not in self.directories:
            return Response(Status.NOT_FOUND, path)
        entries = [entry for entry in [*self.files, *self.directories] if self._is_in(entry, name + b"/")]
        names = (entry[len(name) + 1 :] for entry in sorted(entries, key=lambda entry: entry.rstrip(b"/")))
        return Response(Status.OK, path, b", ".join(names))

    @staticmethod
    def _is_in(entry: bytes, directory: bytes) -> bool:
        return entry.startswith(directory) and entry != directory and b"/" not in entry[len(directory) : -1]
