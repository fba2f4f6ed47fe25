"""TLS without a socket: records in, plain text out, and the other way round.

OpenSSL works on two buffers in memory. What it takes from the one and puts into the other is all there is to it, so
this can be driven by anything that moves bytes.

What OpenSSL is given at a time is cut where a record ends, so that its work is bounded however small the records are.
A record of TLS 1.3 does not show what it carries until it is decrypted. But each one with data makes one `read`, so
what makes none has carried something else: a KeyUpdate, as a rule, which is dear, and which OpenSSL takes and answers
without end.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Final

from sttp_reactor.limits import EMPTY_RECORDS, RECORDS_PER_EMPTY, RECORDS_PER_TURN

# What a record holds at most (RFC 8446, section 5.1). To ask for less would leave the rest of one in OpenSSL.
RECORD_BYTES: Final = 16384

# A record's head: one byte for its type, two for the version, two for the length of what follows.
_HEAD_BYTES: Final = 5
_MOST_ALLOWANCE: Final = EMPTY_RECORDS * RECORDS_PER_EMPTY


class _Borders:
    """Where the records of a stream end."""

    __slots__ = ("_head", "_left", "is_amid")

    def __init__(self) -> None:
        self.is_amid = False  # a record or its head has begun and not ended
        self._left = 0  # bytes to come of the record under way
        self._head = b""  # or what has come of the next record's head

    def cut(self, stream: bytes) -> tuple[int, int]:
        """Go on into `stream`, to the end of the RECORDS_PER_TURN-th record if there are as many: how many bytes that
        is, and how many records have ended in them."""
        known, count, border = len(self._head), 0, self._left
        if known:
            stream = self._head + stream
            self._head = b""
        size = len(stream)
        while border <= size:
            count += border > 0
            if count == RECORDS_PER_TURN or border + _HEAD_BYTES > size:
                break
            border += _HEAD_BYTES + (stream[border + 3] << 8 | stream[border + 4])
        self._left = max(0, border - size)
        if border < size and count < RECORDS_PER_TURN:
            self._head = stream[border:]
            border = size
        self.is_amid = bool(self._left or self._head)
        return min(border, size) - known, count


class TlsRecords:
    """One side of one TLS connection. `ended`: the peer will say no more; with `error`, because what it said last was
    broken, or much of what it said was nothing. `has_more`: more has been received than one turn may take.

    Bounded: at most what one `receive` brings and the beginning of one record wait in here."""

    __slots__ = ("_allowance", "_borders", "_incoming", "_outgoing", "_ssl", "_waiting", "ended", "error", "has_news")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self._borders = _Borders()
        self._waiting = b""  # received, and not for OpenSSL yet
        self._allowance = _MOST_ALLOWANCE  # of records without data; each takes RECORDS_PER_EMPTY
        self.has_news = False
        self.ended = False
        self.error: Exception | None = None

    def receive(self, records: bytes) -> None:
        """Does nothing else: `shake_hands` or `decrypt` follows."""
        self._waiting = self._waiting + records if self._waiting else records

    @property
    def has_more(self) -> bool:
        return bool(self._waiting)

    @property
    def bytes_held(self) -> int:
        """Received and not decrypted yet."""
        return self._incoming.pending + len(self._waiting)

    def _feed(self) -> int:
        """Give OpenSSL what one turn may take; how many records end in it."""
        waiting = self._waiting
        if not self._borders.is_amid and len(waiting) > 4 and len(waiting) == 5 + (waiting[3] << 8 | waiting[4]):
            self._waiting = b""  # one whole record, as nearly always
            self._incoming.write(waiting)
            return 1
        if not waiting:
            return 0
        end, count = self._borders.cut(waiting)
        self._waiting = waiting[end:]
        self._incoming.write(waiting[:end])
        return count

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is over. Raises ssl.SSLError. There may be records to send, always."""
        self._feed()
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self) -> bytes:
        """The plain text of what has come, b"" for none, of at most RECORDS_PER_TURN records. Where that was not all,
        `has_news` is True, and the other attributes say more."""
        count = self._feed()
        read, incoming = self._ssl.read, self._incoming
        pieces = []
        try:
            # To read once more than there is would cost an exception, a third of the whole.
            while incoming.pending:
                piece = read(RECORD_BYTES)
                if not piece:
                    self.ended = True  # by close_notify
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass  # the rest of a record is still to come
        except ssl.SSLError as error:
            # What came before it is sound and is given out: how it was split on the way must not matter.
            self.ended = True
            self.error = error
        self.has_news = count != len(pieces) or self.ended or bool(self._waiting) or self._allowance < _MOST_ALLOWANCE
        if self.has_news:
            self._account_for(count - len(pieces), len(pieces))
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _account_for(self, empty: int, full: int) -> None:
        self._allowance = min(self._allowance + full - max(empty, 0) * RECORDS_PER_EMPTY, _MOST_ALLOWANCE)
        if self._allowance < 0 and self.error is None:
            self.ended = True
            self.error = ConnectionAbortedError("too many TLS records without data")

    def encrypt(self, data: bytes) -> bytes:
        """The records that carry `data`, which is not empty. Raises ssl.SSLError."""
        if len(data) <= RECORD_BYTES:
            self._ssl.write(data)
            return self._outgoing.read()
        # In pieces, because the buffers keep the size they once had for as long as the connection lives.
        records = []
        with memoryview(data) as view:
            for start in range(0, len(data), RECORD_BYTES):
                with view[start : start + RECORD_BYTES] as piece:
                    self._ssl.write(piece)
                records.append(self._outgoing.read())
        return b"".join(records)

    def end(self) -> None:
        """Say that nothing more will come from us: a close_notify, which is then among the records to send."""
        with contextlib.suppress(ssl.SSLError):  # having written ours, it misses the peer's, which nobody waits for
            self._ssl.unwrap()

    def to_send(self) -> bytes:
        """Records that OpenSSL wants sent: of the handshake, alerts, session tickets."""
        return self._outgoing.read()

    @property
    def was_resumed(self) -> bool:
        return bool(self._ssl.session_reused)

    def peer_names(self) -> tuple[str, ...]:
        """Who the peer has proved to be: the common name of its certificate, then its DNS names. Other alternative
        names (e-mail, URI, address) are of other kinds: what an authority lets people choose there must not pass for a
        host. Empty where it showed no certificate, or nobody has verified it."""
        certificate: Any = self._ssl.getpeercert() or {}
        attributes = [attribute for part in certificate.get("subject", ()) for attribute in part]
        common = [value for kind, value in attributes if kind == "commonName"]
        alternative = [value for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS"]
        return tuple(dict.fromkeys(common + alternative))
