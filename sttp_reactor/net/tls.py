"""TLS as a layer: to the connection below it is a protocol, to the protocol above it is the transport.

    protocol  <- plain text ->  TlsLayer  <- records ->  Connection  <- the same ->  socket

Neither side knows: a `TlsFactory` stands where a listener or a connector wants a factory, and the protocols it makes
are told `connection_made` when the handshake is over.

What passes through, and how:

    bytes       what one `recv` brings is decrypted and handed on in one piece, if it is few records, else a piece a
                turn; what a turn writes is encrypted at its end, in one go, before the connection below sends it
    half-close  the peer's close_notify is `eof_received`, and so is a bare FIN: who rides on this layer knows from its
                own framing whether anything was cut off. We may go on writing after either
    close       what is buffered, then close_notify, then the connection below closes, and lingers
    pauses      pass straight through, both ways. While reading is paused nothing is decrypted
    failures    the alert is sent and the connection below closed. They are logged for debugging only, in OpenSSL's
                words, for anybody can make them

A handshake has a deadline, which begins with the connection. Its steps are dear, so they take turns (`Handshakes`).
Nobody above knows of a connection before its handshake is over.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from enum import Enum
from typing import Final

from sttp_reactor.net.protocol import Protocol, Transport
from sttp_reactor.net.reactor import Reactor
from sttp_reactor.net.timers import Timer
from sttp_reactor.net.tls_context import reason_of
from sttp_reactor.net.tls_handshakes import Handshakes
from sttp_reactor.net.tls_records import RECORD_BYTES, TlsRecords

log = logging.getLogger(__name__)

# The first byte of a connection that speaks TLS: a handshake record (RFC 8446, section 5.1).
_HANDSHAKE_RECORD: Final = 22


class State(Enum):
    HANDSHAKE = "nobody above us yet"
    OPEN = "both directions"
    HALF_CLOSED = "the peer sends no more; we still answer"
    CLOSED = "closed or failed; the connection below may still be sending"


_HANDSHAKE: Final = State.HANDSHAKE
_OPEN: Final = State.OPEN
_HALF_CLOSED: Final = State.HALF_CLOSED
_CLOSED: Final = State.CLOSED


class TlsFactory:
    """Makes the layers of one listener or connector. `handshakes` knows those that are not through yet."""

    def __init__(
        self,
        reactor: Reactor,
        context: Callable[[], ssl.SSLContext],
        factory: Callable[[], Protocol],
        handshakes: Handshakes | None = None,
        *,
        to_plain: bytes = b"",
        server_side: bool = True,
        server_hostname: str | None = None,
        on_failure: Callable[[Exception], None] | None = None,
    ) -> None:
        """`context()` is asked for each connection, `factory()` for a protocol when a handshake is over.

        `to_plain` is what a client is sent, in plain text, that does not begin with a handshake. A client's layers have
        `server_side=False`, and `server_hostname`, who the server has to be. `on_failure` is called for each connection
        that is gone before its handshake was over: a connector's has connected and knows no more.
        """
        self.reactor = reactor
        self.context = context
        self.make_protocol = factory
        self.handshakes = Handshakes(reactor) if handshakes is None else handshakes
        self.to_plain = to_plain
        self.server_side = server_side
        self.server_hostname = server_hostname
        self.on_failure = on_failure

    def __call__(self) -> Protocol:
        return TlsLayer(self)

    def make_records(self) -> TlsRecords:
        return TlsRecords(self.context(), server_side=self.server_side, server_hostname=self.server_hostname)


class TlsLayer:
    """One connection's TLS. A `net.protocol.Protocol` to the connection below, a `Transport` to the protocol above."""

    __slots__ = (
        "_below",
        "_deadline",
        "_error",
        "_fin_came",
        "_go_on_due",
        "_handshakes",
        "_has_begun",
        "_holding",
        "_is_queued",
        "_maker",
        "_protocol",
        "_reactor",
        "_reading_paused",
        "_records",
        "_unencrypted",
        "last_received",
        "peer",
        "peer_names",
        "state",
    )

    _below: Transport
    _deadline: Timer
    _records: TlsRecords
    peer: str
    last_received: float

    def __init__(self, maker: TlsFactory) -> None:
        self._maker = maker
        self._reactor = maker.reactor
        self._handshakes = maker.handshakes
        self._protocol: Protocol | None = None  # made when the handshake is over
        self.state = _HANDSHAKE
        self.peer_names: tuple[str, ...] = ()
        self._unencrypted: bytes | None = None  # what this turn has written; None when there is nothing
        self._error: Exception | None = None
        self._has_begun = False  # the peer's first byte has come
        self._is_queued = False  # for a step of the handshake
        self._fin_came = False  # from below: no more records
        self._reading_paused = False  # by the protocol
        self._holding = False  # something that has come must still be told, by `_go_on`
        self._go_on_due = False

    # -- From the connection --

    def connection_made(self, transport: Transport) -> None:
        self._below = transport
        self.peer = transport.peer
        self.last_received = transport.last_received
        self._deadline = self._handshakes.began(self)
        if not self._maker.server_side:
            self._records = self._maker.make_records()
            self._await_step()  # the client speaks first

    def data_received(self, data: bytes) -> None:
        state = self.state
        if state is _OPEN:
            self._records.receive(data)
            self._hand_on()
        elif state is _HANDSHAKE:
            self._receive_handshake(data)

    def eof_received(self) -> None:
        self._fin_came = True
        if self.state is _OPEN:
            self._tell_end()
        elif self.state is _HANDSHAKE and not self._is_queued:
            self._fail(ConnectionAbortedError("closed in the handshake"))

    def connection_lost(self, error: Exception | None) -> None:
        self._deadline.cancel()
        self.state = _CLOSED
        error = self._error or error
        protocol, self._protocol = self._protocol, None  # let go of it: see Connection
        if protocol is not None:
            protocol.connection_lost(error)
            return
        self._handshakes.lost(self)
        if self._maker.on_failure is not None:
            self._maker.on_failure(error or ConnectionAbortedError("closed in the handshake"))

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    # -- From the protocol --

    def write(self, data: bytes) -> None:
        if (self.state is not _OPEN and self.state is not _HALF_CLOSED) or not data:
            return
        if self._unencrypted is None:
            self._unencrypted = data
            self._reactor.unsent.append(self)
        else:
            self._unencrypted += data
        if len(self._unencrypted) >= RECORD_BYTES:
            # A full record gains nothing by waiting for the turn's end, and a protocol that writes until it is told to
            # pause has to be told before it has written everything.
            self.flush()

    def pause_reading(self) -> None:
        self._reading_paused = True
        self._update_reading()

    def resume_reading(self) -> None:
        if not self._reading_paused:
            return
        self._reading_paused = False
        if self._holding:
            self._go_on_later()
        else:
            self._update_reading()

    def local_address(self) -> str:
        return self._below.local_address()

    def bytes_unread(self) -> int:
        """Of records: more than the protocol will be given, and 0 where it will be given nothing."""
        return self._below.bytes_unread() + (self._records.bytes_held if self._holding else 0)

    def bytes_unsent(self) -> int:
        return self._below.bytes_unsent() + (0 if self._unencrypted is None else len(self._unencrypted))

    def close(self) -> None:
        self.flush()
        if self.state is _OPEN or self.state is _HALF_CLOSED:
            self._records.end()
            self._send_records()
        self.state = _CLOSED
        self._below.close()

    def abort(self) -> None:
        self.state = _CLOSED
        self._unencrypted = None
        self._below.abort()

    # -- From the reactor --

    def flush(self) -> None:
        """Encrypt what this turn has written. The reactor calls this at the turn's end, as it goes through `unsent`. To
        write the records puts the connection below at the end of that list, so it is flushed in the same pass."""
        data = self._unencrypted
        if data is None:
            return
        self._unencrypted = None
        try:
            records = self._records.encrypt(data)
        except ssl.SSLError as error:
            self._fail(error)
        else:
            self._below.write(records)

    # -- The handshake --

    def shake_hands(self) -> None:
        self._is_queued = False
        if self.state is _HANDSHAKE:
            self._guarded(self._take_step)

    def handshake_late(self) -> None:
        log.debug("%s: no TLS handshake within %g s", self.peer, self._handshakes.timeout)
        self._error = TimeoutError("no TLS handshake in time")
        self.abort()

    def _take_step(self) -> None:
        try:
            is_over = self._records.shake_hands()
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._send_records()
        if is_over:
            self._begin()
        elif self._records.has_more:
            self._await_step()
        elif self._fin_came:
            self._fail(ConnectionAbortedError("closed in the handshake"))
        else:
            self._below.resume_reading()

    def _receive_handshake(self, data: bytes) -> None:
        if not self._has_begun and data[0] != _HANDSHAKE_RECORD and self._maker.server_side:
            self._refuse_plain()
            return
        if not self._has_begun and self._maker.server_side:
            # Not when the connection came: who is let in is what holds when a handshake begins, however long before
            # somebody has connected. A reload may have changed it since.
            self._records = self._maker.make_records()
        self._has_begun = True
        self._records.receive(data)
        if self._is_queued:
            self._below.pause_reading()  # the rest waits in the kernel until it is our turn
        self._await_step()

    def _await_step(self) -> None:
        if not self._is_queued:
            self._is_queued = True
            self._handshakes.await_step(self)

    def _begin(self) -> None:
        """The handshake is over: from now on there is somebody above us."""
        self._deadline.cancel()
        self.state = _OPEN
        self.last_received = self._below.last_received
        self.peer_names = self._records.peer_names()
        self._handshakes.succeeded(self, resumed=self._records.was_resumed)
        self._protocol = self._maker.make_protocol()
        self._protocol.connection_made(self)
        if self._reading_paused:
            self._holding = True
        else:
            self._hand_on()  # the first bytes may have come with the last step
        self._update_reading()

    def _refuse_plain(self) -> None:
        log.debug("%s: speaks no TLS", self.peer)
        self._error = ConnectionAbortedError("the peer speaks no TLS")
        self.state = _CLOSED
        self._below.write(self._maker.to_plain)
        self._below.close()

    # -- Within --

    def _hand_on(self) -> None:
        """Give the protocol what can be decrypted in a turn, then the end where that has come."""
        records = self._records
        data = records.decrypt()
        if data and self._protocol is not None:
            self.last_received = self._below.last_received
            self._protocol.data_received(data)
        if records.has_news or self._fin_came:
            self._take_news()

    def _take_news(self) -> None:
        if self.state is _CLOSED:
            return  # the protocol has closed or aborted meanwhile
        records = self._records
        if records.error is not None:
            self._fail(records.error)
            return
        self._send_records()  # answers to KeyUpdates: they would pile up until the protocol has something to say
        if records.has_more:
            self._hold()
        elif records.ended or self._fin_came:
            self._tell_end()

    def _hold(self) -> None:
        """The rest of what has come is for later turns: not even a peer whose records are tiny keeps others waiting."""
        self._holding = True
        self._update_reading()
        if not self._reading_paused:
            self._go_on_later()

    def _tell_end(self) -> None:
        if self._reading_paused or self._holding:
            self._holding = True
        elif self.state is _OPEN and self._protocol is not None:
            self.state = _HALF_CLOSED
            self._protocol.eof_received()

    def _go_on_later(self) -> None:
        """Not now: the protocol may be in the middle of a call to us, or have had its share of this turn."""
        if not self._go_on_due:
            self._go_on_due = True
            later = self._reactor.call_next_turn if self._records.has_more else self._reactor.call_soon
            later(self._go_on)

    def _go_on(self) -> None:
        """Tell the protocol what was held back, unless it has paused reading; and only then have more read."""
        self._go_on_due = False
        if self._reading_paused or self.state is _CLOSED:
            return
        self._holding = False
        self._guarded(self._hand_on)
        self._update_reading()

    def _update_reading(self) -> None:
        """The one place, once the handshake is over, that says whether the connection below reads."""
        if self._reading_paused or self._holding:
            self._below.pause_reading()
        else:
            self._below.resume_reading()

    def _send_records(self) -> None:
        records = self._records.to_send()
        if records:
            self._below.write(records)

    def _fail(self, error: Exception) -> None:
        log.debug("%s: TLS failed: %s", self.peer, reason_of(error))
        self._error = error
        self._unencrypted = None
        self.state = _CLOSED
        if self._has_begun or not self._maker.server_side:
            self._send_records()  # the alert that says why
        self._below.close()

    def _guarded(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            log.exception("%s: the protocol failed; the connection is closed", self.peer)
            self.abort()

    def __repr__(self) -> str:
        return f"<TlsLayer {self.peer} {self.state.name} {self.bytes_unsent()} bytes to send>"
