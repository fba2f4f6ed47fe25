"""The key-value service, used by the clients it is for: redis-cli, redis-benchmark, redis-py, netcat; beside Redis."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from service_process import service

pytest.importorskip("hiredis", reason="the extra `services`")

KEYS = [b"a", b"b", b"counter", b"", b"k\r\n", b"\xff"]
VALUES = [b"1", b"-7", b"9223372036854775807", b"text", b"", b"3.5", b" 5", b"x" * 5000, b"\r\n$-1\r\n"]
NUMBERS = [b"1", b"-1", b"0", b"10", b"100", b"9223372036854775807", b"-9223372036854775808", b"x", b"01", b"1.5"]


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with service("keyvalue", "--port", "0") as port:
        yield port


class Peer:
    """Bytes to the service and back; an answer is as long as the PING behind it says."""

    def __init__(self, address: tuple[str, int] | str) -> None:
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.settimeout(10)
        self.sock.connect(address)

    def ask(self, data: bytes) -> bytes:
        """What is answered to `data`, which leaves the connection open."""
        self.sock.sendall(data + encoded([b"ECHO", b"--end--"]))
        received = b""
        while not received.endswith(b"$7\r\n--end--\r\n"):
            piece = self.sock.recv(1 << 20)
            assert piece, received
            received += piece
        return received.removesuffix(b"$7\r\n--end--\r\n")

    def rest(self, data: bytes) -> bytes:
        """All that is answered until the server closes."""
        self.sock.sendall(data)
        received = b""
        while piece := self.sock.recv(1 << 20):
            received += piece
        return received


@pytest.fixture
def peer(port: int) -> Iterator[Peer]:
    peer = Peer(("127.0.0.1", port))
    with peer.sock:
        peer.ask(b"FLUSHDB\r\n")
        yield peer


def encoded(command: list[bytes]) -> bytes:
    return b"*%d\r\n" % len(command) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in command)


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (b"ping\r\n", b"+PONG\r\n"),
        (b'SET name "a value"\r\nGET name\r\n', b"+OK\r\n$7\r\na value\r\n"),
        (b"GET nothing\r\n", b"$-1\r\n"),
        (b"SET a 1 NX GET\r\nSET a 2 GET\r\nSET a 3 XX\r\nSET b 3 XX\r\n", b"$-1\r\n$1\r\n1\r\n+OK\r\n$-1\r\n"),
        (
            b"SET a 1 EX 100\r\nTTL a\r\nSET a 2 KEEPTTL\r\nTTL a\r\nSET a 3\r\nTTL a\r\n",
            b"+OK\r\n:100\r\n" * 2 + b"+OK\r\n:-1\r\n",
        ),
        (b"SET a 1 EX 0\r\n", b"-ERR invalid expire time in 'set' command\r\n"),
        (b"SET a 1 EX 5 PX 5\r\n", b"-ERR syntax error\r\n"),
        (b"INCR n\r\nINCRBY n 41\r\nDECR n\r\nAPPEND n 0\r\nSTRLEN n\r\n", b":1\r\n:42\r\n:41\r\n:3\r\n:3\r\n"),
        (b"SET n x\r\nINCR n\r\n", b"+OK\r\n-ERR value is not an integer or out of range\r\n"),
        (b"MSET a 1 b 2\r\nMGET a nothing b\r\n", b"+OK\r\n*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n"),
        (b"MSET a 1 b\r\n", b"-ERR wrong number of arguments for 'mset' command\r\n"),
        (b"SET a 1\r\nTYPE a\r\nTYPE b\r\nEXISTS a a b\r\nDEL a b\r\n", b"+OK\r\n+string\r\n+none\r\n:2\r\n:1\r\n"),
        (b"Get\r\n", b"-ERR wrong number of arguments for 'get' command\r\n"),
        (b"NOPE a b\r\n", b"-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' \r\n"),
        (b"SELECT 0\r\nSELECT 1\r\n", b"+OK\r\n-ERR DB index is out of range\r\n"),
        (b"HELLO 4\r\n", b"-NOPROTO unsupported protocol version\r\n"),
        (
            b"CLIENT SETNAME me\r\nCLIENT GETNAME\r\nRESET\r\nCLIENT GETNAME\r\n",
            b"+OK\r\n$2\r\nme\r\n+RESET\r\n$-1\r\n",
        ),
        (b"CONFIG GET save\r\n", b"*2\r\n$4\r\nsave\r\n$0\r\n\r\n"),
        (b"MSET ab 1 ac 2 b 3\r\nKEYS a[^b]\r\n", b"+OK\r\n*1\r\n$2\r\nac\r\n"),
        (b"PING\r\n\r\nPING\r\n*0\r\n*-1\r\n", b"+PONG\r\n+PONG\r\n"),
    ],
)  # fmt: skip
def test_a_conversation(peer: Peer, asked: bytes, answered: bytes) -> None:
    assert peer.ask(asked) == answered


@pytest.mark.parametrize("last", [b"QUIT\r\n", b"STOP\r\n"])
def test_the_end_of_a_session(peer: Peer, last: bytes) -> None:
    assert peer.rest(b"SET a 1\r\n" + last + b"SET a 2\r\n") == b"+OK\r\n+OK\r\n"
    again = peer_of(peer)
    with again.sock:
        assert again.ask(b"GET a\r\n") == b"$1\r\n1\r\n"


def peer_of(peer: Peer) -> Peer:
    return Peer(peer.sock.getpeername())


def test_a_fault_is_told_behind_the_replies_before_it(peer: Peer) -> None:
    told = peer.rest(encoded([b"PING"]) + b"*99999999\r\n")
    assert told == b"+PONG\r\n-ERR Protocol error: invalid multibulk length\r\n"


def test_keys_expire_by_themselves(peer: Peer) -> None:
    many = b"".join(encoded([b"SET", b"k%d" % number, b"v", b"PX", b"30"]) for number in range(2000))
    peer.ask(many)
    deadline = time.monotonic() + 10
    while (size := peer.ask(b"DBSIZE\r\n")) != b":0\r\n":
        assert time.monotonic() < deadline, size
        time.sleep(0.02)
    assert b"used_memory:0\r\n" in peer.ask(b"INFO\r\n")


def test_a_scan_sees_what_is_there_all_the_while_once(peer: Peer) -> None:
    peer.ask(b"".join(encoded([b"SET", b"k%03d" % number, b"v"]) for number in range(300)))
    cursor, seen = b"0", []
    while True:
        lines = peer.ask(b"SCAN %b COUNT 7 MATCH k*\r\n" % cursor).split(b"\r\n")
        cursor, found = lines[2], lines[5::2]
        seen += found
        peer.ask(b"SET new%b v\r\nDEL k%03d\r\n" % (cursor, 290))
        if cursor == b"0":
            break
    assert sorted(set(seen)) == sorted(seen)
    assert {b"k%03d" % number for number in range(300) if number != 290} <= set(seen)


def test_beyond_max_memory_what_grows_is_refused_and_the_rest_goes_on() -> None:
    with service("keyvalue", "--port", "0", "--max-memory", "1MB") as port:
        peer = Peer(("127.0.0.1", port))
        with peer.sock:
            for number in range(3):
                peer.ask(encoded([b"SET", b"%d" % number, b"x" * 600_000]))
            refused = b"-OOM command not allowed when used memory > 'maxmemory'.\r\n"
            assert peer.ask(encoded([b"SET", b"more", b"x"])) == refused
            assert peer.ask(b"STRLEN 0\r\nDEL 0 1\r\nSET more x\r\n") == b":600000\r\n:2\r\n+OK\r\n"


def test_a_peer_that_does_not_read_costs_its_buffers_only(peer: Peer) -> None:
    peer.ask(encoded([b"SET", b"big", b"x" * (1 << 20)]))
    greedy = peer_of(peer)
    with greedy.sock:
        greedy.sock.setblocking(False)
        with_many = encoded([b"GET", b"big"]) * 300
        greedy.sock.send(with_many)
        assert peer.ask(b"PING\r\n") == b"+PONG\r\n"  # 300 MB of replies do not stand between
        greedy.sock.setblocking(True)
        received = 0
        while received < 300 * len(b"$1048576\r\n" + b"x" * (1 << 20) + b"\r\n"):
            received += len(greedy.sock.recv(1 << 20))


def test_sigterm_ends_it_whatever_its_parent_has_blocked() -> None:
    """The signals that a process blocks are inherited; `service` insists that SIGTERM ends what it has started."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with service("keyvalue", "--port", "0") as port:
            peer = Peer(("127.0.0.1", port))
            with peer.sock:
                assert peer.rest(b"QUIT\r\n") == b"+OK\r\n"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_wrong_command_lines_are_refused() -> None:
    for arguments in (["--port", "x"], ["--max-memory", "0"], ["--port", "70000"]):
        with pytest.raises(AssertionError, match=f"{arguments[0]}: expected"), service("keyvalue", *arguments):
            pass


# -- The clients it is for --


def run(command: list[str], given: bytes = b"") -> bytes:
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    return subprocess.run(command, input=given, capture_output=True, timeout=20, check=True).stdout


def test_redis_cli(peer: Peer, port: int) -> None:
    assert run(["redis-cli", "-p", str(port)], b"set a 1\nincr a\nget a\n").split() == [b"OK", b"2", b"2"]
    many = b"".join(encoded([b"SET", b"k%d" % number, b"v"]) for number in range(5000))
    assert b"errors: 0, replies: 5000" in run(["redis-cli", "-p", str(port), "--pipe"], many)
    assert peer.ask(b"DBSIZE\r\n") == b":5001\r\n"


def test_redis_benchmark(port: int) -> None:
    out = run(["redis-benchmark", "-p", str(port), "-t", "get,set,incr,mset,ping", "-n", "500", "-P", "4", "--csv"])
    assert [line.split(b",")[0] for line in out.splitlines()[1:]] == [
        b'"PING_INLINE"', b'"PING_MBULK"', b'"SET"', b'"GET"', b'"INCR"', b'"MSET (10 keys)"',
    ]  # fmt: skip


@pytest.mark.parametrize("version", [2, 3])
def test_the_python_client(port: int, version: int) -> None:
    client_module = pytest.importorskip("redis", reason="the Python client is not installed")
    with client_module.Redis(port=port, protocol=version) as client:
        client.flushdb()
        assert client.set("name", "Alice", ex=100)
        assert client.get("name") == b"Alice"
        assert client.get("nobody") is None
        assert client.config_get("save") == {"save": ""}
        assert len(client.client_list()) >= 1
        assert client.ttl("name") == 100
        assert sorted(client.scan_iter()) == [b"name"]
        assert client.info()["db0"]["keys"] == 1
        with client.pipeline(transaction=False) as pipeline:
            assert pipeline.incr("n").incr("n").mget("n", "x").execute() == [1, 2, [b"2", None]]


def test_netcat(port: int) -> None:
    out = run(["nc", "127.0.0.1", str(port)], b"SET name Bob\nGET name\nSTOP\n")
    assert out == b"+OK\r\n$3\r\nBob\r\n+OK\r\n"


# -- Beside Redis --


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Redis, at a Unix socket: no port that somebody else may take meanwhile."""
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server here")
    folder = tmp_path_factory.mktemp("redis")
    path = str(folder / "socket")
    command = ["redis-server", "--port", "0", "--unixsocket", path, "--save", ""]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + 20
            while not (os.path.exists(path) and accepts(path)):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield path
        finally:
            process.kill()  # it has nothing to save, and a signal that an earlier test left blocked would not end it


def accepts(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(path) == 0


def random_command(chance: random.Random) -> list[bytes]:
    key, value, number = chance.choice(KEYS), chance.choice(VALUES), chance.choice(NUMBERS)
    options = [
        [],
        [b"NX"],
        [b"XX"],
        [b"GET"],
        [b"EX", number],
        [b"PX", b"100000"],
        [b"KEEPTTL"],
        [b"NX", b"XX"],
        [b"EX"],
    ]
    forms: list[list[bytes]] = [
        [b"GET", key], [b"SET", key, value, *chance.choice(options)], [b"SET", key, value], [b"GETSET", key, value],
        [b"SETNX", key, value], [b"MGET", key, chance.choice(KEYS)], [b"MSET", key, value, chance.choice(KEYS), b"m"],
        [b"MSET", key], [b"DEL", key, chance.choice(KEYS)], [b"EXISTS", key, key], [b"INCR", key], [b"DECR", key],
        [b"INCRBY", key, number], [b"DECRBY", key, number], [b"APPEND", key, value], [b"STRLEN", key], [b"TYPE", key],
        [b"EXPIRE", key, chance.choice([b"100", b"0", b"-1", b"x"])], [b"PEXPIRE", key, b"100000"], [b"TTL", key],
        [b"PERSIST", key], [b"DBSIZE"], [b"PING"], [b"PING", value], [b"ECHO", value], [b"ECHO"], [b"FLUSHDB"],
        [b"nosuch", key, value], [b"SELECT", b"0"], [b"SELECT", b"x"], [b"GET"], [b"get", key, key],
        [b"KEYS", b"nothing*"],
        [b"RESET"], [b"STRLEN"], [b"TTL"], [b"CLIENT", b"GETNAME"], [b"FLUSHDB", b"x"],
    ]  # fmt: skip
    return chance.choice(forms)


@pytest.mark.parametrize("version", [2, 3])
def test_random_commands_are_answered_as_redis_answers_them(peer: Peer, redis: str, version: int) -> None:
    theirs = Peer(redis)
    with theirs.sock:
        for seed in range(300):
            for each in (peer, theirs):
                each.ask(b"HELLO %d\r\n" % version)
            chance = random.Random(seed)
            commands = [random_command(chance) for _ in range(20)]
            data = encoded([b"FLUSHDB"]) + b"".join(map(encoded, commands))
            assert peer.ask(data) == theirs.ask(data), (seed, commands)
