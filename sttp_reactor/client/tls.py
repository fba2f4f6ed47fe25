"""TLS for the client: whom it trusts, who it is, and a socket that speaks it.

A TLS socket is used as a plain one is, without blocking, with two differences that stay in here: what it would have
to wait for is a BlockingIOError, as it is for a plain one, and what OpenSSL says is put into words.
"""

from __future__ import annotations

import contextlib
import errno
import math
import socket
import ssl
import time
from typing import Any, Final

from sttp_reactor.client.connecting import Note
from sttp_reactor.client.url import Endpoint
from sttp_reactor.client.waiting import READABLE, WRITABLE, Poll, make_poll
from sttp_reactor.errors import CannotConnect, ConnectTimedOut, HostUnknown, LocalError, NotTrusted, TlsFailed

# What a server answers that takes our first record for a line of its own protocol, or that has hung up on it.
_PLAIN: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"})


class ClientTls:
    """Shared by all connections of a client, and by several clients if one likes. Sessions are resumed."""

    def __init__(
        self,
        *,
        cacert: str | None = None,
        cert: str | None = None,
        key: str | None = None,
        insecure: bool = False,
    ) -> None:
        """All are names of PEM files. `cacert` are the authorities to trust, None those of the system; `cert` is shown
        to servers that ask, its `key` may be in the same file. `insecure` trusts anybody: whoever can come between can
        read and change everything. Raises LocalError for a file that cannot be used."""
        if insecure and cacert is not None:
            raise LocalError("trusting a given authority and trusting anybody contradict each other")
        if key is not None and cert is None:
            raise LocalError("a key is of no use without its certificate")
        self._context = make_context(cacert, insecure=insecure)
        if cert is not None:
            _load_own(self._context, cert, key)
        self._sessions: dict[Endpoint, ssl.SSLSession] = {}

    def shake_hands(self, sock: socket.socket, endpoint: Endpoint, deadline: float, note: Note) -> TlsSocket:
        """TLS on `sock`, connected and non-blocking, which is closed where that fails. `deadline` is on the monotonic
        clock. Raises ConnectTimedOut, NotTrusted, TlsFailed, or CannotConnect where the connection was lost.
        """
        try:
            tls = self._wrap(sock, endpoint)
        except BaseException:
            sock.close()
            raise
        try:
            _finish_handshake(tls, endpoint, deadline)
        except BaseException:
            tls.close()
            raise
        note(_description(tls))
        return TlsSocket(tls, endpoint, self._sessions)

    def _wrap(self, sock: socket.socket, endpoint: Endpoint) -> ssl.SSLSocket:
        try:
            return self._context.wrap_socket(
                sock,
                do_handshake_on_connect=False,
                server_hostname=_certified_name(endpoint.host),
                session=self._sessions.get(endpoint),
            )
        except ValueError as error:  # a name that no certificate can hold, though the resolver may have taken it
            raise HostUnknown(f"{endpoint.host} is no name for TLS: {error}") from error
        except OSError as error:
            raise CannotConnect(f"cannot connect to {endpoint}: {error.strerror}") from error


def _certified_name(host: str) -> str:
    """What a certificate calls `host`. A zone says which of our own interfaces leads there, and a dot at the end that
    the resolver is to append nothing: neither is part of the name."""
    return host.partition("%")[0].removesuffix(".")


class TlsSocket:
    """What `client.exchange` needs of a socket. `sessions` is where to leave the session when all is over."""

    def __init__(self, sock: ssl.SSLSocket, endpoint: Endpoint, sessions: dict[Endpoint, ssl.SSLSession]) -> None:
        self._sock = sock
        self._endpoint = endpoint
        self._sessions = sessions
        self._has_heard = False  # anything that the server said after its handshake

    def fileno(self) -> int:
        return self._sock.fileno()

    def send(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None

    def recv(self, size: int) -> bytes:
        """As that of a plain socket, and `size` should have room for a record. Raises TlsFailed for a server that is
        through with us before it has said anything, as in TLS 1.3 it is when it does not like our certificate."""
        try:
            data = self._sock.recv(size)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLError as error:
            if not self._has_heard and "ALERT" in (error.reason or ""):
                raise _failure(error, self._endpoint) from error
            raise OSError(errno.EPROTO, f"TLS: {_reason(error)}") from error
        self._has_heard = True
        return data

    def close(self) -> None:
        """Say goodbye, and close."""
        if self._sock.fileno() >= 0:
            if self._sock.session is not None and self._has_heard:  # TLS 1.3 sends what it takes with the first reply
                self._sessions[self._endpoint] = self._sock.session
            with contextlib.suppress(OSError, ValueError):
                self._sock.unwrap()
            self._sock.close()


def make_context(cacert: str | None, *, insecure: bool = False) -> ssl.SSLContext:
    """A client's. Raises LocalError for a file that cannot be used."""
    try:
        context = ssl.create_default_context(cafile=cacert)
    except ssl.SSLError as error:
        raise LocalError(f"{cacert} is not a certificate in PEM form") from error
    except OSError as error:
        raise LocalError(f"cannot read {cacert}: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load_own(context: ssl.SSLContext, cert: str, key: str | None) -> None:
    for name in (cert, key or cert):
        try:
            open(name, "rb").close()
        except (OSError, ValueError) as error:
            raise LocalError(f"cannot read {name}: {getattr(error, 'strerror', error)}") from error
    try:
        context.load_cert_chain(cert, key)  # which asks at the terminal for the passphrase of an encrypted key
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise LocalError(f"the key {key} does not belong to the certificate {cert}") from error
        files = cert if key is None else f"{cert} and {key}"
        raise LocalError(f"{files}: not a certificate and its key in PEM form") from error


def _finish_handshake(tls: ssl.SSLSocket, endpoint: Endpoint, deadline: float) -> None:
    poll = make_poll()
    poll.register(tls.fileno(), READABLE)
    try:
        _shake_hands(tls, endpoint, deadline, poll)
    finally:
        poll.close()


def _shake_hands(tls: ssl.SSLSocket, endpoint: Endpoint, deadline: float, poll: Poll) -> None:
    while True:
        try:
            tls.do_handshake()
            return
        except ssl.SSLWantReadError:
            interest = READABLE
        except ssl.SSLWantWriteError:
            interest = WRITABLE
        except ssl.SSLError as error:
            raise _failure(error, endpoint) from error
        except OSError as error:
            raise CannotConnect(f"lost the connection to {endpoint} in the TLS handshake: {error.strerror}") from error
        poll.modify(tls.fileno(), interest)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(math.ceil(left * 1000)):
            raise ConnectTimedOut(f"timed out in the TLS handshake with {endpoint}")


def _failure(error: ssl.SSLError, endpoint: Endpoint) -> CannotConnect:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotTrusted(f"cannot trust {endpoint}: {error.verify_message.rstrip('.')}")
    reason = error.reason or ""
    if reason in _PLAIN:
        return TlsFailed(f"{endpoint} does not speak TLS")
    if reason.endswith("CERTIFICATE_REQUIRED"):
        return TlsFailed(f"{endpoint} wants a certificate of its clients")
    if isinstance(error, ssl.SSLEOFError):
        return CannotConnect(f"{endpoint} closed the connection in the TLS handshake")
    return TlsFailed(f"{endpoint} does not agree to TLS: {_reason(error)}")


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or error.strerror or "unknown").lower().replace("_", " ")


def _description(tls: ssl.SSLSocket) -> str:
    cipher = tls.cipher()
    words = [str(tls.version()), cipher[0] if cipher else "no cipher"]
    if tls.session_reused:
        words.append("resumed")
    certificate: Any = tls.getpeercert()
    if certificate:
        words.append(f"certificate of {_name(certificate['subject'])} from {_name(certificate['issuer'])}")
        words.append(f"valid until {certificate['notAfter']}")
    else:
        words.append("certificate not checked")
    return ", ".join(words)


def _name(parts: Any) -> str:
    """The last of a name's attributes, which is the most specific."""
    return str(parts[-1][-1][1]) if parts else "nobody"
