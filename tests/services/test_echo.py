"""The echo service and its client, started as their users start them; and what an enemy of UDP would have them do."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ports import free_port, has_ipv6
from service_process import service

sys.path.append(str(Path(__file__).parent.parent / "net"))

from net_support import Net, fill, read_all

from sttp_reactor.limits import HIGH_WATER_BYTES, READ_BYTES
from sttp_reactor.net.connection import Connection
from sttp_reactor.services import echo

NC = shutil.which("nc.openbsd") or shutil.which("nc")
REPORT = re.compile(
    r"(tcp|udp) \S+:(\d+), (\d+) bytes each\n"
    r"sent (\d+), received (\d+), lost 0, late 0, duplicated 0, out of order 0\n"
    r"round trips: min [\d.]+ ms, p50 [\d.]+ ms, p99 [\d.]+ ms, max [\d.]+ ms\n"
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """Of both, TCP and UDP."""
    chosen = free_port()
    with service("echo", "--tcp", f"127.0.0.1:{chosen}", "--udp", f"127.0.0.1:{chosen}") as port:
        assert port == chosen
        yield port


def ask(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sttp_reactor.services.echo", "client", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


# -- The service --


@pytest.mark.skipif(NC is None, reason="no netcat")
def test_netcat_is_answered_over_tcp(port: int) -> None:
    text = b"".join(b"line %d\n" % number for number in range(100_000))
    done = subprocess.run([str(NC), "-N", "127.0.0.1", str(port)], input=text, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout == text) == (0, True)


@pytest.mark.skipif(NC is None, reason="no netcat")
def test_netcat_is_answered_over_udp(port: int) -> None:
    command = [str(NC), "-u", "-W", "1", "127.0.0.1", str(port)]
    done = subprocess.run(command, input=b"hello\n", capture_output=True, timeout=60)
    assert done.stdout == b"hello\n"


def test_half_close_is_answered_to_the_end(port: int) -> None:
    """However much still waits: more than the kernel's buffers and ours hold."""
    text = bytes(range(256)) * 40_000
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.settimeout(30)
        received = bytearray()
        sock.setblocking(False)
        sent = 0
        while sent < len(text):
            sent += fill_from(sock, text, sent)
            received += read_all(sock)
        sock.shutdown(socket.SHUT_WR)
        sock.settimeout(30)
        while piece := sock.recv(1 << 20):
            received += piece
    assert received == text


def fill_from(sock: socket.socket, text: bytes, start: int) -> int:
    try:
        return sock.send(text[start : start + 65536])
    except BlockingIOError:
        return 0


def test_a_peer_that_never_reads_costs_its_buffer_and_no_more() -> None:
    with Net() as net:
        near, far = net.socketpair()
        connection = Connection(net.reactor, near, echo.Echo)
        taken, before = 0, -1
        while taken > before:
            before = taken
            taken += fill(far)
            net.turns(20)
        assert connection.bytes_unsent() <= HIGH_WATER_BYTES + READ_BYTES
        received = b""
        while len(received) < taken:
            received += read_all(far)
            net.turns(2)
        assert len(received) == taken
        far.close()
        net.turns(3)


def test_a_datagram_comes_back_as_it_was(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(30)
        sock.connect(("127.0.0.1", port))
        for data in (b"", b"x", os.urandom(1400), os.urandom(65507)):
            sock.send(data)
            assert sock.recv(65536) == data


@pytest.mark.parametrize(
    ("source", "is_answered"), [(7, False), (19, False), (1023, False), (1024, True), (40000, True)]
)
def test_what_answers_anything_is_not_answered(source: int, is_answered: bool) -> None:
    """An echo service, chargen, a name server: each would answer the answer."""
    sent: list[tuple[bytes, Any]] = []
    protocol = echo.EchoDatagrams(Sender(sent), 7007)  # type: ignore[arg-type]
    for address in ("127.0.0.1", "192.0.2.1"):
        protocol.datagram_received(b"ping", (address, source))
        protocol.datagram_received(b"ping", (address, 7007))
    assert sent == ([(b"ping", ("127.0.0.1", source)), (b"ping", ("192.0.2.1", source))] if is_answered else [])
    assert protocol.ignored == (2 if is_answered else 4)


class Sender:
    def __init__(self, sent: list[tuple[bytes, Any]]) -> None:
        self.send: Callable[[bytes, Any], None] = lambda data, peer: sent.append((data, peer))


def test_two_services_do_not_play_with_each_other(port: int) -> None:
    """A datagram with a forged source: as if the service had asked itself. It must not go round."""
    with service("echo", "--udp", f"127.0.0.2:{port}"), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        # What the other one sends from its port to ours comes to us as from an echo service.
        forger.settimeout(30)
        forger.bind(("127.0.0.3", port))
        forger.sendto(b"round", ("127.0.0.1", port))
        forger.sendto(b"round", ("127.0.0.2", port))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as honest:
            honest.settimeout(30)
            for host in ("127.0.0.1", "127.0.0.2"):
                honest.sendto(b"hello", (host, port))  # answered after the forged one would have been
                assert honest.recv(100) == b"hello"
        forger.setblocking(False)
        with pytest.raises(BlockingIOError):
            forger.recv(100)


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
@pytest.mark.parametrize("kind", ["--tcp", "--udp"])
def test_ipv6(kind: str) -> None:
    with service("echo", kind, f"[::1]:{free_port()}") as port:
        done = ask(kind, f"[::1]:{port}", "-n", "3", "-i", "0.001", "--timeout", "30")
        assert (done.returncode, done.stderr) == (0, "")
        found = REPORT.fullmatch(done.stdout)
        assert found, done.stdout
        assert found.groups() == (kind[2:], str(port), "64", "3", "3")


def test_who_can_reach_it_is_told_where_that_is_not_this_machine_alone() -> None:
    command = [sys.executable, "-m", "sttp_reactor.services.echo", "--udp", "0.0.0.0:0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first, second = process.stderr.readline(), process.stderr.readline()
        process.terminate()
        assert process.wait(30) == 0
    where = first.strip().removeprefix("echo: listening on ")
    assert second == f"echo: whoever can reach it is answered at {where}\n"


@pytest.mark.parametrize("kind", ["--tcp", "--udp"])
def test_an_address_that_is_taken_is_named(port: int, kind: str) -> None:
    command = [sys.executable, "-m", "sttp_reactor.services.echo", kind, f"127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert re.fullmatch(rf"echo: cannot \w+ .*127\.0\.0\.1:{port}: Address already in use\n", done.stderr)


# -- The client --


@pytest.mark.parametrize(
    ("kind", "size", "count"),
    # Of the largest datagrams a socket's buffer holds one or two: more of them are rightly lost on a busy machine.
    [("--tcp", 16, 20), ("--tcp", 65507, 20), ("--udp", 16, 20), ("--udp", 1400, 20), ("--udp", 65507, 1)],
)
def test_all_come_back(port: int, kind: str, size: int, count: int) -> None:
    numbers = ["-n", str(count), "-i", "0.001", "--size", str(size), "--timeout", "20"]
    done = ask(kind, f"127.0.0.1:{port}", *numbers)
    assert (done.returncode, done.stderr) == (0, "")
    found = REPORT.fullmatch(done.stdout)
    assert found, done.stdout
    assert found.groups() == (kind[2:], str(port), str(size), str(count), str(count))


@pytest.mark.parametrize("kind", ["--tcp", "--udp"])
def test_a_name_with_several_addresses(port: int, kind: str, tmp_path: Path) -> None:
    """The service listens at one of them, and not at the first."""
    arguments = [kind, f"twohomes:{port}", "-n", "2", "-i", "0.001", "--timeout", "30"]
    done = ask_with_name(tmp_path, ["127.0.0.9", "127.0.0.1"], *arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{kind[2:]} 127.0.0.1:{port}, 64 bytes each\nsent 2, received 2,")


def ask_with_name(tmp_path: Path, addresses: list[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """`twohomes` is a name of these; what a name means is the system's matter, so it is told in the process itself."""
    script = tmp_path / "ask.py"
    script.write_text(
        "import socket, sys\n"
        "from sttp_reactor.services.echo_client import main\n"
        "find = socket.getaddrinfo\n"
        f"addresses = {addresses!r}\n"
        "def getaddrinfo(host, *rest, **more):\n"
        "    hosts = addresses if host == 'twohomes' else [host]\n"
        "    return [found for each in hosts for found in find(each, *rest, **more)]\n"
        "socket.getaddrinfo = getaddrinfo\n"
        "sys.exit(main(['client', *sys.argv[1:]]))\n"
    )
    return subprocess.run([sys.executable, str(script), *arguments], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("kind", ["--tcp", "--udp"])
def test_nobody_there_is_said_as_such(kind: str) -> None:
    done = ask(kind, f"127.0.0.1:{free_port()}")
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"echo client: .*127\.0\.0\.1:\d+: connection refused\n", done.stderr, re.IGNORECASE)


def test_who_does_not_answer_has_lost_all() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        done = ask("--udp", f"127.0.0.1:{port}", "-n", "3", "-i", "0.01", "--timeout", "0.1")
    assert (done.returncode, done.stderr) == (1, "")
    counts = "sent 3, received 0, lost 3 (100.0%), late 0, duplicated 0, out of order 0"
    assert done.stdout == f"udp 127.0.0.1:{port}, 64 bytes each\n{counts}\n"


@pytest.mark.skipif(not Path("/proc/net/udp").exists(), reason="nobody tells what a socket holds")
@pytest.mark.parametrize("kind", ["--tcp", "--udp"])
def test_control_c_tells_what_is_known_by_then(kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "--tcp" else socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{sock.getsockname()[1]}"
        if kind == "--tcp":
            sock.listen()
        arguments = ["client", kind, where, "-n", "1000", "-i", "0.001", "--timeout", "100"]
        command = [sys.executable, "-m", "sttp_reactor.services.echo", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, answer(sock, 5):
            process.send_signal(signal.SIGINT)
            assert process.stdout is not None
            report = process.stdout.read()
            assert process.wait(30) == 0
    found = re.search(r"^sent (\d+), received 5, lost 0,(?: awaited (\d+),)? late 0,", report, re.M)
    assert found, report
    assert int(found[1]) == 5 + int(found[2] or 0)


def answer(sock: socket.socket, count: int) -> socket.socket:
    """Answer so many, and see that the client has read the answers. What is returned keeps the connection open."""
    sock.settimeout(30)
    if sock.type == socket.SOCK_STREAM:
        peer, address = sock.accept()
        peer.settimeout(30)
        for _ in range(count):
            peer.sendall(peer.recv(64, socket.MSG_WAITALL))
        wait_until_read("tcp", address[1], sock.getsockname()[1])
        return peer
    for _ in range(count):
        data, address = sock.recvfrom(100)
        sock.sendto(data, address)
    wait_until_read("udp", address[1], sock.getsockname()[1])
    return sock


def wait_until_read(kind: str, client: int, server: int) -> None:
    """Until nothing waits in the socket that is bound to the port `client`, and connected to `server`: its program has
    been given all, and has a signal that comes now be the next thing."""
    ends = (f":{client:04X}", f":{server:04X}")
    deadline = time.monotonic() + 30
    while True:
        lines = [line.split() for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]]
        waiting = [fields[4][9:] for fields in lines if (fields[1][8:], fields[2][8:]) == ends]
        if waiting == ["00000000"]:
            return
        assert time.monotonic() < deadline, f"still {waiting}"
        time.sleep(0.005)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--udp", "localhost"], "expected ADDRESS:PORT"),
        (["localhost:1"], "an option is missing, such as --tcp or --udp"),
        (["--udp", "localhost:1", "--size", "15"], "--size: expected a whole number from 16 to 65507"),
        (["--udp", "localhost:1", "-n", "0"], "-n: expected a whole number from 1"),
        (["--udp", "localhost:1", "-i", "soon"], "-i: expected seconds above 0"),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], complaint: str) -> None:
    done = ask(*arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stderr.startswith("echo client: ")
