"""The rules under `access`: how they may be written, and every mistake in them with its place and what is allowed."""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sttpd_settings import Loaded, load

from sttp_reactor.config import ConfigError, FlagError, print_config
from sttp_reactor.limits import MAX_ACCESS_ENTRIES
from sttp_reactor.sttp.settings import AccessRule

RULE = "access: expected a rule such as {who: 192.0.2.0/24, may: read, below: /public}, or a list of them, got"
KEYS = "access: expected the keys who, may and below, once each, got"
WHO = (
    "access.who: expected an address, a range of them such as 192.0.2.0/24, unix, unix:USER, certificate,"
    " certificate:NAME, anybody, or a list of these, got"
)
MAY = "access.may: expected read, write, both as [read, write], or none, got"
BELOW = "access.below: expected a path as in a request, such as /public, got"
DEAD = "access: expected a rule that can ever apply, got a mapping (the rule in line"
DECIDES = "is about all of this, and the first match decides)"

TLS = "tls: {certificate: c, key: k, client_ca: ca}"


def read(folder: Path, text: str) -> Loaded:
    file = folder / "f"
    file.write_text(f"{text}\ndocroot: /srv/files\n{TLS}\n")
    return load(file)


def mistakes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text)
    return [mistake.removeprefix(f"{folder}/") for mistake in caught.value.mistakes]


# -- What may be written --

WHOS = [
    ("anybody", ("anybody",)),
    ("unix", ("unix",)),
    ("'unix'", ("unix",)),
    ("unix:1000", ("unix:1000",)),
    ("unix:root", ("unix:0",)),
    ("unix:0", ("unix:0",)),
    ("certificate", ("certificate",)),
    ("certificate:alice", ("certificate:alice",)),
    ("certificate:Alice Smith", ("certificate:Alice Smith",)),
    ("'certificate: x'", ("certificate: x",)),
    ("certificate:a:b", ("certificate:a:b",)),
    ("192.0.2.7", ("192.0.2.7/32",)),
    ("192.0.2.0/24", ("192.0.2.0/24",)),
    ("0.0.0.0/0", ("0.0.0.0/0",)),
    ("'::'", ("::/128",)),
    ("'::/0'", ("::/0",)),
    ("2001:DB8:0::/32", ("2001:db8::/32",)),
    ("2001:1:2:3:4:5:6:7", ("2001:1:2:3:4:5:6:7/128",)),
    ("'::ffff:192.0.2.0/120'", ("192.0.2.0/24",)),
    ("'::ffff:192.0.2.7'", ("192.0.2.7/32",)),
    ("[192.0.2.7, unix:5, '::1']", ("192.0.2.7/32", "unix:5", "::1/128")),
    ("[unix, unix, 192.0.2.7, 192.0.2.7/32]", ("unix", "192.0.2.7/32")),
]


@pytest.mark.parametrize(("text", "who"), WHOS)
def test_who(tmp_path: Path, text: str, who: tuple[str, ...]) -> None:
    assert read(tmp_path, f"access: {{who: {text}, may: read}}").settings.access == (AccessRule(who, "read", "/"),)


def test_a_user_by_name(tmp_path: Path) -> None:
    name = pwd.getpwuid(os.getuid()).pw_name
    (rule,) = read(tmp_path, f"access: {{who: 'unix:{name}', may: read}}").settings.access
    assert rule.who == (f"unix:{os.getuid()}",)


MAYS = [
    ("read", "read"),
    ("write", "write"),
    ("none", "none"),
    ("[none]", "none"),
    ("[read]", "read"),
    ("[read, write]", "read,write"),
    ("[write, read]", "read,write"),
    ("'read,write'", "read,write"),
    ("'write, read'", "read,write"),
    ("['read,write']", "read,write"),
]


@pytest.mark.parametrize(("text", "may"), MAYS)
def test_may(tmp_path: Path, text: str, may: str) -> None:
    assert read(tmp_path, f"access: {{who: unix, may: {text}}}").settings.access == (AccessRule(("unix",), may, "/"),)


BELOWS = [
    ("/", "/"),
    ("/a", "/a"),
    ("/a/", "/a"),
    ("/a/b.c/-/...", "/a/b.c/-/..."),
    ("/é", "/é"),
    ("'/{a}'", "/{a}"),
    ("/" + "n" * 40, "/" + "n" * 40),
]


@pytest.mark.parametrize(("text", "below"), BELOWS)
def test_below(tmp_path: Path, text: str, below: str) -> None:
    (rule,) = read(tmp_path, f"access:\n  - who: unix\n    may: read\n    below: {text}").settings.access
    assert rule.below == below


def test_rules_keep_their_order(tmp_path: Path) -> None:
    text = "access:\n- {may: none, who: unix, below: /b}\n- {who: anybody, may: read, below: /a}\n"
    assert [rule.below for rule in read(tmp_path, text).settings.access] == ["/b", "/a"]


@pytest.mark.parametrize("text", ["", "access: []"])
def test_no_rules(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text).settings.access == ()


def test_one_rule_for_several_places_by_an_alias(tmp_path: Path) -> None:
    text = "access:\n- {who: &us [192.0.2.0/24, unix], may: read, below: /a}\n- {who: *us, may: write, below: /b}\n"
    first, second = read(tmp_path, text).settings.access
    assert first.who == second.who == ("192.0.2.0/24", "unix")


# -- Mistakes --

WRONG = [
    ("access:", [f"f:1:8: {RULE} nothing"]),
    ("access: 5", [f"f:1:9: {RULE} '5'"]),
    ("access: all", [f"f:1:9: {RULE} 'all'"]),
    ("access: [read]", [f"f:1:10: {RULE} 'read'"]),
    ("access: [[{who: unix, may: read}]]", [f"f:1:10: {RULE} a list"]),
    ("access: !x {who: unix}", [f"f:1:9: {RULE} a value tagged !x"]),
    ("access: {}", [f"f:1:9: {RULE} a mapping (who and may must be named)"]),
    ("access: [{may: read}]", [f"f:1:10: {RULE} a mapping (who must be named)"]),
    ("access: [{who: unix, below: /a}]", [f"f:1:10: {RULE} a mapping (may must be named)"]),
    ("access: [{wo: unix, may: read}]", [f"f:1:11: {KEYS} 'wo' (did you mean who?)"]),
    ("access: [{who: unix, may: read, blow: /a}]", [f"f:1:33: {KEYS} 'blow' (did you mean below?)"]),
    ("access: [{who: unix, may: read, xyzzy: 1}]", [f"f:1:33: {KEYS} 'xyzzy'"]),
    ("access: [{who: unix, may: read, may: write}]", [f"f:1:33: {KEYS} 'may' (it is there twice)"]),
    ("access: [{who: unix, may: read, write}]", [f"f:1:33: {KEYS} 'write'"]),
    ("access: [{who: unix, may: read, [a]: b}]", [f"f:1:33: {KEYS} a list"]),
    ("access: [{who: unix, may: read, 5: b}]", [f"f:1:33: {KEYS} '5'"]),
    ("a: &a {who: unix}\naccess: [{<<: *a, may: read}]", ["f:1:1: a: unknown key", f"f:2:11: {KEYS} '<<'"]),
    ("access: {who: , may: read}", [f"f:1:14: {WHO} nothing"]),
    ("access: {who: [], may: read}", [f"f:1:15: {WHO} a list (it is empty)"]),
    ("access: {who: {unix: 0}, may: read}", [f"f:1:15: {WHO} a mapping"]),
    ("access: {who: [[unix]], may: read}", [f"f:1:16: {WHO} a list"]),
    ("access: {who: everybody, may: read}", [f"f:1:15: {WHO} 'everybody' (did you mean anybody?)"]),
    ("access: {who: Unix, may: read}", [f"f:1:15: {WHO} 'Unix' (did you mean unix?)"]),
    ("access: {who: certificat, may: read}", [f"f:1:15: {WHO} 'certificat' (did you mean certificate?)"]),
    ("access: {who: alice, may: read}", [f"f:1:15: {WHO} 'alice'"]),
    ("access: {who: 'certificate:', may: read}", [f"f:1:15: {WHO} 'certificate:' (did you mean certificate?)"]),
    ("access: {who: 'unix:', may: read}", [f"f:1:15: {WHO} 'unix:' (did you mean unix?)"]),
    ("access: {who: 'unix: 5', may: read}", [f"f:1:15: {WHO} 'unix: 5' (there is no user of that name)"]),
    (
        "access: {who: unix:no.such.user, may: read}",
        [f"f:1:15: {WHO} 'unix:no.such.user' (there is no user of that name)"],
    ),
    ("access: {who: unix:-1, may: read}", [f"f:1:15: {WHO} 'unix:-1' (there is no user of that name)"]),
    ('access: {who: "unix:\\0", may: read}', [f"f:1:15: {WHO} 'unix:\\x00' (there is no user of that name)"]),
    ('access: {who: "unix:\\ud800", may: read}', [f"f:1:15: {WHO} 'unix:\\ud800' (there is no user of that name)"]),
    (
        "access: {who: unix:99999999999, may: read}",
        [f"f:1:15: {WHO} 'unix:99999999999' (a user's number has 32 bits)"],
    ),
    ("access: {who: 10, may: read}", [f"f:1:15: {WHO} '10'"]),
    ("access: {who: 10.0, may: read}", [f"f:1:15: {WHO} '10.0'"]),
    ("access: {who: 10/8, may: read}", [f"f:1:15: {WHO} '10/8'"]),
    ("access: {who: true, may: read}", [f"f:1:15: {WHO} 'true'"]),
    ("access: {who: 256.0.0.1, may: read}", [f"f:1:15: {WHO} '256.0.0.1'"]),
    ("access: {who: 010.0.0.1, may: read}", [f"f:1:15: {WHO} '010.0.0.1'"]),
    ("access: {who: 10.0.0.0/33, may: read}", [f"f:1:15: {WHO} '10.0.0.0/33'"]),
    ("access: {who: 10.0.0.0/255.0.0.0, may: read}", [f"f:1:15: {WHO} '10.0.0.0/255.0.0.0'"]),
    ("access: {who: '10.0.0.0/ 8', may: read}", [f"f:1:15: {WHO} '10.0.0.0/ 8'"]),
    ("access: {who: '10.0.0.0/٨', may: read}", [f"f:1:15: {WHO} '10.0.0.0/٨'"]),
    ("access: {who: localhost, may: read}", [f"f:1:15: {WHO} 'localhost'"]),
    ("access: {who: '*', may: read}", [f"f:1:15: {WHO} '*'"]),
    ("access: {who: '[::1]', may: read}", [f"f:1:15: {WHO} '[::1]'"]),
    ("access: {who: 'fe80::1%eth0', may: read}", [f"f:1:15: {WHO} 'fe80::1%eth0'"]),
    (
        "access: {who: 192.0.2.7/24, may: read}",
        [f"f:1:15: {WHO} '192.0.2.7/24' (192.0.2.7 alone, or the range 192.0.2.0/24?)"],
    ),
    (
        "access: {who: 2001:db8::1/32, may: read}",
        [f"f:1:15: {WHO} '2001:db8::1/32' (2001:db8::1 alone, or the range 2001:db8::/32?)"],
    ),
    ("access: {who: [unix, a, b], may: read}", [f"f:1:22: {WHO} 'a'", f"f:1:25: {WHO} 'b'"]),
    ("access: {who: unix, may: }", [f"f:1:25: {MAY} nothing"]),
    ("access: {who: unix, may: []}", [f"f:1:26: {MAY} a list"]),
    ("access: {who: unix, may: reed}", [f"f:1:26: {MAY} 'reed'"]),
    ("access: {who: unix, may: Read}", [f"f:1:26: {MAY} 'Read'"]),
    ("access: {who: unix, may: rw}", [f"f:1:26: {MAY} 'rw'"]),
    ("access: {who: unix, may: all}", [f"f:1:26: {MAY} 'all'"]),
    ("access: {who: unix, may: yes}", [f"f:1:26: {MAY} 'yes'"]),
    ("access: {who: unix, may: 'read,'}", [f"f:1:26: {MAY} 'read,'"]),
    ("access: {who: unix, may: 'read,read'}", [f"f:1:26: {MAY} 'read,read'"]),
    ("access: {who: unix, may: [read, none]}", [f"f:1:26: {MAY} a list"]),
    ("access: {who: unix, may: {read: write}}", [f"f:1:26: {MAY} a mapping"]),
    ("access: {who: unix, may: read, below: }", [f"f:1:38: {BELOW} nothing (it begins with /)"]),
    ("access: {who: unix, may: read, below: public}", [f"f:1:39: {BELOW} 'public' (it begins with /)"]),
    ("access: {who: unix, may: read, below: 5}", [f"f:1:39: {BELOW} '5' (it begins with /)"]),
    ("access: {who: unix, may: read, below: [/a]}", [f"f:1:39: {BELOW} a list (it begins with /)"]),
    ("access: {who: unix, may: read, below: ''}", [f"f:1:39: {BELOW} '' (it begins with /)"]),
    (
        "access: {who: unix, may: read, below: /a b}",
        [f"f:1:39: {BELOW} '/a b' (a path holds no space and no control character)"],
    ),
    (
        'access: {who: unix, may: read, below: "/a\\e"}',
        [f"f:1:39: {BELOW} '/a\\x1b' (a path holds no space and no control character)"],
    ),
    ('access: {who: unix, may: read, below: "/\\ud800"}', [f"f:1:39: {BELOW} '/\\ud800' (this is no text)"]),
    *(
        (
            f"access: {{who: unix, may: read, below: {path}}}",
            [f"f:1:39: {BELOW} '{path}' (a path has no empty, . or .. segment)"],
        )
        for path in ("//", "/a//b", "/a//", "/./a", "/a/..", "/../a", "/..")
    ),
    (
        "access:\n- {who: x, may: y, below: z}\n- 7\n- {who: unix, may: read}\n- {may: w}\n",
        [
            f"f:2:9: {WHO} 'x'",
            f"f:2:17: {MAY} 'y'",
            f"f:2:27: {BELOW} 'z' (it begins with /)",
            f"f:3:3: {RULE} '7'",
            f"f:5:9: {MAY} 'w'",
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), WRONG, ids=[text[:60] for text, _ in WRONG])
def test_mistakes(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert mistakes(tmp_path, text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "{who: anybody, may: none}",
        "[{who: [unix, 192.0.2.0/24], may: [read, write], below: /a}, {who: unix, may: read}]",
    ],
)
def test_rules_in_a_flag_are_those_of_a_file(tmp_path: Path, text: str) -> None:
    in_file = read(tmp_path, f"access: {text}").settings.access
    assert load(None, [("--set", "access", text)]).settings.access == in_file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", f"{RULE} ''"),
        ("anybody", f"{RULE} 'anybody'"),
        ("[{who: anybody", f"{RULE} '[{{who: anybody' (it is not YAML)"),
        ("{who: all, may: read}", f"{WHO} 'all' (did you mean anybody?)"),
        ("[{who: unix, may: read}, {who: unix, may: read}]", f"{DEAD.replace('the rule in line', 'rule 1')} {DECIDES}"),
    ],
)
def test_mistakes_in_a_flag(text: str, expected: str) -> None:
    with pytest.raises(FlagError) as caught:
        load(None, [("--set", "access", text)])
    assert caught.value.mistakes == [f"--set {expected}"]


def test_a_rule_about_certificates_that_nobody_is_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "f"
    for who in ("certificate", "certificate:alice", "[unix, certificate:alice]"):
        file.write_text(f"docroot: /srv/files\naccess:\n- {{who: {who}, may: none}}\n")
        with pytest.raises(ConfigError) as caught:
            load(file)
        assert caught.value.mistakes == [
            f"{file}:3:1: access: has a rule about certificates, and without tls.client_ca no client is asked for one"
        ]


# -- Rules that can never apply --

NEVER = [
    # the second rule of each; the first is below /a, for 10.0.0.0/8 and unix
    ("10.0.0.0/8", "/a", True),
    ("10.1.2.3", "/a", True),
    ("[10.1.0.0/16, unix]", "/a", True),
    ("unix:1000", "/a/b/c", True),
    ("'::ffff:10.1.2.3'", "/a/", True),
    ("0.0.0.0/0", "/a", False),
    ("'::1'", "/a", False),
    ("[10.1.2.3, 11.1.2.3]", "/a", False),
    ("anybody", "/a", False),
    ("certificate:10.1.2.3", "/a", False),
    ("10.1.2.3", "/", False),
    ("10.1.2.3", "/ab", False),
    ("unix:1000", "/b", False),
]


@pytest.mark.parametrize(("who", "below", "is_dead"), NEVER)
def test_a_rule_that_one_before_it_leaves_nothing_for(tmp_path: Path, who: str, below: str, is_dead: bool) -> None:
    text = (
        "access:\n- {who: [10.0.0.0/8, unix], may: read, below: /a}\n"
        f"- {{who: {who}, may: none, below: {below}}}\n- {{who: anybody, may: none}}\n"
    )
    if is_dead:
        assert mistakes(tmp_path, text) == [f"f:3:3: {DEAD} 2 {DECIDES}"]
    else:
        assert len(read(tmp_path, text).settings.access) == 3


def test_nothing_comes_after_everything(tmp_path: Path) -> None:
    text = (
        "access:\n- {who: anybody, may: read}\n- {who: certificate, may: none}\n- {who: unix:5, may: none, below: /a}\n"
    )
    assert mistakes(tmp_path, text) == [f"f:{line}:3: {DEAD} 2 {DECIDES}" for line in (3, 4)]


def test_certificates_and_users_within_all_of_them(tmp_path: Path) -> None:
    for wide in ("unix", "certificate"):
        text = f"access:\n- {{who: '{wide}', may: read}}\n- {{who: '{wide}:5', may: none}}\n"
        assert mistakes(tmp_path, text) == [f"f:3:3: {DEAD} 2 {DECIDES}"]
        text = f"access:\n- {{who: '{wide}:5', may: read}}\n- {{who: '{wide}', may: none}}\n"
        assert len(read(tmp_path, text).settings.access) == 2


# -- Many, and printed back --


def test_as_many_as_are_allowed_are_checked_in_no_time(tmp_path: Path) -> None:
    def many(count: int) -> str:
        rules = (f"- {{who: 10.{number // 256}.{number % 256}.0/24, may: read}}\n" for number in range(count))
        return "access:\n" + "".join(rules)

    before = time.process_time()
    assert len(read(tmp_path, many(MAX_ACCESS_ENTRIES)).settings.access) == MAX_ACCESS_ENTRIES
    assert time.process_time() - before < 5
    too_long = f"(too long; all rules together name {MAX_ACCESS_ENTRIES} at most in who)"
    assert mistakes(tmp_path, many(MAX_ACCESS_ENTRIES + 1)) == [f"f:2:1: {RULE} a list {too_long}"]
    one = ", ".join(f"10.0.{number // 256}.{number % 256}" for number in range(MAX_ACCESS_ENTRIES + 1))
    assert mistakes(tmp_path, f"access: {{who: [{one}], may: read}}") == [f"f:1:9: {RULE} a mapping {too_long}"]


@pytest.mark.parametrize("part", ["who", "may"])
def test_a_long_list_that_is_there_a_thousand_times_is_not_read_a_thousand_times(tmp_path: Path, part: str) -> None:
    long = ", ".join(["unix"] * 20_000)
    rules = "".join(f"- {{{part}: *long, below: /a}}\n" for _ in range(900))
    before = time.process_time()
    (first, *_) = mistakes(tmp_path, f"long: &long [{long}]\naccess:\n{rules}")[1:]
    assert time.process_time() - before < 5, "most of it for the YAML"
    assert first.startswith("f:3:1: access: " if part == "who" else f"f:1:7: {MAY} a list")


def again(loaded: Loaded, folder: Path) -> Loaded:
    file = folder / "again"
    file.write_text(print_config(loaded))
    return load(file)


def test_they_are_printed_one_a_line(tmp_path: Path) -> None:
    text = (
        "access:\n- {who: [192.0.2.7, unix:root], may: [write, read], below: /é/}\n"
        "- {who: 'certificate:a \"b\"', may: none}\n"
    )
    loaded = read(tmp_path, text)
    printed = print_config(loaded)
    assert (
        f"access:                             # {tmp_path}/f:2\n"
        '  - {who: ["192.0.2.7/32", "unix:0"], may: "read,write", below: "/é"}\n'
        '  - {who: "certificate:a \\"b\\"", may: none, below: "/"}\n'
    ) in printed
    assert again(loaded, tmp_path).settings == loaded.settings


ENTRIES = st.sampled_from([who for _, whos in WHOS for who in whos]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1
).map("certificate:".__add__)
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/ "), min_size=1).filter(
    lambda name: name not in (".", "..")
)


@given(
    who=st.lists(ENTRIES, min_size=1, max_size=4, unique=True).map(tuple),
    may=st.sampled_from(["read", "write", "read,write", "none"]),
    below=st.lists(NAMES, max_size=3).map(lambda names: "/" + "/".join(names)),
)
def test_any_rule_survives_printing(
    who: tuple[str, ...], may: str, below: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    plain = read(folder, "access: {who: unix, may: read}")
    rules = (AccessRule(("unix:4000000000",), "none", "/a"), AccessRule(who, may, below))
    object.__setattr__(plain.settings, "access", rules)
    assert again(plain, folder).settings.access == rules
