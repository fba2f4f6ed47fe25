"""The snippets that are served, and scripts for the load generator: requests, each with its only right reply."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

KEYS = 1000  # files asked for, however many there are
SLOW_FILES = 2000  # enough that hardly any is asked for twice, and so found in the cache

_FILE_BYTES = 4096  # a block each, and an inode

# What the floor says to everything (tools/peers/floor.c).
FLOOR_REPLY = b"200 /snippets/snippet_500.txt OK\nThis is pre-defined snippet number 501\n"


def snippet_path(number: int) -> str:
    # All in one folder, even a million of them: many folders would be another load, with more to look up per request.
    return f"/snippets/snippet_{number}.txt"


def text_of(number: int) -> str:
    return f"This is pre-defined snippet number {number + 1}"


def make_docroot(folder: Path, files: int) -> None:
    """`files` snippets below `folder`."""
    (folder / "snippets").mkdir(parents=True)
    for number in range(files):
        _write(f"{folder}{snippet_path(number)}", text_of(number))


def make_slow_files(folder: Path) -> None:
    (folder / "slow").mkdir()
    for number in range(SLOW_FILES):
        _write(f"{folder}{_slow_path(number)}", text_of(number))


def is_room_for(folder: Path, files: int) -> bool:
    disk = os.statvfs(folder)
    has_inodes = disk.f_files == 0 or disk.f_favail > 1.1 * files  # some file systems make them as needed: 0 of 0
    return has_inodes and disk.f_bavail * disk.f_frsize > 1.1 * files * _FILE_BYTES


def shows(files: int) -> Iterator[bytes]:
    """SHOWs of KEYS files, spread evenly over all `files`."""
    for number in range(0, files, files // KEYS):
        yield _show(snippet_path(number), text_of(number))


def floor_shows() -> Iterator[bytes]:
    for number in range(KEYS):
        yield f"SHOW {snippet_path(number)}\n".encode() + FLOOR_REPLY


def slow_shows() -> Iterator[bytes]:
    for number in range(SLOW_FILES):
        yield _show(_slow_path(number), text_of(number))


def updates() -> Iterator[bytes]:
    """Two texts for each file, so that an update mostly changes something."""
    for number in range(KEYS):
        for text in (f"{text_of(number)}, updated by the load generator", f"{text_of(number)}, and updated once more"):
            path = snippet_path(number)
            yield f"UPDATE {path} {text}\n200 {path} OK\n{text}\n".encode()


def write_script(file: Path, exchanges: Iterable[bytes]) -> None:
    file.write_bytes(b"".join(exchanges))


def _show(path: str, text: str) -> bytes:
    return f"SHOW {path}\n200 {path} OK\n{text}\n".encode()


def _slow_path(number: int) -> str:
    return f"/slow/snippet_{number}.txt"


def _write(name: str, text: str) -> None:
    # Bare system calls: with a million files it counts that `open` makes several objects for each.
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, text.encode())
    os.close(fd)
