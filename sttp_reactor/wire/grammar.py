"""The grammar of a request line and of a reply's first line, each rule beside its text.

    <ACTION> SP <path> [SP <contents>]                                                   (PROTOCOL.md section 1)
    <status> SP <path> SP <text> [SP <message in quotes>]                                (PROTOCOL.md section 3)

`parse_request_line` makes the checks in the order section 3 gives: form of the line, action, path, length of the
file name, contents. What needs the disk is the store's.
"""

from __future__ import annotations

import re
from typing import Final

from sttp_reactor.limits import MAX_CONTENTS_CHARACTERS, MAX_NAME_CHARACTERS, MAX_PATH_SEGMENTS
from sttp_reactor.suggest import nearest
from sttp_reactor.text import RESERVED_PREFIX, characters, has_control_but_tab, is_segment, is_text, is_utf8
from sttp_reactor.wire.messages import NO_PATH, Action, Request, Response, Status, client_error

_RESERVED: Final = b"/" + RESERVED_PREFIX

_ACTIONS: Final = {action.value: action for action in Action}
_ACTION_WORDS: Final = [action.value.decode() for action in Action]

_STATUS_LINE: Final = re.compile(rb'([0-9]{3}) ([^ ]+) ([A-Z ]+?)(?: "([^"]*)")?')
_STATUSES: Final = {b"%d" % status: status for status in Status}


# What nearly every request looks like: all of it printable ASCII, the last segment a file's name of 32 characters at
# most. A line that does not match is not wrong yet; the checks, one by one and in their order, find out. The match
# takes 0.8 us, the checks 1.8 us; tests/wire compares the two.
_USUAL_BYTES: Final = 1024  # 8 KB of path take 300 us to match, and 35 us to check
_USUAL: Final = re.compile(
    rb"(CREATE|SHOW|LIST|UPDATE|DELETE) (?!/\.sttp)"
    rb"((?:/(?!\.\.?/)[!-.0-~]++(?=/)){0,%d}+/(?!\.\.?(?: |\Z))[!-.0-~]{1,32}+)(?: ([ -~]+))?" % (MAX_PATH_SEGMENTS - 1)
)


def parse_request_line(line: bytes) -> Request | Response:
    """The request on `line` (without its line end), or the 300 or 310 it is answered with."""
    return usual_request(line) or check_request_line(line)


def usual_request(line: bytes) -> Request | None:
    """The request on `line`, if it looks as nearly all do; None says nothing about it."""
    usual = _USUAL.fullmatch(line) if len(line) <= _USUAL_BYTES else None
    if usual is None:
        return None
    word, path, contents = usual.groups()
    action = _ACTIONS[word]
    if contents is None:
        return None if action.takes_contents else Request(action, path)
    if not action.takes_contents:
        return None
    contents = without_outer_quotes(contents)
    return Request(action, path, contents) if len(contents) <= MAX_CONTENTS_CHARACTERS else None


def check_request_line(line: bytes) -> Request | Response:
    """The same for any line whatever: every check of section 3, in its order."""
    word, _, rest = line.partition(b" ")
    path, space, contents = rest.partition(b" ")
    fault = _fault_of_form(line, word, path)
    if fault:
        return client_error(echoed_path(line), fault)
    action = _ACTIONS.get(word)
    if action is None:
        return client_error(path, _fault_of_action(word))
    fault = _fault_of_path(action, path)
    if fault:
        return client_error(path, fault)
    if characters(path[path.rfind(b"/") + 1 :]) > MAX_NAME_CHARACTERS:
        return Response(Status.FILENAME_TOO_LONG, path)
    if not action.takes_contents:
        if space:
            return client_error(path, f"{word.decode()} takes nothing after the path; use {word.decode()} /path")
        return Request(action, path)
    if not contents:
        return client_error(path, f"contents are missing; use {word.decode()} /path and then the text")
    contents = without_outer_quotes(contents)
    if characters(contents) > MAX_CONTENTS_CHARACTERS:
        return client_error(path, f"contents are too long; at most {MAX_CONTENTS_CHARACTERS} characters")
    return Request(action, path, contents)


def without_outer_quotes(contents: bytes) -> bytes:
    """Contents that begin and end with `"` lose that outer pair and nothing else (PROTOCOL.md section 1)."""
    if len(contents) >= 2 and contents[0] == contents[-1] == 0x22:
        return contents[1:-1]
    return contents


def echoed_path(line: bytes) -> bytes:
    """The path field of a reply to `line`: its second space-separated field as it came, or `-` (section 3)."""
    fields = line.split(b" ", 2)
    if not fields[0] or len(fields) < 2 or not fields[1] or not is_segment(fields[1]):
        return NO_PATH
    return fields[1]


def fault_of_path(path: bytes) -> str | None:
    """What is wrong with `path` as a path of the protocol, for any action; None when nothing is."""
    if not path or not is_segment(path):
        return "a path holds no space and no control character, and is UTF-8"
    return _fault_of_path_form(path) or _fault_of_reserved(path)


def parse_status_line(line: bytes) -> tuple[Status, bytes, str | None] | None:
    """(status, path, message) of a reply's first line, or None if it is not one."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None or not is_text(line) or b"\t" in line:
        return None
    code, path, text, message = match.groups()
    status = _STATUSES.get(code)
    if status is None or text.decode() != status.text or (message is not None) != status.has_message:
        return None
    return status, path, None if message is None else message.decode()


def _fault_of_form(line: bytes, word: bytes, path: bytes) -> str | None:
    if not is_utf8(line):
        return "the line is not UTF-8"
    if has_control_but_tab(line) or b"\t" in word or b"\t" in path:
        return "control characters are not allowed (a TAB is, in contents)"
    if not word:
        return "the line begins with a space; use ACTION /path"
    if not path:
        if len(line) <= len(word) + 1:
            return f"no path; use {_likely_action(word) or 'ACTION'} /path"
        return "exactly one space goes between action and path"
    return None


def _likely_action(word: bytes) -> str | None:
    return nearest(word.decode(), _ACTION_WORDS)


def _fault_of_action(word: bytes) -> str:
    likely = _likely_action(word)
    if likely:
        return f"unknown action. Did you mean {likely}?"
    return "unknown action. Use CREATE, SHOW, LIST, UPDATE or DELETE"


def _fault_of_path(action: Action, path: bytes) -> str | None:
    # fault_of_path without the checks that the form of the line has already passed.
    fault = _fault_of_path_form(path) or _fault_of_reserved(path)
    if fault:
        return fault
    if path[-1] == 0x2F and action is not Action.LIST:
        return f"the path names a directory; {action.value.decode()} takes a file, without the trailing /"
    return None


def _fault_of_path_form(path: bytes) -> str | None:
    # "Paths are absolute: they begin with `/`. No empty, `.` or `..` segment; one trailing `/` names a directory. At
    # most 64 segments." Searches take 4 us for a line of nothing but segments, where a regular expression takes 300.
    if not path.startswith(b"/"):
        return "paths are absolute; begin with /"
    if b"//" in path:
        return "a path has no empty segment; use one / at a time"
    closed = path + b"/"
    if b"/./" in closed or b"/../" in closed:
        return "a path has no . or .. segment"
    if path.count(b"/") - path.endswith(b"/") > MAX_PATH_SEGMENTS:
        return f"the path is too deep; at most {MAX_PATH_SEGMENTS} segments"
    return None


def _fault_of_reserved(path: bytes) -> str | None:
    return "names that begin with .sttp at the top are the server's own" if path.startswith(_RESERVED) else None
