"""What holds for any bytes in any pieces. The first line of each test is its invariant; a failure prints its seed."""

from __future__ import annotations

import pytest
from corpus_files import Case, all_cases
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_driver import Message, cut_at, drain, in_pieces, messages_of
from wire_oracle import Verdict, judge, judge_all
from wire_strategies import ASCII_LINES, CUTS, LINES, REPLY_STREAMS, STREAMS, paths, requests, responses

from sttp_reactor.errors import LocalError, RemoteError
from sttp_reactor.wire.encoder import encode_request, encode_response
from sttp_reactor.wire.grammar import check_request_line, parse_request_line
from sttp_reactor.wire.messages import Action, Request, Response, Status
from sttp_reactor.wire.parser import END_OF_SESSION, NEED_DATA, BadLine, RequestParser, ResponseParser, Signal
from sttp_reactor.wire.states import SessionState

ANY_STREAM = st.one_of(STREAMS, st.binary(max_size=300))
# Small ones, so that lines that are too long are as common as those that are not; and the real one.
MAX_LINES = st.sampled_from([1, 2, 8, 20, 64, 8192])


# How each check's message is known; the texts may change, but two checks may never read alike.
STAGES = [
    ("too long", "the line is too long"),
    ("no end", "has no end"),
    *(
        ("form", mark)
        for mark in ["UTF-8", "control characters", "begins with a space", "no path", "exactly one space"]
    ),
    ("action", "unknown action"),
    *(
        ("path", mark)
        for mark in [
            "begin with /",
            "empty segment",
            ". or .. segment",
            "too deep",
            "server's own",
            "names a directory",
        ]
    ),
    *(("contents", mark) for mark in ["takes nothing", "contents are missing", "contents are too long"]),
]


def stage_of(message: Message) -> str:
    """Which check refused the line, read from the reply; "" for a request."""
    if isinstance(message, Request):
        return ""
    status, _, _, text = message.response
    if status is Status.FILENAME_TOO_LONG:
        return "name"
    found = [stage for stage, mark in STAGES if mark in (text or "")]
    assert len(found) == 1, f"{found} fit {text!r}"
    return found[0]


def verdict_of(message: Message) -> Verdict:
    if isinstance(message, BadLine):
        return Verdict(stage_of(message), message.response.path.decode())
    contents = None if message.contents is None else message.contents.decode()
    return Verdict("", message.path.decode(), message.action.value.decode(), contents)


@given(st.one_of(ASCII_LINES, LINES.filter(lambda line: line and b"\n" not in line)))
@settings(max_examples=120)
def test_a_line_is_judged_as_by_the_oracle(line: bytes) -> None:
    """By the quick way that usual lines take, and by the checks one by one."""
    for parse in (parse_request_line, check_request_line):
        parsed = parse(line)
        assert verdict_of(parsed if isinstance(parsed, Request) else BadLine(parsed)) == judge(line), parse


@given(st.one_of(ASCII_LINES, requests().map(encode_request).map(bytes.rstrip), LINES))
@settings(max_examples=120)
def test_the_quick_way_changes_nothing(line: bytes) -> None:
    assert parse_request_line(line) == check_request_line(line)


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_the_quick_way_changes_nothing_in_the_corpus(case: Case) -> None:
    for line in case.requests.split(b"\n"):
        assert parse_request_line(line) == check_request_line(line)


@given(ANY_STREAM, MAX_LINES)
@settings(max_examples=150)
def test_a_session_is_judged_as_by_the_oracle(data: bytes, max_line: int) -> None:
    messages, _, last_messages = messages_of([data], max_line)
    assert [verdict_of(message) for message in messages + last_messages] == judge_all(data, max_line)


@given(ANY_STREAM, CUTS, MAX_LINES)
@settings(max_examples=120)
def test_any_split_gives_the_same_messages(data: bytes, cuts: list[int], max_line: int) -> None:
    whole = messages_of([data], max_line)
    assert messages_of(in_pieces(data, 1), max_line) == whole
    assert messages_of(cut_at(data, cuts), max_line) == whole


@given(ANY_STREAM, CUTS)
def test_pieces_that_wait_give_the_same_messages(data: bytes, cuts: list[int]) -> None:
    """As above, with a reader who takes only one message between two pieces (a session that is waiting for room)."""
    parser = RequestParser()
    messages: list[Message] = []
    for piece in cut_at(data, cuts):
        parser.receive_data(piece)
        if not isinstance(message := parser.next_message(), Signal):
            messages.append(message)
    parser.receive_eof()
    whole, _, last = messages_of([data])
    assert messages + drain(parser)[0] == whole + last


@given(st.lists(ANY_STREAM, max_size=6), MAX_LINES)
@settings(max_examples=120)
def test_any_bytes_give_messages_in_bounded_memory(pieces: list[bytes], max_line: int) -> None:
    """Only Request, BadLine and signals come out; no more than a line and a chunk is held; the end is the end."""
    parser = RequestParser(max_line)
    for piece in pieces:
        parser.receive_data(piece)
        assert parser.buffered <= max_line - 1 + len(piece)
        messages, signal = drain(parser)
        assert all(isinstance(message, Request | BadLine) for message in messages)
        assert parser.buffered < max_line
        assert (signal is END_OF_SESSION) is (parser.state is SessionState.ENDED)
        if signal is END_OF_SESSION:
            assert parser.buffered == 0
    parser.receive_eof()
    last_messages, signal = drain(parser)
    assert len(last_messages) <= 1
    assert signal is END_OF_SESSION
    parser.receive_data(b"SHOW /a\n")
    assert (parser.buffered, parser.next_message()) == (0, END_OF_SESSION)


@given(ANY_STREAM)
def test_replies_to_any_bytes_are_replies(data: bytes) -> None:
    """Whatever is refused, its reply has one of two statuses, keeps to section 3, and a client reads it back."""
    messages, _, last_messages = messages_of([data])
    for message in messages + last_messages:
        if isinstance(message, BadLine):
            response = message.response
            assert response.status in (Status.CLIENT_ERROR, Status.FILENAME_TOO_LONG)
            assert '"' not in (response.message or "")
            assert (response.message or "x").isprintable()
            assert response.path
            assert read_back(encode_response(response)) == [response]


@given(requests())
def test_a_request_survives_encoding(request: Request) -> None:
    messages, _, last_messages = messages_of([encode_request(request)])
    assert (messages, last_messages) == ([request], [])


@given(
    st.sampled_from(Action), st.one_of(st.binary(max_size=40), paths()), st.one_of(st.none(), st.binary(max_size=200))
)
@settings(max_examples=120)
def test_encoding_any_request_is_exact_or_refused(action: Action, path: bytes, contents: bytes | None) -> None:
    """Never is anything sent that a server would take for something else."""
    request = Request(action, path, contents)
    try:
        line = encode_request(request)
    except LocalError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, and this is one of them
        return
    assert messages_of([line]) == ([request], False, [])


@given(st.lists(responses(), max_size=4), CUTS)
@settings(max_examples=200)
def test_replies_survive_encoding_in_any_split(replies: list[Response], cuts: list[int]) -> None:
    data = b"".join(map(encode_response, replies))
    assert read_back(data) == replies
    assert read_back(*cut_at(data, cuts)) == replies
    assert read_back(*in_pieces(data, 1)) == replies


@given(st.one_of(REPLY_STREAMS, ANY_STREAM), CUTS)
@settings(max_examples=120)
def test_any_bytes_from_a_server_are_replies_or_an_error(data: bytes, cuts: list[int]) -> None:
    """Split as it may be: the same replies, then the same end. What is accepted is exactly what was sent."""
    whole = read_all([data])
    assert read_all(in_pieces(data, 1)) == whole
    assert read_all(cut_at(data, cuts)) == whole
    replies, _ = whole
    accepted = b"".join(map(encode_response, replies))
    assert data.replace(b"\r\n", b"\n").startswith(accepted)


def read_back(*pieces: bytes) -> list[Response]:
    replies, end = read_all(pieces)
    assert end is END_OF_SESSION
    return replies


def read_all(pieces: list[bytes] | tuple[bytes, ...]) -> tuple[list[Response], Signal | str]:
    """Replies of a server that sends `pieces` and closes; then END_OF_SESSION, or the error's text."""
    parser = ResponseParser()
    replies: list[Response] = []
    try:
        for piece in pieces:
            parser.receive_data(piece)
            while isinstance(message := parser.next_message(), Response):
                replies.append(message)
            assert message is NEED_DATA
        parser.receive_eof()
        end = parser.next_message()
    except RemoteError as error:
        return replies, str(error)
    assert isinstance(end, Signal)
    return replies, end


def test_the_oracle_knows_the_published_example() -> None:
    assert judge(b"CREATE /a Buy milk") == Verdict("", "/a", "CREATE", "Buy milk")
    assert judge(b"SHOW /invalidpath/file") == Verdict("", "/invalidpath/file", "SHOW")


@pytest.mark.parametrize("max_line", [1, 2, 3, 10])
def test_only_the_limit_counts(max_line: int) -> None:
    """A line is too long by its bytes, its line end among them, however they come."""
    for length in range(1, 15):
        line = b"x" * (length - 1) + b"\n"
        too_long = length > max_line
        messages, closed, _ = messages_of(in_pieces(line, 1), max_line)
        assert closed is too_long
        assert [stage_of(message) == "too long" for message in messages] == ([] if length == 1 else [too_long])
