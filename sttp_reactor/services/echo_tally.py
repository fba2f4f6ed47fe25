"""What came back of what was sent: counted, and timed. No clock and no socket: whoever calls says when it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

# The number of what came and is none of ours, or is not as it was sent.
FOREIGN: Final = -1


class Tally:
    """Messages are numbered from 0, in the order they are sent. Times are seconds.

    Each number that was sent is one of: received (once or more), lost (not yet after `timeout`), or awaited. A number
    may be taken for lost and come after all: then it is received, and late.
    """

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.late = 0
        """Numbers that were received, but first after more than `timeout`."""
        self.duplicated = 0
        """What came again, each time."""
        self.out_of_order = 0
        """Numbers that were first received after a later one."""
        self.foreign = 0
        """What came and is none of ours, or not as it was sent."""
        self.round_trips: list[float] = []
        """Of each number received, at its first coming."""
        self._sent_at: list[float] = []
        self._is_received = bytearray()
        self._newest = -1  # the highest number received
        self._first_waiting = 0  # no number below it is awaited

    @property
    def sent(self) -> int:
        return len(self._sent_at)

    @property
    def received(self) -> int:
        return len(self.round_trips)

    def send(self, now: float) -> int:
        """The number to send now."""
        self._sent_at.append(now)
        self._is_received.append(False)
        return len(self._sent_at) - 1

    def receive(self, number: int, now: float) -> None:
        if not 0 <= number < len(self._sent_at):
            self.foreign += 1
        elif self._is_received[number]:
            self.duplicated += 1
        else:
            self._is_received[number] = True
            round_trip = now - self._sent_at[number]
            self.round_trips.append(round_trip)
            self.late += round_trip > self.timeout
            self.out_of_order += number < self._newest
            self._newest = max(self._newest, number)

    def awaited(self, now: float) -> int:
        """Numbers that are not received yet, and not too late either. `now` does not go back from call to call."""
        while self._first_waiting < len(self._sent_at) and (
            self._is_received[self._first_waiting] or now - self._sent_at[self._first_waiting] > self.timeout
        ):
            self._first_waiting += 1
        return self._is_received.count(0, self._first_waiting)

    def report(self, now: float) -> list[str]:
        """Lines for a person to read."""
        awaited = self.awaited(now)
        lost = self.sent - self.received - awaited
        share = f" ({lost / (self.sent - awaited):.1%})" if lost else ""
        counts = [f"sent {self.sent}", f"received {self.received}", f"lost {lost}{share}", f"late {self.late}"]
        counts += [f"duplicated {self.duplicated}", f"out of order {self.out_of_order}"]
        if awaited:
            counts.insert(3, f"awaited {awaited}")
        if self.foreign:
            counts.append(f"wrong {self.foreign}")
        lines = [", ".join(counts)]
        if self.round_trips:
            trips = sorted(self.round_trips)
            figures = [("min", trips[0]), ("p50", percentile(trips, 50)), ("p99", percentile(trips, 99))]
            figures.append(("max", trips[-1]))
            lines.append(f"round trips: {', '.join(f'{name} {milliseconds(trip)}' for name, trip in figures)}")
        return lines


def percentile(ordered: Sequence[float], share: int) -> float:
    """The smallest value that at least `share` % of all values do not exceed. `ordered` is sorted and not empty."""
    return ordered[max(0, math.ceil(len(ordered) * share / 100) - 1)]


def milliseconds(seconds: float) -> str:
    """With three digits, as ping does: 0.042 ms, 12.3 ms, 1230 ms."""
    value = 1000 * seconds
    digits = 3 if value < 10 else 1 if value < 1000 else 0
    return f"{value:.{digits}f} ms"
