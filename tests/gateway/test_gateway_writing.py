"""Files over HTTP, written: created, replaced, deleted, under conditions, by whom; and what OpenAPI tells of it."""

from __future__ import annotations

import threading

import pytest
from web import StartWeb, Web

BINARY = {"Content_Type": "application/octet-stream"}


def test_post_creates_once(web: Web) -> None:
    answer = web.ask("POST", "/files/made/n%C3%A4h.txt", b"Buy milk", **BINARY)
    assert (answer.status, answer.body) == (201, b"")
    assert answer.headers["Location"] == "/files/made/n%C3%A4h.txt"
    found = web.get(answer.headers["Location"])
    assert (found.body, found.headers["ETag"]) == (b"Buy milk", answer.headers["ETag"])
    again = web.ask("POST", "/files/made/n%C3%A4h.txt", b"Buy eggs", **BINARY)
    assert again.problem == (409, "There is such a file already; PUT replaces it.")
    assert web.say("SHOW /made/näh.txt\n").endswith(b"\nBuy milk\n")


def test_put_creates_and_replaces_and_delete_deletes(web: Web) -> None:
    assert web.ask("PUT", "/files/put", b"one", **BINARY).status == 201
    second = web.ask("PUT", "/files/put", b"two", **BINARY)
    assert (second.status, second.headers["ETag"]) == (204, web.get("/files/put").headers["ETag"])
    assert web.get("/files/put").body == b"two"
    assert web.ask("DELETE", "/files/put").status == 204
    assert web.ask("DELETE", "/files/put").status == 404
    assert web.get("/files/put").status == 404


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", b""),
        (b"a line\n", b"a line"),
        (b"a line\r\n", b"a line"),
        (b"\n", b""),
        (b'"quoted"', b'"quoted"'),
        (b'"', b'"'),
        (" \u2028é ".encode(), " \u2028é ".encode()),
        (b"a\tb ", b"a\tb "),
        ("é".encode() * 160, "é".encode() * 160),
    ],
)
def test_a_text_comes_back_as_it_went(web: Web, body: bytes, text: bytes) -> None:
    assert web.ask("PUT", "/files/round", body, **BINARY).status in (201, 204)
    assert web.get("/files/round").body == text


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/files/w", b"x" * 161, 400, "Contents are too long; at most 160 characters."),
        ("/files/w", b"two\nlines", 400, "The text is one line"),
        ("/files/w", b"two\n\n", 400, "The text is one line"),
        ("/files/w", b"a\rb", 400, "Control characters are not allowed"),
        ("/files/w", b"a\0b", 400, "Control characters are not allowed"),
        ("/files/w", b"\xff", 400, "The line is not UTF-8."),
        ("/files/w", b"x" * 65537, 413, ""),
        ("/files/" + "n" * 33, b"x", 414, "The file's name is too long"),
        ("/files/w/", b"x", 405, "PUT is not for a directory."),
        ("/files/a%20b", b"x", 400, "A path holds no space"),
        ("/files/file/below", b"x", 409, "A directory of that path cannot be made."),
        ("/files/.sttp/x", b"x", 400, ""),
        ("/nowhere", b"x", 404, "There is nothing here."),
        ("/healthz", b"x", 405, "PUT is not for this."),
    ],
)
def test_what_cannot_be_written(web: Web, path: str, body: bytes, status: int, words: str) -> None:
    web.ask("PUT", "/files/file", b"x", **BINARY)
    answer = web.ask("PUT", path, body, **BINARY)
    assert answer.status == status
    if status != 413:  # which is no whole request
        assert answer.problem[1].startswith(words)


def test_conditions(web: Web) -> None:
    def put(body: bytes, **headers: str) -> int:
        return web.ask("PUT", "/files/cond", body, **headers).status

    assert put(b"x", If_Match="*") == 412
    assert put(b"x", If_Match='"old"') == 412
    assert put(b"one", If_None_Match="*") == 201
    assert put(b"two", If_None_Match="*") == 412
    tag = web.get("/files/cond").headers["ETag"]
    assert put(b"two", If_None_Match=tag) == 412
    assert put(b"two", If_Match='"other"') == 412
    assert put(b"two", If_Match=f'"other", {tag}') == 204
    assert put(b"three", If_Match=tag) == 412
    assert put(b"three", If_Match="*") == 204
    assert web.get("/files/cond").body == b"three"
    assert web.ask("DELETE", "/files/cond", If_Match=tag).status == 412
    assert web.ask("DELETE", "/files/cond", If_Match=web.get("/files/cond").headers["ETag"]).status == 204
    assert web.ask("DELETE", "/files/cond", If_Match="*").status == 412


def test_of_many_that_replace_what_they_have_seen_one_wins_each_round(web: Web) -> None:
    """Compare and swap: nobody's change is lost."""
    web.ask("PUT", "/files/counter", b"0", **BINARY)
    won: list[int] = []

    def count() -> None:
        mine = Web(web.sttpd)
        for _ in range(10):
            seen = mine.get("/files/counter")
            number = int(seen.body) + 1
            if mine.ask("PUT", "/files/counter", b"%d" % number, If_Match=seen.headers["ETag"]).status == 204:
                won.append(number)
        mine.client.close()

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == list(range(1, len(won) + 1))
    assert web.get("/files/counter").body == b"%d" % len(won)


def test_another_site_cannot_write(web: Web) -> None:
    own = f"http://127.0.0.1:{web.port}"
    form = "application/x-www-form-urlencoded"
    assert web.ask("POST", "/files/mine", b"x", Content_Type=form).problem[0] == 403
    assert web.ask("POST", "/files/mine", b"x", Origin="http://evil.example", **BINARY).problem[0] == 403
    assert web.ask("DELETE", "/files/mine", Origin="null").problem[0] == 403
    assert web.get("/files/mine").status == 404
    assert web.ask("POST", "/files/mine", b"x", Origin=own, Content_Type=form).status == 201


def test_writing_is_off_until_it_is_switched_on(start_web: StartWeb) -> None:
    web = start_web()
    for method in ("POST", "PUT", "DELETE"):
        answer = web.ask(method, "/files/a", b"x" if method != "DELETE" else None, **BINARY)
        assert answer.problem == (403, "Writing over HTTP is off; see http.write.")
    web.client.close()


def test_a_read_only_server_stays_so(start_web: StartWeb) -> None:
    web = start_web("http.write=true", "read_only=true")
    web.write("a", b"text")
    answer = web.ask("PUT", "/files/a", b"x", **BINARY)
    assert answer.problem == (403, "The server is read-only; use SHOW or LIST.")
    assert web.ask("DELETE", "/files/a", If_Match="*").status == 403
    for _ in range(2):
        assert web.get("/files/a").body == b"text"


def test_openapi_tells_of_every_route(web: Web) -> None:
    document = web.get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    for path, methods in document["paths"].items():
        url = path.replace("{name}", "openapi").replace("{directory}", "openapi")
        for method in methods:
            if method != "parameters":
                status = str(web.ask(method.upper(), url).status)
                assert status in methods[method]["responses"], (method, path)


def test_a_list_without_end_holds_nobody_up(start_web: StartWeb) -> None:
    """Of 5,000 names, in each form: made piece by piece, whole at the end."""
    web = start_web()
    web.write("long/first", b"")
    names = sorted(["first", *(f"file-{number:05}" for number in range(5_000))])
    for name in names:
        (web.folder / "long" / name).touch()
    assert web.get("/files/long/").body.decode().split() == names
    answer = web.get("/files/long/", Accept="application/json")
    assert [entry["name"] for entry in answer.json["entries"]] == names
    page = web.get("/files/long/", Accept="text/html")
    assert page.headers["Transfer-Encoding"] == "chunked"
    assert page.body.count(b"<li>") == len(names) + 1
    assert web.ask("HEAD", "/files/long/").body == b""
    assert web.get("/healthz").status == 200
