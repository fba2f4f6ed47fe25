"""Bytes to requests (RFC 9112): the corpus in any pieces, the limits, and what h11 makes of the same bytes."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

pytest.importorskip("httptools", reason="the extra `http`")

import h11
from hypothesis import given
from hypothesis import strategies as st

from sttp_reactor.http.parser import Limits, RequestParser

CORPUS = Path(__file__).parent / "corpus"
VALID = sorted(CORPUS.glob("valid/*.http"))
INVALID = sorted(CORPUS.glob("invalid/*.http"))
EVERY = VALID + INVALID

# Where h11 reads what is refused here, and why both may be right.
H11_TAKES = {
    # RFC 9112 leaves these to the server, or h11 leaves them to its user.
    *("asterisk-get", "connect", "fragment", "target-without-slash"),
    *("absolute-form-ftp", "absolute-form-no-host", "absolute-form-user"),
    *("host-list", "host-slash", "host-space", "host-user", "host-wrong-beside-absolute-form"),
    *("method-lower-case", "method-unknown", "expectation-unknown", "upgrade-with-body", "length-too-large"),
    # It accepts a bare LF, unfolds lines, and joins lengths that are equal (all of them a MAY).
    *("lf-alone", "lf-after-header", "lf-ends-head", "obs-fold", "obs-fold-tab", "two-equal-lengths", "length-list"),
    # It knows no trailers' meaning, and drops a length beside a coding.
    *("trailer-with-length", "both-lengths", "both-lengths-other-order", "coding-in-1.0", "chunk-size-space"),
    # Versions are its user's, and numbers may be of any size; it allows what llhttp is stricter about.
    *("http-1.2", "http-2.0", "length-overflow", "chunk-size-overflow", "chunk-lf", "control-in-value"),
}
# Where it is stricter than the RFC's SHOULD (empty lines before a request) and MAY (more than one space).
H11_REFUSES = {"empty-line-before", "empty-line-between", "two-spaces-before-target"}


def parsed(data: bytes, step: int = 1 << 20) -> list[str]:
    """In the form of an `.expect` file."""
    parser = RequestParser(Limits())
    lines = []
    for at in range(0, len(data), step):
        for request in parser.feed(data[at : at + step]):
            target = request.path + (f"?{request.query}" if request.query else "")
            keep = "keep" if request.keep_alive else "close"
            lines.append(f"{request.method} {target} host={request.host} {keep} body={request.body.decode()!r}")
        if parser.fault is not None:
            return [*lines, str(parser.fault.status)]
    assert not parser.in_body
    return lines


@pytest.mark.parametrize("file", EVERY, ids=lambda file: file.stem)
def test_the_corpus_in_any_pieces(file: Path) -> None:
    data, expected = file.read_bytes(), file.with_suffix(".expect").read_text().splitlines()
    for step in (1 << 20, 1, 2, 7):
        assert parsed(data, step) == expected, f"in pieces of {step}"
    assert (not expected[-1].isdigit()) is (file in VALID)


def read_by_h11(data: bytes) -> list[tuple[bytes, bytes]] | None:
    """Method and body of each request; None where it refuses one of them."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    requests: list[tuple[bytes, bytes]] = []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                requests.append((event.method, b""))
            elif isinstance(event, h11.Data):
                method, body = requests.pop()
                requests.append((method, body + bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                connection.send(h11.Response(status_code=204, headers=[]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is h11.MUST_CLOSE:
                    return requests
                connection.start_next_cycle()
            else:
                return requests
    except h11.RemoteProtocolError:
        return None
    except h11.LocalProtocolError:  # our 204 is no answer to a CONNECT
        return requests


@pytest.mark.parametrize("file", EVERY, ids=lambda file: file.stem)
def test_a_second_opinion(file: Path) -> None:
    """h11 reads the same requests in what is valid, and refuses what is invalid, but for what it leaves to its user."""
    theirs = read_by_h11(file.read_bytes())
    ours = [(request.method.encode(), request.body) for request in RequestParser(Limits()).feed(file.read_bytes())]
    if file in INVALID:
        assert (theirs is None or theirs == ours) is (file.stem not in H11_TAKES)
    else:
        assert (theirs == ours) is (file.stem not in H11_REFUSES)


PIECES = st.sampled_from(
    [
        *(b"GET / HTTP/1.1\r\n", b"POST /a HTTP/1.1\r\n", b"Host: h\r\n", b"\r\n", b"\n", b" ", b"\t", b"\0", b":"),
        *(b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n"),
        *(
            b"Connection: upgrade\r\n",
            b"Expect: 100-continue\r\n",
            b"abc",
            b"3\r\n",
            b"0\r\n\r\n",
            b"HTTP/1.0",
            b"\xff",
        ),
    ]
)


@given(st.lists(PIECES, max_size=12).map(b"".join) | st.binary(max_size=60))
def test_any_bytes_give_requests_or_one_fault_and_h11_sees_no_other_requests(data: bytes) -> None:
    """Where both read all of it, they read the same: a difference is what smuggling is made of."""
    parser = RequestParser(Limits())
    requests = parser.feed(data)
    assert parsed_or_fault(data, 1) == parsed_or_fault(data, 1 << 20)
    if parser.fault is None and all(request.keep_alive for request in requests):
        theirs = read_by_h11(data)
        ours = [(request.method.encode(), request.body) for request in requests]
        assert theirs is None or theirs[: len(ours)] == ours


def parsed_or_fault(data: bytes, step: int) -> list[object]:
    parser = RequestParser(Limits())
    found: list[object] = []
    for at in range(0, len(data), step):
        found += [(request.method, request.path, request.body) for request in parser.feed(data[at : at + step])]
        if parser.fault is not None:
            return [*found, parser.fault.status]
    return found


SMALL = Limits(max_target=50, max_head=200, max_headers=5, max_body=20)
HEAD = b"POST / HTTP/1.1\r\nHost: h\r\n"


@pytest.mark.parametrize("step", [1, 3, 1 << 20])
@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * 49), None),
        (b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * 50), 414),
        (HEAD + b"X: %b\r\n\r\n" % (b"a" * 180), None),
        (HEAD + b"X: %b\r\n\r\n" % (b"a" * 190), 431),
        (HEAD + b"X: %b" % (b"a" * 500), 431),
        (b"\r\n" * 300, 431),
        (HEAD + b"A: b\r\n" * 4 + b"\r\n", None),
        (HEAD + b"A: b\r\n" * 5 + b"\r\n", 431),
        (HEAD + b"Content-Length: 20\r\n\r\n" + b"a" * 20, None),
        (HEAD + b"Content-Length: 21\r\n\r\n", 413),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"a\r\n0123456789\r\n" * 2 + b"0\r\n\r\n", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"a\r\n0123456789\r\n" * 2 + b"1\r\na", 413),
    ],
)
def test_limits(data: bytes, status: int | None, step: int) -> None:
    parser = RequestParser(SMALL)
    requests = []
    for at in range(0, len(data), step):
        requests += parser.feed(data[at : at + step])
        if parser.fault is not None:
            break
    assert (None if parser.fault is None else parser.fault.status) == status
    assert len(requests) == (status is None)


@pytest.mark.parametrize("drip", [b"1;" + b"a" * 1000, b"0\r\nX: " + b"a" * 1000])
def test_what_is_no_body_does_not_go_on_without_end(drip: bytes) -> None:
    """An extension of a chunk, a trailer: dropped, but not for ever."""
    parser = RequestParser(SMALL)
    parser.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    for at in range(0, len(drip), 50):
        parser.feed(drip[at : at + 50])
        if parser.fault is not None:
            break
    assert parser.fault is not None
    assert parser.fault.status in (413, 431)


def test_a_body_in_single_bytes_costs_no_more_than_its_length() -> None:
    """65,536 chunks of one byte each: joined one by one, they would be two gigabytes of copying."""
    parser = RequestParser(Limits())
    parser.feed(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    tracemalloc.start()
    for _ in range(64):
        parser.feed(b"1\r\na\r\n" * 1024)
    [request] = parser.feed(b"0\r\n\r\n")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert request.body == b"a" * 65536
    assert peak < 1 << 20


def test_headers_are_joined_and_their_names_lowered() -> None:
    [request] = RequestParser(Limits()).feed(b"GET / HTTP/1.1\r\nHost: h\r\nACCEPT: a \r\nAccept:\tb\r\n\r\n")
    assert request.headers == {"host": "h", "accept": "a, b"}


@pytest.mark.parametrize("step", [1, 1 << 20])
def test_it_tells_what_it_waits_for(step: int) -> None:
    parser = RequestParser(Limits())
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
    for at in range(0, len(head), step):
        assert not parser.in_body
        assert parser.feed(head[at : at + step]) == []
    assert (parser.in_head, parser.in_body, parser.expects_continue) == (False, True, True)
    assert parser.feed(b"a") == []
    assert not parser.expects_continue
    assert len(parser.feed(b"bc")) == 1
    assert (parser.in_head, parser.in_body) == (False, False)
