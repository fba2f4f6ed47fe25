"""The order of checks (PROTOCOL.md section 3), for every combination of faults; and the path that the reply repeats."""

from __future__ import annotations

import itertools

import pytest
from wire_driver import messages_of

from sttp_reactor.wire.grammar import fault_of_path, parse_request_line
from sttp_reactor.wire.messages import Action, Request, Response, Status

LONG_NAME = b"n" * 33

# In the order of section 3: a line with several of these is refused for the first. "name" is the 310.
FAULTS = ["form", "action", "path", "name", "contents"]
MARKS = {
    "form": ["UTF-8", "control characters"],
    "action": ["unknown action"],
    "path": ["absolute", "empty segment", ". or ..", "server's own", "names a directory"],
    "contents": ["takes nothing", "missing", "too long"],
}

FORMS = [b"\xff", b"\x00", b"\xc2\x85"]  # appended to the contents, where every other fault still fits
PATHS = [b"d/%b", b"/d//%b", b"/d/../%b", b"/./%b", b"/.sttp/%b", b"/d/%b/"]
CONTENTS = {
    Action.CREATE: [b"", b" ", b" " + b"x" * 161],
    Action.UPDATE: [b"", b" ", b' "' + b"x" * 161 + b'"'],
    Action.SHOW: [b" ", b" x"],
    Action.DELETE: [b" ", b' ""'],
}


def subsets() -> list[tuple[str, ...]]:
    return [subset for size in range(1, 6) for subset in itertools.combinations(FAULTS, size)]


def lines_with(faults: tuple[str, ...]) -> list[bytes]:
    """Lines that have each of `faults` and no other, in every variety."""
    lines = []
    name = LONG_NAME if "name" in faults else b"name"
    for action, bad_contents in CONTENTS.items():
        word = action.value.lower() if "action" in faults else action.value
        paths = [path % name for path in (PATHS if "path" in faults else [b"/d/%b"])]
        good = b" text" if action.takes_contents else b""
        contents = bad_contents if "contents" in faults else [good]
        # Contents of none but a bad byte would be a fault of their own for SHOW and DELETE; form comes first anyway.
        contents = (
            [c + (b"" if c[:1] == b" " else b" ") + bad for c in contents for bad in FORMS]
            if "form" in faults
            else contents
        )
        lines += [b"%b %b%b" % (word, path, c) for path in paths for c in contents]
    return lines


@pytest.mark.parametrize("faults", subsets(), ids="-".join)
def test_the_first_fault_is_the_one_answered(faults: tuple[str, ...]) -> None:
    for line in lines_with(faults):
        reply = parse_request_line(line)
        assert isinstance(reply, Response), line
        assert reply.path == line.split(b" ")[1], line
        if faults[0] == "name":
            assert reply.status is Status.FILENAME_TOO_LONG, line
        else:
            assert reply.status is Status.CLIENT_ERROR, line
            assert any(mark in (reply.message or "") for mark in MARKS[faults[0]]), (line, reply.message)


def test_lines_without_a_fault_are_requests() -> None:
    assert all(isinstance(parse_request_line(line), Request) for line in lines_with(()))


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("length", [32, 33])
@pytest.mark.parametrize("unit", ["n", "é", "€", "\U0001d11e"])
def test_file_names_have_32_characters_for_every_action(action: Action, length: int, unit: str) -> None:
    path = ("/d/" + unit * length).encode()
    reply = parse_request_line(b"%b %b%b" % (action.value, path, b" x" if action.takes_contents else b""))
    if length == 32:
        assert reply == Request(action, path, b"x" if action.takes_contents else None)
    else:
        assert reply == Response(Status.FILENAME_TOO_LONG, path)


@pytest.mark.parametrize("action", [action for action in Action if action is not Action.LIST])
@pytest.mark.parametrize("path", [b"/", b"/d/", b"/" + LONG_NAME + b"/"])
def test_a_trailing_slash_is_refused_before_the_name(action: Action, path: bytes) -> None:
    reply = parse_request_line(b"%b %b x" % (action.value, path))
    assert isinstance(reply, Response)
    assert (reply.status, reply.path) == (Status.CLIENT_ERROR, path)
    assert "names a directory" in (reply.message or "")


@pytest.mark.parametrize("path", [b"/", b"/d/", b"/d", b"/" + LONG_NAME + b"/", b"/" + LONG_NAME + b"/d"])
def test_list_takes_both_forms(path: bytes) -> None:
    assert parse_request_line(b"LIST " + path) == Request(Action.LIST, path)


# -- "<path> is the line's second space-separated field as it came, whatever else is wrong with the line" --


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b"nonsense /a", b"/a"),
        (b"nonsense a", b"a"),
        (b"\xff /a", b"/a"),
        (b"\x00 /a", b"/a"),
        (b"\t /a", b"/a"),
        (b"SHOW /a \xff", b"/a"),
        (b"SHOW /a \x00", b"/a"),
        (b"SHOW /a  ", b"/a"),
        (b"SHOW //..//", b"//..//"),
        (b"SHOW \\", b"\\"),
        (b'SHOW "/a', b'"/a'),
        (b"SHOW -", b"-"),
        ("SHOW \u2028".encode(), "\u2028".encode()),
        ("show /é\u00a0".encode(), "/é\u00a0".encode()),
        (b"show " + b"x" * 8000, b"x" * 8000),
        # No such field, or one that cannot be repeated.
        (b"SHOW", b"-"),
        (b"SHOW ", b"-"),
        (b"SHOW  /a", b"-"),
        (b"SHOW   /a", b"-"),
        (b" SHOW /a", b"-"),
        (b" /a", b"-"),
        (b" ", b"-"),
        (b"  ", b"-"),
        (b"SHOW\t/a", b"-"),
        (b"SHOW /a\t", b"-"),
        (b"SHOW /\xff x", b"-"),
        (b"SHOW /\xc2", b"-"),
        (b"SHOW /\xc2 \x85", b"-"),
        (b"SHOW /a\x00", b"-"),
        (b"SHOW /a\r", b"-"),
        (b"SHOW /\x7f", b"-"),
        (b"SHOW /\xc2\x85", b"-"),
        (b"SHOW /\xc2\x9f x", b"-"),
    ],
)
def test_the_path_of_a_refusal(line: bytes, path: bytes) -> None:
    reply = parse_request_line(line)
    assert isinstance(reply, Response)
    assert (reply.status, reply.path) == (Status.CLIENT_ERROR, path)


@pytest.mark.parametrize(
    "data", [b"SHOW /a", b"x" * 9000, b"SHOW /" + b"x" * 9000 + b"\n", b"CREATE /a " + b"x" * 9000 + b"\n"]
)
def test_a_line_without_end_or_over_long_has_no_path(data: bytes) -> None:
    messages, _, last_messages = messages_of([data])
    assert [message.response.path for message in messages + last_messages if not isinstance(message, Request)] == [b"-"]


# -- Messages say what is wrong and what the right form is --


@pytest.mark.parametrize("action", Action)
def test_a_misspelt_action_gets_a_suggestion(action: Action) -> None:
    word = action.value
    for near in (word.lower(), word.title(), word + b"S", word[:-1], word[:1] + word[2:], b"x" + word, word + b":"):
        reply = parse_request_line(near + b" /a")
        assert isinstance(reply, Response)
        assert reply.message == f"unknown action. Did you mean {word.decode()}?", near


@pytest.mark.parametrize("word", [b"GET", b"POST", b"x", b"0", b"?", "é".encode(), b"X" * 8000, b"SHOW" * 2000])
def test_an_action_like_none_gets_the_list(word: bytes) -> None:
    reply = parse_request_line(word + b" /a")
    assert isinstance(reply, Response)
    assert reply.message == "unknown action. Use CREATE, SHOW, LIST, UPDATE or DELETE"


@pytest.mark.parametrize(
    ("path", "mark"),
    [
        (b"", "no space"),
        (b"a b", "no space"),
        (b"/a\t", "control"),
        (b"/\xff", "UTF-8"),
        (b"a", "begin with /"),
        (b"//", "empty segment"),
        (b"/a//", "empty segment"),
        (b"/.", ". or .."),
        (b"/../", ". or .."),
        (b"/.sttp", "server's own"),
        (b"/.sttp-x/a", "server's own"),
    ],
)
def test_a_path_of_no_request(path: bytes, mark: str) -> None:
    assert mark in (fault_of_path(path) or "")


@pytest.mark.parametrize(
    "path", [b"/", b"/a", b"/a/", b"/a/b", b"/...", b"/a/.sttp", "/é\u2028".encode(), b"/" + LONG_NAME]
)
def test_a_path_of_some_request(path: bytes) -> None:
    assert fault_of_path(path) is None
