"""Who may do what: the rules of `access`, and `read_only`.

A rule says who (any of several), below which path, and what they may do there. The first rule that is about the peer
and that the path is below decides, all by itself. Where none does, those on this machine may do everything (their
address is a loopback one, or they came by a Unix socket) and all others nothing; where there are no rules at all,
everybody may do everything.

The work is divided so that a request costs little. Once for each connection, the rules that are about its peer are
picked out: its `Rights`. Once for each request, its path is looked for among these. A peer that may do everything has
no rights to look at, and one that may read everything is answered from the cache as if there were no rules.

Paths are compared byte for byte, as everywhere (PROTOCOL.md section 1), and links are never followed, so each file
has one path and no other: unless the file system below the docroot takes upper and lower case for the same.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, Protocol

# What `net.listener` calls the peer of a Unix socket.
_UNIX_PEER: Final = re.compile(r"unix:(?:pid=[0-9]+,uid=([0-9]+))?")


class Rule(Protocol):
    """`who`: each an address, a range of addresses, `unix`, `unix:` and a user's number, `certificate` (any that has
    been verified), `certificate:` and a name in it, or `anybody`. `may`: `read`, `write`, `read,write` or `none`.
    `below`: a path of the protocol, with or without a trailing `/`."""

    @property
    def who(self) -> Sequence[str]: ...
    @property
    def may(self) -> str: ...
    @property
    def below(self) -> str: ...


class Peer(NamedTuple):
    """Who has connected, as far as the rules care. `address` is (4 or 6, the address as a number), None where it is
    not known; `uid` is None where the system does not tell."""

    address: tuple[int, int] | None = None
    is_unix: bool = False
    uid: int | None = None
    names: Sequence[str] = ()

    @property
    def is_local(self) -> bool:
        if self.address is None:
            return self.is_unix
        version, number = self.address
        return number >> 24 == 127 if version == 4 else number == 1


class _Grant(NamedTuple):
    """Below `below`, which ends with `/`."""

    below: bytes
    may_read: bool
    may_write: bool


class Rights:
    """What one peer may do. `reads_everything`: no request to read can be refused."""

    __slots__ = ("_grants", "_read_only", "reads_everything")

    def __init__(self, grants: Sequence[_Grant], read_only: bool) -> None:
        """The first grant that fits decides, and one for everything comes last."""
        self._grants = grants
        self._read_only = read_only
        self.reads_everything = all(grant.may_read for grant in grants)

    def refusal(self, path: bytes, is_write: bool) -> str | None:
        """Why the request is refused, as the message of a 300; None where it may go on.

        A path is below itself, and with `below: /a` so is LIST of `/a` and of `/a/`; `/ab` is not.
        """
        if is_write and self._read_only:
            return "the server is read-only; use SHOW or LIST"
        directory = path if path.endswith(b"/") else path + b"/"
        grant = next(each for each in self._grants if directory.startswith(each.below))
        if grant.may_write if is_write else grant.may_read:
            return None
        if grant.may_read:
            return "you may only read here; use SHOW or LIST"
        if grant.may_write and not self._read_only:
            return "you may only write here; use CREATE, UPDATE or DELETE"
        return "you may neither read nor write here"


class Policy:
    """The rules, ready to be asked about a peer."""

    def __init__(self, rules: Iterable[Rule], *, read_only: bool = False) -> None:
        self._rules = [(_matchers(rule), _grant(rule)) for rule in rules]
        self._read_only = read_only

    @property
    def everybody_reads(self) -> bool:
        """There is no rule that could keep anybody from reading anything."""
        return not self._rules

    def rights_of(self, peer: str, names: Sequence[str] = ()) -> Rights | None:
        """`peer` is a transport's, `names` are those in its verified certificate. None: it may do everything."""
        grants = self._grants_of(peer_of(peer, names)) if self._rules else [_everything(True)]
        if not self._read_only and all(grant.may_read and grant.may_write for grant in grants):
            return None
        return Rights(grants, self._read_only)

    def _grants_of(self, peer: Peer) -> list[_Grant]:
        grants = []
        for matchers, grant in self._rules:
            if any(is_meant(peer) for is_meant in matchers):
                grants.append(grant)
                if grant.below == b"/":
                    return grants  # nothing that follows can decide
        return [*grants, _everything(peer.is_local)]


def is_one_of(who: Iterable[str]) -> Callable[[str], bool]:
    """Whether a peer, a transport's, is among these, in the words of a rule; those of certificates apart."""
    matchers = [_matcher(each) for each in who]

    def is_meant(peer: str) -> bool:
        known = peer_of(peer)
        return any(matches(known) for matches in matchers)

    return is_meant


def peer_of(peer: str, names: Sequence[str] = ()) -> Peer:
    """What the name of a transport's peer tells. An IPv4 address that came over an IPv6 socket is an IPv4 address."""
    unix = _UNIX_PEER.fullmatch(peer)
    if unix is not None:
        return Peer(None, True, int(unix[1]) if unix[1] else None, names)
    try:
        address = ipaddress.ip_address(peer.rpartition(":")[0].strip("[]"))
    except ValueError:
        return Peer(None, names=names)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Peer((address.version, int(address)), names=names)


def _matchers(rule: Rule) -> list[Callable[[Peer], bool]]:
    return [_matcher(who) for who in rule.who]


def _matcher(who: str) -> Callable[[Peer], bool]:
    if who == "anybody":
        return lambda peer: True
    if who == "unix":
        return lambda peer: peer.is_unix
    if who == "certificate":
        return lambda peer: len(peer.names) > 0
    kind, _, name = who.partition(":")
    if kind == "unix":
        uid = int(name)
        return lambda peer: peer.uid == uid
    if kind == "certificate":
        return lambda peer: name in peer.names
    return _range_matcher(who)


def _range_matcher(text: str) -> Callable[[Peer], bool]:
    # Two comparisons of numbers take a tenth of what `address in network` does, and a flood of connects meets them all.
    network = ipaddress.ip_network(text)
    first, last = (network.version, int(network[0])), (network.version, int(network[-1]))
    return lambda peer: peer.address is not None and first <= peer.address <= last


def _grant(rule: Rule) -> _Grant:
    granted = rule.may.split(",")
    return _Grant(rule.below.rstrip("/").encode() + b"/", "read" in granted, "write" in granted)


def _everything(allowed: bool) -> _Grant:
    return _Grant(b"/", allowed, allowed)
