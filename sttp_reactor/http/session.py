"""One connection that speaks HTTP/1.1: requests in, responses out in their order (RFC 9112, section 9.3).

A request that has been answered before, byte for byte, takes the fast way: its answer is looked up. All others are
parsed, and handed to the site's handler one after the other: the next one when the one before has been answered.
Reading stops while more has come than is being answered, so a peer that pipelines without end waits.
"""

from __future__ import annotations

import logging
from collections import deque
from typing import Final

from sttp_reactor.http.exchange import Exchange, Site
from sttp_reactor.http.messages import Request, Response, encode, sentence
from sttp_reactor.http.parser import RequestParser
from sttp_reactor.limits import LEAST_REQUESTS_PER_TURN, REQUESTS_OF_ALL_PER_TURN, REQUESTS_PER_TURN
from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.timers import Timer

log = logging.getLogger(__name__)

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Session:
    """A `net.protocol.Protocol` that speaks HTTP."""

    __slots__ = (
        "_advancing",
        "_alone",
        "_began",
        "_continued",
        "_draining",
        "_ended",
        "_exchange",
        "_input_ends",
        "_parser",
        "_quiet",
        "_site",
        "_timer",
        "_waiting",
        "_yielding",
        "is_gone",
        "transport",
        "writing_paused",
    )

    transport: Transport
    _timer: Timer

    def __init__(self, site: Site) -> None:
        self._site = site
        self._parser = RequestParser(site.limits)
        self._waiting: deque[Request] = deque()  # whole, and not begun yet
        self._exchange: Exchange | None = None  # what is being answered
        self._alone = b""  # the chunk that brought the next request to be begun, where it brought nothing else
        self._quiet = True  # nothing is owed, under way or half received: the fast way is open
        self._ended = False  # no further request will be begun
        self._input_ends = self._draining = False
        self._advancing = self._yielding = False
        self._continued = False
        self._began: float | None = None  # when the first byte came of what is half received
        self.writing_paused = False
        self.is_gone = False

    # -- From the connection --

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self._site.sessions.add(self)
        self._timer = self._site.reactor.call_later(self._site.idle_timeout, self._check_time)

    def data_received(self, data: bytes) -> None:
        if self._quiet:
            answer = self._site.fast_way(data)
            if answer is not None:
                self.transport.write(answer)
                return
        if self._ended:
            return
        requests = self._parser.feed(data)
        if self._quiet and len(requests) == 1 and not self._is_half_received and self._parser.fault is None:
            self._alone = data
        if requests:
            self._began = None
            self._continued = False
            self._waiting.extend(requests)
        self._advance()

    def eof_received(self) -> None:
        self._input_ends = True
        self._advance()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_gone = True
        self._ended = True
        # ETIMEDOUT is another matter: the peer's machine is gone. What the connection itself gives up has no number.
        if isinstance(error, TimeoutError) and error.errno is None:
            self._site.on_timeout(self, "write_timeout")
        self._timer.cancel()
        self._waiting.clear()
        self._site.sessions.discard(self)
        if self._exchange is not None:
            self._exchange.lost()
        self._site.on_lost()

    def pause_writing(self) -> None:
        self.writing_paused = True
        self._quiet = False

    def resume_writing(self) -> None:
        self.writing_paused = False
        if self._exchange is not None:
            self._exchange.resumed()
        self._advance()

    # -- From the site --

    @property
    def addresses(self) -> tuple[str, str]:
        return self.transport.peer, self.transport.local_address()

    def drain(self) -> None:
        """Answer what has been asked, then close."""
        self._draining = True
        if self._exchange is not None:
            self._exchange.drain()
        elif self._quiet and not self.transport.bytes_unread():
            self._end()

    # -- Within --

    @property
    def _is_half_received(self) -> bool:
        return self._parser.in_head or self._parser.in_body

    def _advance(self) -> None:
        """Begin what can be begun, and settle how to go on."""
        if self._advancing:
            return
        self._advancing = True
        taken = 0
        most = max(LEAST_REQUESTS_PER_TURN, min(REQUESTS_PER_TURN, REQUESTS_OF_ALL_PER_TURN // self._site.reactor.busy))
        while self._waiting and self._exchange is None and not (self._ended or self.writing_paused or self._yielding):
            if taken == most:
                self._yielding = True
                self._site.reactor.call_next_turn(self._go_on)
                break
            self._begin(self._waiting.popleft())
            taken += 1
        self._advancing = False
        if not self._ended:
            self._settle()

    def _go_on(self) -> None:
        self._yielding = False
        self._advance()

    def _begin(self, request: Request) -> None:
        alone, self._alone = self._alone, b""
        exchange = self._exchange = Exchange(self, self._site, request, alone)
        try:
            response = self._site.handle(request, exchange)
        except Exception:
            log.exception("a handler failed")
            response = sentence(500, "The server has failed; its log has more.")
        if response is not None and self._exchange is exchange:
            exchange.answer(response)

    def answered(self, *, closes: bool) -> None:
        """The exchange is over: all of its response has been written."""
        self._exchange = None
        if closes:
            self._end()
        else:
            self._advance()

    def closes_after(self, request: Request) -> bool:
        return not request.keep_alive or (self._draining and not self._waiting)

    def _settle(self) -> None:
        is_free = self._exchange is None and not self._waiting and not self.writing_paused
        self._quiet = is_free and not self._is_half_received and not self._input_ends
        if not is_free:
            if self._waiting:
                self.transport.pause_reading()
        elif self._parser.fault is not None:
            self._refuse(sentence(self._parser.fault.status, f"{self._parser.fault}."))
        elif self._input_ends:
            self._end()
        else:
            self.transport.resume_reading()
            if not self._quiet:
                self._await_rest()

    def _await_rest(self) -> None:
        if self._began is None:
            self._began = self._site.reactor.now
            deadline = self._began + self._site.request_timeout
            if self._timer.deadline > deadline:
                self._timer.cancel()
                self._timer = self._site.reactor.call_at(deadline, self._check_time)
        if self._parser.expects_continue and not self._continued:
            self._continued = True
            self.transport.write(_CONTINUE)

    def _refuse(self, response: Response) -> None:
        """The last response, to what is no whole request."""
        site = self._site
        self.transport.write(encode(response, site.date(), closes=True, extra=site.headers))
        site.on_answered(self, None, response.status, len(response.body), 0.0)
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._quiet = False
        self._waiting.clear()
        self.transport.close()

    def _check_time(self) -> None:
        """The timer is set anew where it has come too early, rather than at every byte."""
        site = self._site
        now = site.reactor.now
        if self._began is not None:
            deadline = self._began + site.request_timeout
        elif not self._quiet:
            deadline = now + site.idle_timeout  # the peer waits for us, or has its hands full with what we have sent
        else:
            deadline = self.transport.last_received + site.idle_timeout
        if now < deadline:
            self._timer = site.reactor.call_at(deadline, self._check_time)
        elif self._began is not None:
            site.on_timeout(self, "request_timeout")
            self._refuse(sentence(408, f"The request did not end within {site.request_timeout:g} s."))
        else:
            site.on_timeout(self, "idle_timeout")
            self._end()

    def __repr__(self) -> str:
        return f"<http.Session {self.transport.peer}: {len(self._waiting)} waiting, {self._exchange!r}>"
