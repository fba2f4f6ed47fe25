"""The session's table (wire/states.py), every state with every event; first as data, then as what the parser does."""

from __future__ import annotations

import pytest
from wire_driver import drain

from sttp_reactor.wire.messages import Request, Status
from sttp_reactor.wire.parser import END_OF_SESSION, NEED_DATA, BadLine, RequestParser, Signal
from sttp_reactor.wire.states import TRANSITIONS, Event, SessionState

MAX_LINE = 40

# How a fresh parser gets into each state, and what makes each event: bytes, and whether the client half-closes.
INTO = {SessionState.FRESH: b"", SessionState.SERVING: b"SHOW /a\n", SessionState.ENDED: b"SHOW /a\n\n"}
EVENTS = {
    Event.LINE: [(b"SHOW /b\n", False), (b"nonsense\n", False), (b" \n", False), (b"\r\r\n", False)],
    Event.EMPTY_LINE: [(b"\n", False), (b"\r\n", False)],
    Event.LINE_TOO_LONG: [(b"x" * MAX_LINE, False), (b"x" * MAX_LINE + b"\n", False), (b"x" * 500, False)],
    Event.PROXY_HEADER: [(b"PROXY TCP4 1 2 3 4\r\nSHOW /b\n", False), (b"PROXY \n", False)],
    Event.END_OF_INPUT: [(b"", True), (b"SHOW /b", True), (b"\r", True)],
}
PAIRS = [(state, event) for state in SessionState for event in Event]


def parser_in(state: SessionState) -> RequestParser:
    parser = RequestParser(MAX_LINE)
    parser.receive_data(INTO[state])
    drain(parser)
    assert parser.state is state
    return parser


def test_the_table_has_a_row_for_every_pair_but_those_of_the_end() -> None:
    assert set(TRANSITIONS) == {(state, event) for state, event in PAIRS if state is not SessionState.ENDED}


def test_every_state_can_be_reached_and_left() -> None:
    assert set(TRANSITIONS.values()) == set(SessionState)
    for state in set(SessionState) - {SessionState.ENDED}:
        assert SessionState.ENDED in {TRANSITIONS[state, event] for event in Event}


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=lambda value: value.name)
def test_the_parser_follows_the_table(state: SessionState, event: Event) -> None:
    for data, half_closed in EVENTS[event]:
        parser = parser_in(state)
        parser.receive_data(data)
        if half_closed:
            parser.receive_eof()
        messages, signal = drain(parser)
        expected = TRANSITIONS.get((state, event), SessionState.ENDED)
        assert parser.state is expected
        assert signal is (END_OF_SESSION if expected is SessionState.ENDED else NEED_DATA)
        assert len(messages) == messages_expected(state, event, data)


def messages_expected(state: SessionState, event: Event, data: bytes) -> int:
    """One for each line that asks for something or is cut short; none for an empty one, and none after the end."""
    return int(state is not SessionState.ENDED and event is not Event.EMPTY_LINE and data != b"")


@pytest.mark.parametrize("state", SessionState)
def test_each_state_and_event_says_what_it_is(state: SessionState) -> None:
    assert state.value
    assert all(event.value for event in Event)


def test_the_end_is_the_end() -> None:
    parser = parser_in(SessionState.ENDED)
    for data in (b"SHOW /a\n", b"\n", b"x" * 500, b"SHOW"):
        parser.receive_data(data)
        assert (parser.next_message(), parser.buffered) == (END_OF_SESSION, 0)
    parser.receive_eof()
    assert parser.next_message() is END_OF_SESSION


def test_what_came_with_the_last_line_is_not_carried_out() -> None:
    parser = RequestParser()
    parser.receive_data(b"SHOW /a\n\nDELETE /a\nSHOW /b\n")
    assert isinstance(parser.next_message(), Request)
    assert parser.next_message() is END_OF_SESSION
    assert parser.buffered == 0


def test_what_came_after_a_line_too_long_is_not_carried_out() -> None:
    parser = RequestParser(MAX_LINE)
    parser.receive_data(b"x" * MAX_LINE + b"\nDELETE /a\n")
    message = parser.next_message()
    assert isinstance(message, BadLine)
    assert message.response.message == f"the line is too long; at most {MAX_LINE} bytes"
    assert parser.buffered == 0
    assert parser.next_message() is END_OF_SESSION


def test_half_closing_gives_out_what_was_received_first() -> None:
    parser = RequestParser()
    parser.receive_data(b"SHOW /a\nSHOW /b\nSHOW /c")
    parser.receive_eof()
    messages, signal = drain(parser)
    assert [message.path if isinstance(message, Request) else message.response.path for message in messages] == [
        b"/a",
        b"/b",
        b"-",
    ]
    assert signal is END_OF_SESSION


def test_the_end_of_input_is_no_refusal_when_nothing_is_cut_short() -> None:
    parser = RequestParser()
    parser.receive_eof()
    assert parser.next_message() is END_OF_SESSION


def test_a_refused_line_opens_the_session_as_a_request_does() -> None:
    parser = RequestParser()
    parser.receive_data(b"\n\nnonsense\n")
    message = parser.next_message()
    assert isinstance(message, BadLine)
    assert message.response.status is Status.CLIENT_ERROR
    parser.receive_data(b"\n")
    assert parser.next_message() is END_OF_SESSION


def test_signals_read_well() -> None:
    assert {signal.name for signal in Signal} == {"NEED_DATA", "END_OF_SESSION"}
