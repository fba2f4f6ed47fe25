"""PROTOCOL.md read a second time, slowly and in another way: on text instead of bytes, without a regular expression.

`judge` says what a server has to make of one line and `judge_all` of everything a client sends; the tests compare the
parser with them.
"""

from __future__ import annotations

import unicodedata
from typing import NamedTuple

ACTIONS = {"CREATE": True, "SHOW": False, "LIST": False, "UPDATE": True, "DELETE": False}


class Verdict(NamedTuple):
    """`stage` is the check that refused the line, or "" for a request; `path` is what the reply echoes."""

    stage: str
    path: str
    action: str = ""
    contents: str | None = None


def judge(line: bytes) -> Verdict:
    """The verdict on a line that is not empty, without its line end."""
    echo = echoed(line)
    try:
        text = line.decode("utf-8", "strict")
    except UnicodeDecodeError:
        return Verdict("form", echo)
    action, *rest = text.split(" ", 2)
    head = [action, *rest[:1]]
    if any(is_control(c) and c != "\t" for c in text) or any("\t" in field for field in head):
        return Verdict("form", echo)
    if len(head) < 2 or "" in head:
        return Verdict("form", echo)
    path, contents = head[1], rest[1] if len(rest) > 1 else None
    if action not in ACTIONS:
        return Verdict("action", echo)
    if not is_path(path) or (path.endswith("/") and action != "LIST"):
        return Verdict("path", echo)
    if len(path.split("/")[-1]) > 32:
        return Verdict("name", echo)
    if ACTIONS[action] is (contents is None) or (ACTIONS[action] and contents == ""):
        return Verdict("contents", echo)
    if contents is not None:
        contents = unquoted(contents)
        if len(contents) > 160:
            return Verdict("contents", echo)
    return Verdict("", path, action, contents)


def judge_all(data: bytes, max_line: int) -> list[Verdict]:
    """The verdicts on everything sent on one connection, the end of input included."""
    verdicts: list[Verdict] = []
    while data:
        line, end, data = data.partition(b"\n")
        if len(line + end) > max_line or (not end and len(line) == max_line):
            return [*verdicts, Verdict("too long", "-")]
        if not end:
            return [*verdicts, Verdict("no end", "-")]
        line = line.removesuffix(b"\r")
        if line:
            verdicts.append(judge(line))
            if line.startswith(b"PROXY "):
                return verdicts  # a header of the PROXY protocol from somebody who is not listed (section 2)
        elif verdicts:
            return verdicts
    return verdicts


def echoed(line: bytes) -> str:
    fields = line.split(b" ")
    try:
        path = fields[1].decode() if fields[0] and len(fields) > 1 else ""
    except UnicodeDecodeError:
        return "-"
    return "-" if not path or any(map(is_control, path)) else path


def is_control(character: str) -> bool:
    return unicodedata.category(character) == "Cc"


def is_path(path: str) -> bool:
    first, *segments = path.split("/")
    if first or not segments:
        return False
    if len(segments) > 1 and segments[-1] == "":
        segments.pop()  # one trailing slash
    if path == "/":
        return True
    if len(segments) > 64:
        return False
    return not any(segment in ("", ".", "..") for segment in segments) and not segments[0].startswith(".sttp")


def unquoted(contents: str) -> str:
    if len(contents) > 1 and contents.startswith('"') and contents.endswith('"'):
        return contents[1:-1]
    return contents
