"""How much of a connection is buffered, read at a time and waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sttp_reactor.limits import HIGH_WATER_BYTES, LINGER_SECONDS, LOW_WATER_BYTES, READ_BYTES


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """One object may be shared by any number of connections. Raises ValueError for what makes no sense."""

    high_water: int = HIGH_WATER_BYTES
    """Bytes that wait to be sent. With more of them the protocol is told to pause, and nothing is read."""

    low_water: int = LOW_WATER_BYTES
    """With so few bytes left, or fewer, it resumes."""

    read_bytes: int = READ_BYTES
    """Read at most in one turn, so how long one peer's data keeps the others waiting. Bulk transfers are quicker with
    64 KiB and more, at the price of so much memory for a moment."""

    linger: float = LINGER_SECONDS
    """Seconds for which a closed connection drops what the peer still sends: a reset, which the system would answer
    with, can cost the peer our last words."""

    def __post_init__(self) -> None:
        if not 0 <= self.low_water <= self.high_water:
            raise ValueError(f"water marks need 0 <= low <= high, and are {self.low_water} and {self.high_water}")
        if self.read_bytes < 1:
            raise ValueError(f"read_bytes is at least 1, not {self.read_bytes}")
        if self.linger < 0:
            raise ValueError(f"linger is 0 or more seconds, not {self.linger}")


DEFAULT_LIMITS: Final = StreamLimits()
