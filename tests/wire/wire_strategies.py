"""What hypothesis feeds the wire with: requests, near misses of requests, and bytes of any kind."""

from __future__ import annotations

from hypothesis import strategies as st

from sttp_reactor.wire.messages import Action, Request, Response, Status

# Every character text may hold, and those that make trouble drawn more often than their share.
CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs", "Cc"]), st.sampled_from('"\t" \u2028\u2029\u00a0\ufeff\U0001d11ea/.')
)
NAME_CHARACTERS = st.one_of(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=" /"), st.sampled_from('"\u2028\U0001d11ea.-')
)

CONTENTS = st.text(CHARACTERS, max_size=160).map(str.encode)
NAMES = st.text(NAME_CHARACTERS, min_size=1, max_size=32).filter(lambda name: name not in (".", ".."))


@st.composite
def paths(draw: st.DrawFn, *, directory: bool = False) -> bytes:
    """A path of a file, or of a directory with its trailing slash."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4).filter(lambda names: not names[0].startswith(".sttp")))
    return ("/" + "/".join(names) + "/" * directory).encode()


@st.composite
def requests(draw: st.DrawFn) -> Request:
    action = draw(st.sampled_from(Action))
    if action is Action.LIST:
        return Request(action, draw(st.one_of(st.just(b"/"), paths(), paths(directory=True))))
    return Request(action, draw(paths()), draw(CONTENTS) if action.takes_contents else None)


MESSAGES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"'), max_size=60)


@st.composite
def responses(draw: st.DrawFn) -> Response:
    status = draw(st.sampled_from(Status))
    contents = draw(st.text(CHARACTERS).map(str.encode)) if status.has_contents else None
    message = draw(MESSAGES) if status.has_message else None
    return Response(status, draw(st.one_of(st.just(b"-"), paths(), paths(directory=True))), contents, message)


# A line is put together from parts that are each right or wrong in one of the ways PROTOCOL.md names.
_WORDS = st.sampled_from(
    [
        b"CREATE",
        b"SHOW",
        b"LIST",
        b"UPDATE",
        b"DELETE",
        b"SHOW",
        b"CREATE",
        b"show",
        b"GET",
        b"",
        b"SH\xffW",
        b"SHOW\t",
        b"\xc2\x85",
    ]
)
_GAPS = st.sampled_from([b" ", b" ", b" ", b" ", b"  ", b"", b"\t", b"\xc2\xa0"])
_SEGMENTS = st.one_of(
    st.sampled_from(
        [b"", b".", b"..", b"...", b".sttp", b".sttp-x", b"a", b"b", b"a\x00", b"\xff", b"\t", b"a\xc2\x9b"]
    ),
    st.sampled_from([b"n" * 32, b"n" * 33, "é".encode() * 32, "é".encode() * 33, "\U0001d11e".encode() * 32]),
    NAMES.map(str.encode),
)
_PATHS = st.builds(
    lambda lead, segments, trail: lead + b"/".join(segments) + trail,
    st.sampled_from([b"/", b"/", b"/", b"", b"//"]),
    st.one_of(
        st.lists(_SEGMENTS, max_size=3),
        st.integers(60, 70).flatmap(lambda depth: st.lists(st.just(b"d"), min_size=depth, max_size=depth)),
    ),
    st.sampled_from([b"", b"", b"", b"/", b"//"]),
)
_TEXTS = st.one_of(
    CONTENTS,
    st.sampled_from([b"", b'"', b'""', b'"""', b'"x"', b"x\r", b"x\x00", b"\xff", b"\t", b" ", b"\xc2\x85"]),
    st.sampled_from([b"x" * 160, b"x" * 161, b'"' + b"x" * 160 + b'"', b'"' + b"x" * 161 + b'"', "é".encode() * 161]),
)

LINES = st.one_of(
    st.builds(
        lambda *parts: b"".join(parts),
        _WORDS,
        _GAPS,
        _PATHS,
        st.one_of(st.just(b""), st.tuples(_GAPS, _TEXTS).map(b"".join)),
    ),
    st.sampled_from([b"", b"", b"\r", b" ", b"\t"]),
    st.binary(max_size=40),
)

# All of it ASCII, as most requests are, and often just wrong: what a quick way for the usual must not mistake.
_ASCII_NAMES = st.one_of(
    st.text("ab.-~!", max_size=4), st.sampled_from([".", "..", "...", ".sttp", ".sttpx", "n" * 32, "n" * 33, "n" * 40])
)
ASCII_LINES = st.builds(
    lambda word, names, slash, contents: f"{word} /{'/'.join(names)}{slash}{contents}".encode(),
    st.sampled_from([action.value.decode() for action in Action]),
    st.lists(_ASCII_NAMES, max_size=3),
    st.sampled_from(["", "", "", "/"]),
    st.one_of(
        st.sampled_from(
            ["", "", " ", "  ", ' ""', ' "', " " + "x" * 160, " " + "x" * 161, f' "{"x" * 160}"', f' "{"x" * 161}"']
        ),
        st.text(' "ax~\x7f\t', max_size=6),
    ),
)

_LINE_ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r\r\n"])

# What one client may send: lines with their ends, and perhaps one that is cut short.
STREAMS = st.builds(
    lambda lines, rest: b"".join(lines) + rest,
    st.lists(st.tuples(LINES, _LINE_ENDS).map(b"".join), max_size=8),
    st.one_of(st.just(b""), LINES),
)

_STATUS_LINES = st.sampled_from(
    [
        b"100 /a CREATED",
        b"200 / OK",
        b"200 /a OK",
        b'300 - CLIENT ERROR "x"',
        b"310 /a FILENAME TOO LONG",
        b"400 /a NOT FOUND",
        b'500 /a SERVER ERROR ""',
        b"600 /a DELETED",
        b"200  OK",
        b"200 /a  OK",
        b"700 /a OK",
        b"100 /a OK",
        b"300 /a CLIENT ERROR",
        b'300 /a CLIENT ERROR "a"b"',
        b'100 /a CREATED "x"',
        b"",
        b"x",
        b"200 /\xff OK",
        b"200 /\t OK",
        b"\xff",
        b"1000 /a OK",
    ]
)

# What one server may send.
REPLY_STREAMS = st.builds(
    lambda lines, rest: b"".join(lines) + rest,
    st.lists(
        st.tuples(st.one_of(_STATUS_LINES, CONTENTS, LINES), st.sampled_from([b"\n", b"\r\n"])).map(b"".join),
        max_size=6,
    ),
    st.one_of(st.just(b""), _STATUS_LINES),
)

CUTS = st.lists(st.integers(0, 400), max_size=12)
