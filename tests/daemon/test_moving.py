"""sttpc dump and load between real servers, on a disk and on a cluster: what comes out is what went in."""

from __future__ import annotations

import json
import os
import random
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest
from etcd_cluster import ETCD, EtcdCluster, new_prefix
from running import PATIENCE_SECONDS, Start, Sttpd
from test_etcd import patient

STTPC = [sys.executable, "-m", "sttp_reactor.cli.sttpc"]
# Names and texts that something on the way could take for something else.
ODD = {
    "/quotes": '"quoted"',
    "/grüße/😀": "Grüße, 😀",
    "/comma,name": "a, b",
    "/percent%20name?x#y": "100 %",
    "/back\\slash": "\\u0041\\n",
    "/empty": "",
    "/.hidden/.file": " leading and trailing ",
    "/joined": "\u0646\u200c\u0645 \u202e turned",
    "/" + "d/" * 63 + "deep": "x" * 160,
}


def sttpc(*arguments: str, stdin: bytes = b"") -> tuple[int, bytes, str]:
    done = subprocess.run([*STTPC, *arguments], input=stdin, capture_output=True, timeout=3 * PATIENCE_SECONDS)
    return done.returncode, done.stdout, done.stderr.decode()


def lines_of(files: dict[str, str]) -> bytes:
    return b"".join(json.dumps({"path": path, "text": text}).encode() + b"\n" for path, text in files.items())


def files_of(dump: bytes) -> dict[str, str]:
    files = [json.loads(line) for line in dump.splitlines()]
    assert all(each.keys() == {"path", "text"} for each in files)
    assert len({each["path"] for each in files}) == len(files), "a file was dumped twice"
    return {each["path"]: each["text"] for each in files}


def at(server: Sttpd) -> str:
    return f"127.0.0.1:{server.port}"


def many() -> dict[str, str]:
    """More than a batch in one directory, more directories than a batch, and what is odd."""
    rng = random.Random(5)
    files = {f"/flat/{n}": f"text {rng.random()}" for n in range(1_300)}
    files |= {f"/tree/{n % 7}/{n % 130}/{n}": str(n) for n in range(700)}
    return files | ODD


@pytest.fixture
def full(start: Start) -> Sttpd:
    server = start(docroot="full")
    assert sttpc("load", "-", at(server), stdin=lines_of(many())) == (0, b"", "")
    return server


def test_what_comes_out_is_what_went_in(start: Start, full: Sttpd, tmp_path: Path) -> None:
    code, dumped, err = sttpc("dump", at(full))
    assert (code, err) == (0, "")
    assert files_of(dumped) == many()
    file = tmp_path / "files.jsonl"
    file.write_bytes(dumped)
    other = start(docroot="other")
    assert sttpc("load", str(file), at(other)) == (0, b"", "")
    assert sttpc("dump", at(other)) == (0, dumped, "")


@pytest.mark.skipif(ETCD is None, reason="etcd is not installed")
def test_from_a_disk_to_a_cluster_and_back(start: Start, full: Sttpd) -> None:
    with EtcdCluster(1) as cluster:
        on_etcd = start(*patient(cluster.urls, new_prefix()), docroot="none")
        dumped = sttpc("dump", at(full))[1]
        patience = ("--timeout", "30")
        assert sttpc("load", *patience, "-", at(on_etcd), stdin=dumped) == (0, b"", "")
        assert sttpc("dump", *patience, at(on_etcd)) == (0, dumped, "")
        back = start(docroot="back")
        assert sttpc("load", "-", at(back), stdin=dumped) == (0, b"", "")
        assert sttpc("dump", at(back)) == (0, dumped, "")
        on_etcd.stop()


@pytest.mark.skipif(ETCD is None, reason="etcd is not installed")
def test_many_files_to_a_cluster_and_back(start: Start) -> None:
    """Many batches of each kind: of files, of directories, and of pages of a LIST."""
    files = {f"/many/{n % 700 if n < 8_000 else 700}/{n}": f"{n} {'x' * (n % 150)}" for n in range(20_000)}
    with EtcdCluster(1) as cluster:
        on_etcd = start(*patient(cluster.urls, new_prefix()), docroot="none")
        patience = ("--timeout", "30")
        assert sttpc("load", *patience, "-", at(on_etcd), stdin=lines_of(files)) == (0, b"", "")
        code, dumped, err = sttpc("dump", *patience, at(on_etcd))
        assert (code, err) == (0, "")
        assert files_of(dumped) == files
        back = start(docroot="back")
        assert sttpc("load", "-", at(back), stdin=dumped) == (0, b"", "")
        assert sttpc("dump", at(back)) == (0, dumped, "")
        on_etcd.stop()


def test_a_directory_alone(full: Sttpd) -> None:
    for url in (f"{at(full)}/tree/3", f"sttp://{at(full)}/tree/3/"):
        code, dumped, err = sttpc("dump", url)
        assert (code, err) == (0, "")
        assert files_of(dumped) == {path: text for path, text in many().items() if path.startswith("/tree/3/")}


def test_a_directory_that_is_not_there(full: Sttpd) -> None:
    code, dumped, err = sttpc("dump", f"{at(full)}/none")
    assert (code, dumped) == (4, b"")
    assert "/none" in err
    assert "not found" in err


def test_an_empty_server_has_an_empty_dump(start: Start) -> None:
    server = start()
    assert sttpc("dump", at(server)) == (0, b"", "")
    assert sttpc("load", "-", at(server)) == (0, b"", "")


def test_loading_again_changes_nothing_and_is_no_mistake(full: Sttpd) -> None:
    half = dict(list(many().items())[::2])
    assert sttpc("load", "-", at(full), stdin=lines_of(half)) == (0, b"", "")
    assert files_of(sttpc("dump", at(full))[1]) == many()


def test_a_file_with_another_text_is_named_and_left_unless_forced(start: Start) -> None:
    server = start()
    assert sttpc("create", f"{at(server)}/notes/b", "mine") == (0, b"", "")
    given = lines_of({"/notes/a": "1", "/notes/b": "yours", "/notes/c": "3"})
    code, out, err = sttpc("load", "-", at(server), stdin=given)
    assert (code, out) == (3, b"")
    assert err == "sttpc: standard input:2: /notes/b is there with another text; -f replaces it\n"
    assert files_of(sttpc("dump", at(server))[1]) == {"/notes/a": "1", "/notes/b": "mine", "/notes/c": "3"}
    assert sttpc("load", "-f", "-", at(server), stdin=given) == (0, b"", "")
    assert files_of(sttpc("dump", at(server))[1])["/notes/b"] == "yours"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"not json", "no line as dump writes it"),
        (b"[" * 100_000, "no line as dump writes it"),
        (b'{"path": "/x"}', "no line as dump writes it"),
        (b'{"path": "/x", "text": 1}', "no line as dump writes it"),
        (b'{"path": "/x", "text": "\xff"}', "no line as dump writes it"),
        (b'{"path": "x", "text": "t"}', "path"),
        (b'{"path": "/x", "text": "%b"}' % (b"t" * 161), "160"),
        (b'{"path": "/x", "text": "two\\nlines"}', "line"),
        (b'{"path": "/x", "text": "\\ud800"}', ""),
        (b'{"path": "/x", "text": "%b"}' % (b"t" * 1_000_000), "no line as dump writes it"),
    ],
    ids=range(10),
)
def test_a_line_that_cannot_be_loaded_is_named_and_the_others_are(start: Start, line: bytes, why: str) -> None:
    server = start()
    given = lines_of({"/a": "1"}) + b"\n" + line + b"\n" + lines_of({"/b": "2"})
    code, out, err = sttpc("load", "-", at(server), stdin=given)
    assert (code, out) == (2, b"")
    assert err.startswith("sttpc: standard input:3: ")
    assert why in err
    assert err.count("\n") == 1
    assert files_of(sttpc("dump", at(server))[1]) == {"/a": "1", "/b": "2"}


def test_every_refusal_is_named_and_the_others_are_loaded(start: Start) -> None:
    server = start()
    given = lines_of({"/file": "1", "/file/below": "2", "/other": "3"})
    code, _, err = sttpc("load", "-", at(server), stdin=given)
    assert code == 5
    assert "/file/below" in err
    assert "510" in err
    assert err.count("\n") == 1
    assert files_of(sttpc("dump", at(server))[1]) == {"/file": "1", "/other": "3"}
    read_only = start("-o", "read_only=true", docroot="other")
    code, _, err = sttpc("load", "-", at(read_only), stdin=given)
    assert code == 3
    assert [name in err for name in ("/file:", "/file/below:", "/other:")] == [True] * 3


def test_a_server_that_ends_amid_a_load_and_comes_back(start: Start) -> None:
    server = start()
    everything = lines_of(many())
    process = subprocess.Popen(
        [*STTPC, "load", "-", at(server)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert process.stdin is not None
    first = b"".join(everything.splitlines(keepends=True)[:600])
    process.stdin.write(first)
    process.stdin.flush()
    with server.connect() as wire:
        while wire.ask(b"SHOW /flat/499").startswith(b"4"):
            pass
    server.kill()
    _, err = process.communicate(everything[len(first) :], timeout=PATIENCE_SECONDS)
    assert process.returncode in (7, 8)
    # All 500 of the first batch, unless the server went between doing the last of them and saying so.
    done = re.search(rb"; (\d+) files were done: load again to go on from there", err)
    assert done is not None, err
    assert int(done[1]) <= 500
    again = start()
    assert sttpc("load", "-", at(again), stdin=everything) == (0, b"", "")
    assert files_of(sttpc("dump", at(again))[1]) == many()


def test_a_dump_that_ends_early_says_so(full: Sttpd) -> None:
    reader, writer = os.pipe()
    process = subprocess.Popen([*STTPC, "dump", at(full)], stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    with os.fdopen(reader, "rb") as dumped:
        assert select.select([dumped], [], [], PATIENCE_SECONDS)[0]  # the pipe is full soon, with most still to come
        full.kill()
        dumped.read()
        _, err = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode in (7, 8)
    assert b"files were done: what was dumped is not everything" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["load", "/no/such/file", "127.0.0.1:1"], "/no/such/file: No such file or directory"),
        (["load", "/", "127.0.0.1:1"], "/: Is a directory"),
        (["load", "-", "127.0.0.1:1/below"], "is to name a server alone"),
    ],
)
def test_wrong_arguments(arguments: list[str], message: str) -> None:
    code, out, err = sttpc(*arguments)
    assert (code, out) == (2, b"")
    assert message in err
    assert "Traceback" not in err


def test_a_server_that_is_not_there() -> None:
    assert sttpc("dump", "127.0.0.1:1")[0] == 7
    assert sttpc("load", "-", "127.0.0.1:1", stdin=lines_of({"/a": "1"}))[0] == 7


def test_a_terminal_is_shown_how_far_it_is(full: Sttpd) -> None:
    master, slave = os.openpty()
    try:
        done = subprocess.run(
            [*STTPC, "dump", at(full)], stdout=subprocess.PIPE, stderr=slave, timeout=PATIENCE_SECONDS
        )
        assert files_of(done.stdout) == many()
        shown = os.read(master, 65536).decode()
    finally:
        os.close(master)
        os.close(slave)
    assert f"{len(many())} files dumped" in shown
