"""One budget for what peers have asked for and do not read, all connections together.

Each connection's write buffer has its bound, but ten thousand of them have none together, and a LIST's reply may be
megabytes. So a session tells here what it owes once its peer has fallen behind: the bytes in its connection's buffer,
and the long reply of which only a part is there. A reply that several sessions send is counted once, as it is one
object.

Beyond the budget no LIST is begun: whoever asks for one waits. Peers that have been owed something for longer than
UNSENT_PATIENCE_SECONDS then lose their connections, those who are owed most first, until the rest is within the budget.
Peers that read, however slowly, lose nothing as long as there is room.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

from sttp_reactor.limits import UNSENT_BYTES, UNSENT_PATIENCE_SECONDS
from sttp_reactor.net.loop import Loop, Timer

_NO_REPLY: Final = b""


class Debtor(Protocol):
    """A session whose peer has fallen behind. Hashable by its identity."""

    def give_up(self) -> None:
        """Close the connection at once; what it owes is lost."""


class _Debt(NamedTuple):
    since: float
    buffered: int
    reply: bytes

    @property
    def size(self) -> int:
        return self.buffered + len(self.reply)


class Unsent:
    """The budget. All methods belong to the loop's thread."""

    def __init__(self, loop: Loop, most: int = UNSENT_BYTES) -> None:
        self._loop = loop
        self._most = most
        self._debts: dict[Debtor, _Debt] = {}  # in the order in which they came to be
        self._holders: dict[int, int] = {}  # by a reply's `id`, which is its own as long as a debt holds it
        self._total = 0
        self._waiting: deque[Callable[[], None]] = deque()
        self._timer: Timer | None = None  # while the total is over the budget

    @property
    def total(self) -> int:
        """Bytes. A connection that goes on reading owes less than this says, and never more."""
        return self._total

    @property
    def has_room(self) -> bool:
        return self._total <= self._most

    def when_room(self, callback: Callable[[], None]) -> None:
        """Call once, when there is room again; there may be none any more when the callback runs, so look."""
        self._waiting.append(callback)

    def owe(self, debtor: Debtor, buffered: int, reply: bytes = _NO_REPLY) -> None:
        """`debtor` has `buffered` bytes in its connection's buffer, and will write the rest of `reply` when it may.
        Replaces what it has owed before, and takes over since when."""
        before = self._debts.get(debtor)
        if before is not None:
            self._subtract(before)
        debt = self._debts[debtor] = _Debt(self._loop.now if before is None else before.since, buffered, reply)
        self._add(debt)
        if not self.has_room:
            self._collect()
        elif before is not None:
            self._tell_of_room()

    def settle(self, debtor: Debtor) -> None:
        """It owes nothing any more. Harmless where it never has."""
        debt = self._debts.pop(debtor, None)
        if debt is not None:
            self._subtract(debt)
            self._tell_of_room()

    def __repr__(self) -> str:
        return f"<Unsent {self._total} bytes to {len(self._debts)} peers, {len(self._waiting)} waiting>"

    # -- Within --

    def _add(self, debt: _Debt) -> None:
        holders = self._holders.get(id(debt.reply), 0)
        self._holders[id(debt.reply)] = holders + 1
        self._total += debt.buffered + (0 if holders else len(debt.reply))

    def _subtract(self, debt: _Debt) -> None:
        holders = self._holders.pop(id(debt.reply)) - 1
        if holders:
            self._holders[id(debt.reply)] = holders
        self._total -= debt.buffered + (0 if holders else len(debt.reply))

    def _tell_of_room(self) -> None:
        for _ in range(len(self._waiting)):  # one that finds no room may be put at the end again
            if not self.has_room:
                return
            self._waiting.popleft()()

    def _collect(self) -> None:
        """There is no room: those go who have had their time, and look again when the next one has."""
        if self._timer is not None:
            return
        latest = self._loop.now - UNSENT_PATIENCE_SECONDS
        overdue = [debtor for debtor, debt in self._debts.items() if debt.since <= latest]
        overdue.sort(key=lambda debtor: self._debts[debtor].size, reverse=True)
        for debtor in overdue:
            if self.has_room:
                return
            self.settle(debtor)
            debtor.give_up()
        if not self.has_room:
            oldest = next(iter(self._debts.values())).since
            pause = max(0.0, oldest + UNSENT_PATIENCE_SECONDS - self._loop.now)
            self._timer = self._loop.call_later(pause, self._collect_again)

    def _collect_again(self) -> None:
        self._timer = None
        if not self.has_room:
            self._collect()
