"""The pid file: whole, ours while we run, and no obstacle after a crash."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from sttp_reactor.daemon.pidfile import pid_file
from sttp_reactor.errors import StartError


def unchanged(path: Path) -> tuple[int, ...]:
    """What a write or a replacement would change (a mere look changes the access time)."""
    status = path.lstat()
    return status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns


def test_it_holds_the_pid_and_goes_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "sttpd.pid"
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
        assert path.stat().st_mode & 0o777 == 0o644
        assert os.listdir(tmp_path) == ["sttpd.pid"]
    assert os.listdir(tmp_path) == []


def test_it_goes_after_an_error_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), pid_file(tmp_path / "pid"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "left",
    [b"1\n", b"%d\n" % os.getpid(), b"99999999\n", b"", b" 12 "],
    ids=["init", "ours", "nobody", "empty", "spaces"],
)
def test_a_file_that_a_dead_server_left_is_replaced(tmp_path: Path, left: bytes) -> None:
    """Even where its number is a living process by now: nobody holds the lock."""
    path = tmp_path / "pid"
    path.write_bytes(left)
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert os.listdir(tmp_path) == []


def test_a_second_server_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(path):
        before = unchanged(path)
        with pytest.raises(StartError, match=f"another sttpd is running, with pid {os.getpid()}, says {path}"):
            pid_file(path).__enter__()
        assert unchanged(path) == before
        assert os.listdir(tmp_path) == ["pid"]
    with pid_file(path):
        assert path.exists()


def test_a_replaced_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(path):
        path.unlink()
        path.write_text("7\n")
    assert path.read_text() == "7\n"


def test_a_file_that_was_removed_is_no_error(tmp_path: Path) -> None:
    with pid_file(tmp_path / "pid"):
        (tmp_path / "pid").unlink()
    assert os.listdir(tmp_path) == []


def test_a_forked_child_leaves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pid_file(tmp_path / "pid"):
        monkeypatch.setattr(os, "getpid", lambda: 1)
    assert os.listdir(tmp_path) == ["pid"]


def test_a_relative_path_counts_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pid_file(Path("pid")):
        os.chdir("/")
        assert (tmp_path / "pid").exists()
    assert os.listdir(tmp_path) == []


def a_configuration(path: Path) -> None:
    path.write_text("port: 8080\n")


def a_long_number(path: Path) -> None:
    path.write_text("1" * 100)


def a_link(path: Path) -> None:
    path.with_name("target").write_text("1\n")
    path.symlink_to("target")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (a_configuration, "exists and holds no pid; it was not replaced"),
        (a_long_number, "exists and holds no pid; it was not replaced"),
        (Path.mkdir, "exists and is no regular file"),
        (os.mkfifo, "exists and is no regular file"),
        (a_link, "cannot write the pid file .*: Too many levels of symbolic links"),
    ],
)
def test_what_is_no_pid_file_is_left_alone(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    path = tmp_path / "pid"
    make(path)
    before = sorted(os.listdir(tmp_path)), unchanged(path)
    with pytest.raises(StartError, match=message):
        pid_file(path).__enter__()
    assert (sorted(os.listdir(tmp_path)), unchanged(path)) == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"cannot write the pid file .*/none/pid: No such file or directory"):
        pid_file(tmp_path / "none" / "pid").__enter__()
