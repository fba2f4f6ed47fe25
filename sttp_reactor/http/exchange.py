"""What a handler is given to answer with, and what all sessions of one site share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from sttp_reactor.http.messages import Header, Request, Response, encode, encode_head
from sttp_reactor.http.parser import Limits
from sttp_reactor.http.ready import HttpDate, ReadyAnswers
from sttp_reactor.limits import IDLE_TIMEOUT, REQUEST_TIMEOUT
from sttp_reactor.net.reactor import Reactor

if TYPE_CHECKING:
    from sttp_reactor.http.session import Session

Handler = Callable[[Request, "Exchange"], Response | None]
# (session, request, status, bytes of the body, seconds since the request's last byte); the request is None where what
# came was none.
OnAnswered = Callable[["Session", Request | None, int, int, float], None]

# (session, the limit's name): one that the peer would have kept is about to be closed.
OnTimeout = Callable[["Session", str], None]

_NO_PIECES: Final[Iterator[bytes]] = iter(())


def _nothing() -> None:
    pass


def nobody_asks(_session: Session, _request: Request | None, _status: int, _bytes: int, _seconds: float) -> None:
    pass


def nobody_counts(_session: Session, _limit: str) -> None:
    pass


class Site:
    """One site on one reactor. `handle(request, exchange)` gives the response, or None and answers `exchange` later."""

    def __init__(
        self,
        reactor: Reactor,
        handle: Handler,
        *,
        limits: Limits | None = None,
        idle_timeout: float = IDLE_TIMEOUT,
        request_timeout: float = REQUEST_TIMEOUT,
        headers: Sequence[Header] = (),
    ) -> None:
        """`idle_timeout` and `request_timeout` are seconds: without a request, and from the first byte of one to its
        last. `headers` are those of every response."""
        self.reactor = reactor
        self.handle = handle
        self.limits = Limits() if limits is None else limits
        self.idle_timeout = idle_timeout
        self.request_timeout = request_timeout
        self.headers = headers
        self.date = HttpDate(reactor)
        self.ready = ReadyAnswers(reactor, self.date)
        self.fast_way: Callable[[bytes], bytes | None] = self.ready.answer_to
        self.keep: Callable[[bytes, Response, bytes, str], None] = self.ready.keep
        self.sessions: set[Session] = set()
        self.on_lost = _nothing
        """Called when a session has gone."""
        self.on_answered: OnAnswered = nobody_asks
        """For whoever keeps a log: called for every response that did not take the fast way."""
        self.on_timeout: OnTimeout = nobody_counts
        """Called where a time limit ends a session: `idle_timeout`, `request_timeout`, or the connection's own
        `write_timeout`."""

    def drain(self) -> None:
        """Answer what has been asked, and close. The listener is somebody else's."""
        for session in list(self.sessions):
            session.drain()

    def abort(self) -> None:
        for session in list(self.sessions):
            session.transport.abort()


class Exchange:
    """One request, and the response it is owed: `answer` once, or `begin`, any number of `send`, and `end`."""

    __slots__ = (
        "_alone",
        "_began",
        "_chunked",
        "_closes",
        "_is_over",
        "_on_lost",
        "_on_over",
        "_pieces",
        "_sent",
        "_session",
        "_site",
        "_status",
        "request",
    )

    def __init__(self, session: Session, site: Site, request: Request, alone: bytes) -> None:
        """`alone` are the bytes of the request, where it came by itself and in one piece; else it is empty."""
        self.request = request
        self._session = session
        self._site = site
        self._alone = alone
        self._began = site.reactor.now
        self._on_lost: Callable[[], None] | None = None  # of a stream that has begun
        self._pieces = _NO_PIECES
        self._on_over = _nothing
        self._chunked = self._closes = False
        self._status = self._sent = 0
        self._is_over = False

    @property
    def is_gone(self) -> bool:
        """Nobody is there any more to read the response."""
        return self._session.is_gone

    @property
    def connection(self) -> Session:
        return self._session

    @property
    def busy(self) -> int:
        """How many share this turn; never 0."""
        return self._site.reactor.busy

    @property
    def peer(self) -> str:
        return self._session.transport.peer

    @property
    def peer_names(self) -> tuple[str, ...]:
        return self._session.transport.peer_names

    @property
    def alone(self) -> bytes:
        return self._alone

    def answer(self, response: Response) -> None:
        """The whole response. Only the first one counts."""
        session, site, request = self._session, self._site, self.request
        if session.is_gone or self._is_over:
            return
        closes = session.closes_after(request)
        date = site.date()
        is_head = request.method == "HEAD"
        data = encode(response, date, is_head=is_head, closes=closes, extra=site.headers)
        if response.reusable and self._alone and not closes:
            site.keep(self._alone, response, data, date)
        session.transport.write(data)
        self._over(response.status, 0 if is_head else len(response.body), closes=closes)

    def begin(self, response: Response, on_lost: Callable[[], None]) -> bool:
        """Send the head of a response whose body comes piece by piece; `on_lost()` is called once, when it is to
        come no more: the peer has gone, or the server ends. False where no body is wanted: then it is over already."""
        session, request = self._session, self.request
        if session.is_gone:
            return False
        is_head = request.method == "HEAD"
        self._chunked = not request.is_old
        # An old client knows the end by the end of the connection.
        self._closes = request.is_old or session.closes_after(request)
        head = encode_head(
            response,
            self._site.date(),
            length=None,
            closes=self._closes,
            chunked=self._chunked,
            extra=self._site.headers,
        )
        session.transport.write(head)
        self._status = response.status
        if is_head:
            self._over(response.status, 0, closes=self._closes)
            return False
        self._on_lost = on_lost
        return True

    def send(self, piece: bytes) -> bool:
        """Send a piece of the body. False, and nothing is sent, where the peer reads more slowly than we write."""
        if self._on_lost is None or self._session.writing_paused:
            return False
        if piece:  # an empty chunk would be the last one
            self._sent += len(piece)
            self._session.transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)
        return True

    def feed(self, response: Response, pieces: Iterator[bytes], on_over: Callable[[], None]) -> None:
        """Send a response whose body is made as the peer reads it: one piece a turn, so that nobody waits for all of it
        to be made. `on_over()` is called once, when all is sent or the peer has gone."""
        self._pieces, self._on_over = pieces, on_over
        if self.begin(response, on_over):
            self._feed_one()
        else:
            on_over()

    def _feed_one(self) -> None:
        if self._on_lost is None or self._session.writing_paused:
            return  # gone; or `resumed` goes on
        piece = next(self._pieces, None)
        if piece is None:
            self.end()
            self._on_over()
        else:
            self.send(piece)
            self._site.reactor.call_next_turn(self._feed_one)

    def resumed(self) -> None:
        """The peer reads again."""
        if self._pieces is not _NO_PIECES:
            self._site.reactor.call_next_turn(self._feed_one)

    def abort(self) -> None:
        """Close the connection, whatever is unsent."""
        self._session.transport.abort()

    def end(self) -> None:
        """The body is whole."""
        if self._on_lost is not None:
            self._on_lost = None
            if self._chunked:
                self._session.transport.write(b"0\r\n\r\n")
            self._over(self._status, self._sent, closes=self._closes or self._session.closes_after(self.request))

    def drain(self) -> None:
        """The server ends. What is being answered still will be; a stream might go on for ever, and is ended."""
        on_lost = self._on_lost
        self.end()
        if on_lost is not None:
            on_lost()

    def lost(self) -> None:
        on_lost, self._on_lost = self._on_lost, None
        if on_lost is not None:
            on_lost()

    def _over(self, status: int, body_bytes: int, *, closes: bool) -> None:
        self._is_over = True
        seconds = self._site.reactor.clock() - self._began
        self._site.on_answered(self._session, self.request, status, body_bytes, seconds)
        self._session.answered(closes=closes)
