"""One connected stream socket: its two buffers, its water marks, and the way it closes.

Reading: what one `recv` gives goes straight to the protocol; the read buffer proper is the protocol's parser.
Writing: what a turn writes is kept until the turn's end and sent then, all of it at once, before the selector is
asked anything; only what the kernel does not take waits for writability. That saves the selector's two system calls
for every reply that fits the socket's buffer, which is nearly all of them. Sending in one go at the end, and not
from `write`, lets all sockets be read before any peer is woken: 3.6 us a request became 2.9 us, and 152,000 requests
a second 214,000, since a peer that is woken once finds many replies (50 connections, cached SHOWs).

Closing is a process; `net/states.py` has its stages as a table.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import socket
import sys
import termios
from collections.abc import Callable
from typing import Final

from sttp_reactor.limits import FIRST_READ_BYTES, WRITE_TIMEOUT
from sttp_reactor.net.address import format_sockaddr
from sttp_reactor.net.protocol import Protocol, Transport
from sttp_reactor.net.reactor import READ, WRITE, Reactor
from sttp_reactor.net.states import TRANSITIONS, Event, State
from sttp_reactor.net.stream_limits import DEFAULT_LIMITS, StreamLimits
from sttp_reactor.net.timers import Timer

log = logging.getLogger(__name__)

# Bytes offered to the kernel in one send. How many it takes depends on its own buffer; this bound keeps one call from
# copying for long.
_SEND_BYTES: Final = 1 << 20


# Looking a member up in its enum takes 60 ns on CPython 3.11, and every read and write asks for these.
_OPEN: Final = State.OPEN
_HALF_CLOSED: Final = State.HALF_CLOSED

_DROPPING: Final = frozenset({State.DRAINING, State.LINGERING})
_ENDING: Final = frozenset({State.DRAINING, State.FLUSHING})


class _Nobody:
    """The protocol of a connection that has lost its own."""

    def connection_made(self, transport: Transport) -> None: ...
    def data_received(self, data: bytes) -> None: ...
    def eof_received(self) -> None: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...


_NOBODY: Final = _Nobody()


class Connection:
    """A socket on a reactor, and the protocol it serves. It is the protocol's transport.

    Never identified by its descriptor: numbers are reused as soon as a socket is closed.
    """

    __slots__ = (
        "_blocked",
        "_interest",
        "_limits",
        "_linger_timer",
        "_on_released",
        "_outgoing",
        "_progress_timer",
        "_protocol",
        "_reactor",
        "_read_bytes",
        "_reading_paused",
        "_sock",
        "_write_timeout",
        "_writing_paused",
        "last_received",
        "last_sent",
        "peer",
        "state",
    )

    peer_names: tuple[str, ...] = ()

    def __init__(
        self,
        reactor: Reactor,
        sock: socket.socket,
        make_protocol: Callable[[], Protocol],
        peer: str = "",
        write_timeout: float = WRITE_TIMEOUT,
        on_released: Callable[[str], None] | None = None,
        limits: StreamLimits = DEFAULT_LIMITS,
    ) -> None:
        """Takes over `sock`, which is connected and non-blocking, and calls the protocol's `connection_made`.

        All or nothing: where this raises (OSError for a socket that the reactor cannot watch, or whatever
        `make_protocol` raises), nothing is registered, `sock` is still the caller's to close, and no protocol has been
        made that waits for a connection. `on_released(peer)` is called once, when the socket has been closed, which may
        be before this returns.
        """
        self._reactor = reactor
        self._sock = sock
        self.peer = peer
        self.state = State.OPEN
        self.last_received = self.last_sent = reactor.now
        self._write_timeout = write_timeout
        self._on_released = on_released
        # What is still to be sent; None when there is nothing, so that ten thousand idle connections hold no buffer.
        # Bytes until the turn's end; a bytearray once the kernel has refused some of it and writability is awaited.
        self._outgoing: bytes | bytearray | None = None
        self._blocked = False
        self._limits = limits
        self._read_bytes = min(FIRST_READ_BYTES, limits.read_bytes)
        self._reading_paused = False  # by the protocol
        self._writing_paused = False  # by the water marks
        self._linger_timer: Timer | None = None
        self._progress_timer: Timer | None = None  # while something waits to be sent
        self._interest = READ
        reactor.register(sock, READ, self)
        try:
            self._protocol = protocol = make_protocol()
        except BaseException:
            reactor.unregister(sock)
            raise
        try:
            protocol.connection_made(self)
        except Exception:
            self._protocol_failed()

    # -- From the reactor --

    def on_readable(self) -> None:
        if not self._interest & READ:
            return  # closed, paused or above the mark since the wait, by another's handler
        try:
            data = self._sock.recv(self._read_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._move(Event.LOST, error)
            return
        if not data:
            self._on_eof()
        elif self.state is _OPEN:
            self.last_received = self._reactor.now
            if len(data) == FIRST_READ_BYTES:
                data = self._read_more(data)
            self._reactor.bytes_received += len(data)
            try:
                self._protocol.data_received(data)
            except Exception:
                self._protocol_failed()

    def _read_more(self, data: bytes) -> bytes:
        """This peer says a lot at a time: read the rest of it, and from now on with one call."""
        if self._read_bytes == FIRST_READ_BYTES:
            self._read_bytes = self._limits.read_bytes
            with contextlib.suppress(OSError):  # nothing more, or lost: the next read will tell
                data += self._sock.recv(self._read_bytes - len(data))
        return data

    def on_writable(self) -> None:
        outgoing = self._outgoing
        if not isinstance(outgoing, bytearray):
            return
        try:
            with memoryview(outgoing) as view, view[:_SEND_BYTES] as piece:
                sent = self._sock.send(piece)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._move(Event.LOST, error)
            return
        self.last_sent = self._reactor.now
        self._reactor.bytes_sent += sent
        del outgoing[:sent]
        if not outgoing:
            self._outgoing = None
            self._blocked = False
        resumes = self._writing_paused and len(outgoing) <= self._limits.low_water
        if resumes:
            self._writing_paused = False
        self._update_interest()
        if self._outgoing is None:
            self._close_if_ending()
        if resumes and (self.state is _OPEN or self.state is _HALF_CLOSED):
            self._tell(self._protocol.resume_writing)

    def flush(self) -> None:
        """Send what this turn has written. The reactor calls it at the turn's end."""
        outgoing = self._outgoing
        if outgoing is None or self._blocked:
            return  # lost since, or flushed already
        try:
            sent = self._sock.send(outgoing)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            self._move(Event.LOST, error)
            return
        self._reactor.bytes_sent += sent
        if sent == len(outgoing):
            self._outgoing = None
            if self.state is not _OPEN:
                self._close_if_ending()
            return
        self._outgoing = bytearray(memoryview(outgoing)[sent:])
        self._blocked = True
        self._watch_progress()
        if not self._maybe_pause_writing():
            self._update_interest()

    # -- From the protocol --

    def hand_over(self, protocol: Protocol, peer: str, data: bytes) -> None:
        """Go on with another protocol, for another `peer`: to be called by the present one, from its `data_received`.
        Of that, `data` is for the new one, which is told of its connection first. The present one is told nothing
        more."""
        self.peer = peer
        self._protocol = protocol
        protocol.connection_made(self)
        if data and self.state is _OPEN:
            protocol.data_received(data)

    def local_address(self) -> str:
        try:
            return format_sockaddr(self._sock.family, self._sock.getsockname())
        except OSError:
            return ""

    def write(self, data: bytes) -> None:
        """Send `data` after whatever already waits. Nothing is sent once `close` or `abort` has been called."""
        if self.state is not _OPEN and self.state is not _HALF_CLOSED:
            return
        if self._outgoing is None:
            self._outgoing = data
            self._reactor.unsent.append(self)
        else:
            self._outgoing += data
            if len(self._outgoing) > self._limits.high_water:
                # This cannot wait for the turn's end: a protocol that writes until it is told to pause has to be told
                # before it has written everything.
                self.flush()
                self._maybe_pause_writing()

    def pause_reading(self) -> None:
        if not self._reading_paused:
            self._reading_paused = True
            self._update_interest()

    def resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._update_interest()

    def bytes_unread(self) -> int:
        if self.state is not State.OPEN:
            return 0
        unread = fcntl.ioctl(self._sock, termios.FIONREAD, bytes(4))
        return int.from_bytes(unread, sys.byteorder)

    def bytes_unsent(self) -> int:
        return len(self._outgoing) if self._outgoing is not None else 0

    def close(self) -> None:
        self._move(Event.CLOSE)
        if self._outgoing is None:
            self._close_if_ending()

    def abort(self) -> None:
        self._move(Event.LOST)

    # -- Within --

    def _close_if_ending(self) -> None:
        if self.state in _ENDING:
            self._move(Event.FLUSHED)

    def _maybe_pause_writing(self) -> bool:
        if self._writing_paused or not self._blocked or len(self._outgoing or b"") <= self._limits.high_water:
            return False
        self._writing_paused = True
        self._update_interest()
        if self.state is _OPEN or self.state is _HALF_CLOSED:
            self._tell(self._protocol.pause_writing)
        return True

    def _on_eof(self) -> None:
        was_open = self.state is _OPEN
        self._move(Event.PEER_EOF)
        if was_open:
            self._tell(self._protocol.eof_received)

    def _tell(self, callback: Callable[[], None]) -> None:
        try:
            callback()
        except Exception:
            self._protocol_failed()

    def _protocol_failed(self) -> None:
        log.exception("%s: the protocol failed; the connection is closed", self.peer)
        self._move(Event.LOST)

    def _move(self, event: Event, error: Exception | None = None) -> None:
        state = TRANSITIONS.get((self.state, event))
        if state is None:
            return
        self.state = state
        if state is State.CLOSED:
            self._release(error)
            return
        if state is State.LINGERING:
            self._start_lingering()
        if self.state is not State.CLOSED:
            self._update_interest()

    def _start_lingering(self) -> None:
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            self._move(Event.LOST, error)
        else:
            self._linger_timer = self._reactor.call_later(self._limits.linger, lambda: self._move(Event.PATIENCE_OVER))

    def _release(self, error: Exception | None) -> None:
        if self._interest:
            self._reactor.unregister(self._sock)
            self._interest = 0
        self._sock.close()
        self._blocked = True  # nothing more is sent; what never was is known until the protocol has been told
        for timer in (self._linger_timer, self._progress_timer):
            if timer is not None:
                timer.cancel()
        if self._on_released is not None:
            self._on_released(self.peer)
        # The protocol is told in a call of its own, because it may be in the middle of one to us.
        self._reactor.call_soon(lambda: self._part(error))

    def _part(self, error: Exception | None) -> None:
        """Tell the protocol, and let go of it. What it knows of is freed now, and need not be found by a garbage
        collection: one that looks at some ten thousand connections takes 50 ms."""
        protocol, self._protocol = self._protocol, _NOBODY
        try:
            protocol.connection_lost(error)
        finally:
            self._outgoing = None

    def _update_interest(self) -> None:
        """Tell the selector, if there is news. No interest at all means no registration: selectors knows no zero."""
        if self.state is State.CLOSED:
            return
        if self.state is _OPEN:
            reading = not (self._reading_paused or self._writing_paused)
        else:
            reading = self.state in _DROPPING  # what arrives is dropped, so no protocol has a say in it
        interest = (READ if reading else 0) | (WRITE if self._blocked else 0)
        if interest == self._interest:
            return
        try:
            if not self._interest:
                self._reactor.register(self._sock, interest, self)
            elif not interest:
                self._reactor.unregister(self._sock)
            else:
                self._reactor.set_interest(self._sock, interest, self)
        except OSError as error:
            self._move(Event.LOST, error)  # a socket that the selector does not watch would stay open for ever
        else:
            self._interest = interest

    def _watch_progress(self) -> None:
        self.last_sent = self._reactor.now
        if self._progress_timer is None:
            self._progress_timer = self._reactor.call_later(self._write_timeout, self._check_progress)

    def _check_progress(self) -> None:
        """Abort if nothing of what waits could be sent for `write_timeout`; otherwise look again when it could be."""
        self._progress_timer = None
        if not self._blocked:
            return
        deadline = self.last_sent + self._write_timeout
        if self._reactor.now >= deadline:
            self._move(Event.LOST, TimeoutError("the peer reads nothing"))
        else:
            self._progress_timer = self._reactor.call_at(deadline, self._check_progress)

    def __repr__(self) -> str:
        return f"<Connection {self.peer} {self.state.name} {self.bytes_unsent()} bytes to send>"
