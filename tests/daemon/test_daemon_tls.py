"""TLS, from the settings to the wire: a real sttpd with the certificates of tests/tls, sttpc, and other clients."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from certificates import CA, STRANGER_CA, TLS, certificate, client_context, key
from operating import Operated, operated
from running import PATIENCE_SECONDS, Start, Stopwatch, Sttpd, Wire, fails, stopped
from sttpd_settings import load

from sttp_reactor.cli import sttpc
from sttp_reactor.client import Client, make_request
from sttp_reactor.client.tls import ClientTls
from sttp_reactor.errors import CannotConnect, TlsFailed
from sttp_reactor.store.memory import MemoryStore
from sttp_reactor.sttp.server import Server

OPENSSL = shutil.which("openssl")
VERSIONS = ("TLSv1_2", "TLSv1_3")


def settings(name: str = "server", **more: str) -> list[str]:
    """The flags for TLS on any free port."""
    keys = {"certificate": str(certificate(name)), "key": str(key(name)), "port": "0"} | more
    return [word for key, text in keys.items() for word in ("-o", f"tls.{key}={text}")]


def as_yaml(name: str = "server", **more: str) -> str:
    keys = {"certificate": str(certificate(name)), "key": str(key(name)), "port": "0"} | more
    return "tls:\n" + "".join(f"  {key}: {text}\n" for key, text in keys.items())


def tls_address(server: Sttpd) -> str:
    """`127.0.0.1:8443`; the server must have named it with its scheme."""
    (address,) = (address for address in server.addresses if address.startswith("sttps://"))
    return address.removeprefix("sttps://")


class TlsWire(Wire):
    """A client that sees every byte of what is said."""

    def __init__(
        self, server: Sttpd, context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
    ) -> None:
        super().__init__(tls_address(server))
        context = client_context() if context is None else context
        try:
            self.tls = context.wrap_socket(self.socket, server_hostname="localhost", session=session)
        except BaseException:
            self.socket.close()
            raise
        self.socket = self.tls


def converse(server: Sttpd, context: ssl.SSLContext, data: bytes, end: str) -> bytes:
    """Everything that is answered to `data` and the half-close after it: `close_notify`, `FIN`, or both.

    On buffers, because an SSLSocket that ends its side refuses to hear the other any further.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with server.connect(tls_address(server)) as wire:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                wire.send(outgoing.read())
                incoming.write(wire.socket.recv(65536))
        tls.write(data)
        if "close_notify" in end:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.unwrap()
        wire.send(outgoing.read())
        if "FIN" in end:
            wire.half_close()
        incoming.write(wire.rest())
    received = bytearray()
    with contextlib.suppress(ssl.SSLZeroReturnError):  # a close_notify; without one it would be another error
        while piece := tls.read(65536):
            received += piece
    return bytes(received)


def common_name(wire: TlsWire) -> str:
    peer = wire.tls.getpeercert()
    assert peer is not None
    return str(peer["subject"][0][0][1])  # type: ignore[index]


@pytest.fixture(scope="module")
def server(start_for_all: Start) -> Sttpd:
    return start_for_all(*settings())


@pytest.fixture
def wire(server: Sttpd) -> Iterator[TlsWire]:
    with TlsWire(server) as wire:
        yield wire


def port_of(server: Sttpd) -> int:
    return int(tls_address(server).rpartition(":")[2])


def trusting(**options: str) -> ClientTls:
    return ClientTls(cacert=str(CA), **options)


# -- The protocol --


def test_the_ready_line_names_the_addresses_by_their_schemes(server: Sttpd) -> None:
    plain, encrypted = server.addresses
    assert plain == f"127.0.0.1:{server.port}"
    assert encrypted == f"sttps://127.0.0.1:{port_of(server)}"


def test_every_action_by_tls_and_the_same_files_without_it(server: Sttpd, wire: TlsWire) -> None:
    assert wire.ask(b"CREATE /every/action x") == b"100 /every/action CREATED\n"
    assert wire.ask(b"SHOW /every/action") == b"200 /every/action OK\nx\n"
    assert wire.ask(b'UPDATE /every/action "y z"') == b"200 /every/action OK\ny z\n"
    assert server.converse(b"SHOW /every/action\n") == b"200 /every/action OK\ny z\n"
    assert wire.ask(b"LIST /every/") == b"200 /every/ OK\naction\n"
    assert wire.ask(b"DELETE /every/action") == b"600 /every/action DELETED\n"
    assert wire.ask(b"SHOW /every/action") == b"400 /every/action NOT FOUND\n"
    assert wire.ask(b"show /every/action").startswith(b"300 /every/action CLIENT ERROR")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("end", ["close_notify", "FIN", "close_notify and FIN"])
def test_a_half_close_is_answered_whatever_its_kind(server: Sttpd, version: str, end: str) -> None:
    requests = b"".join(b"SHOW /missing/%d\n" % number for number in range(500))
    expected = b"410 /missing/ PATH NOT FOUND\n" * 500
    context = client_context(version=version)
    assert converse(server, context, requests, end) == expected
    assert converse(server, context, requests + b"SHOW /cut", end).startswith(expected + b"300 ")


def test_an_empty_line_ends_the_session_with_a_close_notify(wire: TlsWire) -> None:
    wire.tls.suppress_ragged_eofs = False  # a bare FIN would be an error
    wire.send(b"SHOW /missing/a\n\nSHOW /missing/b\n")
    assert wire.rest() == b"410 /missing/ PATH NOT FOUND\n"


def test_a_long_pipeline_whose_replies_wait_for_their_reader(server: Sttpd) -> None:
    text = "x" * 160
    with Client("localhost", port_of(server), tls=trusting(), timeout=PATIENCE_SECONDS) as client:
        client.create("/long", text)
        replies = client.pipeline([make_request("SHOW", "/long")] * 20_000)
    assert {reply.contents for reply in replies} == {text.encode()}
    with TlsWire(server) as wire:
        # 3 MB of replies, and nobody reads them until all are asked for and the server has stopped reading.
        requests = b"SHOW /long\n" * 20_000
        wire.tls.settimeout(0.3)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < len(requests):
                sent += wire.tls.send(requests[sent : sent + 16384])
        wire.tls.settimeout(PATIENCE_SECONDS)
        expected = b"200 /long OK\n" + text.encode() + b"\n"
        count = sent // len(b"SHOW /long\n")
        received = b""
        while len(received) < count * len(expected):
            received += wire.tls.recv(65536)
        assert received == count * expected


def test_the_list_of_a_large_directory(server: Sttpd, wire: TlsWire) -> None:
    folder = server.docroot / "large"
    folder.mkdir()
    names = sorted(f"{number:032}" for number in range(3_000))
    for name in names:
        (folder / name).touch()
    status, reply, _ = wire.ask(b"LIST /large/").split(b"\n")
    assert status == b"200 /large/ OK"
    assert reply.decode().split(", ") == names


# -- sttpc --


def test_sttpc_from_end_to_end(server: Sttpd, capfd: pytest.CaptureFixture[str]) -> None:
    where = f"sttps://localhost:{port_of(server)}"

    def run(*argv: str) -> tuple[int, str, str]:
        code = sttpc.main(["--cacert", str(CA), *argv])
        return code, *capfd.readouterr()

    assert run("create", f"{where}/sttpc/a", "Buy milk") == (0, "", "")
    assert run("show", f"{where}/sttpc/a") == (0, "Buy milk\n", "")
    assert run("fetch", where, "/sttpc/a") == (0, "Buy milk\n", "")
    assert run("list", "-l", f"{where}/sttpc/") == (0, "  8  a  Buy milk\n", "")
    assert run("update", f"{where}/sttpc/a", "Buy more") == (0, "", "")
    assert run("delete", f"{where}/sttpc/a") == (0, "", "")
    assert run("show", f"{where}/sttpc/a") == (4, "", f"sttpc: {where}/sttpc/a: not found (400)\n")
    code, out, err = run("-v", "ping", where)
    assert (code, out.partition(" answers in ")[0]) == (0, where)
    assert "* TLSv1.3, TLS_" in err
    assert "certificate of sttpd from STTP test authority" in err
    assert sttpc.main(["--cacert", str(STRANGER_CA), "ping", where]) == 7
    assert "cannot trust" in capfd.readouterr().err


@pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_is_a_client_too(server: Sttpd, version: str) -> None:
    assert OPENSSL is not None
    command = [OPENSSL, "s_client", "-connect", tls_address(server), "-CAfile", str(CA), "-verify_return_error"]
    done = subprocess.run(
        [*command, "-quiet", version], input=b"SHOW /openssl/a\n\n", capture_output=True, timeout=PATIENCE_SECONDS
    )
    assert done.stdout == b"410 /openssl/ PATH NOT FOUND\n"


# -- Other languages --


def test_plain_talk_at_the_port_for_tls_is_told_which_language_to_speak(server: Sttpd) -> None:
    with server.connect(tls_address(server)) as wire:
        wire.send(b"CREATE /plain x\n")
        assert wire.rest() == b'300 - CLIENT ERROR "this port speaks TLS; use sttps://"\n'
    with Client("127.0.0.1", port_of(server)) as client, pytest.raises(Exception, match="this port speaks TLS"):
        client.show("/a")
    assert server.converse(b"SHOW /plain\n") == b"400 /plain NOT FOUND\n"


def test_tls_at_the_plain_port_does_no_harm(server: Sttpd) -> None:
    with Client("localhost", server.port, tls=trusting()) as client, pytest.raises(TlsFailed, match="not speak TLS"):
        client.show("/a")
    assert server.converse(b"SHOW /a\n") == b"400 /a NOT FOUND\n"


# -- Who is let in --


@pytest.mark.parametrize("version", VERSIONS)
def test_with_client_ca_only_its_clients_are_served(start: Start, version: str) -> None:
    server = start(*settings(client_ca=str(CA)))
    with TlsWire(server, client_context("alice", version=version)) as wire:
        assert wire.ask(b"CREATE /a x") == b"100 /a CREATED\n"
    for name in (None, "stranger"):
        with pytest.raises(ssl.SSLError), TlsWire(server, client_context(name, version=version)) as wire:
            wire.ask(b"SHOW /a")


def test_a_rule_can_name_a_certificate(tmp_path: Path) -> None:
    rules = "access:\n- {who: 'certificate:alice', may: 'read,write'}\n- {who: anybody, may: read}\n"
    with (
        operated(tmp_path, as_yaml(client_ca=str(CA)) + rules) as server,
        TlsWire(server, client_context("alice")) as alice,
        server.connect() as somebody,
    ):
        assert alice.ask(b"CREATE /a x") == b"100 /a CREATED\n"
        assert somebody.ask(b"CREATE /b x").startswith(b"300 /b CLIENT ERROR")
        assert somebody.ask(b"SHOW /a") == b"200 /a OK\nx\n"


def test_the_least_version_is_kept(start: Start) -> None:
    server = start(*settings(min_version="1.3"))
    with pytest.raises(ssl.SSLError), TlsWire(server, client_context(version="TLSv1_2")):
        pass
    with TlsWire(server) as wire:
        assert wire.tls.version() == "TLSv1.3"


def test_a_unix_socket_is_served_without_tls(start: Start, tmp_path: Path) -> None:
    server = start(*settings(), address=f"127.0.0.1,::1,{tmp_path}/s")
    assert sorted(address.startswith("sttps://") for address in server.addresses) == [False, False, False, True, True]
    with server.connect(str(tmp_path / "s")) as wire:
        assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"


# -- Limits --


def test_who_stalls_in_the_handshake_is_dropped_and_holds_nobody_up(start: Start) -> None:
    server = start(*settings(), "-o", "limits.handshake_timeout=300ms")
    with contextlib.ExitStack() as stack, Stopwatch() as watch:
        stalled = [stack.enter_context(server.connect(tls_address(server))) for _ in range(50)]
        for each in stalled[:25]:
            each.send(b"\x16\x03\x01\x02\x00\x01\x00\x01")
        with TlsWire(server) as wire:
            assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
        for each in stalled:
            with contextlib.suppress(ConnectionResetError):
                assert each.rest() == b""
    assert watch.seconds < 5
    with TlsWire(server) as wire:
        assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"


def test_one_connection_too_many_is_told_so_by_tls_and_many_are_closed(start: Start) -> None:
    server = start(*settings(), "-o", "limits.max_connections=2")
    with TlsWire(server) as first, server.connect() as second:
        assert first.ask(b"SHOW /a") == second.ask(b"SHOW /a")
        with TlsWire(server) as third:
            assert third.rest() == b'500 - SERVER ERROR "too many connections; try again later"\n'
        with contextlib.ExitStack() as stack:
            crowd = [stack.enter_context(server.connect(tls_address(server))) for _ in range(100)]
            assert crowd[-1].rest() == b"", "closed without a handshake"
        assert first.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with TlsWire(server) as again:
            if again.ask(b"SHOW /a") == b"400 /a NOT FOUND\n":
                break
    else:
        raise AssertionError("the connections that are gone still count")


# -- The end --


def test_what_has_arrived_when_the_signal_does_is_answered(start: Start) -> None:
    server = start(*settings())
    wires = [TlsWire(server) for _ in range(10)]
    try:
        for wire in wires:
            assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
        with stopped(server):
            for wire in wires:
                wire.send(b"SHOW /a\n" * 100)
            server.send_signal(signal.SIGTERM)
        with Stopwatch() as watch:
            for wire in wires:
                assert wire.rest() == b"400 /a NOT FOUND\n" * 100
                wire.close()
            server.ends()
        assert watch.seconds < 5, "the shutdown has waited for more"
    finally:
        for wire in wires:
            wire.close()


def test_neither_silence_nor_a_handshake_holds_the_shutdown_up(start: Start) -> None:
    server = start(*settings())
    with TlsWire(server) as silent, server.connect(tls_address(server)) as stalled, Stopwatch() as watch:
        assert silent.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
        stalled.send(b"\x16\x03\x01")
        server.send_signal(signal.SIGTERM)
        assert silent.rest() == b""
        silent.close()
        with contextlib.suppress(ConnectionResetError):
            assert stalled.rest() == b""
        server.ends()
    assert watch.seconds < 5


def test_a_handshake_is_given_up_at_once_whoever_is_still_being_answered(tmp_path: Path) -> None:
    """Whoever is through with it later would be somebody new."""
    keys = {"docroot": str(tmp_path / "files"), "port": "0", "tls.port": "0"}
    keys |= {"tls.certificate": str(certificate("server")), "tls.key": str(key("server"))}
    loaded = load(None, [("--set", name, text) for name, text in keys.items()])
    with contextlib.closing(Server(loaded.settings, store=MemoryStore())) as server:
        server.start()
        with Wire(server.addresses[1].removeprefix("sttps://")) as stalled:
            stalled.send(b"\x16\x03\x01")
            while not server.handshakes.under_way:
                server.reactor.turn()
            server.stop()
            server.reactor.turn()
            assert not server.handshakes.under_way
            with contextlib.suppress(ConnectionResetError):
                assert stalled.rest() == b""


# -- Reloading --


@pytest.fixture(params=["processes: 1\n", "processes: 2\n"], ids=["alone", "two processes"])
def processes(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def names_served(server: Operated) -> set[str]:
    """The certificates that are shown, by every process if there are several."""
    names = set()
    for _ in range(10):
        with TlsWire(server) as wire:
            names.add(common_name(wire))
    return names


def test_certificates_are_read_again(tmp_path: Path, processes: str) -> None:
    (tmp_path / "c.pem").write_bytes(certificate("server").read_bytes())
    (tmp_path / "k.pem").write_bytes(key("server").read_bytes())
    configuration = processes + "tls: {certificate: c.pem, key: k.pem, port: 0}"
    with operated(tmp_path, configuration) as server:
        port = port_of(server)
        with TlsWire(server) as before:
            assert common_name(before) == "sttpd"
            (tmp_path / "c.pem").write_bytes(certificate("chained").read_bytes())
            assert "k.pem does not belong to the certificate" in server.reload()
            assert names_served(server) == {"sttpd"}, "the old ones stay"
            (tmp_path / "k.pem").write_bytes(key("chained").read_bytes())
            assert "nothing has changed; certificates read again; listening on" in server.reload()
            assert names_served(server) == {"sttpd of the branch"}
            assert before.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
            assert port_of(server) == port


@pytest.mark.long
def test_a_process_that_starts_later_has_the_new_certificates(tmp_path: Path) -> None:
    with operated(tmp_path, "processes: 2\n" + as_yaml()) as server:
        server.reload("processes: 2\n" + as_yaml("chained"))
        for pid in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        for _ in range(2):
            server.wait_for(r"process \d serves again")
        assert names_served(server) == {"sttpd of the branch"}


def test_the_time_for_a_handshake_changes(tmp_path: Path) -> None:
    """For who comes after it."""
    with operated(tmp_path, as_yaml() + "limits: {handshake_timeout: 1h}") as server:
        server.reload(as_yaml() + "limits: {handshake_timeout: 100ms}")
        with server.connect(tls_address(server)) as stalled, contextlib.suppress(ConnectionResetError):
            assert stalled.rest() == b""


def test_usr2_tells_of_handshakes(tmp_path: Path) -> None:
    with operated(tmp_path, as_yaml()) as server:
        with TlsWire(server) as wire:
            wire.ask(b"SHOW /a")
        server.send_signal(signal.SIGUSR2)
        server.wait_for(r"    TLS handshakes: 0 under way, 1 completed \(0 resumed\), 0 failed\n")


def test_tls_is_switched_on_and_off(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes) as server, server.connect() as plain:
        assert len(server.addresses) == 1
        server.reload(processes + as_yaml())
        with TlsWire(server) as encrypted:
            assert encrypted.ask(b"SHOW /a") == plain.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
            port = port_of(server)
            server.reload(processes)
            assert len(server.addresses) == 1
            assert encrypted.ask(b"SHOW /a") == b"400 /a NOT FOUND\n", "no connection is dropped"
            with pytest.raises(CannotConnect), Client("localhost", port, tls=trusting()) as client:
                client.ping()


def test_who_is_trusted_may_change(tmp_path: Path) -> None:
    with operated(tmp_path, as_yaml(client_ca=str(CA))) as server:
        context = client_context("alice")
        with TlsWire(server, context) as wire:
            assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
            session = wire.tls.session
        with TlsWire(server, context, session) as wire:
            assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
            assert wire.tls.session_reused
        server.reload(as_yaml(client_ca=str(STRANGER_CA)))
        with pytest.raises(ssl.SSLError), TlsWire(server, context, session) as wire:
            wire.ask(b"SHOW /a")
        with TlsWire(server, client_context("stranger")) as wire:
            assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"


# -- Several processes --


def test_a_session_can_be_resumed_with_another_process(start: Start) -> None:
    server = start(*settings(), "-o", "processes=3")
    context = client_context()
    with TlsWire(server, context) as wire:
        assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
        session = wire.tls.session
    for _ in range(12):
        with TlsWire(server, context, session) as wire:
            assert wire.tls.session_reused
            assert wire.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
            session = wire.tls.session


# -- Starting --


@pytest.mark.parametrize("processes", ["1", "2"])
@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("none.pem", "server.key", "cannot read the TLS certificate {}/none.pem: No such file or directory"),
        ("server.pem", "alice.key", "the TLS key {0}/alice.key does not belong to the certificate {0}/server.pem"),
        ("expired.pem", "expired.key", "the TLS certificate {}/expired.pem has expired"),
        ("server.pem", "encrypted.key", "the TLS key {}/encrypted.key is encrypted; store it without a passphrase"),
    ],
)
def test_files_that_are_wrong_stop_the_start(
    tmp_path: Path, certificate: str, key: str, said: str, processes: str
) -> None:
    flags = ["-p", "0", "-d", "files", "-o", f"processes={processes}", "-o", "tls.port=0"]
    flags += ["-o", f"tls.certificate={TLS / certificate}", "-o", f"tls.key={TLS / key}"]
    assert fails(flags, tmp_path, 78) == f"sttpd: {said.format(TLS)}\n"


def test_a_port_that_is_taken_stops_the_start(start: Start, tmp_path: Path) -> None:
    server = start(*settings())
    flags = ["-p", "0", "-d", "other", *settings(port=str(port_of(server)))]
    assert fails(flags, tmp_path, 1) == f"sttpd: cannot listen on {tls_address(server)}: Address already in use\n"


def test_sockets_that_are_handed_over_may_be_for_tls(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain, socket.create_server(("127.0.0.1", 0)) as encrypted:
        handed = {"sockets": [plain, encrypted], "names": "sttp:sttps"}
        with operated(tmp_path, as_yaml(), **handed) as server:
            assert port_of(server) == encrypted.getsockname()[1]
            with TlsWire(server) as wire, server.connect() as other:
                assert wire.ask(b"SHOW /a") == other.ask(b"SHOW /a") == b"400 /a NOT FOUND\n"
            assert "needs tls.certificate and tls.key" in server.reload("")
            assert names_served(server) == {"sttpd"}
        with pytest.raises(AssertionError, match=r"named sttps that was handed over needs tls.certificate"):
            Operated(tmp_path, "", **handed)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_new_authority_holds_for_who_has_connected_and_not_begun(tmp_path: Path, processes: int) -> None:
    common = f"processes: {processes}\n"
    with operated(tmp_path, common + as_yaml(client_ca=str(CA))) as server:
        early = Wire(tls_address(server))
        with TlsWire(server, client_context("alice")) as wire:
            assert wire.ask(b"LIST /") == b"200 / OK\n\n"
        server.reload(common + as_yaml(client_ca=str(STRANGER_CA)))
        with early, pytest.raises((ssl.SSLError, ConnectionError)):
            asked_over_tls(early, client_context("alice"))


def asked_over_tls(wire: Wire, context: ssl.SSLContext) -> bytes:
    wire.socket = context.wrap_socket(wire.socket, server_hostname="localhost")
    return wire.ask(b"LIST /")
