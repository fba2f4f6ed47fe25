"""Files over HTTP, read: texts, directories, what there is not, and that it all goes the way of STTP's own requests."""

from __future__ import annotations

import os

import pytest
from web import Web


def test_a_text_and_its_head(web: Web) -> None:
    web.write("read/a.txt", "Grüße aus der Datei\n".encode())
    answer = web.get("/files/read/a.txt")
    assert (answer.status, answer.body.decode()) == (200, "Grüße aus der Datei")
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    head = web.ask("HEAD", "/files/read/a.txt")
    assert (head.status, head.body) == (200, b"")
    assert {**head.headers, "Date": ""} == {**answer.headers, "Date": ""}


def test_what_has_not_changed_is_not_sent_again(web: Web) -> None:
    assert web.say("CREATE /etag one\n") == b"100 /etag CREATED\n"
    tag = web.get("/files/etag").headers["ETag"]
    for _ in range(2):  # the second time ready-made
        for named in (tag, f"W/{tag}", f'"x", {tag}', "*"):
            answer = web.get("/files/etag", If_None_Match=named)
            assert (answer.status, answer.body, answer.headers["ETag"]) == (304, b"", tag)
    assert web.get("/files/etag", If_None_Match='"other"').body == b"one"
    assert web.say("UPDATE /etag two\n") == b"200 /etag OK\ntwo\n"
    answer = web.get("/files/etag", If_None_Match=tag)
    assert (answer.status, answer.body) == (200, b"two")
    assert answer.headers["ETag"] != tag


def test_a_change_by_sttp_shows_at_once_however_often_it_was_asked_for(web: Web) -> None:
    web.say("CREATE /changing 0\n")
    for number in range(1, 20):
        assert [web.get("/files/changing").body for _ in range(3)] == [b"%d" % (number - 1)] * 3
        assert web.say(f"UPDATE /changing {number}\n").startswith(b"200")
    web.say("DELETE /changing\n")
    assert web.get("/files/changing").status == 404


def test_the_cache_answers_and_counts(web: Web) -> None:
    web.write("counted", b"text")
    web.get("/files/counted")
    before = metrics(web)
    for _ in range(5):
        web.get("/files/counted")
    after = metrics(web)
    grown = {name for name in after if after[name] == before.get(name, 0) + 5}
    assert {
        "sttp_cache_hits_total",
        'sttp_requests_total{action="SHOW",status="200"}',
    } <= grown
    gets = 'sttp_http_requests_total{method="GET",status="200"}'
    assert after[gets] == before[gets] + 6  # the metrics before count themselves


def metrics(web: Web) -> dict[str, float]:
    lines = web.get("/metrics").body.decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def test_a_directory_in_three_forms(web: Web) -> None:
    web.write("list/b<i>&.txt", b"1")
    web.write("list/a/inside", b"2")
    web.write("list/\u202etxt.exe", b"3")
    plain = web.get("/files/list/")
    assert plain.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert plain.body.decode() == "a/\nb<i>&.txt\n\u202etxt.exe\n"
    assert web.get("/files/list/", Accept="application/json").json == {
        "path": "/list/",
        "entries": [
            {"name": "a", "kind": "directory"},
            {"name": "b<i>&.txt", "kind": "file"},
            {"name": "\u202etxt.exe", "kind": "file"},
        ],
    }
    page = web.get("/files/list/", Accept="text/html,application/xhtml+xml,*/*;q=0.8")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert '<a href="./b%3Ci%3E%26.txt"><bdi>b&lt;i&gt;&amp;.txt</bdi></a>' in page.body.decode()
    assert "\\u202etxt.exe" in page.body.decode()  # shown, not obeyed
    assert page.headers["Vary"] == plain.headers["Vary"] == "Accept"
    head = web.ask("HEAD", "/files/list/", Accept="text/html")
    assert int(head.headers["Content-Length"]) <= len(page.body)


def test_an_empty_directory(web: Web) -> None:
    os.mkdir(web.folder / "empty")
    assert web.get("/files/empty/").body == b""
    assert web.get("/files/empty/", Accept="application/json").json["entries"] == []


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/files/none", 404, "There is no such file."),
        ("/files/none/a", 404, "There is no such directory."),
        ("/files/none/a/", 404, "There is no such directory."),
        ("/files/" + "n" * 33, 414, "The file's name is too long; at most 32 characters."),
        ("/files/a%20b", 400, "A path holds no space and no line break."),
        ("/files/a%0Ab", 400, "A path holds no space and no line break."),
        ("/files/a%2Fb", 400, "A % in a path is followed by two hexadecimal digits, and a name holds no /."),
        ("/files/a%zz", 400, "A % in a path is followed by two hexadecimal digits, and a name holds no /."),
        ("/files/a%00b", 400, "Control characters are not allowed"),
        ("/files/%ff", 400, "The line is not UTF-8."),
        ("/files/../x", 400, ""),
        ("/files//x", 400, ""),
        ("/files/.sttp/journal", 400, ""),
        ("/files/" + "d/" * 70, 400, ""),
        ("/nowhere", 404, "There is nothing here."),
        ("/files", 404, "There is nothing here."),
    ],
)
def test_what_there_is_not(web: Web, path: str, status: int, words: str) -> None:
    found, told = web.get(path).problem
    assert (found, told[: len(words)]) == (status, words)
    sentence = web.get(path, Accept="text/plain")
    assert (sentence.status, sentence.body.decode()) == (status, told + "\n")
    assert sentence.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_directory_is_no_file_and_a_file_no_directory(web: Web) -> None:
    web.write("kinds/file", b"x")
    assert web.get("/files/kinds").problem[0] == 400
    assert web.get("/files/kinds/file/").problem[0] == 400


def test_a_file_that_is_no_text_is_500(web: Web) -> None:
    web.write("broken", b"two\nlines\n")
    status, words = web.get("/files/broken").problem
    assert (status, words) == (500, "The stored file is not one line of at most 160 characters of UTF-8 text.")


def test_every_answer_keeps_browsers_from_guessing_telling_and_framing(web: Web) -> None:
    for path in ("/files/", "/files/none", "/metrics", "/healthz", "/nowhere"):
        headers = web.get(path).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Access-Control-Allow-Origin"] is None


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "localhost.evil"])
def test_a_name_that_is_none_of_ours_is_misdirected(web: Web, host: str) -> None:
    """DNS rebinding: the attacker's own name leads to our address."""
    web.write("secret", b"secret")
    for _ in range(2):
        assert web.get("/files/secret", Host=host).problem[0] == 421
        assert web.get("/files/secret", Host="localhost").body == b"secret"
