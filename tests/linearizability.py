"""Is there one order of effects that explains every reply? A checker of histories, for any server of STTP.

A history is what clients asked and were answered, with the times between which each request was under way. It is
linearizable (Herlihy and Wing, 1990) where each request can be given one instant within its time at which it took
effect, so that the effects, in that order, give exactly the replies that were seen. PROTOCOL.md section 2 asks for
that: a request sees every change acknowledged before it was sent, and whatever anybody has been shown before.
Files are independent of each other, so each path is checked by itself (the property is local).

The search is Wing and Gong's (1993), just in time as in Lowe (2017): the events are taken in the order of time, and
all states are kept that the file could be in, each with those of the requests under way that have had their effect.
When a reply comes, every state must account for it: those that cannot are dropped, and where none is left, this reply
has no explanation. A request that changes nothing (a SHOW, or what was refused) takes effect as soon as it fits: that
loses no order, and keeps the states few.

A request whose outcome nobody knows (the connection was lost, or the reply was a 500) has happened once, at any time
after it was sent, or not at all.
"""

from __future__ import annotations

import heapq
import itertools
import math
import re
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

# The contents of a file, or None where there is no file.
State = bytes | None

_REQUEST = re.compile(rb"(CREATE|SHOW|UPDATE|DELETE) (\S+)(?: (.*))?")


class Call(NamedTuple):
    """One request about one file, and what became of it. Times are in seconds on one clock for all clients."""

    client: int
    action: str
    path: bytes
    contents: bytes | None  # of a CREATE or UPDATE
    reply: bytes | None  # None where the outcome is not known
    called: float  # before the request was sent
    returned: float  # after the whole reply had come; infinity where the outcome is not known

    def __str__(self) -> str:
        text = b"" if self.contents is None else b" " + self.contents
        answer = "no reply" if self.reply is None else repr(self.reply)
        when = f"{self.called:.6f}..{self.returned:.6f}"
        return f"{when} client {self.client}: {self.action} {self.path.decode()}{text.decode()} -> {answer}"


class Violation(NamedTuple):
    """The first reply of a path that nothing explains."""

    call: Call
    possible: list[State]  # what the file could have held just before the reply came
    beside: list[Call]  # requests under way at that time, those of unknown outcome among them

    def __str__(self) -> str:
        lines = [f"no order of effects explains {self.call}", f"  the file could have held: {self.possible}"]
        return "\n".join([*lines, *(f"  beside it: {call}" for call in self.beside)])


def violations(history: Iterable[Call], initial: Mapping[bytes, bytes] | None = None) -> list[Violation]:
    """One for each path whose replies have no explanation. `initial` are the files that were there at the beginning."""
    by_path: defaultdict[bytes, list[Call]] = defaultdict(list)
    for call in history:
        by_path[call.path].append(call)
    found = (_first_violation(calls, (initial or {}).get(path)) for path, calls in sorted(by_path.items()))
    return [violation for violation in found if violation is not None]


# -- One path --


class _Configuration(NamedTuple):
    """A state the file can be in, and the requests under way that have had their effect: their numbers, as they were
    sent. Those of unknown outcome stay under way for ever and are kept apart: where two configurations differ in
    these only, the one with fewer of them can do all that the other can, and need not."""

    state: State
    answered: frozenset[int]
    unknown: frozenset[int]


def _first_violation(calls: list[Call], initial: State) -> Violation | None:
    calls = sorted(calls, key=lambda call: call.called)
    under_way: dict[int, Call] = {}
    last_shown = _last_shown(calls)
    configurations = [_Configuration(initial, frozenset(), frozenset())]
    for is_return, number in _events(calls):
        if not is_return:
            if calls[number].action != "SHOW" or calls[number].reply is not None:  # else it explains nothing
                under_way[number] = calls[number]
            continue
        for other in [each for each in under_way if _is_past(under_way[each], calls[number].returned, last_shown)]:
            del under_way[other]
        accounted = _account_for(number, configurations, under_way)
        call = under_way.pop(number)
        if not accounted:
            possible = sorted({configuration.state for configuration in configurations}, key=repr)
            return Violation(call, possible, list(under_way.values()))
        configurations = [each._replace(answered=each.answered - {number}) for each in accounted]
    return None


def _last_shown(calls: list[Call]) -> dict[bytes, float]:
    """When each text was last shown, by the whole reply."""
    shown: dict[bytes, float] = {}
    for call in calls:
        if call.action == "SHOW" and call.reply is not None and call.reply.startswith(b"200"):
            text = call.reply.partition(b"\n")[2].removesuffix(b"\n")
            shown[text] = max(call.returned, shown.get(text, 0.0))
    return shown


def _is_past(call: Call, now: float, last_shown: Mapping[bytes, float]) -> bool:
    """Whether it no longer matters if it happens: an UPDATE of unknown outcome whose text nobody is shown any more.
    Everything but a SHOW only asks whether there is a file, and that is the same before an UPDATE and after it."""
    return call.reply is None and call.action == "UPDATE" and last_shown.get(call.contents or b"", -math.inf) < now


def _events(calls: list[Call]) -> Iterator[tuple[bool, int]]:
    """(whether it is a return, the call's number), in the order of time. Of those in the same instant the calls come
    first: two requests that may have overlapped are taken to have done so."""
    events = [(call.called, False, number) for number, call in enumerate(calls)]
    events += [(call.returned, True, number) for number, call in enumerate(calls) if call.returned < math.inf]
    return ((is_return, number) for _, is_return, number in sorted(events))


def _account_for(
    number: int, configurations: Iterable[_Configuration], under_way: Mapping[int, Call]
) -> list[_Configuration]:
    """The configurations that can be reached from these and in which `number` has had its effect; each is as little
    ahead as possible: what need not have happened for that reply is left for later."""
    accounted: list[_Configuration] = []
    seen: defaultdict[tuple[State, frozenset[int]], list[frozenset[int]]] = defaultdict(list)
    order = itertools.count()
    waiting = [(len(each.unknown), next(order), _settle(each, under_way)) for each in configurations]
    heapq.heapify(waiting)  # with few of unknown outcome first, so that those with more are found to add nothing
    while waiting:
        configuration = heapq.heappop(waiting)[2]
        state, answered, unknown = configuration
        alike = seen[state, answered]
        if any(fewer <= unknown for fewer in alike):
            continue
        alike.append(unknown)
        if number in answered:
            accounted.append(configuration)
            continue
        for after in _successors(configuration, under_way):
            heapq.heappush(waiting, (len(after.unknown), next(order), _settle(after, under_way)))
    return accounted


def _successors(configuration: _Configuration, under_way: Mapping[int, Call]) -> Iterator[_Configuration]:
    state, answered, unknown = configuration
    has_deleted = False
    for number, call in under_way.items():
        if number not in answered and number not in unknown:
            if call.reply is None and call.action == "DELETE":
                if has_deleted:
                    continue  # of two that both may happen at any time, either will do
                has_deleted = True
            for after in _effects(call, state):
                if call.reply is None:
                    yield _Configuration(after, answered, unknown | {number})
                else:
                    yield _Configuration(after, answered | {number}, unknown)


def _settle(configuration: _Configuration, under_way: Mapping[int, Call]) -> _Configuration:
    """With the effect of everything under way that fits this state and does not change it."""
    state, answered, unknown = configuration
    fitting = {
        number
        for number, call in under_way.items()
        if number not in answered and call.reply is not None and state in _effects(call, state)
    }
    return _Configuration(state, answered | fitting, unknown)


def _effects(call: Call, state: State) -> tuple[State, ...]:
    """The states that `call` can leave where it meets `state`; none where its reply says that it met another one."""
    if call.reply is None:
        return _done(call, state)
    code, _, rest = call.reply.partition(b" ")
    if call.action == "SHOW":
        if code == b"200":
            return (state,) if state is not None and rest == b"%b OK\n%b\n" % (call.path, state) else ()
        return (state,) if state is None else ()
    if code in (b"100", b"200", b"600"):
        return _done(call, state)
    is_fitting = state is not None if call.action == "CREATE" else state is None
    return (state,) if is_fitting else ()


def _done(call: Call, state: State) -> tuple[State, ...]:
    """The state after the change, where it can be made."""
    if call.action == "CREATE":
        return (call.contents,) if state is None else ()
    if state is None:
        return ()
    return (call.contents,) if call.action == "UPDATE" else (None,)


# -- Recording --


class History:
    """What several clients have asked, each in a thread of its own, in the order in which the replies came."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.calls: list[Call] = []
        self._clock = clock
        self._lock = threading.Lock()

    def ask(self, client: int, line: bytes, ask: Callable[[bytes], bytes]) -> bytes | None:
        """Have `ask(line)` sent and answered, and record it; None where the outcome is not known, because it raised
        OSError or AssertionError (a connection that ended in the middle of a reply), or the reply was a 500."""
        match = _REQUEST.fullmatch(line)
        assert match is not None, line
        called = self._clock()
        try:
            reply: bytes | None = ask(line)
        except (OSError, AssertionError):
            reply = None
        if reply is not None and reply.startswith(b"500"):
            reply = None
        returned = math.inf if reply is None else self._clock()
        action, path, contents = match.groups()
        with self._lock:
            self.calls.append(Call(client, action.decode(), path, contents, reply, called, returned))
        return reply

    def check(self, initial: Mapping[bytes, bytes] | None = None) -> None:
        """Raises AssertionError with the first reply of each path that nothing explains."""
        found = violations(self.calls, initial)
        assert not found, "\n".join(map(str, found))
