"""The list of rules under `access`: mappings of who, may and below."""

from __future__ import annotations

import difflib
import ipaddress
import pwd
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from sttp_reactor.config.readers import Reader
from sttp_reactor.config.settings import AccessRule
from sttp_reactor.config.values import Shape, Unfit, Value
from sttp_reactor.limits import MAX_ACCESS_ENTRIES
from sttp_reactor.text import is_segment

_Addresses = tuple[int, int, int]

_RULE: Final = "a rule such as {who: 192.0.2.0/24, may: read, below: /public}, or a list of them"
_KEYS: Final = "the keys who, may and below, once each"
_WHO: Final = (
    "an address, a range of them such as 192.0.2.0/24, unix, unix:USER, certificate, certificate:NAME, anybody,"
    " or a list of these"
)
_MAY: Final = "read, write, both as [read, write], or none"
_BELOW: Final = "a path as in a request, such as /public"

_WORDS: Final = ("anybody", "unix", "certificate")
# With a prefix length, where there is one: net masks are left to those who remember them.
_LIKE_AN_ADDRESS: Final = re.compile(r"[0-9a-fA-F.:]+(/[0-9]+)?")


def access_rules() -> Reader:
    """One rule or a list of them; none is a list as well. Each must be able to apply: first match wins."""

    def read(value: Value) -> tuple[AccessRule, ...]:
        if value.place.is_flag:
            raise Unfit(value, "rules are written in the file")
        found: list[tuple[Value, AccessRule]] = []
        unfit: list[Unfit] = []
        _refuse_too_many(value)
        for item in value.items():
            try:
                found.append((item, _rule(item)))
            except Unfit as error:
                unfit.append(error)
        if unfit:
            raise Unfit.together(unfit)
        unfit += _never_applied(found)
        if unfit:
            raise Unfit.together(unfit)
        return tuple(rule for _, rule in found)

    return Reader(_RULE, read)


def _refuse_too_many(value: Value) -> None:
    # Before any of them is read: by an alias, a file of one megabyte can hold a long list ten thousand times.
    entries = value.item_count
    if entries <= MAX_ACCESS_ENTRIES:
        for rule in value.items():
            if rule.shape is Shape.MAPPING:
                entries += sum(part.item_count - 1 for key, part in rule.pairs() if key.text == "who")
    if entries > MAX_ACCESS_ENTRIES:
        raise Unfit(value, f"too long; all rules together name {MAX_ACCESS_ENTRIES} at most in who")


def _rule(value: Value) -> AccessRule:
    if value.shape is not Shape.MAPPING:
        raise Unfit(value)
    written: dict[str, Value] = {}
    unfit: list[Unfit] = []
    for key, part in value.pairs():
        if key.shape is not Shape.TEXT or key.text not in ("who", "may", "below"):
            near = difflib.get_close_matches(key.text, ("who", "may", "below"), n=1)
            unfit.append(Unfit(key, f"did you mean {near[0]}?" if near else "", expected=_KEYS))
        elif key.text in written:
            unfit.append(Unfit(key, "it is there twice", expected=_KEYS))
        else:
            written[key.text] = part
    parts: dict[str, Any] = {"below": "/"}
    for name, part in written.items():
        try:
            parts[name] = _READERS[name](part)
        except Unfit as error:
            unfit.append(error)
    missing = [name for name in ("who", "may") if name not in written]
    if missing and not unfit:
        unfit.append(Unfit(value, f"{' and '.join(missing)} must be named"))
    if unfit:
        raise Unfit.together(unfit)
    return AccessRule(**parts)


def _who(value: Value) -> tuple[str, ...]:
    found: list[str] = []
    unfit: list[Unfit] = []
    for item in value.items():
        try:
            found.append(_one(item))
        except Unfit as error:
            unfit.append(error)
    if not found and not unfit:
        unfit.append(_not_who(value, "it is empty"))
    if unfit:
        raise Unfit.together(unfit)
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
        near = difflib.get_close_matches(text, _WORDS, n=1)
        raise _not_who(value, f"did you mean {near[0]}?" if near else "")
    return _range(value)


def _not_who(value: Value, reason: str = "") -> Unfit:
    return Unfit(value, reason, expected=_WHO, part="who")


def _uid(value: Value, name: str) -> int:
    # Asked now and not for each connection: looking names up may take a while, and may fail.
    if name.isascii() and name.isdigit():
        if len(name) > 10:
            raise _not_who(value, "a user's number has 32 bits")
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except (KeyError, ValueError):
        raise _not_who(value, "there is no user of that name") from None
    except OSError as error:
        raise _not_who(value, f"users cannot be looked up: {error.strerror}") from None


def _range(value: Value) -> str:
    try:
        network = ipaddress.ip_network(value.text, strict=False)
        address = ipaddress.ip_address(value.text.partition("/")[0])
    except ValueError:
        raise _not_who(value) from None
    if network.network_address != address:
        raise _not_who(value, f"{address} alone, or the range {network}?")
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
        raise Unfit(value, expected=_MAY, part="may")
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
    raise Unfit(value, reason, expected=_BELOW, part="below")


_READERS: Final = {"who": _who, "may": _may, "below": _below}


# -- Rules that can never apply --


class _Reach(NamedTuple):
    """Whom a rule is about: each as a text and, for addresses, as (4 or 6, the first, the last); and what."""

    who: list[tuple[str, _Addresses | None]]
    below: str


def _never_applied(found: Sequence[tuple[Value, AccessRule]]) -> Iterator[Unfit]:
    """A rule that one before it leaves nothing for was meant to do something, and would not."""
    reaches = [_Reach([(who, _addresses(who)) for who in rule.who], rule.below.rstrip("/") + "/") for _, rule in found]
    for number, (value, _) in enumerate(found):
        for earlier in range(number):
            if _covers(reaches[earlier], reaches[number]):
                line = found[earlier][0].place.line
                reason = f"the rule in line {line} is about all of this, and the first match decides"
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
