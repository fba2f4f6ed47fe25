"""POST, PUT and DELETE of /files/…, made of CREATE, UPDATE, DELETE and, for conditions, SHOW.

A write with a condition first looks what is there. Between the look and the write no other write that comes by HTTP to
this process touches the file: writes of one path take turns. One that comes by STTP, or to another process, may; what a
condition promises there is that the file was as it says a moment before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from sttp_reactor.gateway.asking import Asking, Call, location_of
from sttp_reactor.gateway.replies import Reply, etag_of, failure, is_named, problem
from sttp_reactor.http.exchange import Exchange
from sttp_reactor.http.messages import Request, Response
from sttp_reactor.http.router import Router

if TYPE_CHECKING:
    from sttp_reactor.gateway.gateway import Route

# A PUT updates what is there, else creates it. Somebody may create or delete it in between, but hardly again and again.
_MOST_ATTEMPTS: Final = 4
_ABSENT: Final = (400, 410)


# What a directory's path allows.
ONLY_READ: Final = ("Allow", "GET, HEAD")


def is_directory(path: str) -> bool:
    return path.startswith("/files/") and path.endswith("/")


class Turns:
    """Who may change a path; the others wait, in their order."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, deque[Callable[[], None]]] = {}

    def take(self, path: bytes, begin: Callable[[], None]) -> None:
        """`begin()` is called once, when it is its turn; `leave` ends that."""
        waiting = self._waiting.get(path)
        if waiting is None:
            self._waiting[path] = deque()
            begin()
        else:
            waiting.append(begin)

    def leave(self, path: bytes) -> None:
        waiting = self._waiting[path]
        if waiting:
            waiting.popleft()()
        else:
            del self._waiting[path]


class Writing:
    """The routes that change something. What a request is answered ends its turn."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._turns = Turns()

    def add_to(self, router: Router[Route]) -> None:
        router.add("POST", "/files/{path...}", self._post)
        router.add("PUT", "/files/{path...}", self._put)
        router.add("DELETE", "/files/{path...}", self._delete)

    def _post(self, request: Request, exchange: Exchange, _parameters: dict[str, str]) -> Response | None:
        return self._begin(request, exchange, self._create)

    def _put(self, request: Request, exchange: Exchange, _parameters: dict[str, str]) -> Response | None:
        return self._begin(request, exchange, self._replace)

    def _delete(self, request: Request, exchange: Exchange, _parameters: dict[str, str]) -> Response | None:
        return self._begin(request, exchange, self._remove)

    def _begin(self, request: Request, exchange: Exchange, write: Callable[[Write], None]) -> Response | None:
        call = self._asking.call(request, exchange)
        if isinstance(call, Response):
            return call
        if is_directory(request.path):
            return problem(request, 405, f"{request.method} is not for a directory.", ONLY_READ)
        text = _text_of(request.body)
        if text is None:
            return problem(request, 400, "The text is one line: it holds no line break but one at its end.")
        one = Write(call, text, partial(self._turns.leave, call.path))
        self._turns.take(call.path, lambda: self._check(one, write))
        return None

    # -- Conditions --

    def _check(self, one: Write, write: Callable[[Write], None]) -> None:
        match, none_match = (one.call.request.headers.get(name) for name in ("if-match", "if-none-match"))
        if match is None and none_match is None:
            write(one)
        else:
            self._asking.ask(one.call, b"SHOW " + one.call.path, partial(self._checked, one, write), one.finish)

    def _checked(self, one: Write, write: Callable[[Write], None], reply: Reply, _data: bytes) -> None:
        headers = one.call.request.headers
        match, none_match = headers.get("if-match"), headers.get("if-none-match")
        etag = etag_of(reply.contents) if reply.status == 200 else None
        if reply.status != 200 and reply.status not in _ABSENT:
            one.finish(failure(one.call.request, reply))
        elif match is not None and (etag is None or not is_named(etag, match)):
            told = "There is no such file." if etag is None else "The file has changed: its ETag is another one."
            one.finish(problem(one.call.request, 412, told))
        elif none_match is not None and etag is not None and is_named(etag, none_match):
            one.finish(problem(one.call.request, 412, "The file is there already."))
        else:
            write(one)

    # -- Writes --

    def _ask(self, one: Write, line: bytes, then: Callable[[Reply], None]) -> None:
        self._asking.ask(one.call, line, lambda reply, _: then(reply), one.finish)

    def _create(self, one: Write) -> None:
        self._ask(one, b'CREATE %b "%b"' % (one.call.path, one.text), partial(self._created, one))

    def _created(self, one: Write, reply: Reply) -> None:
        if reply.status == 100:
            location = ("Location", location_of(one.call.path))
            one.finish(Response(201, headers=[location, ("ETag", etag_of(one.text))]))
        elif reply.exists:
            one.finish(problem(one.call.request, 409, "There is such a file already; PUT replaces it."))
        else:
            one.finish(failure(one.call.request, reply))

    def _replace(self, one: Write) -> None:
        if one.call.request.headers.get("if-none-match") == "*":
            self._ask(one, b'CREATE %b "%b"' % (one.call.path, one.text), partial(self._created_only, one))
        else:
            self._update(one, _MOST_ATTEMPTS)

    def _created_only(self, one: Write, reply: Reply) -> None:
        if reply.exists:
            one.finish(problem(one.call.request, 412, "The file is there already."))
        else:
            self._created(one, reply)

    def _update(self, one: Write, attempts: int) -> None:
        line = b'UPDATE %b "%b"' % (one.call.path, one.text)
        self._ask(one, line, partial(self._updated, one, attempts))

    def _updated(self, one: Write, attempts: int, reply: Reply) -> None:
        if reply.status == 200:
            one.finish(Response(204, headers=[("ETag", etag_of(one.text))]))
        elif reply.status not in _ABSENT:
            one.finish(failure(one.call.request, reply))
        elif "if-match" in one.call.request.headers:
            one.finish(problem(one.call.request, 412, "There is no such file."))
        else:
            line = b'CREATE %b "%b"' % (one.call.path, one.text)
            self._ask(one, line, partial(self._created_instead, one, attempts))

    def _created_instead(self, one: Write, attempts: int, reply: Reply) -> None:
        if reply.exists and attempts:
            self._update(one, attempts - 1)  # somebody has been quicker
        else:
            self._created(one, reply)

    def _remove(self, one: Write) -> None:
        self._ask(one, b"DELETE " + one.call.path, partial(self._removed, one))

    def _removed(self, one: Write, reply: Reply) -> None:
        one.finish(Response(204) if reply.status == 600 else failure(one.call.request, reply))


class Write:
    """One request under way. `finish` answers it and lets the next one have its turn."""

    def __init__(self, call: Call, text: bytes, leave: Callable[[], None]) -> None:
        self.call = call
        self.text = text
        self._leave = leave
        self._is_over = False

    def finish(self, response: Response) -> None:
        if self._is_over:
            return
        self._is_over = True
        try:
            self.call.exchange.answer(response)
        finally:
            self._leave()


def _text_of(body: bytes) -> bytes | None:
    """The text that a body stands for, without one line end; None where it has more of them."""
    text = body.removesuffix(b"\n").removesuffix(b"\r") if body.endswith(b"\n") else body
    return None if b"\n" in text else text
