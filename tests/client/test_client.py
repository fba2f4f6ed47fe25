"""The client's operations against scripted servers: what it sends, returns and raises."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_server import PATIENCE_SECONDS, Peer, ScriptedServer, answers, deafness, silence, table

from sttp_reactor import errors
from sttp_reactor.client import Client, make_request
from sttp_reactor.errors import ConnectionLost, LocalError, NotSttp, ReplyTimedOut
from sttp_reactor.wire.messages import Action, Request

Serve = Callable[..., ScriptedServer]

SHOW_A = make_request("SHOW", "/a")
# Waits that must end by themselves, and quickly.
SHORT = 0.1


def client_of(server: ScriptedServer, **options: Any) -> Client:
    return Client(server.host, server.port, **options)


# -- Operations --


def test_each_operation_sends_its_line_and_returns_text(serve: Serve) -> None:
    server = serve(
        table(
            {
                'CREATE /d/ü "Grüße "': "100 /d/ü CREATED\n",
                "SHOW /d/ü": "200 /d/ü OK\nGrüße \n",
                'UPDATE /d/ü ""': "200 /d/ü OK\n\n",
                "LIST /": "200 / OK\na,b, d/\n",
                "LIST /d": "200 /d OK\n\n",
                "DELETE /d/ü": "600 /d/ü DELETED\n",
            }
        )
    )
    with client_of(server) as client:
        client.create("/d/ü", "Grüße ")
        assert client.show("/d/ü") == "Grüße "
        assert client.update("/d/ü", "") == ""
        assert client.list() == ["a,b", "d/"]
        assert client.list("/d") == []
        client.delete("/d/ü")
    assert server.accepted == 1


def test_quotes_in_contents_arrive_as_they_are(serve: Serve) -> None:
    with client_of(serve(table({'CREATE /a ""x" "y""': "100 /a CREATED\n"}))) as client:
        client.create("/a", '"x" "y"')


@pytest.mark.parametrize(
    ("reply", "kind", "status", "message"),
    [
        ('300 /a CLIENT ERROR "a directory"', errors.RequestRefused, 300, "a directory"),
        ("310 /a FILENAME TOO LONG", errors.RequestRefused, 310, None),
        ("400 /a NOT FOUND", errors.NotFound, 400, None),
        ("410 / PATH NOT FOUND", errors.NotFound, 410, None),
        ('500 - SERVER ERROR "too many"', errors.ServerFailed, 500, "too many"),
        ("510 / CANNOT CREATE PATH", errors.ServerFailed, 510, None),
    ],
)
def test_an_error_carries_the_reply(
    serve: Serve, reply: str, kind: type[errors.ReplyError], status: int, message: str | None
) -> None:
    with client_of(serve(answers(reply.encode() + b"\n"))) as client, pytest.raises(kind) as caught:
        client.show("/a")
    assert caught.value.status == status
    assert caught.value.message == message
    assert caught.value.path == reply.split()[1]
    assert caught.value.reply[0] == status
    assert str(status) in str(caught.value)


def test_a_refusal_leaves_the_connection_in_use(serve: Serve) -> None:
    server = serve(answers(b"400 /a NOT FOUND\n", b"200 /a OK\nx\n"))
    with client_of(server) as client:
        with pytest.raises(errors.NotFound):
            client.show("/a")
        assert client.show("/a") == "x"
    assert server.accepted == 1


@pytest.mark.parametrize(
    "reply", [b"200 / OK\na, d/\n", b"200 / OK\n\n", b'300 / CLIENT ERROR "this may not be read"\n']
)
def test_ping_takes_any_reply_of_a_server_that_serves(serve: Serve, reply: bytes) -> None:
    with client_of(serve(answers(reply))) as client:
        assert 0 < client.ping() == client.timing.reply < PATIENCE_SECONDS


def test_ping_says_when_the_server_is_too_full(serve: Serve) -> None:
    full = answers(b'500 - SERVER ERROR "too many connections"\n')
    with client_of(serve(full)) as client, pytest.raises(errors.ServerFailed, match="too many connections"):
        client.ping()


def test_ping_asks_what_no_cache_answers_and_says_when_the_store_is_gone(serve: Serve) -> None:
    gone = table({"LIST /": '500 / SERVER ERROR "the docroot is gone"\n'})
    with client_of(serve(gone)) as client, pytest.raises(errors.ServerFailed, match="the docroot is gone"):
        client.ping()


# -- What is not sent --


@pytest.mark.parametrize(
    ("path", "contents"),
    [
        ("/a b", "x"),
        ("/a\n", "x"),
        ("/a", "two\nlines"),
        ("/a", "bell\a"),
        ("/a", "cut\r"),
        ("/a", "x" * 161),
        ("/" + "n" * 33, "x"),
        ("a", "x"),
        ("/d/", "x"),
        ("/../a", "x"),
        ("/.sttp", "x"),
        ("/" + "d/" * 4096 + "a", "x"),
        ("/\udcff", "x"),
        ("/a", "\ud800"),
    ],
)
def test_what_sttp_cannot_carry_is_refused_before_connecting(serve: Serve, path: str, contents: str) -> None:
    server = serve()
    with client_of(server) as client, pytest.raises(LocalError):
        client.create(path, contents)
    assert server.accepted == 0


def test_one_bad_request_stops_the_whole_pipeline(serve: Serve) -> None:
    server = serve()
    with client_of(server) as client, pytest.raises(LocalError):
        client.pipeline([SHOW_A, Request(Action.SHOW, b"a")])
    assert server.accepted == 0


def test_an_unknown_action_is_refused() -> None:
    with pytest.raises(LocalError, match="show"):
        make_request("show", "/a")


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
def test_a_timeout_is_positive(timeout: float) -> None:
    with pytest.raises(LocalError):
        Client(timeout=timeout)


# -- Replies in pieces, and what is none --


def test_a_reply_may_come_byte_by_byte(serve: Serve) -> None:
    def drip(peer: Peer) -> None:
        peer.sock.setsockopt(6, 1, 1)  # TCP_NODELAY: each byte a segment
        peer.line()
        for byte in "200 /a OK\r\nGrüße\n".encode():
            peer.send(bytes([byte]))
        peer.wait_for_close()

    with client_of(serve(drip)) as client:
        assert client.show("/a") == "Grüße"


@pytest.mark.parametrize(
    "junk",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\n",
        b"200 /a NOT FOUND\n",
        b"200 /a\n",
        b"999 /a OK\nx\n",
        b"400 /a NOT FOUND \n",
        b"300 /a CLIENT ERROR\n",
        b"400 /\x07 NOT FOUND\n",
    ],
)
def test_junk_is_not_a_reply(serve: Serve, junk: bytes) -> None:
    with client_of(serve(answers(junk))) as client, pytest.raises(NotSttp, match="does not speak STTP"):
        client.show("/a")


@pytest.mark.parametrize("text", [b"\x1b[2J", b"\xff", b"\xc2\x9b2J", b"\0", b"x\r\r"])
def test_contents_that_are_no_text_are_refused(serve: Serve, text: bytes) -> None:
    script = answers(b"200 /a OK\n" + text + b"\n")
    with client_of(serve(script)) as client, pytest.raises(NotSttp, match="broke the protocol: the contents"):
        client.show("/a")


def test_junk_after_a_reply_breaks_the_protocol(serve: Serve) -> None:
    with client_of(serve(answers(b"200 /a OK\nx\n", b"hello\n"))) as client:
        client.show("/a")
        with pytest.raises(NotSttp, match="broke the protocol: not an STTP reply"):
            client.show("/a")


def test_of_a_foreign_server_the_beginning_is_shown(serve: Serve) -> None:
    greeting = answers(b"SSH-2.0-\x1b]0;x\r\n")
    with client_of(serve(greeting)) as client, pytest.raises(NotSttp, match=r"it sent 'SSH-2\.0-\\x1b\]0;x'"):
        client.show("/a")


@pytest.mark.parametrize(
    "reply", [b"200 /b OK\nsecret\n", b"600 /a DELETED\n", b"100 /a CREATED\n", b"200 /a/ OK\nx\n", b"200 - OK\nx\n"]
)
def test_the_reply_to_another_request_is_refused(serve: Serve, reply: bytes) -> None:
    with client_of(serve(answers(reply))) as client, pytest.raises(NotSttp, match="does not belong"):
        client.show("/a")


@pytest.mark.parametrize("start", [b"", b"2", b"200 /a OK", b"200 /a OK\n", b"200 /a OK\nBuy mi"])
def test_an_early_close_is_a_lost_connection(serve: Serve, start: bytes) -> None:
    server = serve(answers(start), answers(b"200 /a OK\nx\n"))
    with client_of(server) as client, pytest.raises(ConnectionLost, match="closed the connection"):
        client.show("/a")
    assert server.accepted == 1, "it may have been carried out, and was sent again"


def test_a_reset_is_a_lost_connection(serve: Serve) -> None:
    def reset(peer: Peer) -> None:
        peer.line()
        peer.reset()

    server = serve(reset, answers(b"600 /a DELETED\n"))
    with client_of(server) as client, pytest.raises(ConnectionLost):
        client.delete("/a")
    assert server.accepted == 1


# -- Time --


def test_a_silent_server_times_out(serve: Serve) -> None:
    with client_of(serve(silence), timeout=SHORT) as client:
        began = time.monotonic()
        with pytest.raises(ReplyTimedOut):
            client.show("/a")
        assert SHORT <= time.monotonic() - began < PATIENCE_SECONDS


def test_drips_do_not_extend_the_time(serve: Serve) -> None:
    def drip(peer: Peer) -> None:
        peer.line()
        peer.send(b"200 /a OK\n")
        while not peer.stopping.wait(SHORT / 10):
            peer.send(b"x")

    with client_of(serve(drip), timeout=SHORT) as client, pytest.raises(ReplyTimedOut):
        client.show("/a")


def test_a_late_reply_is_never_taken_for_the_next(serve: Serve) -> None:
    def late(peer: Peer) -> None:
        peer.line()
        peer.wait_for_close()
        peer.send(b"200 /a OK\nlate\n")

    server = serve(late, answers(b"200 /a OK\nfresh\n"))
    with client_of(server, timeout=SHORT) as client:
        with pytest.raises(ReplyTimedOut):
            client.show("/a")
        client.timeout = PATIENCE_SECONDS
        assert client.show("/a") == "fresh"


# -- The persistent connection --


def test_a_connection_closed_meanwhile_is_made_anew(serve: Serve) -> None:
    server = serve(answers(b"200 /a OK\n1\n"), answers(b"200 /a OK\n2\n"))
    with client_of(server) as client:
        assert client.show("/a") == "1"
        assert server.ended[0].wait(PATIENCE_SECONDS)
        assert client.show("/a") == "2"


@pytest.mark.parametrize("surplus", [b'300 - CLIENT ERROR "idle"\n', b"200 /a OK\nforged\n", b"junk"])
def test_what_nobody_asked_for_is_not_the_next_reply(serve: Serve, surplus: bytes) -> None:
    def talkative(peer: Peer) -> None:
        peer.line()
        peer.send(b"200 /a OK\n1\n" + surplus)

    server = serve(talkative, answers(b"200 /a OK\n2\n"))
    with client_of(server) as client:
        assert client.show("/a") == "1"
        assert server.ended[0].wait(PATIENCE_SECONDS)
        assert client.show("/a") == "2"


def test_after_a_reply_about_the_connection_it_is_not_used_again(serve: Serve) -> None:
    def full(peer: Peer) -> None:
        peer.send(b'500 - SERVER ERROR "too many connections"\n')
        peer.wait_for_close()

    server = serve(full, answers(b"200 /a OK\n2\n"))
    with client_of(server) as client:
        with pytest.raises(errors.ServerFailed):
            client.show("/a")
        assert client.show("/a") == "2"


def test_the_reason_for_a_refused_connection_is_read_although_sending_fails(serve: Serve) -> None:
    def refuse(peer: Peer) -> None:
        # Not a byte read and closed: the kernel answers what is sent with a reset.
        peer.send(b'500 - SERVER ERROR "too many connections"\n')

    server = serve(refuse)
    with client_of(server) as client:
        # More than the socket's buffers hold, so that the reset comes while there is still something to send.
        requests = [make_request("SHOW", f"/{'d' * 8_000}/d")] * 2_000
        with pytest.raises(ConnectionLost) as caught:
            client.pipeline(requests)
    assert [reply.message for reply in caught.value.replies] == ["too many connections"]


def test_a_closed_client_connects_again(serve: Serve) -> None:
    server = serve(silence_after(b"200 /a OK\n1\n"), answers(b"200 /a OK\n2\n"))
    client = client_of(server)
    assert client.show("/a") == "1"
    client.close()
    client.close()
    assert client.show("/a") == "2"
    client.close()


def silence_after(reply: bytes) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.line()
        peer.send(reply)
        peer.wait_for_close()

    return script


def test_a_unix_socket_is_an_address_too(serve: Serve, tmp_path: Path) -> None:
    server = serve(answers(b"200 /a OK\nx\n"), path=str(tmp_path / "s"))
    with Client(server.host) as client:
        assert client.show("/a") == "x"
        assert str(client.endpoint) == server.host


# -- Pipelines --


def numbered(count: int) -> list[Request]:
    return [make_request("SHOW", f"/{number}") for number in range(count)]


def test_a_pipeline_gives_every_reply_in_order(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        while line := peer.line():
            number = int(line.removeprefix(b"SHOW /"))
            peer.send(b"400 /%d NOT FOUND\n" % number if number % 3 else b"200 /%d OK\n%d\n" % (number, number))

    with client_of(serve(script)) as client:
        replies = client.pipeline(numbered(2_000))
        assert client.pipeline([]) == []
    assert [reply.path for reply in replies] == [b"/%d" % number for number in range(2_000)]
    assert [reply.contents for reply in replies[:4]] == [b"0", None, None, b"3"]


@pytest.mark.long
def test_large_replies_do_not_lock_both_sides(serve: Serve) -> None:
    """A server that does not read while its replies are not taken, and requests that fill both buffers."""
    text = "ü" * 160

    def script(peer: Peer) -> None:
        peer.sock.setsockopt(1, 7, 4096)  # SO_SNDBUF
        while line := peer.line():
            peer.send(b"200 %b OK\n%b\n" % (line.split()[1], text.encode()))

    requests = [make_request("UPDATE", f"/{number}", text) for number in range(10_000)]
    with client_of(serve(script), timeout=25) as client:
        replies = client.pipeline(requests)
    assert [reply.path for reply in replies] == [request.path for request in requests]


def test_a_pipeline_to_a_server_that_never_reads_times_out(serve: Serve) -> None:
    requests = [make_request("UPDATE", f"/{number}", "x" * 160) for number in range(10_000)]
    with client_of(serve(deafness), timeout=SHORT) as client, pytest.raises(ReplyTimedOut) as caught:
        client.pipeline(requests)
    assert caught.value.replies == []


def test_what_is_in_flight_is_bounded(serve: Serve) -> None:
    received: list[bytes] = []

    def hold_back(peer: Peer) -> None:
        while not peer.stopping.is_set() and (line := peer.line()):
            received.append(line)

    server = serve(hold_back)
    with client_of(server, timeout=5 * SHORT) as client, pytest.raises(ReplyTimedOut):
        client.pipeline(numbered(10_000))
    assert server.ended[0].wait(PATIENCE_SECONDS)
    assert 0 < len(received) <= 512


def test_a_broken_pipeline_keeps_the_replies_that_came(serve: Serve) -> None:
    def two_and_a_half(peer: Peer) -> None:
        for _ in range(50):
            assert peer.line()
        peer.send(b"200 /0 OK\nx\n400 /1 NOT FOUND\n200 /2")

    with client_of(serve(two_and_a_half)) as client, pytest.raises(ConnectionLost) as caught:
        client.pipeline(numbered(50))
    assert [reply.status for reply in caught.value.replies] == [200, 400]


# -- The trace --


def test_the_trace_tells_everything(serve: Serve) -> None:
    told: list[str] = []
    server = serve(answers(b"200 /a OK\r\nBuy \xff milk\n"))
    with client_of(server, trace=lambda mark, line: told.append(f"{mark} {line}")) as client, pytest.raises(NotSttp):
        client.show("/a")
    where = f"127.0.0.1:{server.port}"
    assert told == [
        f"* connecting to {where}",
        f"* connected to {where}",
        "> SHOW /a",
        "< 200 /a OK\r",
        "< Buy \\xff milk",
        f"* closed the connection to {where}",
    ]


def test_timing_counts_connecting_once(serve: Serve) -> None:
    with client_of(serve(answers(b"200 /a OK\n1\n", b"200 /a OK\n2\n"))) as client:
        client.show("/a")
        first = client.timing
        client.show("/a")
    assert first.connect > 0
    assert client.timing.connect == 0
    assert client.timing.reply > 0
