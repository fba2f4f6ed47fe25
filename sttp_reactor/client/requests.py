"""Text to requests, and replies to text."""

from __future__ import annotations

from sttp_reactor.errors import LocalError, NotFound, ReplyError, RequestRefused, ServerFailed
from sttp_reactor.wire.messages import SUCCESS_OF, Action, Request, Response

_ERRORS: dict[int, type[ReplyError]] = {3: RequestRefused, 4: NotFound, 5: ServerFailed}


def make_request(action: Action | str, path: str, contents: str | None = None) -> Request:
    """A request out of text: `make_request("SHOW", "/a")`. `contents` go without the quotes of the wire.

    Raises LocalError for an unknown action, a space in the path, and text that is not Unicode (lone surrogates, as
    Python reads bytes of a command line that are not UTF-8). What else STTP cannot carry is refused when it is sent.
    """
    try:
        action = Action(action.encode()) if isinstance(action, str) else action
        if " " in path:
            raise LocalError("a path holds no space")
        return Request(action, path.encode(), None if contents is None else contents.encode())
    except UnicodeEncodeError:
        raise LocalError("paths and contents are UTF-8") from None
    except ValueError:
        raise LocalError(f"unknown action {action}") from None


def split_names(contents: bytes) -> list[str]:
    """The names in the reply to a LIST; directories have a trailing `/`. No name holds a space, so none is cut."""
    return contents.decode().split(", ") if contents else []


def raise_for(reply: Response) -> Response:
    """`reply` itself when it is a success. Raises the ReplyError of its class when it is not."""
    if reply.status.is_success:
        return reply
    raise _ERRORS[reply.status // 100](reply)


def fits(request: Request, reply: Response) -> bool:
    """Whether `reply` can be the answer to `request`.

    A connection on which replies and requests have come apart would show one file's text under another's name; the
    status and the path that every success repeats are there to notice it. Refusals are not held to this: their
    path may be shortened, or `-`.
    """
    if not reply.status.is_success:
        return True
    return reply.status is SUCCESS_OF[request.action] and reply.path == request.path
