"""What a request can come to, as small numbers, so that a latency and its outcome fit one dictionary key."""

from __future__ import annotations

OUTCOMES = (
    ("SHOW", 200),
    ("SHOW", 400),
    ("LIST", 200),
    ("CREATE", 100),
    ("CREATE", 300),
    ("UPDATE", 200),
    ("UPDATE", 400),
    ("DELETE", 600),
    ("DELETE", 400),
)
SHOW_200, SHOW_400, LIST_200, CREATE_100, CREATE_300, UPDATE_200, UPDATE_400, DELETE_600, DELETE_400 = range(9)
WRONG = 14  # answered, wrongly
UNSENT = 15  # scheduled, and never sent: the server was too far behind
OUTCOME_BITS = 4


def action_of(outcome: int) -> str:
    return OUTCOMES[outcome][0] if outcome < len(OUTCOMES) else {WRONG: "wrong", UNSENT: "unsent"}[outcome]


def label_of(outcome: int) -> str:
    """As in `SHOW 200`."""
    if outcome >= len(OUTCOMES):
        return action_of(outcome)
    return "{} {}".format(*OUTCOMES[outcome])
