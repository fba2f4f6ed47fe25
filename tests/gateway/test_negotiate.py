"""Which form a client would rather have, and who may ask through a browser."""

from __future__ import annotations

import pytest

from sttp_reactor.gateway.hosts import fault_of_write, is_ours
from sttp_reactor.gateway.negotiate import preferred
from sttp_reactor.http.messages import Request

OFFERS = ("text/plain", "application/json", "text/html")


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (None, "text/plain"),
        ("", "text/plain"),
        ("*/*", "text/plain"),
        ("application/json", "application/json"),
        ("APPLICATION/JSON", "application/json"),
        ("text/html, application/json;q=0.9", "text/html"),
        ("text/html;q=0.5, application/json;q=0.9", "application/json"),
        ("text/*;q=0.5, application/json;q=0.4", "text/plain"),
        ("text/*, text/plain;q=0.1", "text/html"),  # the more specific one decides
        ("*/*;q=0.1, text/html", "text/html"),
        ("text/plain;q=0, */*", "application/json"),
        ("text/html;level=1;q=1.000", "text/html"),
        ("image/png", "text/plain"),  # none of ours: better that than nothing
        ("text/html;q=2", "text/html"),  # no quality is no less
        ("nonsense, ;;, application/json", "application/json"),
        ("a/b, " * 10_000 + "text/html", "text/plain"),
    ],
)
def test_preferred(accept: str | None, form: str) -> None:
    assert preferred(accept, OFFERS) == form


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:81", "127.0.0.1", "192.0.2.1:81", "[::1]:81", "[::1]", "a.b.", ""]
)
def test_ours(host: str) -> None:
    assert is_ours(host, {"a.b"})


@pytest.mark.parametrize("host", ["a", "evil.example", "a.b.evil", "127.0.0.1.evil", "[x]", "1.2.3", "localhost.x"])
def test_not_ours(host: str) -> None:
    assert not is_ours(host, {"a.b"})


@pytest.mark.parametrize(
    ("headers", "is_refused"),
    [
        ({}, False),
        ({"content-type": "application/octet-stream"}, False),
        ({"content-type": "text/plain"}, True),
        ({"content-type": "text/plain; charset=utf-8"}, True),
        ({"content-type": "application/x-www-form-urlencoded"}, True),
        ({"content-type": "Multipart/Form-Data; boundary=x"}, True),
        ({"origin": "http://us:81", "content-type": "text/plain"}, False),
        ({"origin": "https://us:81"}, False),
        ({"origin": "http://us"}, True),
        ({"origin": "http://them"}, True),
        ({"origin": "null"}, True),
        ({"origin": "http://us:81.evil"}, True),
        ({"origin": "http://us:81", "sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-site"}, True),
        ({"sec-fetch-site": "same-origin"}, False),
    ],
)
def test_writes_from_other_sites(headers: dict[str, str], is_refused: bool) -> None:
    request = Request("POST", "/files/a", "", "us:81", headers)
    assert (fault_of_write(request) is not None) is is_refused
