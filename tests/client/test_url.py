"""The forms of a URL, and what is said about those that are none."""

from __future__ import annotations

import pytest

from sttp_reactor.client import Endpoint, Url, parse_endpoint, parse_host, parse_port, parse_url
from sttp_reactor.errors import LocalError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # A plain path is literal.
        ("/a", Url(None, "/a")),
        ("/", Url(None, "/")),
        ("/a%20b?c#d", Url(None, "/a%20b?c#d")),
        ("/a b", Url(None, "/a b")),
        ("//host/a", Url(None, "//host/a")),
        # With the scheme.
        ("sttp://host/a", Url(Endpoint("host", 8080), "/a")),
        ("sttp://host:81/a", Url(Endpoint("host", 81), "/a")),
        ("STTP://host/a", Url(Endpoint("host", 8080), "/a")),
        ("sttp://host", Url(Endpoint("host", 8080), "")),
        ("sttp://host/", Url(Endpoint("host", 8080), "/")),
        ("sttp://127.0.0.1:65535/a", Url(Endpoint("127.0.0.1", 65535), "/a")),
        ("sttp://[::1]/a", Url(Endpoint("::1", 8080), "/a")),
        ("sttp://[::1]:81/a", Url(Endpoint("::1", 81), "/a")),
        ("sttp://[fe80::1%25eth0]:81/a", Url(Endpoint("fe80::1%eth0", 81), "/a")),
        ("sttp://bücher.example/ü", Url(Endpoint("bücher.example", 8080), "/ü")),
        ("sttps://host/a", Url(Endpoint("host", 8443, True), "/a")),
        ("STTPS://host:81", Url(Endpoint("host", 81, True), "")),
        ("sttps://[::1]/a", Url(Endpoint("::1", 8443, True), "/a")),
        # Without it.
        ("host:81/a", Url(Endpoint("host", 81), "/a")),
        ("host:81", Url(Endpoint("host", 81), "")),
        ("host:81/", Url(Endpoint("host", 81), "/")),
        ("localhost", Url(Endpoint("localhost", 8080), "")),
        ("localhost/notes/today", Url(Endpoint("localhost", 8080), "/notes/today")),
        ("unix:/run/s/a", Url(Endpoint("/run/s/a"), "")),
        ("unix:81/a", Url(Endpoint("unix", 81), "/a")),
        ("[::1]/a", Url(Endpoint("::1", 8080), "/a")),
        ("[::1]:81/a", Url(Endpoint("::1", 81), "/a")),
        # Decoding.
        ("host:81/%c3%BC", Url(Endpoint("host", 81), "/ü")),
        ("host:81/a%2fb%25%3F%23", Url(Endpoint("host", 81), "/a/b%?#")),
        ("host:81/a%20b%0a", Url(Endpoint("host", 81), "/a b\n")),
        ("host:81/a+b", Url(Endpoint("host", 81), "/a+b")),
        ("host:81/a:b@c", Url(Endpoint("host", 81), "/a:b@c")),
        ("host:81/a://b", Url(Endpoint("host", 81), "/a://b")),
    ],
)
def test_a_url(text: str, expected: Url) -> None:
    assert parse_url(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "the host is missing"),
        ("unix:x/a", "a port is a number"),
        ("http://host/a", "unknown scheme http://"),
        ("https://host/a", "unknown scheme https://"),
        ("sttps:///a", "the host is missing"),
        ("sttp:///a", "the host is missing"),
        ("sttp://:81/a", "the host is missing"),
        (":81/a", "the host is missing"),
        ("sttp://me@host/a", "no users"),
        ("sttp://me:secret@host:81/a", "no users"),
        ("me@host:81/a", "no users"),
        ("host:/a", "a port is a number"),
        ("host:0/a", "a port is a number"),
        ("host:65536/a", "a port is a number"),
        ("host:8o/a", "a port is a number"),
        ("host:٣/a", "a port is a number"),
        ("host:+1/a", "a port is a number"),
        ("host:" + "1" * 5000 + "/a", "a port is a number"),
        ("::1/a", "brackets"),
        ("::1:81/a", "brackets"),
        ("sttp://::1/a", "brackets"),
        ("[::1/a", "brackets"),
        ("sttp://[::1/a", "brackets"),
        ("[::1]81/a", "after the bracket"),
        ("[::g]:81/a", "not an IPv6 address"),
        ("[]:81/a", "not an IPv6 address"),
        ("[127.0.0.1]:81/a", "not an IPv6 address"),
        ("a b:81/c", "not the name of a host"),
        ("a\n:81/c", "not the name of a host"),
        ("a\u202e:81/c", "not the name of a host"),
        ("host?:81/c", "not the name of a host"),
        ("sttp://host?a", "not the name of a host"),
        ("host:81/a?b", "write %3F"),
        ("host:81/a#b", "write %23"),
        ("host:81/%", "write %25"),
        ("host:81/%4", "write %25"),
        ("host:81/%zz", "write %25"),
        ("host:81/%ff", "UTF-8"),
        ("host:81/\udcff", "UTF-8"),
    ],
)
def test_no_url(text: str, complaint: str) -> None:
    with pytest.raises(LocalError, match=complaint) as caught:
        parse_url(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", Endpoint("host")),
        ("host:81", Endpoint("host", 81)),
        ("[::1]", Endpoint("::1")),
        ("[::1]:81", Endpoint("::1", 81)),
        ("/run/sttp.sock", Endpoint("/run/sttp.sock")),
        ("unix:/run/sttp.sock", Endpoint("/run/sttp.sock")),
        ("sttp://host", Endpoint("host")),
        ("sttps://host", Endpoint("host", 8443, True)),
        ("sttps://[::1]:81", Endpoint("::1", 81, True)),
    ],
)
def test_a_server(text: str, expected: Endpoint) -> None:
    assert parse_endpoint(text) == expected


@pytest.mark.parametrize(
    ("text", "port"), [("h", 9), ("h:81", 81), ("[::1]", 9), ("sttps://h", 9), ("sttp://h", 9), ("h:8080", 8080)]
)
def test_a_port_for_hosts_without_one(text: str, port: int) -> None:
    assert parse_endpoint(text, 9).port == port
    url = parse_url(f"{text}/a", 9)
    assert url.endpoint is not None
    assert url.endpoint.port == port


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("host", "host"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("/run/s", "/run/s"),
        ("unix:/s", "/s"),
    ],
)
def test_a_host_alone(text: str, expected: str) -> None:
    assert parse_host(text) == expected


@pytest.mark.parametrize("text", ["", "host:81", "[::1]:81", "a b", "a/b", "me@host", "1:2:3"])
def test_no_host_alone(text: str) -> None:
    with pytest.raises(LocalError):
        parse_host(text)


def test_a_port() -> None:
    assert [parse_port(text) for text in ("1", "8080", "65535", "00080")] == [1, 8080, 65535, 80]


@pytest.mark.parametrize(
    ("endpoint", "text"),
    [
        (Endpoint("h"), "h:8080"),
        (Endpoint("::1", 81), "[::1]:81"),
        (Endpoint("/run/s", 81), "/run/s"),
        (Endpoint("h", 81, True), "sttps://h:81"),
        (Endpoint("::1", 8443, True), "sttps://[::1]:8443"),
    ],
)
def test_an_endpoint_as_text(endpoint: Endpoint, text: str) -> None:
    assert str(endpoint) == text
    assert parse_endpoint(text) == endpoint or endpoint.is_unix
