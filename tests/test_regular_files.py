"""Files that are read while others wait, and perhaps while others write them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sttp_reactor import regular_files
from sttp_reactor.regular_files import open_regular, read_at_rest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "file"


def meanwhile(monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> list[float]:
    """Have one thing happen each time that somebody sleeps; the sleeps."""
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        if len(slept) < len(acts):
            acts[len(slept)]()
        slept.append(seconds)

    monkeypatch.setattr(regular_files.time, "sleep", sleep)
    return slept


@pytest.mark.parametrize("half", ["", "port: 1\n"])
def test_what_is_being_written_is_read_when_it_is_done(file: Path, monkeypatch: pytest.MonkeyPatch, half: str) -> None:
    file.write_text(half)
    slept = meanwhile(monkeypatch, lambda: file.write_text("port: 1\nread_only: true\n"))
    assert read_at_rest(file, 1000) == b"port: 1\nread_only: true\n"
    assert len(slept) == 2


def test_one_that_takes_its_place_is_read(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("a")
    (tmp_path / "new").write_text("b")
    meanwhile(monkeypatch, lambda: os.replace(tmp_path / "new", file))
    assert read_at_rest(file, 1000) == b"b"


def test_one_that_was_changed_long_ago_is_read_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("a")
    os.utime(file, (0, time.time() - 60))
    assert meanwhile(monkeypatch) == []
    assert read_at_rest(file, 1000) == b"a"


def test_one_that_never_rests_is_read_all_the_same(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("")

    def grow() -> None:
        with file.open("a") as end:
            end.write("x")

    slept = meanwhile(monkeypatch, *[grow] * 100)
    assert set(read_at_rest(file, 1000)) == set(b"x")
    assert len(slept) == 10


def test_one_that_goes_away_is_not_there(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("a")
    meanwhile(monkeypatch, file.unlink)
    with pytest.raises(FileNotFoundError):
        read_at_rest(file, 1000)


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = {"pipe": tmp_path / "pipe", "folder": tmp_path, "device": Path(os.devnull)}[kind]
    if kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(OSError, match="it is not a regular file"):
        open_regular(path)
