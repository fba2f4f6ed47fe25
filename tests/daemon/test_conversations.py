"""What clients may say over real sockets, and what they hear (PROTOCOL.md sections 1 to 4)."""

from __future__ import annotations

import re
import socket
import threading
from pathlib import Path

import pytest
from running import Sttpd, Wire

MESSAGE = rb'"[^"\x00-\x1f]+"'

# A request and its whole reply, where /t/ holds file, directory/, link (-> file) and broken (two lines).
EVERY_STATUS = [
    (b"CREATE /t/new/deep/x one", rb"100 /t/new/deep/x CREATED\n"),
    (b"SHOW /t/file", rb"200 /t/file OK\ntext\n"),
    (b"LIST /t/directory/", rb"200 /t/directory/ OK\n\n"),
    (b"LIST /t/directory", rb"200 /t/directory OK\n\n"),
    (b"LIST /t", rb"200 /t OK\nbroken, directory/, file, new/\n"),
    (b'UPDATE /t/new/deep/x "two"', rb"200 /t/new/deep/x OK\ntwo\n"),
    (b'UPDATE /t/new/deep/x ""', rb"200 /t/new/deep/x OK\n\n"),
    (b"SHOW /t/new/deep/x", rb"200 /t/new/deep/x OK\n\n"),
    (b"CREATE /t/file x", rb"300 /t/file CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"CREATE /t/directory x", rb"300 /t/directory CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"CREATE /t/link x", rb"300 /t/link CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"SHOW /t/directory", rb"300 /t/directory CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"LIST /t/file", rb"300 /t/file CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"SHOW /t/../etc/passwd", rb"300 /t/\.\./etc/passwd CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"LIST /.sttp", rb"300 /\.sttp CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"SHOW", rb"300 - CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"GET /t/file HTTP/1.1", rb"300 /t/file CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"DELETE /t/file HTTP/1.1", rb"300 /t/file CLIENT ERROR " + MESSAGE + rb"\n"),
    (b"SHOW /t/" + b"n" * 33, rb"310 /t/n{33} FILENAME TOO LONG\n"),
    (b"SHOW /t/none", rb"400 /t/none NOT FOUND\n"),
    (b"SHOW /t/link", rb"400 /t/link NOT FOUND\n"),
    (b"SHOW /none/x", rb"410 /none/ PATH NOT FOUND\n"),
    (b"LIST /none/x/", rb"410 /none/ PATH NOT FOUND\n"),
    (b"SHOW /t/file/x", rb"410 /t/file/ PATH NOT FOUND\n"),
    (b"SHOW /t/broken", rb"500 /t/broken SERVER ERROR " + MESSAGE + rb"\n"),
    (b"CREATE /t/file/x y", rb"510 /t/file/ CANNOT CREATE PATH\n"),
    (b"DELETE /t/new/deep/x", rb"600 /t/new/deep/x DELETED\n"),
    (b"LIST /t/new/", rb"200 /t/new/ OK\ndeep/\n"),
    (b"SHOW /t/file", rb"200 /t/file OK\ntext\n"),
]


def folder(server: Sttpd, name: str) -> Path:
    made = server.docroot / name
    made.mkdir()
    return made


def test_every_status_one_after_the_other_and_all_at_once(server: Sttpd, wire: Wire) -> None:
    top = folder(server, "t")
    (top / "file").write_bytes(b"text\n")
    (top / "broken").write_bytes(b"two\nlines\n")
    (top / "directory").mkdir()
    (top / "link").symlink_to(top / "file")
    for request, reply in EVERY_STATUS:
        got = wire.ask(request)
        assert re.fullmatch(reply, got), (request, got)
    everything = server.converse(b"".join(request + b"\n" for request, _ in EVERY_STATUS))
    assert re.fullmatch(b"".join(reply for _, reply in EVERY_STATUS), everything)


def test_what_was_acknowledged_is_in_the_file(server: Sttpd, wire: Wire) -> None:
    text = "h\u00e9llo \u2028\tworld \U0001f600".encode()
    assert wire.ask(b"CREATE /disk/text " + text) == b"100 /disk/text CREATED\n"
    assert (server.docroot / "disk" / "text").read_bytes().removesuffix(b"\n") == text
    assert wire.ask(b"UPDATE /disk/text 2") == b"200 /disk/text OK\n2\n"
    assert (server.docroot / "disk" / "text").read_bytes().removesuffix(b"\n") == b"2"
    assert wire.ask(b"DELETE /disk/text") == b"600 /disk/text DELETED\n"
    assert list((server.docroot / "disk").iterdir()) == []


def test_a_thousand_requests_in_one_segment_come_back_in_order(server: Sttpd, wire: Wire) -> None:
    for name in (b"1", b"2", b"3"):
        wire.ask(b"CREATE /thousand/%b text %b" % (name, name))
    requests, replies = [], []
    for number in range(1000):
        name = b"%d" % (number % 4)
        requests.append(b"SHOW /thousand/%b\n" % name)
        found = b"200 /thousand/%b OK\ntext %b\n" % (name, name)
        replies.append(found if number % 4 else b"400 /thousand/0 NOT FOUND\n")
    assert wire.socket.send(b"".join(requests)) == sum(map(len, requests))
    assert [wire.reply() for _ in requests] == replies


def test_every_read_sees_the_writes_before_it(wire: Wire) -> None:
    wire.ask(b"CREATE /order/x start")
    script = b"".join(b"UPDATE /order/x %d\nSHOW /order/x\n" % number for number in range(200))
    wire.send(script)
    for number in range(200):
        assert [wire.reply(), wire.reply()] == [b"200 /order/x OK\n%d\n" % number] * 2


def test_other_connections_see_what_was_acknowledged(server: Sttpd, wire: Wire) -> None:
    wire.ask(b"CREATE /others/x start")
    with server.connect() as other:
        for number in range(100):
            writer, reader = (wire, other) if number % 2 else (other, wire)
            assert reader.ask(b"SHOW /others/x").startswith(b"200")  # so that the old text is cached
            expected = b"200 /others/x OK\n%d\n" % number
            assert writer.ask(b"UPDATE /others/x %d" % number) == expected
            assert reader.ask(b"SHOW /others/x") == expected


def test_of_two_that_create_one_file_one_succeeds(server: Sttpd, wire: Wire) -> None:
    with server.connect() as other:
        for number in range(50):
            line = b"CREATE /race/%d " % number
            wire.send(line + b"mine\n")
            other.send(line + b"yours\n")
            replies = [wire.reply(), other.reply()]
            assert sorted(reply[:3] for reply in replies) == [b"100", b"300"]
            winner = b"mine" if replies[0].startswith(b"100") else b"yours"
            assert wire.ask(b"SHOW /race/%d" % number) == b"200 /race/%d OK\n%b\n" % (number, winner)


# -- Ends --


def test_a_half_close_drains(server: Sttpd) -> None:
    script = b"".join(b"CREATE /half/%d x\nSHOW /half/%d\n" % (number, number) for number in range(100))
    expected = b"".join(b"100 /half/%d CREATED\n200 /half/%d OK\nx\n" % (number, number) for number in range(100))
    assert server.converse(script) == expected


def test_a_last_line_without_an_end(server: Sttpd, wire: Wire) -> None:
    replies = server.converse(b"CREATE /cut/a 1\nCREATE /cut/b 2")
    assert re.fullmatch(rb"100 /cut/a CREATED\n300 - CLIENT ERROR " + MESSAGE + rb"\n", replies)
    assert wire.ask(b"LIST /cut/") == b"200 /cut/ OK\na\n"


def test_an_empty_line_ends_the_session_though_the_client_goes_on(server: Sttpd, wire: Wire) -> None:
    with server.connect() as talker:
        talker.send(b"\nCREATE /ended/a 1\n\n" + b"CREATE /ended/b 2\n" * 5000)
        assert talker.rest() == b"100 /ended/a CREATED\n", "and no reset, which rest() would raise"
    assert wire.ask(b"LIST /ended/") == b"200 /ended/ OK\na\n"


def test_an_over_long_line_gets_its_300_though_the_client_still_sends(wire: Wire) -> None:
    """Closing over unread bytes would make the kernel send a reset, which takes the reply along."""
    wire.send(b"LIST /none/\nCREATE /x " + b"x" * 8192)
    for _ in range(32):
        wire.send(b"x" * 32768)
    rest = wire.rest()
    assert re.fullmatch(rb"400 /none/ NOT FOUND\n300 - CLIENT ERROR " + MESSAGE + rb"\n", rest)


def test_the_longest_line_and_one_byte_more(server: Sttpd) -> None:
    directory = (b"/" + b"d" * 129) * 62 + b"/" + b"d" * 93 + b"/"
    line = b"SHOW " + directory + b"n" * 31
    assert len(line + b"\n") == 8192
    with server.connect() as wire:
        assert wire.ask(line) == b"410 %b PATH NOT FOUND\n" % directory
        assert wire.ask(b"LIST /none/") == b"400 /none/ NOT FOUND\n"
    with server.connect() as wire:
        wire.send(line + b"z\n")
        assert re.fullmatch(rb"300 - CLIENT ERROR " + MESSAGE + rb"\n", wire.rest())


def test_a_client_that_asks_and_never_reads_is_not_read_any_further(server: Sttpd, wire: Wire) -> None:
    """It fills its own pipe, not the server's memory, and nobody else notices."""
    wire.ask(b"CREATE /greedy/x " + b"x" * 160)
    wire.ask(b"SHOW /greedy/x")
    with server.connect() as greedy:
        greedy.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.socket.settimeout(0.3)
        before = memory(server)
        with pytest.raises(TimeoutError):
            greedy.send(b"SHOW /greedy/x\n" * (4 << 20))
        assert memory(server) - before < 8 << 20
        assert wire.ask(b"SHOW /greedy/x").startswith(b"200 /greedy/x OK\nxxx")


def memory(server: Sttpd) -> int:
    """Bytes of memory in use."""
    status = Path(f"/proc/{server.pid}/status")
    if not status.exists():
        pytest.skip("this system does not tell how much memory a process uses")
    match = re.search(r"VmRSS:\s+(\d+) kB", status.read_text())
    assert match
    return int(match[1]) * 1024


def test_one_client_that_pipelines_without_end_does_not_starve_another(server: Sttpd, wire: Wire) -> None:
    wire.ask(b"CREATE /endless/x text")
    wire.ask(b"SHOW /endless/x")
    with server.connect() as endless:
        enough = threading.Event()

        def flood() -> None:
            while not enough.is_set():
                endless.send(b"SHOW /endless/x\n" * 500)

        def drain() -> None:
            while endless.socket.recv(1 << 20):
                pass

        threads = [threading.Thread(target=flood), threading.Thread(target=drain)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(100):
                assert wire.ask(b"SHOW /endless/x") == b"200 /endless/x OK\ntext\n"
        finally:
            enough.set()
            threads[0].join()
            endless.half_close()
            threads[1].join()


def test_a_client_that_resets_harms_nobody(server: Sttpd, wire: Wire) -> None:
    for script in (b"", b"SHO", b"SHOW /none/x\n" * 300, b"CREATE /reset/x y\n\n"):
        rude = server.connect()
        rude.send(script)
        # SO_LINGER with no time: close sends a reset.
        rude.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        rude.close()
    assert wire.ask(b"LIST /none/") == b"400 /none/ NOT FOUND\n"


# -- The docroot --


def test_a_docroot_that_is_removed_gives_500_until_it_is_back(server: Sttpd, wire: Wire) -> None:
    away = server.docroot.with_name("away")
    wire.ask(b"CREATE /gone/x text")
    server.docroot.rename(away)
    try:
        for request in (b"SHOW /gone/x", b"LIST /", b"CREATE /gone/y 1", b"UPDATE /gone/x 2", b"DELETE /gone/x"):
            assert re.fullmatch(rb"500 /\S* SERVER ERROR " + MESSAGE + rb"\n", wire.ask(request)), request
    finally:
        away.rename(server.docroot)
    assert wire.ask(b"SHOW /gone/x") == b"200 /gone/x OK\ntext\n"
    assert wire.ask(b"LIST /gone/") == b"200 /gone/ OK\nx\n"
    assert wire.ask(b"CREATE /gone/y 1") == b"100 /gone/y CREATED\n"
