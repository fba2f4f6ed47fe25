"""Messages to bytes. The inverse of the parser: what this writes, the other role's parser reads back unchanged."""

from __future__ import annotations

from sttp_reactor.errors import LocalError
from sttp_reactor.limits import MAX_LINE_BYTES, MAX_NAME_CHARACTERS
from sttp_reactor.wire.grammar import parse_request_line
from sttp_reactor.wire.messages import Request, Response


def encode_request(request: Request) -> bytes:
    """The request as a line. Contents are always quoted, so that a server gives back exactly what was sent.

    Raises LocalError for what the protocol cannot carry: a line break or control character, a space in the path,
    over-long text. The check is the server's own parser, so client and server cannot disagree about it.
    """
    line = b"%b %b" % (request.action.value, request.path)
    if request.contents is not None:
        line += b' "%b"' % request.contents
    if b"\n" in line:
        raise LocalError("a request is one line: no line break in a path or in contents")
    if len(line) >= MAX_LINE_BYTES:
        raise LocalError(f"a request line has at most {MAX_LINE_BYTES} bytes")
    read_back = parse_request_line(line)
    if read_back != request:
        if isinstance(read_back, Response):
            raise LocalError(read_back.message or f"a file name has at most {MAX_NAME_CHARACTERS} characters")
        raise LocalError("a path holds no space")
    return line + b"\n"


def encode_response(response: Response) -> bytes:
    """The reply as one line, or two where the status says that contents follow."""
    status, path, contents, message = response
    if status.has_contents:
        return b"200 %b OK\n%b\n" % (path, contents or b"")
    if status.has_message:
        return b'%d %b %b "%b"\n' % (status, path, status.text.encode(), (message or "").encode())
    return b"%d %b %b\n" % (status, path, status.text.encode())
