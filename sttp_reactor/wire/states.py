"""The session as a table (PROTOCOL.md section 2): what each event does to it. A missing key is a bug of ours.

                     EMPTY_LINE                  END_OF_INPUT, LINE_TOO_LONG, PROXY_HEADER
                    .----------.                     .---------------------------.
                    v          |                     |                           v
                 FRESH --------'---- LINE ----> SERVING ---- EMPTY_LINE ----> ENDED
                    |                            ^   |                           ^
                    |                            '---' LINE                      |
                    '---- END_OF_INPUT, LINE_TOO_LONG, PROXY_HEADER -------------'

LINE is any line that asks for something, well-formed or refused. In ENDED nothing more is carried out: what still
arrives is dropped unread, so ENDED has no row.
"""

from __future__ import annotations

import enum
from typing import Final


class SessionState(enum.Enum):
    FRESH = "no request yet: empty lines are ignored"
    SERVING = "at least one request: an empty line ends the session"
    ENDED = "nothing after this is carried out"


class Event(enum.Enum):
    LINE = "a request, or a line that is refused"
    EMPTY_LINE = "a line with nothing on it"
    LINE_TOO_LONG = "more than max_line bytes without a line end"
    PROXY_HEADER = "a header of the PROXY protocol, from somebody who has no say in whom it speaks for"
    END_OF_INPUT = "the peer has half-closed"


TRANSITIONS: Final = {
    (SessionState.FRESH, Event.LINE): SessionState.SERVING,
    (SessionState.FRESH, Event.EMPTY_LINE): SessionState.FRESH,
    (SessionState.FRESH, Event.LINE_TOO_LONG): SessionState.ENDED,
    (SessionState.FRESH, Event.END_OF_INPUT): SessionState.ENDED,
    (SessionState.FRESH, Event.PROXY_HEADER): SessionState.ENDED,
    (SessionState.SERVING, Event.LINE): SessionState.SERVING,
    (SessionState.SERVING, Event.EMPTY_LINE): SessionState.ENDED,
    (SessionState.SERVING, Event.LINE_TOO_LONG): SessionState.ENDED,
    (SessionState.SERVING, Event.PROXY_HEADER): SessionState.ENDED,
    (SessionState.SERVING, Event.END_OF_INPUT): SessionState.ENDED,
}
