"""Replies, and what came instead of them, as lines for people or objects for programs; and the exit code."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from sttp_reactor.cli.sttpc_output import Output
from sttp_reactor.cli.sttpc_servers import error_name, exit_code
from sttp_reactor.cli.sttpc_targets import Target
from sttp_reactor.client import Timing, split_names
from sttp_reactor.errors import HostUnknown, ReplyError, SttpError
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import Action, Request, Response, Status

_NOT_STTP_EXIT = 8


class Report:
    """`exit_code` is that of the first failure told so far, 0 without."""

    def __init__(self, output: Output) -> None:
        self.exit_code = 0
        self.output = output

    def reply(
        self,
        target: Target,
        request: Request,
        reply: Response,
        timing: Timing,
        *,
        lines: Iterable[str] = (),
        pardoned: Container[Status] = (),
    ) -> None:
        """Tell `reply`; `lines` are its data for people, printed if it is a success. `pardoned` is no failure."""
        is_fine = reply.status.is_success or reply.status in pardoned
        if not is_fine:
            self.fail(reply.status // 100)
        if self.output.as_json:
            fields = _asked(target, request.action.value.decode()) | {"ok": is_fine} | _replied(reply)
            self.output.object(fields | _data(request, reply), timing)
            return
        if self.output.include:
            self.output.line(_status_line(reply))
        if reply.status.is_success:
            for line in lines:
                self.output.line(line)
        elif not is_fine:
            self.output.problem(f"{target.label}: {_sentence(reply)}")
        self.output.timing(target.label, timing)

    def failure(self, target: Target, action: str, error: SttpError, timing: Timing) -> None:
        """Tell that a request had no reply, or, for PING, not the right one."""
        self.fail(exit_code(error))
        hint = _path_hint(target) if isinstance(error, HostUnknown) else ""
        if self.output.as_json:
            fields = _asked(target, action) | {"ok": False}
            if isinstance(error, ReplyError):
                fields |= _replied(error.reply)
            else:
                fields |= {"status": None, "error": error_name(error), "message": f"{error}{hint}"}
            self.output.object(fields, timing)
            return
        sentence = _sentence(error.reply) if isinstance(error, ReplyError) else str(error)
        label = "" if target.label in sentence else f"{target.label}: "
        self.output.problem(f"{label}{sentence}{hint}")
        self.output.timing(target.label, timing)

    def pong(self, target: Target, timing: Timing) -> None:
        if self.output.as_json:
            self.output.object(_asked(target, "PING") | {"ok": True, "seconds": round(timing.reply, 6)}, timing)
            return
        if not self.output.quiet:
            self.output.line(f"{target.endpoint} answers in {1000 * timing.reply:.2f} ms")
        self.output.timing(target.label, timing)

    def broken(self, sentence: str) -> None:
        """Tell of a reply that is one, and makes no sense."""
        self.fail(_NOT_STTP_EXIT)
        self.output.problem(sentence)

    def fail(self, code: int) -> None:
        self.exit_code = self.exit_code or code


def _path_hint(target: Target) -> str:
    """What was meant by "notes/today" was perhaps /notes/today."""
    label = target.label
    return f"; a path begins with '/', as in /{label}" if "/" in label and label[:1] != "/" and ":" not in label else ""


def _asked(target: Target, action: str) -> dict[str, Any]:
    return {"server": str(target.endpoint), "action": action, "path": target.path}


def _replied(reply: Response) -> dict[str, Any]:
    fields: dict[str, Any] = {"status": int(reply.status), "reply": _status_line(reply)}
    if not reply.status.is_success:
        fields["message"] = _sentence(reply)
    return fields


def _data(request: Request, reply: Response) -> dict[str, Any]:
    if reply.contents is None:
        return {}
    if request.action is Action.LIST:
        return {"names": split_names(reply.contents)}
    return {"text": reply.contents.decode()}


def _status_line(reply: Response) -> str:
    return encode_response(reply).partition(b"\n")[0].decode()


def _sentence(reply: Response) -> str:
    status, path = reply.status, reply.path.decode()
    sentences = {
        Status.CLIENT_ERROR: reply.message or "the server refuses this",
        Status.FILENAME_TOO_LONG: "the file name is too long",
        Status.NOT_FOUND: "not found",
        Status.PATH_NOT_FOUND: f"not found, there is no directory {path}",
        Status.SERVER_ERROR: f"the server failed: {reply.message or 'it does not say why'}",
        Status.CANNOT_CREATE_PATH: f"the server cannot make the directory {path}",
    }
    return f"{sentences[status]} ({status:d})"
