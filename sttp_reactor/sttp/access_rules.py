"""The list of rules under `access`: mappings of who, may and below."""

from __future__ import annotations

import ipaddress
import pwd
import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from sttp_reactor.config.readers import Reader
from sttp_reactor.config.records import Record, listed, several
from sttp_reactor.config.values import Shape, Unfit, Value
from sttp_reactor.limits import MAX_ACCESS_ENTRIES
from sttp_reactor.sttp.settings import AccessRule
from sttp_reactor.suggest import nearest
from sttp_reactor.text import is_segment

_Addresses = tuple[int, int, int]

_RULE: Final = "a rule such as {who: 192.0.2.0/24, may: read, below: /public}, or a list of them"
_WHO: Final = (
    "an address, a range of them such as 192.0.2.0/24, unix, unix:USER, certificate, certificate:NAME, anybody,"
    " or a list of these"
)
_PROXIES: Final = (
    "an address, a range of them such as 192.0.2.0/24, unix (who comes by a Unix socket), unix:USER, or a list of these"
)
_MAY: Final = "read, write, both as [read, write], or none"
_BELOW: Final = "a path as in a request, such as /public"

_WORDS: Final = ("anybody", "unix", "certificate")
_SYNONYMS: Final = dict.fromkeys(("all", "any", "everybody", "everyone", "anyone"), "anybody")
# With a prefix length, where there is one: net masks are left to those who remember them.
_LIKE_AN_ADDRESS: Final = re.compile(r"[0-9a-fA-F.:]+(/[0-9]+)?")


def access_rules() -> Reader:
    """One rule or a list of them; none is a list as well. Each must be able to apply: first match wins."""

    def read(value: Value) -> tuple[AccessRule, ...]:
        value = value.parsed()
        _refuse_too_many(value)
        found = listed(value, _RECORD.read)
        unfit = list(_never_applied(found))
        if unfit:
            raise Unfit.together(unfit)
        return tuple(rule for _, rule in found)

    return Reader(_RULE, read)


def proxies() -> Reader:
    """Who may speak for others: addresses and `unix`. Neither `anybody`, for then anybody could be anybody, nor those
    with a certificate, which comes after the header."""

    def read(value: Value) -> tuple[str, ...]:
        items = value.parsed().items()
        if len(items) > MAX_ACCESS_ENTRIES:
            raise Unfit(value, f"too long; {MAX_ACCESS_ENTRIES} at most")
        return tuple(dict.fromkeys(several(items, _proxy)))

    return Reader(_PROXIES, read)


def _proxy(value: Value) -> str:
    who = _one(value)
    if who == "anybody" or who.startswith("certificate"):
        raise Unfit(value)
    return who


def _refuse_too_many(value: Value) -> None:
    # Before any of them is read: by an alias, a file of one megabyte can hold a long list ten thousand times.
    entries = value.item_count
    if entries <= MAX_ACCESS_ENTRIES:
        for rule in value.items():
            if rule.shape is Shape.MAPPING:
                entries += sum(part.item_count - 1 for key, part in rule.pairs() if key.text == "who")
    if entries > MAX_ACCESS_ENTRIES:
        raise Unfit(value, f"too long; all rules together name {MAX_ACCESS_ENTRIES} at most in who")


def _who(value: Value) -> tuple[str, ...]:
    found = several(value.items(), _one)
    if not found:
        raise Unfit(value, "it is empty")
    return tuple(dict.fromkeys(found))


def _one(value: Value) -> str:
    text = value.text
    kind, _, name = text.partition(":")
    if value.shape is Shape.TEXT and text in _WORDS:
        return text
    if value.shape is Shape.TEXT and kind == "certificate" and name:
        return text
    if value.shape is Shape.TEXT and kind == "unix" and name:
        return f"unix:{_uid(value, name)}"
    # YAML 1.1 takes 2001:1:2:3:4:5:6:7 for a number in base 60.
    if value.shape not in (Shape.TEXT, Shape.NUMBER) or not _LIKE_AN_ADDRESS.fullmatch(text):
        near = nearest(text, _WORDS, _SYNONYMS)
        raise Unfit(value, f"did you mean {near}?" if near else "")
    return _range(value)


def _uid(value: Value, name: str) -> int:
    # Asked now and not for each connection: looking names up may take a while, and may fail.
    if name.isascii() and name.isdigit():
        if len(name) > 10:
            raise Unfit(value, "a user's number has 32 bits")
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        raise Unfit(value, "there is no user of that name") from None
    except OSError as error:
        raise Unfit(value, f"users cannot be looked up: {error.strerror}") from None


def _range(value: Value) -> str:
    try:
        network = ipaddress.ip_network(value.text, strict=False)
        address = ipaddress.ip_address(value.text.partition("/")[0])
    except ValueError:
        raise Unfit(value) from None
    if network.network_address != address:
        raise Unfit(value, f"{address} alone, or the range {network}?")
    # An IPv4 address is one, however it is written and however it comes.
    mapped = network.network_address.ipv4_mapped if isinstance(network, ipaddress.IPv6Network) else None
    if mapped is not None and network.prefixlen >= 96:
        return f"{mapped}/{network.prefixlen - 96}"
    return str(network)


def _may(value: Value) -> str:
    items = value.items() if value.item_count <= 2 else []
    words = [word.strip() for item in items for word in _text(item).split(",")]
    if words == ["none"]:
        return "none"
    if not words or not {"read", "write"}.issuperset(words) or len(set(words)) < len(words):
        raise Unfit(value)
    return ",".join(sorted(words))


def _text(value: Value) -> str:
    return value.text if value.shape is Shape.TEXT else ""


def _below(value: Value) -> str:
    text = value.text
    reason = ""
    try:
        segments = text.removesuffix("/").split("/")[1:]
        if value.shape is not Shape.TEXT or not text.startswith("/"):
            reason = "it begins with /"
        elif not is_segment(text.encode()):
            reason = "a path holds no space and no control character"
        elif any(segment in ("", ".", "..") for segment in segments):
            reason = "a path has no empty, . or .. segment"
        else:
            return text.removesuffix("/") or "/"
    except UnicodeEncodeError:
        reason = "this is no text"
    raise Unfit(value, reason)


_PARTS: Final = {"who": Reader(_WHO, _who), "may": Reader(_MAY, _may), "below": Reader(_BELOW, _below)}
_RECORD: Final = Record(AccessRule, _PARTS, {"below": "/"})


# -- Rules that can never apply --


class _Reach(NamedTuple):
    """Whom a rule is about: each as a text and, for addresses, as (4 or 6, the first, the last); and what."""

    who: list[tuple[str, _Addresses | None]]
    below: str


def _never_applied(found: Sequence[tuple[Value, AccessRule]]) -> Iterator[Unfit]:
    """Rules that no request can reach, because an earlier rule decides about every request they are about. Whoever
    wrote such a rule wanted it to do something, so it is refused as a mistake."""
    reaches = [_Reach([(who, _addresses(who)) for who in rule.who], rule.below.rstrip("/") + "/") for _, rule in found]
    for number, (value, _) in enumerate(found):
        for earlier in range(number):
            if _covers(reaches[earlier], reaches[number]):
                line = found[earlier][0].place.line
                which = f"the rule in line {line}" if line else f"rule {earlier + 1}"
                reason = f"{which} is about all of this, and the first match decides"
                yield Unfit(value, reason, expected="a rule that can ever apply")
                break


def _addresses(who: str) -> _Addresses | None:
    if who.partition(":")[0] in _WORDS:
        return None
    network = ipaddress.ip_network(who)
    return network.version, int(network[0]), int(network[-1])


def _covers(earlier: _Reach, later: _Reach) -> bool:
    if not later.below.startswith(earlier.below):
        return False
    return all(any(_includes(*one, *other) for one in earlier.who) for other in later.who)


def _includes(one: str, addresses: _Addresses | None, other: str, others: _Addresses | None) -> bool:
    """Whether everybody who is `other` is `one` as well."""
    if addresses is not None:
        return (
            others is not None and addresses[0] == others[0] and addresses[1] <= others[1] <= others[2] <= addresses[2]
        )
    return one in (other, "anybody") or (one in ("unix", "certificate") and other.startswith(f"{one}:"))
