"""The public client: one server, one connection at a time, blocking calls."""

from __future__ import annotations

import builtins
import time
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Final

from sttp_reactor.client.connecting import connect, resolve
from sttp_reactor.client.exchange import Connection, Socket, Timing, Trace
from sttp_reactor.client.requests import make_request, raise_for, split_names
from sttp_reactor.client.url import Endpoint, default_port, parse_host, parse_port
from sttp_reactor.errors import CannotConnect, LocalError, TlsFailed
from sttp_reactor.wire.encoder import encode_request
from sttp_reactor.wire.messages import Action, Request, Response, Status

if TYPE_CHECKING:
    from sttp_reactor.client.tls import ClientTls  # whoever has one has imported it; the others need no OpenSSL

DEFAULT_TIMEOUT: Final = 5.0
# Between attempts to connect; doubled each time.
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 4.0

# The protocol has no PING. Of all requests LIST alone is never answered from a cache: a server whose docroot has gone,
# or whose disk hangs, does not pass for one that serves. SHOW of a name that is not there would ask the disk as well,
# but be counted as a mistake of the client's; the top directory is always there.
_PING: Final = Request(Action.LIST, b"/")


class Client:
    """Talks to one server: `host` is a name, an address, or the path of a Unix socket (it begins with `/`). With `tls`
    it does so by TLS, and `host` is who the server has to be; without a `port` it is the default one for either.

    Text goes in and comes out as `str`, but for `ask` and `pipeline`, whose replies are as they came, in bytes. Each
    operation, connecting included, takes at most `timeout` seconds. The connection is made when it is first needed,
    kept, and made anew where the server has closed it in the meantime; but a request that may have reached the server
    is never sent a second time. `retries` more attempts are made to connect, with growing pauses, each with the whole
    `timeout`. Not for use by several threads at once.

    Every operation may raise, from `sttp_reactor.errors`: LocalError (STTP cannot carry this; nothing was sent),
    HostUnknown, CannotConnect and its kinds ConnectTimedOut, TlsFailed and NotTrusted (nothing was carried out),
    NoReply and its kinds ReplyTimedOut, ConnectionLost and NotSttp (carried out or not, nobody knows), and ReplyError
    and its kinds RequestRefused, NotFound and ServerFailed, which carry the reply.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int | None = None,
        *,
        tls: ClientTls | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retries: int = 0,
        trace: Trace | None = None,
    ) -> None:
        if not timeout > 0:
            raise LocalError("a time-out is more than 0 seconds")
        is_tls = tls is not None
        number = default_port(is_tls=is_tls) if port is None else parse_port(str(port))
        self.endpoint = Endpoint(parse_host(host), number, is_tls)
        if is_tls and self.endpoint.is_unix:
            raise LocalError("there is no TLS on a Unix socket")
        self.timeout = timeout
        self.timing = Timing()  # of the last operation
        self._tls = tls
        self._retries = retries
        self._trace = trace
        self._connection: Connection | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, if there is one; the next operation makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def show(self, path: str) -> str:
        """The text stored under `path`."""
        return _text(raise_for(self.ask(make_request(Action.SHOW, path))))

    def list(self, path: str = "/") -> builtins.list[str]:
        """The names in the directory, sorted; those of directories have a trailing `/`."""
        return split_names(raise_for(self.ask(make_request(Action.LIST, path))).contents or b"")

    def create(self, path: str, contents: str) -> None:
        """Store a new file. RequestRefused where it exists already."""
        raise_for(self.ask(make_request(Action.CREATE, path, contents)))

    def update(self, path: str, contents: str) -> str:
        """Replace the text of an existing file; return what is stored now."""
        return _text(raise_for(self.ask(make_request(Action.UPDATE, path, contents))))

    def delete(self, path: str) -> None:
        raise_for(self.ask(make_request(Action.DELETE, path)))

    def ping(self) -> float:
        """Seconds from asking the server to LIST its top directory to its reply, connecting not counted.

        A refusal will do, too: it is a server, and it serves. Raises ServerFailed where its store does not answer it,
        or it is too full to.
        """
        reply = self.ask(_PING)
        if reply.status is not Status.CLIENT_ERROR:
            raise_for(reply)
        return self.timing.reply

    def ask(self, request: Request) -> Response:
        """The reply to `request`, whatever it is; for those who want the reply itself, with bytes for its path and its
        contents. Never raises ReplyError."""
        return self._perform([request], [encode_request(request)])[0]

    def pipeline(self, requests: Iterable[Request]) -> builtins.list[Response]:
        """The replies to all `requests`, in order; refusals are among them, none is raised. Paths and contents are
        bytes: `reply.contents.decode()` is a text, and `split_names(reply.contents)` are the names of a LIST.

        All are checked before the first is sent, and sent without waiting for each other's replies, a bounded number at
        a time. `timeout` is for the whole pipeline. `make_request` makes requests out of text. Where an error ends it
        early, the error's `replies` are those that came.
        """
        requests = builtins.list(requests)
        lines = [encode_request(request) for request in requests]
        return self._perform(requests, lines) if requests else []

    def _perform(self, requests: builtins.list[Request], lines: builtins.list[bytes]) -> builtins.list[Response]:
        connection, deadline = self._ready()
        began = time.monotonic()
        try:
            return connection.exchange(requests, lines, deadline)
        except BaseException:
            # Replies may still come, and would be taken for those to the next requests.
            self.close()
            raise
        finally:
            self.timing = self.timing._replace(reply=time.monotonic() - began)

    def _ready(self) -> tuple[Connection, float]:
        """A connection to send on, and the deadline of the operation."""
        self.timing = Timing()
        if self._connection is not None:
            if self._connection.is_usable():
                return self._connection, time.monotonic() + self.timeout
            self._note("the server has closed the connection")
            self.close()
        pause = _FIRST_PAUSE
        for _ in range(self._retries):
            try:
                return self._connect()
            except TlsFailed:
                raise  # the next attempt would end in the same way
            except CannotConnect as error:
                self._note(f"{error}; trying again in {pause:g} s")
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        return self._connect()

    def _connect(self) -> tuple[Connection, float]:
        began = time.monotonic()
        deadline = began + self.timeout
        addresses = resolve(self.endpoint, deadline)
        if str(addresses[0]) != str(self.endpoint._replace(is_tls=False)):
            self._note(f"{self.endpoint.host} is {', '.join(map(str, addresses))}")
        resolved = time.monotonic()
        connected = connect(self.endpoint, addresses, deadline, self._note)
        sock: Socket = connected
        if self._tls is not None:
            sock = self._tls.shake_hands(connected, self.endpoint, deadline, self._note)
        self.timing = Timing(resolved - began, time.monotonic() - resolved)
        self._connection = Connection(sock, str(self.endpoint), self._trace)
        return self._connection, deadline

    def _note(self, sentence: str) -> None:
        if self._trace:
            self._trace("*", sentence)


def _text(reply: Response) -> str:
    return (reply.contents or b"").decode()
