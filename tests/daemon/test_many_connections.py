"""Thousands of connections that say nothing leave the server answering."""

from __future__ import annotations

import contextlib
import errno
import resource
import select
import socket
from collections.abc import Iterator

import pytest
from running import Start, Stopwatch, Sttpd

IDLE = 5000


@contextlib.contextmanager
def open_files(count: int) -> Iterator[None]:
    """Our own limit on open files, raised as far as need be; without that, the test is skipped."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < count:
        pytest.skip(f"the system allows {hard} open files, too few for {count} connections")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def connect_many(server: Sttpd, count: int) -> list[socket.socket]:
    """Without waiting for one before the next is begun."""
    sockets = []
    for _ in range(count):
        sock = socket.socket()
        sock.setblocking(False)
        assert sock.connect_ex(("127.0.0.1", server.port)) in (0, errno.EINPROGRESS)
        sockets.append(sock)
    for sock in sockets:
        poll = select.poll()
        poll.register(sock, select.POLLOUT)
        assert poll.poll(10_000), "a connection was not accepted"
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        sock.settimeout(10)
    return sockets


def test_five_thousand_idle_connections(start: Start) -> None:
    with open_files(IDLE + 500):
        server = start()
        sockets = connect_many(server, IDLE)
        try:
            with server.connect() as wire, Stopwatch() as watch:
                assert wire.ask(b"CREATE /a text") == b"100 /a CREATED\n"
                for _ in range(100):
                    assert wire.ask(b"SHOW /a") == b"200 /a OK\ntext\n"
            assert watch.seconds < 1
            with Stopwatch() as watch:
                for sock in sockets[::50]:  # they have not been forgotten either
                    sock.sendall(b"SHOW /a\n")
                for sock in sockets[::50]:
                    assert sock.recv(100) == b"200 /a OK\ntext\n"
            assert watch.seconds < 2
        finally:
            for sock in sockets:
                sock.close()
        server.stop()


def test_out_of_descriptors_it_lives_and_goes_on(start: Start) -> None:
    """The limit is the process's own: what comes beyond waits until somebody leaves."""
    few = 60
    server = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (few, few)))
    assert "open files" in server.log, "said at the start"
    with server.connect() as wire:
        assert wire.ask(b"CREATE /a text") == b"100 /a CREATED\n"
        assert wire.ask(b"SHOW /a") == b"200 /a OK\ntext\n"
        sockets = connect_many(server, few + 20)
        assert wire.ask(b"SHOW /a") == b"200 /a OK\ntext\n"
        last = sockets.pop()
        for sock in sockets:
            sock.close()
        last.sendall(b"SHOW /a\n")
        assert last.recv(100) == b"200 /a OK\ntext\n"
        last.close()
        assert wire.ask(b"UPDATE /a new") == b"200 /a OK\nnew\n"
