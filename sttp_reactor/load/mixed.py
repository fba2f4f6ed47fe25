"""A mix of actions on keys that change: what to send next, and whether each reply is one that the model admits."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise

from sttp_reactor.load import outcomes as out
from sttp_reactor.load.draws import make_draws
from sttp_reactor.load.exact import abandon
from sttp_reactor.load.faults import Mistakes, shown
from sttp_reactor.load.link import Link
from sttp_reactor.load.model import Directory, Key, Model, Version
from sttp_reactor.load.plan import Plan
from sttp_reactor.load.replies import MAX_REPLY_BYTES, is_reply_like, refusal_of, reply_end, status_of
from sttp_reactor.load.texts import describe, text_of

# In `Link.pending`: action, key, the model's `now` when it was sent, and the change it makes, if any.
Asked = tuple[str, Key, int, Version | None]

_BLOCK = 4096
_REPLY_OK = b"200 %s OK\n%s\n"


class MixedSource:
    """See `exact` for what a source is. `keys` is this process's share; `links` all its connections."""

    def __init__(self, plan: Plan, process: int, keys: list[Key], links: Iterable[Link], mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.model = Model()
        self._keys = keys
        self._links = links
        self._process = process
        self._sizes = plan.sizes
        self._rng = random.Random(f"{plan.seed}/{process}/mix")
        self._draw = make_draws(plan.distribution, len(keys), f"{plan.seed}/{process}")
        self._actions = [action for action, _ in plan.mix]
        self._weights = list(accumulate(weight for _, weight in plan.mix))
        self._drawn_keys: list[int] = []
        self._drawn_actions: list[str] = []
        self._lists_are_fixed = not {"CREATE", "DELETE"} & set(self._actions)
        self._checks: dict[str, Callable[[Link, Asked, bytes], int]] = {
            "SHOW": self._check_show,
            "LIST": self._check_list,
            "CREATE": self._check_create,
            "UPDATE": self._check_update,
            "DELETE": self._check_delete,
        }

    def compose(self, link: Link, count: int) -> bytes:
        if count == 1:
            return self._compose_one(link)
        return b"".join([self._compose_one(link) for _ in range(count)])

    def _compose_one(self, link: Link) -> bytes:
        if not self._drawn_keys:
            self._drawn_keys = self._draw()
        if not self._drawn_actions:
            self._drawn_actions = self._rng.choices(self._actions, cum_weights=self._weights, k=_BLOCK)
        key = self._keys[self._drawn_keys.pop()]
        action = self._drawn_actions.pop()
        model = self.model
        if action == "SHOW":
            link.pending.append((action, key, model.now, None))
            return key.show
        if action == "LIST":
            link.pending.append((action, key, model.now, None))
            return b"LIST %s\n" % key.directory.path
        if action == "DELETE":
            key.deleting += 1
            version = model.change(key, link.number, None)
            link.pending.append((action, key, version.sent, version))
            return b"DELETE %s\n" % key.path
        if action == "CREATE":
            key.creating += 1
        text = self._make_text(key, link)
        version = model.change(key, link.number, _REPLY_OK % (key.path, text))
        link.pending.append((action, key, version.sent, version))
        return b"%s %s %s\n" % (action.encode(), key.path, text)

    def _make_text(self, key: Key, link: Link) -> bytes:
        low, high = self._sizes
        size = low + int(self._rng.random() * (high - low + 1))
        return text_of(key.number, f"p{self._process}c{link.number}", self.model.now + 1, size)

    def digest(self, link: Link, data: bytes) -> list[int]:
        if link.rest:
            data = link.rest + data
            link.rest = b""
        self.model.now += 1
        found: list[int] = []
        start, pending = 0, link.pending
        while pending and start < len(data):
            asked = pending[0]
            if asked[0] == "SHOW" and data.startswith(asked[1].likely, start):  # the usual case
                start += len(asked[1].likely)
                found.append(out.SHOW_200 if asked[1].likely[:1] == b"2" else out.SHOW_400)
            else:
                end = reply_end(data, start)
                is_endless = not end and len(data) - start > MAX_REPLY_BYTES
                if is_endless or not is_reply_like(data, start) or refusal_of(data, start):
                    abandon(link, self.mistakes, data[start:], b"%s %s\n" % (asked[0].encode(), asked[1].path))
                    return found
                if not end:
                    break
                found.append(self._checks[asked[0]](link, asked, data[start:end]))
                start = end
            pending.popleft()
        if not pending and start < len(data):
            abandon(link, self.mistakes, data[start:], None)
            return found
        link.rest = data[start:]
        if self.model.is_pruning_due():
            self._prune()
        return found

    def _prune(self) -> None:
        self.model.prune(min((link.pending[0][2] for link in self._links if link.pending), default=self.model.now))

    def _check_show(self, link: Link, asked: Asked, reply: bytes) -> int:
        _, key, since, _ = asked
        if reply == key.not_found:
            return self._require(key.may_be(False, since, link.number), asked, reply, out.SHOW_400)
        for version in key.admissible(since, link.number):
            if version.reply == reply:
                version.seen = True
                return out.SHOW_200
        return self._wrong(asked, reply, self._explain(key, since, reply))

    def _check_list(self, link: Link, asked: Asked, reply: bytes) -> int:
        _, key, since, _ = asked
        directory = key.directory
        if self._lists_are_fixed:
            return self._require(reply == directory.likely, asked, reply, out.LIST_200)
        head = b"200 %s OK\n" % directory.path
        if not reply.startswith(head):
            return self._wrong(asked, reply, "")
        listed = reply[len(head) : -1].split(b", ") if len(reply) > len(head) + 1 else []
        problem = _find_list_mistake(directory, listed, since, link.number)
        return self._wrong(asked, reply, problem) if problem else out.LIST_200

    def _check_create(self, link: Link, asked: Asked, reply: bytes) -> int:
        _, key, since, version = asked
        if reply != b"100 %s CREATED\n" % key.path:
            is_refusal = reply.startswith(b"300 %s CLIENT ERROR " % key.path)
            key.creating -= is_refusal
            return self._refuse(link, asked, reply, is_refusal, out.CREATE_300)
        assert version is not None
        key.creating -= 1
        key.balance += 1
        was_absent = key.may_be(False, since, link.number)
        self.model.acknowledge(key, version)
        right = was_absent and self.model.can_balance(key)
        return self._require(right, asked, reply, out.CREATE_100, "it existed already")

    def _check_update(self, link: Link, asked: Asked, reply: bytes) -> int:
        _, key, since, version = asked
        assert version is not None
        if reply != version.reply:
            return self._refuse(link, asked, reply, reply == key.not_found, out.UPDATE_400)
        was_present = key.may_be(True, since, link.number, but=version)
        self.model.acknowledge(key, version)
        return self._require(was_present, asked, reply, out.UPDATE_200, "it did not exist")

    def _check_delete(self, link: Link, asked: Asked, reply: bytes) -> int:
        _, key, since, version = asked
        if reply != b"600 %s DELETED\n" % key.path:
            is_refusal = reply == key.not_found
            key.deleting -= is_refusal
            return self._refuse(link, asked, reply, is_refusal, out.DELETE_400)
        assert version is not None
        key.deleting -= 1
        key.balance -= 1
        was_present = key.may_be(True, since, link.number)
        self.model.acknowledge(key, version)
        right = was_present and self.model.can_balance(key)
        return self._require(right, asked, reply, out.DELETE_600, "it did not exist")

    def _refuse(self, link: Link, asked: Asked, reply: bytes, is_refusal: bool, outcome: int) -> int:
        """A change that was not made; right only where the key may have been in the state that forbids it. After any
        other answer (a 500, say) the change may have been made or not: it stays among the versions for good."""
        action, key, since, version = asked
        assert version is not None
        if not is_refusal:
            return self._wrong(asked, reply, "")
        if not self.model.refuse(key, version):
            return self._wrong(asked, reply, "but a SHOW has already answered its text")
        reason = "it did not exist" if action == "CREATE" else "it existed"
        return self._require(key.may_be(action == "CREATE", since, link.number), asked, reply, outcome, reason)

    def _require(self, right: bool, asked: Asked, reply: bytes, outcome: int, why: str = "") -> int:
        return outcome if right else self._wrong(asked, reply, why)

    def _wrong(self, asked: Asked, reply: bytes, why: str) -> int:
        action, key = asked[:2]
        path = key.directory.path if action == "LIST" else key.path
        self.mistakes.note(f"{action} {path.decode()}: got '{shown(reply)}'" + (f": {why}" if why else ""))
        return out.WRONG

    def _explain(self, key: Key, since: int, reply: bytes) -> str:
        if status_of(reply) != 200:
            return ""
        head, _, text = reply[:-1].partition(b"\n")
        if head != b"200 %s OK" % key.path:
            return "the reply names another path"
        is_stale = any(version.reply == reply and version.died <= since for version in key.versions)
        stale = ", overwritten before this was asked" if is_stale else ""
        latest = key.likely[:-1].partition(b"\n")[2]
        expected = describe(latest, key.number) if latest else "its absence"
        return f"that is {describe(text, key.number)}{stale}; last acknowledged was {expected}"


def _find_list_mistake(directory: Directory, listed: list[bytes], since: int, writer: int) -> str:
    """What is wrong with the names of a LIST, "" if nothing. Each name is judged alone: a listing is no snapshot."""
    if any(earlier >= later for earlier, later in pairwise(listed)):
        return "the names are not in order"
    there = set(listed)
    for name in there - directory.keys.keys():
        return f"'{shown(name)}' was never created"
    for name, key in directory.keys.items():
        if not key.may_be(name in there, since, writer):
            return f"'{shown(name)}' is {'listed but was deleted' if name in there else 'missing'}"
    return ""
