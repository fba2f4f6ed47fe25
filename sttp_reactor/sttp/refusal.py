"""What a connection gets that is one too many."""

from __future__ import annotations

import logging
from typing import Final

from sttp_reactor.net.protocol import Transport
from sttp_reactor.net.reactor import Reactor

log = logging.getLogger(__name__)

# Refused connections that linger at once; beyond that they are closed without ceremony.
REFUSALS_LINGERING: Final = 64


class Refusal:
    """What a connection gets that is one too many: a 500 and the end (PROTOCOL.md section 2)."""

    transport: Transport

    def __init__(self, reactor: Reactor, lingering: set[Refusal], line: bytes) -> None:
        self._reactor = reactor
        self._lingering = lingering
        self._line = line

    def connection_made(self, transport: Transport) -> None:
        self.transport = transport
        self._lingering.add(self)
        log.debug("%s: refused: %s", transport.peer, self._line.decode().rstrip() or "there is no room for a handshake")
        if self._line:
            transport.write(self._line)
        transport.close()
        if len(self._lingering) > REFUSALS_LINGERING:
            # In the next turn: this one still has to send the reply.
            self._reactor.call_next_turn(transport.abort)

    def data_received(self, data: bytes) -> None:
        pass

    def eof_received(self) -> None:
        pass

    def connection_lost(self, error: Exception | None) -> None:
        self._lingering.discard(self)

    def pause_writing(self) -> None:
        pass

    def resume_writing(self) -> None:
        pass
