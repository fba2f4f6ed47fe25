"""What an answer of the cluster means: done, surely not done, or nobody knows.

Whatever is not known to be a refusal from before the change was proposed to the cluster counts as "nobody knows".
"""

from __future__ import annotations

import enum
import json
from typing import Any, Final

from sttp_reactor.errors import StoreFailed


class Unavailable(StoreFailed):
    """500: nothing was done, because no member of the cluster could be asked, or none could take it."""


class OutcomeUnknown(StoreFailed):
    """500: a write was under way when the cluster was lost; it happens once or not at all."""

    def __init__(self, why: str) -> None:
        super().__init__(f"outcome unknown: {why}")


class RefusedWhole(StoreFailed):
    """500: the cluster has refused what it was asked; nothing was done. `is_too_much` where less might be taken."""

    def __init__(self, message: str, *, is_too_much: bool = False) -> None:
        super().__init__(message)
        self.is_too_much = is_too_much


class Compacted(StoreFailed):
    """500: a revision that was asked for is no longer kept."""


class Meaning(enum.Enum):
    DONE = enum.auto()
    """The answer holds the result."""
    NOT_DONE = enum.auto()
    """For sure; somebody else may be asked, or the same one again a little later."""
    NO_LEADER = enum.auto()
    """Likewise: it will be a while."""
    NEEDS_TOKEN = enum.auto()
    """Likewise, once we have said anew who we are."""
    REFUSED = enum.auto()
    """For sure, and so would be anywhere."""
    UNKNOWN = enum.auto()
    """It may have been done."""


class Answer:
    """One answer of the gateway. `result` holds the reply's fields, where there is one."""

    def __init__(self, status: int, data: bytes) -> None:
        self.result: dict[str, Any] = {}
        self.message = ""
        self._code = -1
        try:
            found = json.loads(data)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            self.message = f"what answers is not etcd (HTTP status {status})"
        elif status == 200 and isinstance(found.get("header"), dict | None) and "error" not in found:
            self.result = found
            self._code = 0
        else:
            self.message = str(found.get("message") or found.get("error") or f"HTTP status {status}")
            code = found.get("code")
            self._code = code if isinstance(code, int) else -1

    @property
    def meaning(self) -> Meaning:
        if self._code == 0:
            return Meaning.DONE
        if self.message == "etcdserver: no leader":
            return Meaning.NO_LEADER
        if self.message == "etcdserver: too many requests":
            return Meaning.NOT_DONE
        if self._code == _UNAUTHENTICATED or self.message in _NEEDS_TOKEN:
            return Meaning.NEEDS_TOKEN
        return Meaning.REFUSED if self._code in _REFUSALS else Meaning.UNKNOWN

    def refusal(self) -> StoreFailed:
        """The 500 of what was REFUSED."""
        if self._code == _OUT_OF_RANGE:
            return Compacted("the cluster no longer keeps that revision")
        if self._code == _RESOURCE_EXHAUSTED and "space" in self.message:
            return RefusedWhole("the cluster's space is used up")
        if self._code == _PERMISSION_DENIED:
            return RefusedWhole("the cluster denies the permission")
        return RefusedWhole(f"the cluster refuses it: {words_of(self.message)}", is_too_much=True)


def words_of(message: str) -> str:
    """An error of etcd's as a message of ours may hold it (PROTOCOL.md section 3)."""
    text = message.removeprefix("etcdserver: ").replace('"', "'")
    return "".join(each if each.isprintable() else " " for each in text)[:200]


# gRPC's codes, as etcd's clients use them.
_INVALID_ARGUMENT: Final = 3
_PERMISSION_DENIED: Final = 7
_RESOURCE_EXHAUSTED: Final = 8
_OUT_OF_RANGE: Final = 11
_UNAUTHENTICATED: Final = 16
_REFUSALS: Final = frozenset({_INVALID_ARGUMENT, _PERMISSION_DENIED, _RESOURCE_EXHAUSTED, _OUT_OF_RANGE})
_NEEDS_TOKEN: Final = frozenset(
    {
        "etcdserver: user name is empty",
        "etcdserver: invalid auth token",
        "etcdserver: revision of auth store is old",
    }
)
