"""Who may do what: the rules one by one, and what a session makes of them."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import Bench, FakeTransport, ScriptedStore, Talk, request
from sttpd_settings import load

from sttp_reactor.sttp.access import Policy, peer_of
from sttp_reactor.sttp.access_log import Access
from sttp_reactor.sttp.session import Session, SessionLimits
from sttp_reactor.sttp.settings import AccessRule, Settings

OK = ""
READ_ONLY = "the server is read-only; use SHOW or LIST"
ONLY_READ = "you may only read here; use SHOW or LIST"
ONLY_WRITE = "you may only write here; use CREATE, UPDATE or DELETE"
NEITHER = "you may neither read nor write here"

REMOTE = "192.0.2.7:5"
LOCAL = ["127.0.0.1:5", "127.9.8.7:5", "[::1]:5", "[::ffff:127.0.0.1]:5", "unix:pid=7,uid=1000", "unix:"]


def decide(policy: Policy, peer: str, asked: str, names: Sequence[str] = ()) -> str:
    """`asked` is `read /a` or `write /a`. Gives the refusal, or OK."""
    action, path = asked.split(" ")
    assert action in ("read", "write")
    rights = policy.rights_of(peer, names)
    return (rights and rights.refusal(path.encode(), action == "write")) or OK


def settings_of(rules: str, folder: Path) -> Settings:
    """As they would be read from a file that holds these `rules`, one a line."""
    file = folder / "sttpd.yaml"
    head = "tls: {certificate: c, key: k, client_ca: ca}\naccess:\n"
    file.write_text(head + "".join(f"  - {{{rule.strip()}}}\n" for rule in rules.strip().split("\n")))
    return load(file, [("-d", "docroot", "/srv/files")]).settings


# -- Who --

WHO = [
    ("anybody", [REMOTE, "[2001:db8::1]:5", "127.0.0.1:5", "unix:pid=7,uid=1000", "unix:", "nonsense"], []),
    ("192.0.2.7", [REMOTE, "[::ffff:192.0.2.7]:5", "[::ffff:c000:207]:5"], ["192.0.2.8:5", "[::c000:207]:5"]),
    ("192.0.2.0/24", ["192.0.2.0:5", "192.0.2.255:5"], ["192.0.1.255:5", "192.0.3.0:5", "unix:", "[2001:db8::1]:5"]),
    ("192.0.2.7/32", [REMOTE], ["192.0.2.6:5", "192.0.2.8:5"]),
    ("192.0.2.0/25", ["192.0.2.127:5"], ["192.0.2.128:5"]),
    ("0.0.0.0/0", [REMOTE, "255.255.255.255:5", "[::ffff:192.0.2.7]:5"], ["[2001:db8::1]:5", "[::1]:5", "unix:"]),
    ("'::/0'", ["[2001:db8::1]:5", "[::1]:5", "[fe80::1%eth0]:5"], [REMOTE, "[::ffff:192.0.2.7]:5", "unix:"]),
    ("2001:db8::/32", ["[2001:db8::]:5", "[2001:db8:ffff::1]:5"], ["[2001:db7:ffff::]:5", "[2001:db9::]:5", REMOTE]),
    ("2001:db8:1:2:3:4:5:6", ["[2001:db8:1:2:3:4:5:6]:5"], ["[2001:db8:1:2:3:4:5:7]:5"]),
    ("fe80::/10", ["[fe80::1%eth0]:5", "[fe80::1%2]:5", "[fe80::1]:5"], ["[fec0::1]:5"]),
    ("'::ffff:192.0.2.0/120'", [REMOTE, "[::ffff:192.0.2.7]:5"], ["192.0.3.1:5", "[::c000:207]:5"]),
    ("127.0.0.0/8", ["127.0.0.1:5", "127.255.0.1:5"], ["128.0.0.1:5", "[::1]:5", "unix:"]),
    ("unix", ["unix:pid=7,uid=1000", "unix:pid=7,uid=0", "unix:"], [REMOTE, "127.0.0.1:5", "unix:pid=7,uid=x", "unix"]),
    ("unix:1000", ["unix:pid=7,uid=1000"], ["unix:pid=1000,uid=7", "unix:pid=7,uid=10000", "unix:", REMOTE]),
    ("unix:0", ["unix:pid=7,uid=0"], ["unix:pid=0,uid=7", "unix:"]),
    ("unix:root", ["unix:pid=7,uid=0"], ["unix:pid=7,uid=1000", "unix:"]),
    ("[192.0.2.7, unix:5, '::1']", [REMOTE, "unix:pid=1,uid=5", "[::1]:9"], ["192.0.2.8:5", "unix:", "127.0.0.1:5"]),
]


@pytest.mark.parametrize(
    ("who", "peer", "is_meant"),
    [(who, peer, True) for who, meant, _ in WHO for peer in meant]
    + [(who, peer, False) for who, _, others in WHO for peer in others],
)
def test_who_is_meant(tmp_path: Path, who: str, peer: str, is_meant: bool) -> None:
    """Whoever is meant may write, and everybody else, on this machine too, may only read."""
    policy = Policy(settings_of(f"who: {who}, may: write", tmp_path).access)
    rights = policy.rights_of(peer)
    is_local = any(peer.startswith(start) for start in ("127.", "[::1]", "unix:")) and "uid=x" not in peer
    if is_meant:
        assert (decide(policy, peer, "write /a"), decide(policy, peer, "read /a")) == (OK, ONLY_WRITE)
    elif is_local:
        assert rights is None
    else:
        assert (decide(policy, peer, "write /a"), decide(policy, peer, "read /a")) == (NEITHER, NEITHER)


CERTIFICATES = [
    ("certificate", ["alice"], True),
    ("certificate", ["CN", "alt"], True),
    ("certificate", [], False),
    ("certificate:alice", ["alice"], True),
    ("certificate:alice", ["CN", "alice"], True),
    ("certificate:alice", ["Alice"], False),
    ("certificate:alice", ["alice.example.org"], False),
    ("certificate:alice", ["*"], False),
    ("certificate:alice", [], False),
    ("'certificate:*.example.org'", ["a.example.org"], False),
    ("'certificate:*.example.org'", ["*.example.org"], True),
    ("'certificate:Alice Ä. (7)'", ["Alice Ä. (7)"], True),
    ("certificate:unix:0", ["unix:0"], True),
    ("certificate:192.0.2.7", ["192.0.2.9"], False),
    ("[certificate:alice, certificate:bob]", ["bob"], True),
    ("[certificate:alice, 198.51.100.0/24]", ["bob"], False),
]


@pytest.mark.parametrize(("who", "names", "is_meant"), CERTIFICATES)
def test_certificates(tmp_path: Path, who: str, names: list[str], is_meant: bool) -> None:
    policy = Policy(settings_of(f"who: {who}, may: read", tmp_path).access)
    assert decide(policy, REMOTE, "read /a", names) == (OK if is_meant else NEITHER)
    assert decide(policy, REMOTE, "write /a", names) == (ONLY_READ if is_meant else NEITHER)


# -- What, where, and which rule --

BELOW = [
    # below, those that are, those that are not
    ("/", ["/", "/a", "/a/b/c", "/é"], []),
    ("/a", ["/a", "/a/", "/a/b", "/a/b/c"], ["/", "/b", "/ab", "/ab/", "/A", "/A/b", "/b/a", "/a.b", "/b/a/a"]),
    ("/a/", ["/a", "/a/", "/a/b"], ["/", "/ab"]),
    ("/a/b", ["/a/b", "/a/b/", "/a/b/c"], ["/a", "/a/", "/a/bc", "/a/c", "/b"]),
    ("/é", ["/é", "/é/a"], ["/e", "/e\u0301", "/\u00c9", "/éa"]),
    ("/..a", ["/..a/b"], ["/.a", "/a"]),
]


@pytest.mark.parametrize(
    ("below", "path", "is_below"),
    [(below, path, True) for below, inside, _ in BELOW for path in inside]
    + [(below, path, False) for below, _, outside in BELOW for path in outside],
)
@pytest.mark.parametrize(("may", "refusals"), [("read", (OK, ONLY_READ)), ("none", (NEITHER, NEITHER))])
def test_below(tmp_path: Path, below: str, path: str, is_below: bool, may: str, refusals: tuple[str, str]) -> None:
    rules = f"who: anybody, may: {may}, below: {below}"
    if below != "/":
        rules += "\nwho: anybody, may: write"
    policy = Policy(settings_of(rules, tmp_path).access)
    got = decide(policy, REMOTE, f"read {path}"), decide(policy, REMOTE, f"write {path}")
    assert got == (refusals if is_below else (ONLY_WRITE, OK))


DECISIONS = [
    # What a rule grants.
    ("who: anybody, may: read", [(REMOTE, "read /", OK), (REMOTE, "write /a", ONLY_READ)]),
    ("who: anybody, may: write", [(REMOTE, "read /", ONLY_WRITE), (REMOTE, "write /a", OK)]),
    ("who: anybody, may: none", [(REMOTE, "read /", NEITHER), (REMOTE, "write /a", NEITHER)]),
    ("who: anybody, may: [read, write]", [(REMOTE, "read /", OK), (REMOTE, "write /a", OK)]),
    ("who: anybody, may: 'write, read'", [(REMOTE, "read /", OK), (REMOTE, "write /a", OK)]),
    # Where no rule is about somebody.
    ("who: 198.51.100.1, may: read", [(REMOTE, "read /a", NEITHER), (REMOTE, "write /a", NEITHER)]),
    *(("who: 198.51.100.1, may: read", [(peer, "read /a", OK), (peer, "write /a", OK)]) for peer in LOCAL),
    ("who: 198.51.100.1, may: read", [("nonsense", "read /a", NEITHER), ("", "read /a", NEITHER)]),
    # But those on this machine have no more than a rule about them says.
    *(("who: anybody, may: none", [(peer, "read /a", NEITHER)]) for peer in LOCAL),
    *(
        ("who: anybody, may: read, below: /a", [(peer, "write /a/b", ONLY_READ), (peer, "write /b", OK)])
        for peer in LOCAL
    ),
    ("who: anybody, may: read, below: /a", [(REMOTE, "read /a/b", OK), (REMOTE, "read /b", NEITHER)]),
    # The first rule that fits decides, all by itself.
    (
        """
        who: 192.0.2.0/24, may: read, below: /a
        who: 192.0.2.7, may: write
        """,
        [(REMOTE, "read /a/b", OK), (REMOTE, "write /a/b", ONLY_READ), (REMOTE, "read /b", ONLY_WRITE)],
    ),
    (
        """
        who: anybody, may: none, below: /secret
        who: 192.0.2.7, may: [read, write]
        who: anybody, may: read
        """,
        [
            (REMOTE, "read /secret/x", NEITHER),
            (REMOTE, "read /secret", NEITHER),
            (REMOTE, "write /secrets", OK),
            ("192.0.2.8:5", "read /a", OK),
            ("192.0.2.8:5", "write /a", ONLY_READ),
            ("unix:pid=1,uid=0", "read /secret/x", NEITHER),
            ("unix:pid=1,uid=0", "write /a", ONLY_READ),
        ],
    ),
    (
        """
        who: unix:33, may: read, below: /www
        who: unix:33, may: none
        who: unix:0, may: none, below: /www
        """,
        [
            ("unix:pid=1,uid=33", "read /www/x", OK),
            ("unix:pid=1,uid=33", "write /www/x", ONLY_READ),
            ("unix:pid=1,uid=33", "read /home", NEITHER),
            ("unix:pid=1,uid=0", "read /www/x", NEITHER),
            ("unix:pid=1,uid=0", "write /home/x", OK),
            ("unix:pid=1,uid=1000", "write /www/x", OK),
            (REMOTE, "read /www/x", NEITHER),
        ],
    ),
    # A place inside another, the inner one first.
    (
        """
        who: anybody, may: write, below: /a/drop
        who: anybody, may: read, below: /a
        """,
        [
            (REMOTE, "write /a/drop/x", OK),
            (REMOTE, "read /a/drop/x", ONLY_WRITE),
            (REMOTE, "read /a/drop/", ONLY_WRITE),
            (REMOTE, "read /a/dropped", OK),
            (REMOTE, "write /a/x", ONLY_READ),
            (REMOTE, "read /", NEITHER),
        ],
    ),
]


@pytest.mark.parametrize(
    ("rules", "peer", "asked", "expected"),
    [(rules, *case) for rules, cases in DECISIONS for case in cases],
)
def test_decisions(tmp_path: Path, rules: str, peer: str, asked: str, expected: str) -> None:
    assert decide(Policy(settings_of(rules, tmp_path).access), peer, asked) == expected


@pytest.mark.parametrize("peer", [REMOTE, "[2001:db8::1]:5", *LOCAL])
def test_without_rules_everybody_may_do_everything(peer: str) -> None:
    assert Policy([]).rights_of(peer, ["alice"]) is None


@pytest.mark.parametrize("peer", [REMOTE, *LOCAL])
def test_read_only_is_for_everybody(tmp_path: Path, peer: str) -> None:
    policy = Policy([], read_only=True)
    assert (decide(policy, peer, "read /a"), decide(policy, peer, "write /a")) == (OK, READ_ONLY)
    generous = Policy(settings_of("who: anybody, may: [read, write]", tmp_path).access, read_only=True)
    assert (decide(generous, peer, "read /a"), decide(generous, peer, "write /a")) == (OK, READ_ONLY)
    strict = Policy(settings_of("who: anybody, may: write", tmp_path).access, read_only=True)
    assert (decide(strict, peer, "read /a"), decide(strict, peer, "write /a")) == (NEITHER, READ_ONLY)


def test_who_may_do_everything_has_no_rights_to_look_at(tmp_path: Path) -> None:
    rules = "who: 192.0.2.7, may: [read, write]\nwho: 192.0.2.8, may: read"
    policy = Policy(settings_of(rules, tmp_path).access)
    assert policy.rights_of(REMOTE) is None
    assert policy.rights_of("127.0.0.1:5") is None
    reader, stranger = policy.rights_of("192.0.2.8:5"), policy.rights_of("192.0.2.9:5")
    assert reader is not None
    assert stranger is not None
    assert (reader.reads_everything, stranger.reads_everything) == (True, False)


def test_who_may_not_read_everything_is_known(tmp_path: Path) -> None:
    rules = "who: 192.0.2.7, may: none, below: /a\nwho: anybody, may: read"
    policy = Policy(settings_of(rules, tmp_path).access)
    one, other = policy.rights_of(REMOTE), policy.rights_of("192.0.2.8:5")
    assert one is not None
    assert other is not None
    assert (one.reads_everything, other.reads_everything) == (False, True)


@pytest.mark.parametrize("peer", ["", ":", "x", "unix:uid=0", "unix:pid=1,uid=0 ", "[]:5", "[::1:5", "1.2.3:4", "é:1"])
def test_a_peer_of_unknown_name_is_nobody(peer: str) -> None:
    who = peer_of(peer)
    assert (who.is_local, who.is_unix, who.uid) == (False, False, None) or who.address == (6, 1)


# Any rules at all, against the plainest way to read them.

PATHS = ["/", "/a", "/a/", "/a/b", "/ab", "/b", "/b/c"]
PEERS = [REMOTE, "192.0.2.8:5", "127.0.0.1:5", "[::1]:5", "unix:pid=1,uid=7", "[2001:db8::1]:5"]
MEANT = {
    "anybody": PEERS,
    "192.0.2.0/24": PEERS[:2],
    "192.0.2.7/32": PEERS[:1],
    "unix": PEERS[4:5],
    "unix:7": PEERS[4:5],
    "unix:8": [],
    "2001:db8::/32": PEERS[5:],
}
ANY_RULE = st.builds(
    AccessRule,
    who=st.lists(st.sampled_from(list(MEANT)), min_size=1, max_size=3).map(tuple),
    may=st.sampled_from(["read", "write", "read,write", "none"]),
    below=st.sampled_from(["/", "/a", "/a/b", "/b"]),
)


def plainly(rules: Iterable[AccessRule], peer: str, path: str, is_write: bool) -> bool:
    for rule in rules:
        parts, wanted = path.strip("/").split("/"), rule.below.strip("/").split("/")
        is_below = rule.below == "/" or parts[: len(wanted)] == wanted
        if is_below and any(peer in MEANT[who] for who in rule.who):
            return ("write" if is_write else "read") in rule.may
    return peer in PEERS[2:5]


@given(st.lists(ANY_RULE, min_size=1, max_size=6), st.booleans())
def test_any_rules_are_read_from_the_first_to_the_last(rules: list[AccessRule], read_only: bool) -> None:
    policy = Policy(rules, read_only=read_only)
    for peer in PEERS:
        rights = policy.rights_of(peer)
        for path in PATHS:
            for is_write in (False, True):
                allowed = plainly(rules, peer, path, is_write) and not (read_only and is_write)
                refused = rights is not None and rights.refusal(path.encode(), is_write) is not None
                assert refused is not allowed, (peer, path, is_write)
                assert is_write or allowed or (rights is not None and not rights.reads_everything)


def test_settings_with_rules_can_be_handed_to_another_process(tmp_path: Path) -> None:
    """That is how those of several processes hear of a reload."""
    settings = settings_of("who: [unix:root, 192.0.2.7, certificate:x], may: read, below: /a", tmp_path)
    assert pickle.loads(pickle.dumps(settings)) == settings


# -- In a session --

A, B = b"200 /a OK\ntext of a\n", b"200 /b OK\ntext of b\n"


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench(ScriptedStore({b"/a": b"text of a", b"/b": b"text of b"})) as bench:
        yield bench


def rule(who: str, may: str, below: str = "/") -> AccessRule:
    return AccessRule((who,), may, below)


READS_ALL = Policy([rule("anybody", "read")])
NOT_B = Policy([rule("anybody", "none", "/b"), rule("anybody", "read,write")])


def refused(path: str, why: str) -> bytes:
    return f'300 {path} CLIENT ERROR "{why}"\n'.encode()


def follow(bench: Bench, policy: Policy, access_log: object = None) -> Talk:
    talk = Talk(bench, access_log=access_log)
    talk.session.use_policy(policy)
    return talk


def test_a_session_begins_with_the_rules_that_hold(bench: Bench) -> None:
    session = Session(bench.reactor, bench.service, SessionLimits(), lambda _: None, policy=Policy([], read_only=True))
    transport = FakeTransport(bench.reactor)
    session.connection_made(transport)
    session.data_received(b"CREATE /x 1\n")
    bench.rest()
    assert transport.sent == refused("/x", READ_ONLY)
    session.connection_lost(None)


def test_a_session_knows_its_peer_by_its_certificate(bench: Bench) -> None:
    policy = Policy([rule("certificate:alice", "read,write"), rule("certificate", "read")])
    for names, reply in [
        (("alice",), b"100 /x CREATED\n"),
        (("bob",), refused("/x", ONLY_READ)),
        ((), refused("/x", NEITHER)),
    ]:
        session = Session(bench.reactor, bench.service, SessionLimits(), lambda _: None, policy=policy)
        transport = FakeTransport(bench.reactor)
        transport.peer_names = names
        session.connection_made(transport)
        session.data_received(b"CREATE /x 1\n")
        bench.rest()
        assert transport.sent == reply
        session.connection_lost(None)


@pytest.mark.parametrize("action", ["CREATE /x 1", "UPDATE /a 1", "DELETE /a", "CREATE /a 1", "DELETE /none"])
def test_a_refused_write_never_reaches_the_store(bench: Bench, action: str) -> None:
    for policy, why in ((Policy([], read_only=True), READ_ONLY), (READS_ALL, ONLY_READ)):
        talk = follow(bench, policy)
        assert talk.ask(action.encode() + b"\n") == refused(action.split(" ")[1], why)
    assert bench.store.committed == []


@pytest.mark.parametrize("action", ["SHOW /b", "LIST /b", "LIST /b/", "SHOW /b/none", "LIST /b/none"])
def test_a_refused_read_never_reaches_the_store(bench: Bench, action: str) -> None:
    talk = follow(bench, NOT_B)
    assert talk.ask(action.encode() + b"\n") == refused(action.split(" ")[1], NEITHER)
    assert (bench.store.shown, bench.store.listed) == ([], 0)


def test_a_forbidden_name_is_shown_in_the_list_of_a_permitted_directory(bench: Bench) -> None:
    """LIST reads the directory it names, and that is all."""
    assert follow(bench, NOT_B).ask(b"LIST /\n") == b"200 / OK\na, b\n"


@pytest.mark.parametrize("chunk", [b"SHOW /b\n", b"SHOW /a\nSHOW /b\n", b"SHOW /b\r\n", b"LIST /b\nSHOW /b\n"])
def test_what_is_cached_is_not_shown_to_who_may_not_read_it(bench: Bench, chunk: bytes) -> None:
    Talk(bench).ask(b"SHOW /a\nSHOW /b\n")
    assert bench.service.cached(request(b"SHOW /b")) == B
    stranger = follow(bench, NOT_B)
    stranger.ask(b"SHOW /a\n")  # and from now on it owes nothing: the fast way would be open
    for _ in range(2):
        assert b"text of b" not in stranger.ask(chunk)


def test_refusals_have_their_place_in_the_order(bench: Bench) -> None:
    talk = follow(bench, NOT_B)
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nSHOW /b\nDELETE /b\nLIST /\nCREATE /b/x 1\n")
    bench.turn()
    gate.wait_until_reached()
    assert talk.received() == b"", "a refusal is known at once, and waits for its turn"
    gate.open()
    bench.rest()
    no = NEITHER
    assert talk.received() == (A + refused("/b", no) + refused("/b", no) + b"200 / OK\na, b\n" + refused("/b/x", no))
    assert bench.store.committed == []


def test_a_refusal_comes_after_every_other_check(bench: Bench) -> None:
    """Section 3's order: form, action, path, file name, contents; then this; then the store."""
    talk = follow(bench, Policy([rule("anybody", "none")]))
    name = "n" * 33
    for line, status, words in [
        ("show /a", 300, "Did you mean SHOW"),
        ("SHOW a", 300, "begin with /"),
        ("SHOW /.sttp", 300, "server's own"),
        ("SHOW /a/", 300, "names a directory"),
        (f"SHOW /{name}", 310, "FILENAME TOO LONG"),
        (f"CREATE /{name} x", 310, "FILENAME TOO LONG"),
        ("SHOW /a x", 300, "takes nothing"),
        ("CREATE /a", 300, "contents are missing"),
        ("CREATE /a " + 161 * "x", 300, "too long"),
        ("CREATE /a x", 300, NEITHER),
        ("SHOW /a", 300, NEITHER),
        ("SHOW /none", 300, NEITHER),
        ("SHOW /none/none", 300, NEITHER),
    ]:
        reply = talk.ask(line.encode() + b"\n").decode()
        assert reply.startswith(str(status)), line
        assert words in reply, line


def test_a_refusal_is_a_request_like_any_other(bench: Bench) -> None:
    """An empty line after it ends the session, and it stands in the access log."""
    log = _Log()
    talk = follow(bench, NOT_B, log)
    assert talk.ask(b"DELETE /b\n\nDELETE /a\n") == refused("/b", NEITHER)
    assert talk.transport.is_closed
    assert [(entry.action, entry.path, entry.status) for entry in log.entries] == [(b"DELETE", b"/b", 300)]
    assert bench.store.committed == []


class _Log:
    def __init__(self) -> None:
        self.entries: list[Access] = []

    def record(self, entry: Access) -> None:
        self.entries.append(entry)


def counted(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The chunks that the fast way answers from now on."""
    answered: list[bytes] = []
    look_up = bench.service.fast_way()

    def counting(chunk: bytes, now: float) -> bytes | None:
        replies = look_up(chunk, now)
        if replies is not None:
            answered.append(chunk)
        return replies

    monkeypatch.setattr(bench.service, "fast_way", lambda _: counting)
    return answered


@pytest.mark.parametrize(
    ("policy", "is_fast"),
    [
        (Policy([]), True),
        (Policy([], read_only=True), True),
        (READS_ALL, True),
        (Policy([rule("198.51.100.1", "none"), rule("anybody", "read")]), True),
        (NOT_B, False),
        (Policy([rule("anybody", "none", "/b"), rule("anybody", "read")]), False),
    ],
)
def test_who_may_read_everything_takes_the_fast_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, policy: Policy, is_fast: bool
) -> None:
    answered = counted(bench, monkeypatch)
    talk = follow(bench, policy)
    for _ in range(3):
        assert talk.ask(b"SHOW /a\n") == A
    assert len(answered) == (2 if is_fast else 0)
    assert bench.store.shown == [b"/a"], "the cache serves both ways"


def test_rules_of_a_reload_hold_from_the_next_request_on(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = counted(bench, monkeypatch)
    talk = Talk(bench)
    assert [talk.ask(b"SHOW /b\n") for _ in range(2)] == [B, B]
    assert len(answered) == 1
    talk.session.use_policy(NOT_B)
    assert talk.ask(b"SHOW /b\n") == refused("/b", NEITHER)
    talk.session.use_policy(READS_ALL)
    assert talk.ask(b"SHOW /b\nDELETE /b\n") == B + refused("/b", ONLY_READ)
    talk.session.use_policy(None)
    assert talk.ask(b"SHOW /b\n") == B
    assert len(answered) == 2
    assert talk.ask(b"DELETE /b\n") == b"600 /b DELETED\n"


def test_rules_of_a_reload_hold_for_what_has_come_and_is_not_begun(bench: Bench) -> None:
    talk = Talk(bench)
    gate = bench.store.gate("before show /a")
    talk.send(b"SHOW /a\nDELETE /a\nDELETE /b\n")
    bench.turn()
    gate.wait_until_reached()
    talk.session.use_policy(READS_ALL)
    gate.open()
    bench.rest()
    assert talk.received() == A + refused("/a", ONLY_READ) + refused("/b", ONLY_READ)
    assert bench.store.committed == []


def test_what_has_begun_is_answered_as_it_was_when_it_began(bench: Bench) -> None:
    talk = Talk(bench)
    gate = bench.store.gate("after commit")
    talk.send(b"DELETE /a\nSHOW /b\n")
    bench.turn()
    gate.wait_until_reached()
    talk.session.use_policy(Policy([rule("anybody", "none")]))
    gate.open()
    bench.rest()
    assert talk.received() == b"600 /a DELETED\n" + refused("/b", NEITHER)


def test_a_thousand_refusals_in_one_chunk(bench: Bench) -> None:
    talk = follow(bench, READS_ALL)
    received = talk.ask(b"".join(b"DELETE /%d\n" % number for number in range(1000)))
    assert re.findall(rb"300 /(\d+) ", received) == [b"%d" % number for number in range(1000)]
    assert bench.store.committed == []
