"""Nothing outside the docroot is read, made, changed or deleted, whatever is swapped in while a request runs."""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_support import commit, create, delete, disk, files_in, listed, show, update

from sttp_reactor.store.base import Store
from sttp_reactor.store.faulty import faulty_calls, nth

pytestmark = pytest.mark.usefixtures("small_journal")

SECRET = "secret"
SWAP_SECONDS = 1.0

_HERE = -100  # AT_FDCWD
_RENAME_EXCHANGE = 2

REQUESTS: dict[str, Callable[[Store], Any]] = {
    "SHOW": lambda store: show(store, "/d/e/file"),
    "LIST": lambda store: listed(store, "/d/e"),
    "LIST below": lambda store: listed(store, "/d/e/below"),
    "UPDATE": lambda store: commit(store, update("/d/e/file")),
    "UPDATE by rename": lambda store: commit(store, update("/d/e/linked")),
    "DELETE": lambda store: commit(store, delete("/d/e/file")),
    "CREATE": lambda store: commit(store, create("/d/e/new")),
    "CREATE below": lambda store: commit(store, create("/d/e/new/new")),
}


class Site:
    """A docroot with /d/e/file and so on, and a directory outside that looks the same and holds secrets."""

    def __init__(self, folder: Path) -> None:
        self.docroot = folder / "docroot"
        self.outside = folder / "outside"
        self.inside = self.docroot / "d" / "e"
        for place, text in ((self.inside, "text"), (self.outside, SECRET)):
            (place / "below").mkdir(parents=True)
            for name in ("file", "linked", "below/" + text):
                (place / name).write_text(text)
            os.link(place / "linked", place / "backup")
        self.secrets = self._look_outside()

    def _look_outside(self) -> dict[str, Any]:
        return {
            os.fspath(path): (path.lstat().st_mode, path.lstat().st_ino, path.is_file() and path.read_bytes())
            for path in self.outside.rglob("*")
        }

    def assert_untouched(self) -> None:
        assert self._look_outside() == self.secrets


def swap_directory(site: Site) -> None:
    site.inside.rename(site.inside.with_name("moved"))
    site.inside.symlink_to(site.outside)


def swap_parent(site: Site) -> None:
    site.inside.parent.rename(site.docroot / "moved")
    shutil.copytree(site.outside, site.outside.parent / "fake" / "e", dirs_exist_ok=True)
    site.inside.parent.symlink_to(site.outside.parent / "fake")


def swap_files(site: Site) -> None:
    for name in ("file", "linked", "new"):
        with contextlib.suppress(FileNotFoundError):
            (site.inside / name).rename(site.docroot / ("moved " + name))
        (site.inside / name).symlink_to(site.outside / ("linked" if name == "new" else name))


def swap_files_for_directories(site: Site) -> None:
    for name in ("file", "linked"):
        (site.inside / name).unlink()
        (site.inside / name).mkdir()


@pytest.mark.parametrize("swap", [swap_directory, swap_parent, swap_files, swap_files_for_directories])
@pytest.mark.parametrize("request_name", REQUESTS)
def test_swapped_in_before_any_one_system_call(tmp_path: Path, swap: Callable[[Site], None], request_name: str) -> None:
    for call in itertools.count(1):
        site = Site(tmp_path / str(call))
        swaps: list[str] = []

        def now(name: str, *arguments: Any, site: Site = site, swaps: list[str] = swaps) -> None:
            if not swaps:
                swaps.append(name)
                swap(site)

        with disk(site.docroot) as store, faulty_calls(nth(call, now)):
            answer = REQUESTS[request_name](store)
        assert SECRET not in str(answer)
        site.assert_untouched()
        assert os.listdir(site.docroot / ".sttp" / "tmp") == []
        if not swaps:
            break
    assert call > 5  # it was really swapped in, in several places


@contextlib.contextmanager
def swapping(path: Path, outside: Path) -> Iterator[list[int]]:
    """A thread that has `path` be itself and a link by turns, as fast as it can; counts how often."""
    exchange = getattr(ctypes.CDLL(None), "renameat2", None)
    if exchange is None:
        pytest.skip("no renameat2 here")
    link = path.with_name("link")
    link.symlink_to(outside)
    stop = threading.Event()
    swaps = [0]

    def swap() -> None:
        while not stop.is_set():
            assert exchange(_HERE, os.fsencode(path), _HERE, os.fsencode(link), _RENAME_EXCHANGE) == 0
            swaps[0] += 1

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield swaps
    finally:
        stop.set()
        thread.join()


def test_swapped_as_fast_as_possible(tmp_path: Path) -> None:
    site = Site(tmp_path)
    seen: set[str] = set()
    with disk(site.docroot) as store, swapping(site.inside, site.outside) as swaps:
        deadline = time.monotonic() + SWAP_SECONDS
        while time.monotonic() < deadline:
            for ask in REQUESTS.values():
                seen.add(str(ask(store)))
            commit(store, delete("/d/e/new"), delete("/d/e/new/new"), create("/d/e/file"))
    site.assert_untouched()
    assert not [answer for answer in seen if SECRET in answer]
    assert swaps[0] > 100
    assert {"[0]", "[410]"} <= seen  # both faces of the path were met


def test_a_link_in_the_files_place_as_fast_as_possible(tmp_path: Path) -> None:
    site = Site(tmp_path)
    seen: set[str] = set()
    with disk(site.docroot) as store, swapping(site.inside / "file", site.outside / "file") as swaps:
        deadline = time.monotonic() + SWAP_SECONDS
        while time.monotonic() < deadline:
            seen.add(str(show(store, "/d/e/file")))
            seen.add(str(listed(store, "/d/e/file/")))
            commit(store, update("/d/e/file"))
    site.assert_untouched()
    assert not [answer for answer in seen if SECRET in answer]
    assert swaps[0] > 10


def test_a_file_with_another_name_outside_keeps_its_text_there(tmp_path: Path) -> None:
    site = Site(tmp_path)
    os.link(site.outside / "file", site.docroot / "hard")
    with disk(site.docroot) as store:
        assert commit(store, update("/hard", "mine"), create("/other")) == [0, 0]
        assert commit(store, delete("/hard")) == [0]
    site.assert_untouched()


def test_the_store_is_unharmed_by_all_of_it(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with disk(site.docroot) as store:
        swap_directory(site)
        for ask in REQUESTS.values():
            ask(store)
        site.inside.unlink()
        site.inside.with_name("moved").rename(site.inside)
        assert commit(store, update("/d/e/file", "fine")) == [0]
    assert files_in(site.docroot)["/d/e/file"] == b"fine"
