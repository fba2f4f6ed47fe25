"""One connection's conversation (PROTOCOL.md section 2): lines in, requests started, replies out in order.

Whoever knows the replies is an `answerer.Answerer`: the service of files, or a proxy.

A chunk of bytes goes one of two ways. The fast one: nothing is open on this connection, and every whole line that has
come is a SHOW whose reply is cached; then the joined replies are written at once. (A proxy has no cache; its fast way
takes such a chunk and answers it later, as one.) The slow one, for all else: the parser makes messages, each request
gets a slot, and slots are answered from the front as they fill. (A chunk that is one whole request line, come alone, is
handed to the slow way's middle: there is nothing to buffer.)

Requests of one connection take effect in their order. SHOWs may be under way together, and so may writes where the
answerer carries them out in the order it gets them; but a read waits for the writes before it and a write for the
reads. A LIST is under way alone: its reply may have megabytes, and a peer that reads nothing is to be owed one of them
at most. Such a reply is written in pieces, as the connection has room, and what it owes is told to the budget
(`unsent`).

`Stage` names where a conversation is. What holds between any two calls, whatever has happened (`tests/invariant.py`
looks after each):

* `_quiet` is true only when IDLE: it is what the fast way needs to know, kept in one place so that it costs one look;
* `_open` slots wait for the answerer, all of them reads or all of them writes, and a LIST alone;
* `_held` is a request that is parsed and could not be begun, and `_dry` false says that there may be more: then nothing
  is read, and somebody is going to call `_advance`: an answer that comes, the end of the turn, whoever makes room, or a
  peer that reads again;
* `_line_began` is set while the beginning of a line is all that is buffered, and its time runs;
* `_long`, while a LIST's reply is written in pieces, is the first slot;
* once `_ended`, the last reply closes the connection.
"""

from __future__ import annotations

import enum
import logging
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Final, NamedTuple

from sttp_reactor.limits import (
    IDLE_TIMEOUT,
    LEAST_REQUESTS_PER_TURN,
    MAX_LINE_BYTES,
    PIECE_BYTES,
    REQUEST_TIMEOUT,
    REQUESTS_IN_FLIGHT,
    REQUESTS_OF_ALL_PER_TURN,
    REQUESTS_PER_TURN,
)
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.timers import Timer
from sttp_reactor.printable import printable
from sttp_reactor.sttp.access import Policy, Rights
from sttp_reactor.sttp.access_log import AccessLog
from sttp_reactor.sttp.answerer import Answerer, no_replies
from sttp_reactor.sttp.counts import Answers
from sttp_reactor.sttp.slots import ListSlot, Slot
from sttp_reactor.sttp.unsent import Unsent
from sttp_reactor.wire.encoder import encode_response
from sttp_reactor.wire.messages import NO_PATH, Action, Request, Response, client_error
from sttp_reactor.wire.parser import NEED_DATA, BadLine, RequestParser
from sttp_reactor.wire.states import SessionState

log = logging.getLogger(__name__)

# A module's name is quicker than an enum's on CPython 3.11.
_LIST: Final = Action.LIST
_SHOW: Final = Action.SHOW
_SERVING: Final = SessionState.SERVING

# Where a connection that was busy a moment ago is closed at shutdown, its peer may still be sending: then closing
# lingers. One that has been silent for this long is closed at once.
_SILENT_SECONDS: Final = 1.0


class SessionLimits(NamedTuple):
    """Bytes and seconds; see PROTOCOL.md section 2 for what the times measure."""

    max_line: int = MAX_LINE_BYTES
    idle_timeout: float = IDLE_TIMEOUT
    request_timeout: float = REQUEST_TIMEOUT


class Stage(enum.Enum):
    """Where a conversation is. The first that holds, from the last to the first of these, is the one."""

    IDLE = "nothing is owed, and nothing has come that is not begun: the fast way is open"
    LINE = "nothing is owed, and the beginning of a line has come: its time is measured"
    BUSY = "replies are owed; of what has come, all is begun but perhaps the beginning of a line"
    HELD = "more has come than may be begun yet, or the peer reads no replies: nothing more is read"
    DRAINING = "the peer has half-closed, or the server stops: what had come by then is still begun"
    ENDING = "nothing more is begun; the connection is closed as soon as nothing is owed"
    GONE = "there is no connection any more"


class Session:
    """A `net.protocol.Protocol` that speaks STTP."""

    __slots__ = (
        "_access_log",
        "_advance_due",
        "_ahead",
        "_answerer",
        "_awaiting_room",
        "_dry",
        "_ended",
        "_held",
        "_input_ends",
        "_last_reply",
        "_limits",
        "_line_began",
        "_long",
        "_on_lost",
        "_on_timeout",
        "_open",
        "_open_action",
        "_parser",
        "_policy",
        "_quiet",
        "_reactor",
        "_refused",
        "_replies_to",
        "_rights",
        "_slots",
        "_timer",
        "_unsent",
        "_writing_paused",
        "is_gone",
        "transport",
    )

    transport: Transport
    _timer: Timer

    def __init__(
        self,
        reactor: Reactor,
        answerer: Answerer,
        limits: SessionLimits,
        on_lost: Callable[[Session], None],
        access_log: AccessLog | None = None,
        on_timeout: Callable[[Session, str], None] | None = None,
        policy: Policy | None = None,
        unsent: Unsent | None = None,
        refused: Answers | None = None,
    ) -> None:
        """`on_lost(session)` is called once, when the connection is gone; before that, where a time limit ends it,
        `on_timeout(session, name)` with the limit's name, such as `idle_timeout`. `policy` is None where everybody may
        do everything. `unsent` is the budget shared with other sessions, and `refused` counts the requests that
        `answerer` does not get to see; without, this one has its own."""
        self._reactor = reactor
        self._unsent = Unsent(reactor) if unsent is None else unsent
        self._refused: Answers = Counter() if refused is None else refused
        self._answerer = answerer
        self._policy = policy
        self._rights: Rights | None = None  # None: this peer may do everything
        self._use(limits, access_log)
        self._on_lost = on_lost
        self._on_timeout = on_timeout
        self._parser = RequestParser(limits.max_line)
        self._slots: list[Slot] = []  # replies owed, in order
        self._open = 0  # slots whose requests are with the answerer
        self._open_action = _LIST  # of the last one that was started
        self._long: ListSlot | None = None  # the first slot, while its reply is being written in pieces
        self._held: Request | None = None  # parsed, but it must wait for those before it, or for room
        self._quiet = False  # nothing is owed, held or half received: the fast way is open
        self._dry = True  # the parser has given out everything it could
        self._ended = False  # no further request will be started
        self.is_gone = False
        self._writing_paused = False
        self._awaiting_room = False
        self._advance_due = False
        self._input_ends = False  # half-closed, or shutting down: what is buffered is all there will be
        self._ahead: int | None = None  # at shutdown: bytes that had arrived by then and are still to be read
        self._line_began: float | None = None  # when the unfinished line's first byte came
        self._last_reply = reactor.now

    # -- From the connection --

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        log.debug("%s: connected", transport.peer)
        if self._policy is not None:
            self.use_policy(self._policy)
        self._timer = self._reactor.call_later(self._limits.idle_timeout, self._check_time)

    def data_received(self, data: bytes) -> None:
        if self._quiet:
            replies = self._replies_to(data, self._reactor.now)
            if replies:
                self.transport.write(replies)
                return
            if replies is not None:
                self._owe_chunk()
                return
            request = self._parser.sole_request(data)
            if request is not None:
                self._ask(request)
                return
        if self._ahead is not None:
            self._ahead -= len(data)
        if self._is_idle():
            data = self._answer_whole_lines(data)
        self._parser.receive_data(data)
        self._advance()

    def eof_received(self) -> None:
        self._parser.receive_eof()
        self._input_ends = True
        self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_gone = True
        # ETIMEDOUT is another matter: the peer's machine is gone. What the connection itself gives up has no number.
        if isinstance(error, TimeoutError) and error.errno is None:
            self._tell_timeout("write_timeout")
        log.debug("%s: closed%s", self.transport.peer, "" if error is None else f": {error}")
        self._timer.cancel()
        self._long = None
        self._unsent.settle(self)
        self._slots.clear()  # results that still come find a slot that nobody reads
        self._on_lost(self)

    def pause_writing(self) -> None:
        self._writing_paused = True
        self._quiet = False
        self._unsent.owe(self, self.transport.bytes_unsent(), b"" if self._long is None else self._long.whole)

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._last_reply = self._reactor.now  # until now it was being read
        if self._long is None:
            self._unsent.settle(self)
            self._advance()
        else:
            self._send_pieces(self._long)

    # -- From the answerer --

    @property
    def peer(self) -> str:
        return self.transport.peer

    @property
    def addresses(self) -> tuple[str, str]:
        return self.transport.peer, self.transport.local_address()

    def answered(self, replies: bytes) -> None:
        if not self.is_gone:
            # Nothing was owed when the fast way took its chunk, so its slot is the first one until now.
            self._answered(self._slots[0], replies)

    # -- From the budget --

    def give_up(self) -> None:
        self._tell_timeout("unsent")
        self.transport.abort()

    # -- From the server --

    def reconfigure(self, limits: SessionLimits, access_log: AccessLog | None) -> None:
        """Go on with these. The times hold at once, for what is under way too; `max_line` is the parser's, and holds
        for the next connection: a line that was within the limit when it was sent is not refused for a later one."""
        self._use(limits, access_log)
        if not self.is_gone:
            self._timer.cancel()
            self._check_time()

    def _use(self, limits: SessionLimits, access_log: AccessLog | None) -> None:
        self._limits = limits
        self._access_log = access_log
        self._choose_way()

    def use_policy(self, policy: Policy | None) -> None:
        """Go by these rules: for every request from now on, and for those that have come but are not begun."""
        self._policy = policy
        transport = self.transport
        self._rights = None if policy is None else policy.rights_of(transport.peer, transport.peer_names)
        self._choose_way()

    def _choose_way(self) -> None:
        # The fast way knows no single requests: an access log rules it out, and so do rules about what to read.
        reads_everything = self._rights is None or self._rights.reads_everything
        is_fast = reads_everything and self._access_log is None
        self._replies_to = self._answerer.fast_way(self) if is_fast else no_replies

    def drain(self) -> None:
        """Answer every whole request that has arrived by now, in the kernel's buffer too, then close."""
        self._input_ends = True
        self._ahead = self.transport.bytes_unread()
        silent = self._reactor.now - self.transport.last_received > _SILENT_SECONDS
        if self._quiet and silent and not self._ahead and not self.transport.bytes_unsent():
            self.transport.abort()  # nothing to lose, nothing to wait for
        else:
            self._advance()

    # -- Requests --

    def _answer_whole_lines(self, data: bytes) -> bytes:
        """Take the fast way with all of `data` but an unfinished line at its end, and with what is buffered of one at
        its beginning: a client that pipelines without end never sends a chunk of whole lines. Gives what is left."""
        end = data.rfind(b"\n") + 1
        if not end or (self._quiet and end == len(data)):
            return data  # a piece of a line; or it has been tried
        begun = self._parser.take_unfinished_line()
        if begun:
            data = begun + data
            end += len(begun)
        replies = self._replies_to(data[:end], self._reactor.now)
        if replies is None:
            return data
        self._line_began = None
        if replies:
            self.transport.write(replies)
        else:
            self._owe_chunk()
        return data[end:]

    def _owe_chunk(self) -> None:
        """The fast way has taken a chunk of SHOWs and will call `answered`: one slot holds the place of them all."""
        self._quiet = False
        self._open = 1
        self._open_action = _SHOW
        self._slots.append(Slot(None, None, self._reactor.now))

    def _ask(self, request: Request) -> None:
        """Start the one request of a connection that owes nothing: what `_advance` would come to, in half the time."""
        self._quiet = False
        if not self._start(request):
            self._held = request
            self._advance()
        elif not self._open:
            self._settle(fresh_line=False)

    def _advance(self) -> None:
        """Start what can be started, answer what can be answered, and settle how to go on."""
        self._dry = False
        self._quiet = False
        taken = 0
        most = max(LEAST_REQUESTS_PER_TURN, min(REQUESTS_PER_TURN, REQUESTS_OF_ALL_PER_TURN // self._reactor.busy))
        while not (self._ended or self.is_gone or self._writing_paused):
            if self._open and len(self._slots) >= REQUESTS_IN_FLIGHT:
                break
            if taken == most:
                self._advance_at_turn_end(next_turn=True)  # no event will come for what is already buffered
                break
            message = self._held or self._parser.next_message()
            if isinstance(message, Request):
                if not self._start(message):
                    self._held = message
                    break
                self._held = None
            elif isinstance(message, BadLine):
                self._refuse(None, message.response)
            elif message is NEED_DATA and (self._ahead is None or self._has_more_ahead(self._ahead)):
                self._dry = True
                break
            else:
                self._ended = True
            taken += 1
            if self._parser.state is _SERVING and not self._input_ends and not self._parser.buffered:
                self._dry = True  # what `next_message` would say, for less
                break
        if not self.is_gone:
            self._settle(fresh_line=taken > 0)

    def _has_more_ahead(self, ahead: int) -> bool:
        # Of what is encrypted, fewer bytes come out than had arrived: the last is known by there being no more.
        return ahead > 0 and self.transport.bytes_unread() > 0

    def _start(self, request: Request) -> bool:
        """Give the request a slot and see to its reply. False if it has to wait."""
        is_write = request.action.is_write
        if self._rights is not None:
            refusal = self._rights.refusal(request.path, is_write)
            if refusal is not None:
                self._refuse(request, client_error(request.path, refusal))
                return True
        action, other = request.action, self._open_action
        if self._open and (is_write is not other.is_write or action is _LIST or other is _LIST):
            return False
        if is_write and self._open and not self._answerer.keeps_order:
            return False
        if action is _LIST:
            return self._start_list(request)
        slot = Slot(request, self._answerer.cached(request), self._reactor.now)
        if slot.reply is None:
            if not self._answerer.start(request, partial(self._answered, slot), self):
                self._await_room(partial(self._answerer.when_room, request))
                return False
            self._open += 1
            self._open_action = action
        self._slots.append(slot)
        return True

    def _start_list(self, request: Request) -> bool:
        if not self._unsent.has_room:
            self._await_room(self._unsent.when_room)
            return False
        slot = ListSlot(request, self._reactor.now)
        if not self._answerer.start(request, partial(self._listed, slot), self):
            self._await_room(partial(self._answerer.when_room, request))
            return False
        self._open += 1
        self._open_action = _LIST
        self._slots.append(slot)
        return True

    def _refuse(self, request: Request | None, response: Response) -> None:
        """Owe this reply to a request that nobody else gets to see; `request` is None where the line was none."""
        reply = encode_response(response)
        self._slots.append(Slot(request, reply, self._reactor.now))
        self._refused[b"-" if request is None else request.action.word, reply[:3]] += 1
        if log.isEnabledFor(logging.DEBUG):
            log.debug("%s: answered %s", self.transport.peer, printable(reply.decode().rstrip()))

    def _await_room(self, when_room: Callable[[Callable[[], None]], None]) -> None:
        if not self._awaiting_room:
            self._awaiting_room = True
            when_room(self._room_made)

    def _room_made(self) -> None:
        self._awaiting_room = False
        self._advance()

    def _answered(self, slot: Slot, reply: bytes) -> None:
        slot.reply = reply
        self._open -= 1
        if self.is_gone:
            return
        if slot is self._slots[0]:
            self._flush()
        if not self._dry:
            self._advance_at_turn_end()  # others of this batch first: then there is one advance for all of them
        else:
            self._quiet = self._line_began is None and self._is_idle()

    def _listed(self, slot: ListSlot, reply: bytes) -> None:
        if len(reply) <= PIECE_BYTES or self.is_gone:
            self._answered(slot, reply)
            return
        slot.whole = reply
        self._long = slot  # the first one of all: whatever was asked before a LIST has been answered before it began
        if self._writing_paused:
            self._unsent.owe(self, self.transport.bytes_unsent(), reply)
        else:
            self._send_pieces(slot)

    def _send_pieces(self, slot: ListSlot) -> None:
        """Write until the connection has enough of it, which is when the peer reads more slowly than we write."""
        while not self._writing_paused:
            piece = slot.next_piece()
            if slot.is_all_written:
                self._long = None
                self._unsent.settle(self)
                self._answered(slot, piece)
                return
            self.transport.write(piece)

    def _advance_at_turn_end(self, *, next_turn: bool = False) -> None:
        if not self._advance_due:
            self._advance_due = True
            (self._reactor.call_next_turn if next_turn else self._reactor.call_at_turn_end)(self._advance_now)

    def _advance_now(self) -> None:
        self._advance_due = False
        self._advance()

    def _settle(self, *, fresh_line: bool) -> None:
        if self._slots:
            self._flush()
        if self._ended and not self._slots:
            self.transport.close()
            return
        if not self._dry:
            self.transport.pause_reading()
            self._line_began = None
            return
        self.transport.resume_reading()
        if not self._parser.buffered:
            self._line_began = None
        elif fresh_line or self._line_began is None:
            self._line_began = self._reactor.now
            self._check_no_later_than(self._line_began + self._limits.request_timeout)
        self._quiet = self._line_began is None and self._is_idle()

    def _is_idle(self) -> bool:
        """Nothing is owed or under way, and nothing is buffered but perhaps an unfinished line."""
        return (
            self._dry
            and not self._slots
            and not self._writing_paused
            and not self._input_ends
            and self._parser.state is _SERVING
        )

    def _flush(self) -> None:
        """Send the replies at the front of the queue that are known."""
        slots = self._slots
        if len(slots) == 1 and (only := slots[0].reply) is not None and self._access_log is None:
            slots.clear()  # what the rest comes to, for the connection that asks one thing at a time
            self._last_reply = self._reactor.now
            self.transport.write(only)
            return
        known = 0
        for slot in slots:
            if slot.reply is None:
                break
            known += 1
            if self._access_log is not None:
                self._access_log.record(slot.access(self.transport.peer, self._reactor.clock()))
        if known:
            self._last_reply = self._reactor.now
            self.transport.write(b"".join([slot.reply or b"" for slot in slots[:known]]))
            del slots[:known]

    # -- Time --

    def _check_no_later_than(self, deadline: float) -> None:
        if self._timer.deadline > deadline:
            self._timer.cancel()
            self._timer = self._reactor.call_at(deadline, self._check_time)

    def _check_time(self) -> None:
        now = self._reactor.now
        if self._line_began is not None:
            deadline = self._line_began + self._limits.request_timeout
        elif self._slots or not self._dry or self._writing_paused:
            deadline = now + self._limits.idle_timeout  # its peer waits for us, or is busy with what we have sent
        else:
            deadline = max(self.transport.last_received, self._last_reply) + self._limits.idle_timeout
        if now < deadline:
            self._timer = self._reactor.call_at(deadline, self._check_time)
            return
        if self._line_began is not None:
            seconds = f"{self._limits.request_timeout:g}"
            reply = client_error(NO_PATH, f"the request line did not end within {seconds} s")
            self._refuse(None, reply)  # behind what is still open
            self._tell_timeout("request_timeout")
        else:
            self._tell_timeout("idle_timeout")
        self._ended = True
        self._advance()

    def _tell_timeout(self, name: str) -> None:
        if self._on_timeout is not None:
            self._on_timeout(self, name)

    @property
    def is_unused(self) -> bool:
        """Nothing has ever come: whoever has asked something, and is owed nothing, is quiet."""
        return self.stage is Stage.IDLE and not self._quiet

    def is_at_rest(self, since: float) -> bool:
        """Nothing is owed, and nothing has come since then (the reactor's clock, in seconds)."""
        return self._dry and not self._slots and self.transport.last_received <= since

    @property
    def stage(self) -> Stage:
        if self.is_gone:
            return Stage.GONE
        if self._ended:
            return Stage.ENDING
        if self._input_ends:
            return Stage.DRAINING
        if not self._dry or self._writing_paused:
            return Stage.HELD
        if self._slots:
            return Stage.BUSY
        return Stage.IDLE if self._line_began is None else Stage.LINE

    def __repr__(self) -> str:
        owed = f"{len(self._slots)} replies owed, {self._open} requests open"
        return f"<Session {self.transport.peer}: {self.stage.name.lower()}, {owed}>"
