"""What a process of the load tells its parent over their pipe. The parent says a start time, STOP, and CLEAN."""

from __future__ import annotations

from dataclasses import dataclass

STOP = "stop"  # at any time: no more requests
CLEAN = "clean"  # once every process is done: one that deleted its keys earlier would take them from the others


@dataclass(frozen=True, slots=True)
class Progress:
    """`stage` is "preparing" or "cleaning"; `done` is how many keys were finished since the last such message."""

    stage: str
    done: int


@dataclass(frozen=True, slots=True)
class Ready:
    """The process waits for a start: of the warm-up, if there is one, and of the measurement."""


@dataclass(frozen=True, slots=True)
class Tick:
    """What was measured between `since` and `until`, in seconds since the measurement began. The tallies are
    `latency.Tally`s; `wrong` is the count since the process began."""

    process: int
    since: float
    until: float
    response: dict[int, int]
    service: dict[int, int]
    lag: dict[int, int]
    wrong: int


@dataclass(frozen=True, slots=True)
class Done:
    """The load is over. `cpu` and `seconds` are this process's own, without the warm-up; `lost` are connections, of
    which the server `refused` some, by its words `refusal`."""

    cpu: float
    seconds: float
    wrong: int
    samples: list[str]
    lost: int
    refused: int = 0
    refusal: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing was measured."""

    message: str
    is_unreachable: bool = False


@dataclass(frozen=True, slots=True)
class Cleaned:
    """The last message of a process; `left` keys could not be deleted, and why."""

    left: int
    problem: str = ""


Message = Progress | Ready | Tick | Done | Failed | Cleaned
