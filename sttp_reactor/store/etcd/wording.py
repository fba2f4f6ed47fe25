"""The gateway's JSON: how what we ask is written, and where in an answer its parts are."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from sttp_reactor.store.etcd.keys import KeyRange

Json = dict[str, Any]


def text_of(data: bytes) -> str:
    return b64encode(data).decode()


def bytes_of(text: str) -> bytes:
    return b64decode(text)


# -- Asking --


def one(key: bytes) -> Json:
    """A range of one key, with its value."""
    return {"key": text_of(key)}


def presence(key: bytes) -> Json:
    """A range of one key, without its value."""
    return {"key": text_of(key), "keys_only": True}


def names(keys: KeyRange, limit: int, revision: int = 0) -> Json:
    """The first `limit` keys of a range, as they were at `revision`; 0 is now."""
    return {
        "key": text_of(keys.first),
        "range_end": text_of(keys.end),
        "keys_only": True,
        "limit": str(limit),
        "revision": str(revision),
    }


def look(wanted: Json) -> Json:
    """A range as an operation of a transaction."""
    return {"request_range": wanted}


def put(key: bytes, value: bytes = b"") -> Json:
    return {"request_put": {"key": text_of(key), "value": text_of(value)}}


def remove(key: bytes) -> Json:
    return {"request_delete_range": {"key": text_of(key)}}


def is_there(key: bytes) -> Json:
    return {"key": text_of(key), "target": "CREATE", "result": "GREATER", "create_revision": "0"}


def is_missing(key: bytes) -> Json:
    return {"key": text_of(key), "target": "CREATE", "result": "EQUAL", "create_revision": "0"}


def if_all(compares: Sequence[Json], success: Sequence[Json], failure: Sequence[Json]) -> Json:
    """A transaction within one. All compares of the whole see what was there before any of it; what it looks at in
    `failure` is seen with everything done that stands before it."""
    return {"request_txn": {"compare": list(compares), "success": list(success), "failure": list(failure)}}


# -- Answers. Fields that are zero, false or empty are left out of them. --


def revision_of(answer: Mapping[str, Any]) -> int:
    return int(answer.get("header", {}).get("revision", 0))


def parts_of(answer: Mapping[str, Any]) -> list[Json]:
    """One for each operation of a transaction."""
    found: list[Json] = answer.get("responses", [])
    return found


def ranges_of(answer: Mapping[str, Any]) -> list[Json]:
    """The same where all of them are ranges."""
    return [each.get("response_range", {}) for each in parts_of(answer)]


def count_of(found: Mapping[str, Any]) -> int:
    """How many keys a range has, those beyond its limit too."""
    return int(found.get("count", 0))


def keys_in(found: Mapping[str, Any]) -> list[bytes]:
    return [bytes_of(each["key"]) for each in found.get("kvs", ())]


def newest_in(found: Mapping[str, Any]) -> int:
    """The revision of the newest change of a range's keys; 0 where there are none."""
    return max((int(each["mod_revision"]) for each in found.get("kvs", ())), default=0)


def value_in(found: Mapping[str, Any]) -> bytes | None:
    """Of a range of one key: its value, or None where the key is not there."""
    kvs = found.get("kvs")
    return bytes_of(kvs[0].get("value", "")) if kvs else None
