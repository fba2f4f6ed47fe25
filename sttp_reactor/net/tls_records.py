"""TLS without a socket: records in, plain text out, and the other way round.

OpenSSL works on two buffers in memory. What it takes from the one and puts into the other is all there is to it, so
this can be driven by anything that moves bytes.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import Any, Final

# What a record holds at most (RFC 8446, section 5.1). To ask for less would leave the rest of one in OpenSSL.
RECORD_BYTES: Final = 16384


class TlsRecords:
    """One side of one TLS connection. `ended`: the peer will say no more; with `error`, because what it said last was
    broken. Bounded: at most what one `receive` brings and the beginning of one record wait in here."""

    __slots__ = ("_incoming", "_outgoing", "_ssl", "ended", "error")

    def __init__(self, context: ssl.SSLContext, *, server_side: bool, server_hostname: str | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._incoming, self._outgoing, server_side, server_hostname)
        self.ended = False
        self.error: ssl.SSLError | None = None

    def receive(self, records: bytes) -> None:
        self._incoming.write(records)

    @property
    def bytes_held(self) -> int:
        """Received and not decrypted yet."""
        return self._incoming.pending

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is over. Raises ssl.SSLError. There may be records to send, always."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def decrypt(self) -> bytes:
        """All the plain text there is, b"" for none; then `ended` and `error` say whether more can come."""
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
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

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
        """Who the peer has proved to be: the common name of its certificate, then its alternative names. Empty where it
        showed no certificate, or nobody has verified it."""
        certificate: Any = self._ssl.getpeercert() or {}
        attributes = [attribute for part in certificate.get("subject", ()) for attribute in part]
        common = [value for kind, value in attributes if kind == "commonName"]
        alternative = [value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str)]
        return tuple(dict.fromkeys(common + alternative))
