"""How a connection closes, as a table. A missing key means that the event changes nothing.

`close()` means "when all is said". The stages:

    OPEN --PEER_EOF--> HALF_CLOSED --CLOSE--> FLUSHING --FLUSHED--> CLOSED
      '----CLOSE--> DRAINING --PEER_EOF--------^   LINGERING --PEER_EOF, PATIENCE_OVER--> CLOSED
                        '------FLUSHED-------------^              LOST, from anywhere, --> CLOSED

LINGERING: our side is shut down, the peer's is not. Closing now, over bytes that nobody has read, would make the
kernel send a reset, and a reset may overtake our last reply. So the rest is read and dropped, for a short while.
"""

from __future__ import annotations

import enum
from typing import Final


class State(enum.Enum):
    OPEN = "both directions"
    HALF_CLOSED = "the peer sends no more; we still answer"
    DRAINING = "we close once all is sent; the peer may still send"
    FLUSHING = "we close once all is sent; the peer sends no more"
    LINGERING = "all is sent and our side shut; waiting for the peer to close"
    CLOSED = "gone"


class Event(enum.Enum):
    PEER_EOF = "recv gave nothing"
    CLOSE = "close() was called"
    FLUSHED = "the write buffer is empty"
    PATIENCE_OVER = "it has lingered for long enough"
    LOST = "the socket failed, or abort() was called"


TRANSITIONS: Final = {
    (State.OPEN, Event.PEER_EOF): State.HALF_CLOSED,
    (State.OPEN, Event.CLOSE): State.DRAINING,
    (State.HALF_CLOSED, Event.CLOSE): State.FLUSHING,
    (State.DRAINING, Event.PEER_EOF): State.FLUSHING,
    (State.DRAINING, Event.FLUSHED): State.LINGERING,
    (State.FLUSHING, Event.FLUSHED): State.CLOSED,
    (State.LINGERING, Event.PEER_EOF): State.CLOSED,
    (State.LINGERING, Event.PATIENCE_OVER): State.CLOSED,
    (State.OPEN, Event.LOST): State.CLOSED,
    (State.HALF_CLOSED, Event.LOST): State.CLOSED,
    (State.DRAINING, Event.LOST): State.CLOSED,
    (State.FLUSHING, Event.LOST): State.CLOSED,
    (State.LINGERING, Event.LOST): State.CLOSED,
}
