"""Suggestions: what is close is found, and what is not is left alone."""

from __future__ import annotations

import pytest

from sttp_reactor.suggest import nearest

COMMANDS = ["fetch", "show", "list", "create", "update", "delete", "ping"]
OPTIONS = ["-p", "--port", "-v", "--version", "--log-level", "--print-config"]
KEYS = ["port", "cache", "cache.enabled", "cache.max_files", "limits.max_line", "limits.max_connections", "log.level"]


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("shwo", COMMANDS, "show"),
        ("shows", COMMANDS, "show"),
        ("SHOW", COMMANDS, "show"),
        ("sho", COMMANDS, "show"),
        ("xshow", COMMANDS, "show"),
        ("crate", COMMANDS, "create"),
        ("cretae", COMMANDS, "create"),
        ("del", COMMANDS, "delete"),
        ("pign", COMMANDS, "ping"),
        ("--prot", OPTIONS, "--port"),
        ("-port", OPTIONS, "--port"),
        ("--loglevel", OPTIONS, "--log-level"),
        ("--log_level", OPTIONS, "--log-level"),
        ("--vesrion", OPTIONS, "--version"),
        ("cache.max_file", KEYS, "cache.max_files"),
        ("cahce.enabeld", KEYS, "cache.enabled"),
        ("limits.max_conections", KEYS, "limits.max_connections"),
    ],
)
def test_a_slip_is_seen_through(word: str, known: list[str], meant: str) -> None:
    assert nearest(word, known) == meant


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("cat", COMMANDS),
        ("get", COMMANDS),
        ("rm", COMMANDS),
        ("ls", COMMANDS),
        ("set", COMMANDS),
        ("copy", COMMANDS),
        ("--color", OPTIONS),
        ("--json", OPTIONS),
        ("-x", OPTIONS),
        ("--x", OPTIONS),
        ("", COMMANDS),
        ("http.enabled", KEYS),
        ("http", KEYS),
        ("x" * 10_000, COMMANDS),
    ],
)
def test_what_is_not_close_is_not_suggested(word: str, known: list[str]) -> None:
    assert nearest(word, known) is None


def test_what_means_the_same_comes_first_after_the_word_itself() -> None:
    synonyms = {"cat": "show", "shows": "list"}
    assert nearest("CAT", COMMANDS, synonyms) == "show"
    assert nearest("shows", COMMANDS, synonyms) == "list"
    assert nearest("Show", COMMANDS, {"show": "list"}) == "show"


def test_every_single_slip_in_every_word_is_seen_through() -> None:
    for word in [*COMMANDS, *KEYS[1:]]:
        for at in range(len(word)):
            slips = {word[:at] + word[at + 1 :], word[:at] + "q" + word[at:], word[:at] + "q" + word[at + 1 :]}
            slips.add(word[:at] + word[at : at + 2][::-1] + word[at + 2 :])
            assert {slip for slip in slips if nearest(slip, [word]) != word} == set()
