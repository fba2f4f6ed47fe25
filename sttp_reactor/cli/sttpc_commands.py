"""What each command of sttpc asks of the servers."""

from __future__ import annotations

import builtins
from collections.abc import Container, Iterator

from sttp_reactor.cli.sttpc_report import Report
from sttp_reactor.cli.sttpc_servers import Servers
from sttp_reactor.cli.sttpc_targets import Target
from sttp_reactor.client import make_request, split_names
from sttp_reactor.errors import LocalError, SttpError
from sttp_reactor.wire.encoder import encode_request
from sttp_reactor.wire.messages import Action, Request, Response, Status

# Texts of a long list asked for at a time: each batch has the whole time-out, and its lines appear when it is done.
_BATCH = 500
_MISSING = (Status.NOT_FOUND, Status.PATH_NOT_FOUND)


class Commands:
    """One method for each command. All raise LocalError, before anything is sent, for what STTP cannot carry; what
    fails later is told to the report, and the rest goes on."""

    def __init__(self, servers: Servers, report: Report) -> None:
        self._servers = servers
        self._report = report

    def fetch(self, target: Target) -> None:
        if target.path.endswith("/"):
            self.list(target, is_recursive=False, is_long=False)
        else:
            self.show([target])

    def show(self, targets: builtins.list[Target]) -> None:
        for target, request in _requests(Action.SHOW, targets):
            reply = self._ask(target, request)
            if reply is not None:
                text = (reply.contents or b"").decode()
                self._tell(target, request, reply, lines=[text])

    def list(self, target: Target, *, is_recursive: bool, is_long: bool) -> None:
        waiting = _requests(Action.LIST, [target])
        while waiting:
            target, request = waiting.pop()
            reply = self._ask(target, request)
            if reply is None:
                continue
            entries = self._entries(target, split_names(reply.contents or b""))
            names = [entry.path if is_recursive else _last_part(entry.path) for entry in entries]
            self._tell(target, request, reply, lines=[] if is_long else names)
            if is_long:
                self._list_texts(target, entries, names)
            if is_recursive:
                below = [entry for entry in entries if entry.path.endswith("/")]
                waiting += reversed([*self._possible(Action.LIST, below)])

    def create(self, target: Target, contents: str, *, force: bool) -> None:
        if not force:
            self._carry_out(Action.CREATE, [target], contents)
            return
        create, update = (_checked(action, target, contents) for action in (Action.CREATE, Action.UPDATE))
        # Between a CREATE that finds a file and the UPDATE, somebody may delete it; not three times in a row.
        for _ in range(3):
            request, reply = create, self._ask(target, create)
            if reply is None or reply.status is not Status.CLIENT_ERROR:
                break
            request, reply = update, self._ask(target, update)
            if reply is None or reply.status not in _MISSING:
                break
        if reply is not None:
            self._tell(target, request, reply)

    def update(self, target: Target, contents: str) -> None:
        self._carry_out(Action.UPDATE, [target], contents)

    def delete(self, targets: builtins.list[Target], *, force: bool) -> None:
        self._carry_out(Action.DELETE, targets, pardoned=_MISSING if force else ())

    def ping(self, target: Target) -> None:
        client = self._servers.client(target.endpoint)
        target = target._replace(label=str(target.endpoint))
        try:
            client.ping()
        except SttpError as error:
            self._report.failure(target, "PING", error, client.timing)
        else:
            self._report.pong(target, client.timing)

    def _carry_out(
        self,
        action: Action,
        targets: builtins.list[Target],
        contents: str | None = None,
        pardoned: Container[Status] = (),
    ) -> None:
        """For the actions whose success needs no words."""
        for target, request in _requests(action, targets, contents):
            reply = self._ask(target, request)
            if reply is not None:
                self._tell(target, request, reply, pardoned=pardoned)

    def _ask(self, target: Target, request: Request) -> Response | None:
        """The reply; None where there is none, which has then been told."""
        replies = self._pipeline(target, [request])
        return replies[0] if replies else None

    def _pipeline(self, target: Target, requests: builtins.list[Request]) -> builtins.list[Response]:
        try:
            return self._servers.pipeline(target.endpoint, requests)
        except SttpError as error:
            timing = self._servers.client(target.endpoint).timing
            self._report.failure(target, requests[0].action.value.decode(), error, timing)
            return []

    def _tell(
        self,
        target: Target,
        request: Request,
        reply: Response,
        *,
        lines: builtins.list[str] | None = None,
        pardoned: Container[Status] = (),
    ) -> None:
        timing = self._servers.client(target.endpoint).timing
        self._report.reply(target, request, reply, timing, lines=lines or (), pardoned=pardoned)

    def _list_texts(self, directory: Target, entries: builtins.list[Target], names: builtins.list[str]) -> None:
        """A line for each entry: the length of its text, its name, and its text."""
        width = max(map(len, names), default=0)
        for start in range(0, len(entries), _BATCH):
            batch = entries[start : start + _BATCH]
            files = [entry for entry in batch if not entry.path.endswith("/")]
            asked = dict(self._possible(Action.SHOW, files))
            replies = self._pipeline(directory, [*asked.values()]) if asked else []
            if len(replies) < len(asked):
                return
            answers = dict(zip(asked, replies, strict=True))
            for entry, name in zip(batch, names[start : start + _BATCH], strict=True):
                reply = answers.get(entry)
                if reply is not None:
                    text = (reply.contents or b"").decode()
                    self._tell(entry, asked[entry], reply, lines=[f"{len(text):3}  {name:{width}}  {text}"])
                elif entry.path.endswith("/") and not self._report.output.as_json:
                    self._report.output.line(f"  -  {name}")

    def _entries(self, directory: Target, names: builtins.list[str]) -> builtins.list[Target]:
        """The entries of `directory`. What is no name is told and left out: a server that is broken or means harm could
        have us list the same directory for ever."""
        entries = []
        for name in names:
            if name.removesuffix("/") in ("", ".", "..") or "/" in name[:-1]:
                self._report.broken(f"{directory.label}: the server lists {name!r}, which is not a name")
            else:
                separator = "" if directory.path.endswith("/") else "/"
                entries.append(directory.at(f"{directory.path}{separator}{name}"))
        return entries

    def _possible(self, action: Action, entries: builtins.list[Target]) -> Iterator[tuple[Target, Request]]:
        """Requests for what a server has listed, as far as there can be any."""
        for entry in entries:
            try:
                yield entry, _checked(action, entry)
            except LocalError as error:
                self._report.broken(f"the server lists what it cannot be asked for: {error}")


def _requests(
    action: Action, targets: builtins.list[Target], contents: str | None = None
) -> builtins.list[tuple[Target, Request]]:
    return [(target, _checked(action, target, contents)) for target in targets]


def _checked(action: Action, target: Target, contents: str | None = None) -> Request:
    """The request, if it can be sent; raises LocalError now rather than when others have been carried out."""
    try:
        request = make_request(action, target.path, contents)
        encode_request(request)
    except LocalError as error:
        raise LocalError(f"{target.label}: {error}") from None
    return request


def _last_part(path: str) -> str:
    return path[path.rstrip("/").rfind("/") + 1 :]
