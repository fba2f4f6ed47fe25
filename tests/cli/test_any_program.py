"""A second guest of config/ and of the daemons' command line: a small program with a table of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from sttp_reactor.cli.program import Program, run_program
from sttp_reactor.config import Key, Loaded, Table, differences, keep, load, manual, print_config, readers
from sttp_reactor.config.records import Record, records
from sttp_reactor.config.values import Value
from sttp_reactor.errors import ConfigError, StartError
from sttp_reactor.sttp.keys import TABLE as STTPD_TABLE


@dataclass(frozen=True, slots=True)
class Friend:
    name: str
    weight: int


@dataclass(frozen=True, slots=True)
class Patience:
    first: float
    other: float


@dataclass(frozen=True, slots=True)
class Voice:
    pitch: str
    patience: Patience


@dataclass(frozen=True, slots=True)
class Greeting:
    times: int
    friends: tuple[Friend, ...]
    voice: Voice


def a_word(value: Value) -> str:
    return value.text


FRIEND = Record(
    Friend, {"name": readers.Reader("a word", a_word), "weight": readers.whole(1, 9)}, {"weight": 1}, "name"
)


def too_patient(settings: Greeting) -> Iterator[tuple[str, str]]:
    if settings.voice.patience.first > settings.voice.patience.other:
        yield "voice.patience.first", "is longer than other"


GREETING = Table(
    Greeting,
    [
        Key("times", 1, readers.whole(1, 9), "How often."),
        Key("friends", (), records(FRIEND, "a friend, or a list of them"), "Whom.", fixed=True),
        Key("voice.pitch", "high", readers.choice("high", "low"), "How."),
        Key("voice.patience.first", 1.0, readers.duration(), "How long at first."),
        Key("voice.patience.other", 2.0, readers.duration(), "How long then."),
    ],
    [too_patient],
)

USAGE = """greet: say hello.

Usage:
  greet [options] [--set=KEY=VAL]...

Options:
  -c FILE, --config FILE   Read FILE.
  -o KEY=VAL, --set KEY=VAL   Set any key.
  -t, --check-config       Check.
  --print-config           Print.
  --pid-file FILE          Keep the pid there.
  -n N, --times N          How often.
  -q                       Quiet.
  -h, --help               Help.
"""

FILE = """
times: 3
friends: [ann, {name: bob, weight: 2}]
voice:
  patience: {first: 500ms}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "greet.yaml"
    path.write_text(FILE)
    return path


def program(served: list[Greeting]) -> Program[Greeting]:
    def serve(loaded: Loaded[Greeting], read_again: Callable[[], Loaded[Greeting]]) -> int:
        served.extend([loaded.settings, read_again().settings])
        if loaded.settings.times == 9:
            raise StartError("nine is too much")
        return 7

    return Program("greet", USAGE, "times=3", GREETING, serve, [("--times", "times", None)])


def names(kind: Any, section: str) -> set[str]:
    """The dotted names of the fields, those of dataclasses within it too."""
    found: set[str] = set()
    for field in fields(kind):
        name = f"{section}{field.name}"
        inner = field.type if is_dataclass(field.type) else globals().get(str(field.type))
        found |= names(inner, f"{name}.") if is_dataclass(inner) else {name}
    return found


def test_the_fields_are_the_keys() -> None:
    assert names(Greeting, "") == set(GREETING.keys)
    assert GREETING.sections == ["voice", "voice.patience"]


def test_a_file_and_flags_fill_nested_settings_and_lists_of_mappings(file: Path) -> None:
    settings = load(GREETING, file, [("-o", "voice.patience.other", "1m"), ("-o", "voice.pitch", "low")]).settings
    friends = (Friend("ann", 1), Friend("bob", 2))
    assert settings == Greeting(3, friends, Voice("low", Patience(0.5, 60.0)))
    for flag, same in (("[ann, {name: bob, weight: 2}]", friends), ("ann,bob", (Friend("ann", 1), Friend("bob", 1)))):
        assert load(GREETING, None, [("-o", "friends", flag)]).settings.friends == same


def test_what_is_printed_is_read_again(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loaded = load(GREETING, file, [("--times", "times", "4")])
    printed = print_config(loaded)
    assert [line.partition(" #")[0].rstrip() for line in printed.splitlines()] == [
        "times: 4",
        "friends:",
        "  - {name: ann, weight: 1}",
        "  - {name: bob, weight: 2}",
        "voice:",
        "  pitch: high",
        "  patience:",
        "    first: 0.5",
        "    other: 2",
    ]
    assert run_program(program([]), ["-c", str(file), "-n", "4", "--print-config"]) == 0
    assert capsys.readouterr().out == printed
    file.write_text(printed)
    assert load(GREETING, file).settings == loaded.settings


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("time: 3", "1:1: time: unknown key; did you mean times?"),
        ("voice: {pich: low}", "1:9: voice.pich: unknown key; did you mean voice.pitch?"),
        (
            "voice: {patience: {frst: 1}}",
            "1:20: voice.patience.frst: unknown key; did you mean voice.patience.first?",
        ),
        ("pitch: low", "1:1: pitch: unknown key; did you mean voice.pitch?"),
        ("door: {pitch: low}", "1:1: door: unknown key"),
        ("voice: low", "1:8: voice: expected a mapping of pitch, patience, got 'low'"),
        ("voice: {pitch: hihg}", "1:16: voice.pitch: expected high or low, got 'hihg' (did you mean high?)"),
        ("voice: {patience: {first: 3}}", "1:27: voice.patience.first: is longer than other"),
        (
            "friends: [{name: ann, weigt: 2}]",
            "1:23: friends: expected the keys name and weight, once each, got 'weigt' (did you mean weight?)",
        ),
        ("friends: [{name: ann, weight: 10}]", "1:31: friends.weight: expected a whole number from 1 to 9, got '10'"),
        (
            "friends: [{weight: 1}]",
            "1:11: friends: expected a friend, or a list of them, got a mapping (name must be named)",
        ),
        ("friends: [[ann]]", "1:11: friends: expected a friend, or a list of them, got a list"),
        ("x", "1:1: expected a mapping of keys such as times, got 'x'"),
    ],
)
def test_mistakes(file: Path, text: str, expected: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(GREETING, file)
    assert caught.value.mistakes == [f"{file}:{expected}"]


@pytest.mark.parametrize("name", ["ftp.enabled", "limits.expiration", "cat.enabled", "log.acces.x"])
def test_a_hint_that_misleads_is_not_given(name: str) -> None:
    assert STTPD_TABLE.nearest(name) is None


def test_a_section_that_is_no_key_names_what_is_in_it() -> None:
    with pytest.raises(ConfigError, match=r"-o: this is a section; set one of voice.pitch, voice.patience$"):
        load(GREETING, None, [("-o", "voice", "low")])


def test_the_command_line(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    served: list[Greeting] = []
    assert run_program(program(served), ["-c", str(file), "-o", "times=5"]) == 7
    assert [each.times for each in served] == [5, 5]
    served.clear()
    assert run_program(program(served), ["-c", str(file), "-t"]) == 0
    assert (served, capsys.readouterr().err) == ([], f"greet: the configuration ({file}) is valid\n")
    assert run_program(program(served), ["-o", "time=5"]) == 2
    assert capsys.readouterr().err == "greet: --set time: unknown key; did you mean times?\n"
    assert run_program(program(served), ["-n", "0"]) == 2
    assert capsys.readouterr().err == "greet: --times: expected a whole number from 1 to 9, got '0'\n"
    file.write_text("times: 0")
    assert run_program(program(served), ["-c", str(file)]) == 78
    assert run_program(program(served), ["-n", "9"]) == 1
    assert capsys.readouterr().err.endswith("greet: nine is too much\n")


def test_changes(file: Path) -> None:
    before = load(GREETING, file).settings
    file.write_text("times: 4\nvoice: {patience: {other: 5}}\n")
    after = load(GREETING, file).settings
    kept, refused = keep(GREETING, before, after, GREETING.fixed)
    assert kept.friends == before.friends
    assert [each.key for each in refused] == ["friends"]
    assert list(map(str, differences(GREETING, before, kept))) == [
        "times is 4 (was 3)",
        "voice.patience.first is 1 (was 0.5)",
        "voice.patience.other is 5 (was 2)",
    ]
    impatient = load(GREETING, None, [("-o", "voice.patience.first", "2")]).settings
    patient = load(GREETING, None, [("-o", "voice.patience.other", "1")]).settings
    with pytest.raises(ConfigError, match=r"voice.patience.first: is longer than other"):
        keep(GREETING, impatient, patient, ["voice.patience.first"])


def test_the_manual_has_every_key() -> None:
    text = manual(GREETING)
    assert all(f"``{name}`` (default: ``" in text for name in GREETING.keys)
