"""What holds of a session between any two calls (the docstring of `sttp/session.py` says it in words)."""

from __future__ import annotations

from sttp_reactor.sttp.session import Session, Stage
from sttp_reactor.wire.messages import Action

_QUIET_STAGES = {Stage.IDLE}


def check(session: Session, *, is_reading: bool, is_closed: bool) -> None:
    """`is_reading` and `is_closed` are what the session has told its transport."""
    stage, slots = session.stage, session._slots
    if stage is Stage.GONE:
        assert slots == []
        return
    assert not session._quiet or (stage in _QUIET_STAGES and is_reading), f"quiet when {stage}"
    waiting = [slot for slot in slots if slot.reply is None]
    assert session._open == len(waiting)
    assert not slots or slots[0] in waiting, "a reply that is known and first has not been sent"
    asked = [slot.request.action for slot in waiting if slot.request is not None]
    assert len({action.is_write for action in asked}) <= 1, "reads and writes are under way together"
    assert Action.LIST not in asked or len(waiting) == 1, "a LIST is not alone"
    assert session._long is None or session._long is slots[0]
    assert session._held is None or not session._dry
    if stage is Stage.ENDING:
        assert slots or is_closed, "nothing is owed, and the connection stays open"
        return
    assert not is_closed
    if not session._dry:
        assert not is_reading, "it reads though it may not begin what it has"
        assert session._advance_due or session._awaiting_room or session._writing_paused or session._open, "it hangs"
    elif stage is not Stage.DRAINING:
        assert is_reading, "it does not read, though it is waiting for more"
    if session._line_began is not None:
        assert session._dry
        assert session._parser.buffered, "the time of a line runs that has not begun"
