"""What every store promises (PROTOCOL.md sections 3 and 4): one class of tests, run against each of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from store_support import DONE, commit, create, delete, found, listed, message, needs_etcd, show, update

from sttp_reactor.errors import CannotCreatePath, FileMissing, PathMissing, Refused, StoreError
from sttp_reactor.store.base import Read, Store, Write
from sttp_reactor.store.disk.store import DiskStore
from sttp_reactor.store.memory import MemoryStore

KINDS = ["memory", "disk", "disk-sync", pytest.param("etcd", marks=needs_etcd)]


def make(kind: str, docroot: Path, request: pytest.FixtureRequest) -> Store:
    if kind == "etcd":
        in_etcd: Callable[[], Store] = request.getfixturevalue("in_etcd")
        return in_etcd()
    return MemoryStore() if kind == "memory" else DiskStore(docroot, sync=kind == "disk-sync")


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = make(request.param, tmp_path / "docroot", request)
    made.open()
    yield made
    made.close()


class TestOneFile:
    def test_what_was_created_is_shown(self, store: Store) -> None:
        assert commit(store, create("/a", "Buy milk")) == [DONE]
        assert show(store, "/a") == "Buy milk"

    @pytest.mark.parametrize(
        "text", ["", " ", '"', 'say "hi"', "a\tb", "\u2028\u2029", "\U0001f600" * 160, "x" * 160, "é" * 160]
    )
    def test_any_text_comes_back_as_it_was(self, store: Store, text: str) -> None:
        assert commit(store, create("/new", text), create("/old", "short")) == [DONE, DONE]
        assert commit(store, update("/old", text)) == [DONE]
        assert show(store, "/new") == show(store, "/old") == text

    def test_an_update_replaces_longer_by_shorter_and_back(self, store: Store) -> None:
        commit(store, create("/a", "medium"))
        for text in ["x" * 160, "y", "", "z" * 80, "y"]:
            assert commit(store, update("/a", text)) == [DONE]
            assert show(store, "/a") == text

    def test_a_deleted_file_is_gone_and_its_directory_stays(self, store: Store) -> None:
        commit(store, create("/d/e/a"))
        assert commit(store, delete("/d/e/a")) == [DONE]
        assert show(store, "/d/e/a") == 400
        assert listed(store, "/d/e") == []

    def test_create_makes_missing_directories(self, store: Store) -> None:
        assert commit(store, create("/d/e/f/a", "deep")) == [DONE]
        assert show(store, "/d/e/f/a") == "deep"
        assert listed(store, "/d") == ["e/"]

    def test_create_never_replaces(self, store: Store) -> None:
        commit(store, create("/a", "first"))
        assert message(store, create("/a", "second")) == "it exists already; use UPDATE"
        assert show(store, "/a") == "first"

    def test_a_path_longer_than_the_system_takes_at_once(self, store: Store) -> None:
        path = "/" + "/".join(["d" * 100] * 60) + "/a"
        assert commit(store, create(path, "far down")) == [DONE]
        assert show(store, path) == "far down"

    def test_names_that_differ_in_case_or_normalisation_are_different_files(self, store: Store) -> None:
        names = ["/a", "/A", "/\u00e9", "/e\u0301"]
        assert commit(store, *[create(name, name) for name in names]) == [DONE] * 4
        assert [show(store, name) for name in names] == names


class TestWhatIsNotThere:
    """400, 410 and 510: the table of section 3."""

    @pytest.fixture(autouse=True)
    def _some_files(self, store: Store) -> None:
        commit(store, create("/file"), create("/dir/file"))

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/none", 400),
            ("/dir/none", 400),
            ("/none/none", 410),
            ("/dir/none/none", 410),
            ("/file/none", 410),
            ("/file/none/none", 410),
            ("/dir", 300),
        ],
    )
    def test_a_file_that_is_none(self, store: Store, path: str, code: int) -> None:
        assert show(store, path) == code
        assert commit(store, update(path), delete(path)) == [code, code]

    @pytest.mark.parametrize(
        ("path", "code"),
        [
            ("/none", 400),
            ("/none/", 400),
            ("/dir/none/", 400),
            ("/none/none", 410),
            ("/none/none/", 410),
            ("/dir/none/none/", 410),
            ("/file/none/", 410),
            ("/file", 300),
            ("/file/", 300),
            ("/dir/file/", 300),
        ],
    )
    def test_a_directory_that_is_none(self, store: Store, path: str, code: int) -> None:
        assert listed(store, path) == code

    @pytest.mark.parametrize(
        ("path", "code"),
        [("/file", 300), ("/dir", 300), ("/dir/file", 300), ("/file/new", 510), ("/dir/file/new/new", 510)],
    )
    def test_a_place_that_is_taken(self, store: Store, path: str, code: int) -> None:
        assert commit(store, create(path)) == [code]

    def test_nothing_was_changed_by_any_refusal(self, store: Store) -> None:
        commit(store, create("/file", "x"), update("/dir", "x"), delete("/dir"), create("/file/new"), update("/none"))
        assert show(store, "/file") == show(store, "/dir/file") == "text"
        assert listed(store) == ["dir/", "file"]

    @pytest.mark.parametrize(
        ("write", "kind"),
        [
            (create("/file"), Refused),
            (create("/dir"), Refused),
            (update("/dir"), Refused),
            (delete("/dir"), Refused),
            (create("/file/a"), CannotCreatePath),
            (update("/none"), FileMissing),
            (delete("/none/a"), PathMissing),
        ],
    )
    def test_every_error_fits_a_reply(self, store: Store, write: Write, kind: type[StoreError]) -> None:
        (error,) = store.commit([write])
        assert type(error) is kind
        assert error.at_directory == (error.code in (410, 510))
        assert '"' not in error.message
        assert error.message.isprintable()


class TestListing:
    def test_an_empty_docroot(self, store: Store) -> None:
        assert listed(store) == []

    def test_sorted_by_the_bytes_of_the_name_a_trailing_slash_not_counted(self, store: Store) -> None:
        names = ["b", "a/x", "a!", "a0", "B", "é", "\U0001f600", "z"]
        commit(store, *[create("/" + name) for name in names])
        # With the `/` counted, `a!` would come before `a/`.
        assert listed(store) == ["B", "a/", "a!", "a0", "b", "z", "é", "\U0001f600"]

    def test_a_trailing_slash_makes_no_difference(self, store: Store) -> None:
        commit(store, create("/d/a"), create("/d/e/b"))
        assert listed(store, "/d") == listed(store, "/d/") == ["a", "e/"]

    def test_only_what_is_directly_there(self, store: Store) -> None:
        commit(store, create("/d/e/f/a"), create("/dd"))
        assert listed(store) == ["d/", "dd"]


class TestBatches:
    def test_each_write_sees_the_ones_before_it(self, store: Store) -> None:
        writes = [
            create("/a", "1"),
            create("/a", "2"),
            update("/a", "3"),
            delete("/a"),
            update("/a", "4"),
            delete("/a"),
            create("/a", "5"),
        ]
        assert commit(store, *writes) == [DONE, 300, DONE, DONE, 400, 400, DONE]
        assert show(store, "/a") == "5"

    def test_made_and_deleted_in_one_batch(self, store: Store) -> None:
        assert commit(store, create("/d/a"), delete("/d/a")) == [DONE, DONE]
        assert show(store, "/d/a") == 400

    def test_deleted_and_made_anew_in_one_batch(self, store: Store) -> None:
        commit(store, create("/a", "long before"))
        assert commit(store, delete("/a"), create("/a", "now")) == [DONE, DONE]
        assert show(store, "/a") == "now"

    def test_a_directory_in_the_way_of_a_file_of_the_same_batch(self, store: Store) -> None:
        assert commit(store, create("/d/a"), create("/d"), create("/f"), create("/f/a/a")) == [DONE, 300, DONE, 510]
        assert listed(store) == ["d/", "f"]

    def test_a_directory_in_the_place_of_a_file_of_the_same_batch(self, store: Store) -> None:
        commit(store, create("/a"))
        writes = [delete("/a"), update("/a/b"), create("/a/b/c", "deep"), create("/d"), delete("/d"), create("/d/e")]
        assert commit(store, *writes) == [DONE, 410, DONE, DONE, DONE, DONE]
        assert show(store, "/a/b/c") == "deep"
        assert listed(store) == ["a/", "d/"]

    def test_what_fails_fails_alone(self, store: Store) -> None:
        writes = [create("/a"), update("/none"), create("/b"), delete("/none/none"), create("/a/x"), create("/c")]
        assert commit(store, *writes) == [DONE, 400, DONE, 410, 510, DONE]
        assert listed(store) == ["a", "b", "c"]

    def test_an_empty_batch(self, store: Store) -> None:
        assert commit(store) == []

    def test_more_than_any_one_record_or_budget_holds(self, store: Store) -> None:
        paths = [f"/{'d' * 200}/{'e' * 200}/{'f' * 200}{i % 70}/{i}" for i in range(300)]
        assert commit(store, *[create(path, "\U0001f600" * 160) for path in paths]) == [DONE] * 300
        assert commit(store, *[update(path, path[-9:]) for path in paths]) == [DONE] * 300
        assert found(store, *[Read(path.encode()) for path in paths]) == [path[-9:].encode() for path in paths]

    def test_a_batch_of_reads_is_answered_one_by_one(self, store: Store) -> None:
        commit(store, create("/d/a", "1"))
        missing, text, names = found(store, Read(b"/d/b"), Read(b"/d/a"), Read(b"/d", is_list=True))
        assert isinstance(missing, FileMissing)
        assert (text, names) == (b"1", [b"a"])

    def test_a_read_is_looked_at_after_it_was_taken(self, store: Store) -> None:
        commit(store, create("/d/a", "1"))

        def reads() -> Iterator[Read]:
            commit(store, update("/d/a", "2"))
            yield Read(b"/d/a")

        assert [what for _, what in store.read(reads())] == [b"2"]

    def test_an_empty_batch_of_reads(self, store: Store) -> None:
        assert found(store) == []

    def test_what_is_given_back_is_the_very_read(self, store: Store) -> None:
        read, same = Read(b"/a"), Read(b"/a")
        assert {id(each) for each, _ in store.read(iter([read, same]))} == {id(read), id(same)}


def test_many_threads_read_while_one_writes(store: Store) -> None:
    texts = ["x", "y" * 160]
    commit(store, create("/d/a", texts[0]))
    wrong: list[str | int] = []

    def read() -> None:
        wrong.extend(seen for seen in (show(store, "/d/a") for _ in range(300)) if seen not in texts)

    readers = [threading.Thread(target=read) for _ in range(4)]
    for thread in readers:
        thread.start()
    while any(thread.is_alive() for thread in readers):
        for text in texts:
            assert commit(store, update("/d/a", text)) == [DONE]
    for thread in readers:
        thread.join()
    assert wrong == []


def test_what_was_written_is_there_when_the_store_is_opened_again(store: Store) -> None:
    commit(store, create("/d/a", "1"), create("/d/b"), delete("/d/b"))
    store.checkpoint()
    commit(store, update("/d/a", "2"))
    store.close()
    store.open()
    assert show(store, "/d/a") == "2"
    assert listed(store, "/d") == ["a"]


def test_a_checkpoint_of_nothing(store: Store) -> None:
    store.checkpoint()
    store.checkpoint()
