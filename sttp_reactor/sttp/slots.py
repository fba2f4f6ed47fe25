"""The places of replies in the order of their connection."""

from __future__ import annotations

from sttp_reactor.limits import PIECE_BYTES
from sttp_reactor.sttp.access_log import Access
from sttp_reactor.wire.messages import Action, Request


class Slot:
    """The place of one reply. `reply` is None until it is known, `request` where the line was none. `began` is when the
    request came, on the reactor's clock."""

    __slots__ = ("began", "reply", "request")

    def __init__(self, request: Request | None, reply: bytes | None, began: float) -> None:
        self.request = request
        self.reply = reply
        self.began = began

    def access(self, peer: str, now: float) -> Access:
        """The entry of an access log, once the reply is known and written, at `now`."""
        reply = self._whole_reply() or b""
        action, path = (b"-", reply.split(b" ", 2)[1]) if self.request is None else self.request[:2]
        word = action.value if isinstance(action, Action) else action
        return Access(peer, word, path, int(reply[:3]), len(reply), now - self.began)

    def _whole_reply(self) -> bytes | None:
        return self.reply


class ListSlot(Slot):
    """The place of a LIST's reply. A long one is written in pieces: `whole` is all of it, `at` how much has been
    written, and `reply` the last piece, once it is its turn."""

    __slots__ = ("at", "whole")

    def __init__(self, request: Request, began: float) -> None:
        super().__init__(request, None, began)
        self.at = 0
        self.whole = b""

    def next_piece(self) -> bytes:
        piece = self.whole[self.at : self.at + PIECE_BYTES]
        self.at += len(piece)
        return piece

    @property
    def is_all_written(self) -> bool:
        return self.at == len(self.whole)

    def _whole_reply(self) -> bytes | None:
        return self.whole or self.reply
