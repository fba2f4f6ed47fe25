"""One connection to one endpoint of the cluster: HTTP/1.1 with a deadline for the whole of an exchange.

`http.client` reads the answers. What it does to send is done here: it would send head and body in two pieces. Nor does
anything look at the environment: a proxy variable meant for something else must not decide where snippets are sent.
"""

from __future__ import annotations

import contextlib
import http.client
import io
import math
import select
import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

# The largest answer that is read. A page of a LIST, of 1,000 of the longest names there are, has 12 MB.
MAX_ANSWER_BYTES: Final = 64 << 20


class NotSent(Exception):
    """No connection could be made: nothing was sent, and somebody else may be asked."""


class Broken(Exception):
    """No whole answer came: what was asked for may have been done."""


class Endpoint(NamedTuple):
    """Where a member of the cluster is asked."""

    host: str
    port: int
    is_tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.is_tls else 'http'}://{host}:{self.port}"


def endpoint_of(url: str) -> Endpoint:
    """Of `http://host:port` or `https://host:port`. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ValueError(f"{url} is not http://host:port or https://host:port")
    if parts.username is not None or parts.fragment:
        raise ValueError(f"{url}: an endpoint has neither user nor fragment")
    return Endpoint(parts.hostname, parts.port or 2379, parts.scheme == "https")


class Channel:
    """For one thread at a time."""

    def __init__(self, endpoint: Endpoint, tls: ssl.SSLContext | None, timeout: float) -> None:
        """Connects, within `timeout` seconds. Raises NotSent."""
        self.endpoint = endpoint
        self.is_open = True
        self._socket = _TimedSocket(_connected(endpoint, tls, timeout))

    def post(self, path: str, body: bytes, headers: Mapping[str, str], deadline: float) -> tuple[int, bytes]:
        """The status and the whole answer, by `deadline` (monotonic). Raises Broken; the channel is closed then."""
        try:
            response = self.begin(path, body, headers, deadline)
            data = response.read(MAX_ANSWER_BYTES + 1)
            if len(data) > MAX_ANSWER_BYTES or not response.isclosed():
                raise Broken("an answer without end")
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Broken(_words(error)) from error
        except BaseException:
            self.close()
            raise
        if response.will_close:
            self.close()
        return response.status, data

    def begin(
        self, path: str, body: bytes, headers: Mapping[str, str], deadline: float = math.inf
    ) -> http.client.HTTPResponse:
        """Send a request and read the head of the answer; its body is the caller's to read, by `deadline`, too.

        Raises what `http.client` and sockets raise."""
        lines = [f"POST {path} HTTP/1.1", f"Host: {self.endpoint.host}:{self.endpoint.port}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}", "", ""]
        self._socket.deadline = deadline
        self._socket.sendall("\r\n".join(lines).encode() + body)
        response = http.client.HTTPResponse(self._socket, method="POST")  # type: ignore[arg-type]
        response.begin()
        return response

    def wait_without_end(self) -> None:
        """For the body of an answer that has none."""
        self._socket.deadline = math.inf

    @property
    def is_stale(self) -> bool:
        """Whether the other side has closed it, or said what nobody asked for: then nothing is to be sent on it. A
        request on a connection that a restarted member has forgotten would be one whose outcome nobody knows."""
        poll = select.poll()  # `select` knows no descriptors above 1,023
        poll.register(self._socket.sock, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        self.is_open = False
        self._socket.close()

    def interrupt(self) -> None:
        """Have whoever reads see the end of it; any thread may call it."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._socket.sock, socket.SHUT_RDWR)


def _connected(endpoint: Endpoint, tls: ssl.SSLContext | None, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    try:
        sock = socket.create_connection((endpoint.host, endpoint.port), timeout)
    except (OSError, UnicodeError) as error:
        raise NotSent(_words(error)) from error
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if not endpoint.is_tls:
            return sock
        assert tls is not None
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        return tls.wrap_socket(sock, server_hostname=endpoint.host)
    except (OSError, ValueError) as error:
        sock.close()
        raise NotSent(_words(error)) from error


def _words(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or 'failed').lower().replace('_', ' ')}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, http.client.RemoteDisconnected | ConnectionResetError | BrokenPipeError):
        return "the connection was lost"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return "what answers is not HTTP" if isinstance(error, http.client.HTTPException | ValueError) else str(error)


class _TimedSocket:
    """What `http.client` needs of a socket, with a deadline for all of it: a time-out for each receive would let who
    sends a byte a second keep a worker for ever."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.deadline = math.inf

    def sendall(self, data: bytes) -> None:
        self._set_timeout()
        self.sock.sendall(data)

    def receive_into(self, buffer: Any) -> int:
        self._set_timeout()
        return self.sock.recv_into(buffer)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Receiver(self), 65536)

    def close(self) -> None:
        self.sock.close()

    def _set_timeout(self) -> None:
        if self.deadline == math.inf:
            self.sock.settimeout(None)
            return
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self.sock.settimeout(left)


class _Receiver(io.RawIOBase):
    def __init__(self, timed: _TimedSocket) -> None:
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._timed.receive_into(buffer)
