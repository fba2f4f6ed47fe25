"""The client by TLS, against servers that are scripted; and what sttpc has to say about it."""

from __future__ import annotations

import dataclasses
import os
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from certificates import CA, STRANGER_CA, certificate, key, server_files
from scripted_server import PATIENCE_SECONDS, Peer, ScriptedServer, answers, silence, table

from sttp_reactor.cli import sttpc
from sttp_reactor.client import Client, Endpoint, make_request
from sttp_reactor.client.exchange import Connection
from sttp_reactor.client.tls import ClientTls
from sttp_reactor.errors import (
    CannotConnect,
    ConnectionLost,
    ConnectTimedOut,
    HostUnknown,
    LocalError,
    NotSttp,
    NotTrusted,
    TlsFailed,
)
from sttp_reactor.net.tls_context import TlsContext

Serve = Callable[..., ScriptedServer]
Run = Callable[..., tuple[int, str, str]]

SHOW_A = {"SHOW /a": "200 /a OK\nBuy milk\n"}
VERSIONS = ("TLSv1_2", "TLSv1_3")


def server_tls(name: str = "server", *, version: str | None = None, client_ca: Path | None = None) -> ssl.SSLContext:
    if name == "expired":  # which our own server would not serve
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate(name), key(name))
        return context
    context = TlsContext(server_files(name, client_ca=client_ca)).context
    if version is not None:
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


def trusting(**options: str | bool) -> ClientTls:
    return ClientTls(cacert=str(CA), **options)  # type: ignore[arg-type]


@dataclasses.dataclass
class Notes:
    """A trace: what a client has done, one sentence for each."""

    sentences: list[str] = dataclasses.field(default_factory=list)

    def __call__(self, mark: str, sentence: str) -> None:
        if mark == "*":
            self.sentences.append(sentence)


# -- The Client --


@pytest.mark.parametrize("version", VERSIONS)
def test_requests_and_replies_on_one_connection(serve: Serve, version: str) -> None:
    """TLS 1.3 sends session tickets along, which make the socket readable and do not make it unusable."""
    server = serve(table(SHOW_A), tls=server_tls(version=version))
    with Client("localhost", server.port, tls=trusting()) as client:
        assert [client.show("/a") for _ in range(5)] == ["Buy milk"] * 5
    assert server.accepted == 1


def test_a_dot_at_the_end_of_a_name_is_not_part_of_it(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps the resolver from appending a domain; certificates are made out to the name without it."""
    look_up = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *rest, **more: look_up(host.rstrip("."), *rest, **more))
    server = serve(table(SHOW_A), tls=server_tls())
    with Client("localhost.", server.port, tls=trusting()) as client:
        assert client.show("/a") == "Buy milk"
    with Client("localhost..", server.port, tls=trusting()) as client, pytest.raises((CannotConnect, HostUnknown)):
        client.show("/a")


def test_a_ticket_that_lies_there_leaves_the_connection_usable_and_a_farewell_does_not(serve: Serve) -> None:
    farewell = threading.Event()

    def script(peer: Peer) -> None:
        farewell.wait(PATIENCE_SECONDS)

    server = serve(script, tls=server_tls(version="TLSv1_3"))
    endpoint = Endpoint("localhost", server.port, True)
    deadline = time.monotonic() + PATIENCE_SECONDS
    plain = socket.create_connection((server.host, server.port))
    plain.setblocking(False)
    encrypted = trusting().shake_hands(plain, endpoint, deadline, lambda _: None)
    connection = Connection(encrypted, str(endpoint))
    try:
        assert select.select([encrypted], [], [], PATIENCE_SECONDS)[0]  # the ticket has come
        assert connection.is_usable()
        assert not select.select([encrypted], [], [], 0)[0]
        farewell.set()
        assert select.select([encrypted], [], [], PATIENCE_SECONDS)[0]
        assert not connection.is_usable()
    finally:
        connection.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_a_long_pipeline_with_long_replies(serve: Serve, version: str) -> None:
    text = "x" * 160
    replies = {f"SHOW /{number}": f"200 /{number} OK\n{text}\n" for number in range(3_000)}
    server = serve(table(replies), tls=server_tls(version=version))
    with Client("localhost", server.port, tls=trusting()) as client:
        found = client.pipeline(make_request("SHOW", f"/{number}") for number in range(3_000))
    assert [reply.contents for reply in found] == [text.encode()] * 3_000


@pytest.mark.parametrize("version", VERSIONS)
def test_a_closed_connection_is_made_anew_and_its_session_resumed(serve: Serve, version: str) -> None:
    context = server_tls(version=version)
    server = serve(answers(b"200 /a OK\nBuy milk\n"), table(SHOW_A), tls=context)
    notes = Notes()
    with Client("localhost", server.port, tls=trusting(), trace=notes) as client:
        assert client.show("/a") == "Buy milk"
        server.ended[0].wait(15)
        assert client.show("/a") == "Buy milk"
    handshakes = [sentence for sentence in notes.sentences if sentence.startswith("TLS")]
    assert ["resumed" in sentence for sentence in handshakes] == [False, True]
    assert server.accepted == 2


def test_the_trace_tells_what_was_agreed_on_and_who_it_is(serve: Serve) -> None:
    server = serve(table(SHOW_A), table(SHOW_A), tls=server_tls(version="TLSv1_3"))
    notes, careless = Notes(), Notes()
    with Client("localhost", server.port, tls=trusting(), trace=notes) as client:
        client.show("/a")
    with Client("localhost", server.port, tls=ClientTls(insecure=True), trace=careless) as client:
        client.show("/a")
    (line,) = [sentence for sentence in notes.sentences if sentence.startswith("TLS")]
    assert line == (
        "TLSv1.3, TLS_AES_256_GCM_SHA384, certificate of sttpd from STTP test authority, "
        "valid until Jan  1 00:00:00 2120 GMT"
    )
    assert any(sentence.endswith(", certificate not checked") for sentence in careless.sentences)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_who_the_server_is_may_be_an_address(serve: Serve, host: str) -> None:
    server = serve(table(SHOW_A), host="::1" if ":" in host else "127.0.0.1", tls=server_tls())
    with Client(host, server.port, tls=trusting()) as client:
        assert client.show("/a") == "Buy milk"


@pytest.mark.parametrize(
    ("name", "cacert", "complaint"),
    [
        ("server", STRANGER_CA, "unable to get local issuer certificate"),
        ("elsewhere", CA, "Hostname mismatch, certificate is not valid for 'localhost'"),
        ("expired", CA, "certificate has expired"),
    ],
)
def test_a_server_that_cannot_be_trusted(serve: Serve, name: str, cacert: Path, complaint: str) -> None:
    server = serve(silence, tls=server_tls(name))
    notes = Notes()
    with (
        Client("localhost", server.port, tls=ClientTls(cacert=str(cacert)), retries=5, trace=notes) as client,
        pytest.raises(NotTrusted) as caught,
    ):
        client.show("/a")
    assert str(caught.value) == f"cannot trust sttps://localhost:{server.port}: {complaint}"
    assert server.accepted == 1
    assert not any("trying again" in sentence for sentence in notes.sentences)


def test_the_systems_authorities_are_trusted_where_none_are_given(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(silence, table(SHOW_A), tls=server_tls())
    with Client("localhost", server.port, tls=ClientTls()) as client, pytest.raises(NotTrusted):
        client.show("/a")
    monkeypatch.setenv("SSL_CERT_FILE", str(CA))
    with Client("localhost", server.port, tls=ClientTls()) as client:
        assert client.show("/a") == "Buy milk"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_wants_to_know_its_clients(serve: Serve, version: str) -> None:
    tls = server_tls(version=version, client_ca=CA)
    server = serve(table(SHOW_A), silence, silence, tls=tls)
    alice = trusting(cert=str(certificate("alice")), key=str(key("alice")))
    with Client("localhost", server.port, tls=alice) as client:
        assert client.show("/a") == "Buy milk"
    stranger = trusting(cert=str(certificate("stranger")), key=str(key("stranger")))
    with Client("localhost", server.port, tls=stranger) as client, pytest.raises(TlsFailed, match="unknown ca"):
        client.show("/a")
    complaint = "wants a certificate of its clients" if version == "TLSv1_3" else "handshake failure"
    with Client("localhost", server.port, tls=trusting()) as client, pytest.raises(TlsFailed, match=complaint):
        client.show("/a")


def test_a_key_may_be_in_its_certificates_file(tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_bytes(certificate("alice").read_bytes() + key("alice").read_bytes())
    trusting(cert=str(both))


def test_a_server_that_speaks_no_tls(serve: Serve) -> None:
    def plain(peer: Peer) -> None:
        peer.sock.recv(4096)
        peer.send(b'300 - CLIENT ERROR "no line"\n')

    server = serve(plain)
    with Client("localhost", server.port, tls=trusting()) as client, pytest.raises(TlsFailed) as caught:
        client.show("/a")
    assert str(caught.value) == f"sttps://localhost:{server.port} does not speak TLS"


def test_a_server_that_says_nothing_in_the_handshake(serve: Serve) -> None:
    server = serve(silence)
    with (
        Client("localhost", server.port, tls=trusting(), timeout=0.1) as client,
        pytest.raises(ConnectTimedOut) as caught,
    ):
        client.show("/a")
    assert str(caught.value) == f"timed out in the TLS handshake with sttps://localhost:{server.port}"


def test_a_server_that_leaves_in_the_handshake_is_tried_again(serve: Serve) -> None:
    """It may be one that is just being restarted."""

    def leave(peer: Peer) -> None:
        peer.sock.recv(65536)

    def reset(peer: Peer) -> None:
        peer.sock.recv(65536)
        peer.reset()

    server = serve(leave, reset)
    for complaint in ("closed the connection in the TLS handshake", "Connection reset by peer"):
        with Client("localhost", server.port, tls=trusting()) as client, pytest.raises(CannotConnect) as caught:
            client.show("/a")
        assert complaint in str(caught.value)
        assert not isinstance(caught.value, TlsFailed)


def test_a_reply_that_is_cut_short_is_none(serve: Serve) -> None:
    def cut(peer: Peer) -> None:
        peer.line()
        peer.send(b"200 /a OK\nBuy")
        os.close(peer.sock.detach())  # no close_notify

    server = serve(cut, tls=server_tls())
    with Client("localhost", server.port, tls=trusting()) as client, pytest.raises(ConnectionLost):
        client.show("/a")


def test_a_broken_record_is_a_lost_connection(serve: Serve) -> None:
    def broken(peer: Peer) -> None:
        peer.line()
        raw = socket.socket(fileno=os.dup(peer.sock.fileno()))
        with raw:
            raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))

    server = serve(broken, tls=server_tls())
    with Client("localhost", server.port, tls=trusting()) as client, pytest.raises(ConnectionLost, match="TLS: "):
        client.show("/a")


def test_plain_talk_with_a_server_that_speaks_tls(serve: Serve) -> None:
    def alert(peer: Peer) -> None:
        peer.line()
        peer.send(b"\x15\x03\x03\x00\x02\x02\x46")

    server = serve(alert)
    with Client("127.0.0.1", server.port) as client, pytest.raises(NotSttp) as caught:
        client.show("/a")
    assert str(caught.value) == f"127.0.0.1:{server.port} speaks TLS; use sttps://127.0.0.1:{server.port}"


def test_there_is_no_tls_on_a_unix_socket() -> None:
    with pytest.raises(LocalError, match="no TLS on a Unix socket"):
        Client("/run/sttp.sock", tls=trusting())


def test_the_default_port_is_the_one_for_tls() -> None:
    assert (Client("h", tls=trusting()).endpoint.port, Client("h").endpoint.port) == (8443, 8080)
    with pytest.raises(LocalError, match="a port is a number"):
        Client("h", 0, tls=trusting())


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"cacert": "none.pem"}, "cannot read none.pem: No such file or directory"),
        ({"cacert": "make.sh"}, "make.sh is not a certificate in PEM form"),
        ({"cert": "none.pem"}, "cannot read none.pem: No such file or directory"),
        ({"cert": "alice.pem", "key": "none.key"}, "cannot read none.key: No such file or directory"),
        ({"cert": "alice.pem", "key": "server.key"}, "the key server.key does not belong to the certificate alice.pem"),
        ({"cert": "alice.pem"}, "alice.pem: not a certificate and its key in PEM form"),
        ({"cert": "alice.pem", "key": "ca.pem"}, "alice.pem and ca.pem: not a certificate and its key in PEM form"),
        ({"key": "alice.key"}, "a key is of no use without its certificate"),
        ({"insecure": True, "cacert": "ca.pem"}, "contradict each other"),
    ],
)
def test_files_that_cannot_be_used(options: dict[str, str], complaint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CA.parent)
    with pytest.raises(LocalError, match=complaint):
        ClientTls(**options)  # type: ignore[arg-type]


# -- sttpc --


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    def start(*argv: str) -> tuple[int, str, str]:
        try:
            code = sttpc.main(argv)
        except SystemExit as end:
            code = int(str(end.code))
        captured = capfdbinary.readouterr()
        return code, captured.out.decode(), captured.err.decode()

    for name in ("STTPC_ADDRESS", "STTPC_PORT", "STTPC_CACERT", "STTPC_CERT", "STTPC_KEY"):
        monkeypatch.delenv(name, raising=False)
    return start


def test_every_command_takes_an_sttps_url(serve: Serve, run: Run) -> None:
    replies = SHOW_A | {
        "LIST /": "200 / OK\na\n",
        'CREATE /b "x"': "100 /b CREATED\n",
        'UPDATE /b "y"': "200 /b OK\ny\n",
        "DELETE /b": "600 /b DELETED\n",
    }
    server = serve(*[table(replies)] * 8, tls=server_tls())
    where = f"sttps://localhost:{server.port}"
    trust = ("--cacert", str(CA))
    assert run(*trust, "show", f"{where}/a", f"{where}/a") == (0, "Buy milk\nBuy milk\n", "")
    assert run(*trust, "list", where) == (0, "a\n", "")
    assert run(*trust, "create", f"{where}/b", "x") == (0, "", "")
    assert run(*trust, "update", f"{where}/b", "y") == (0, "", "")
    assert run(*trust, "delete", f"{where}/b") == (0, "", "")
    assert run(*trust, "fetch", where, "/a") == (0, "Buy milk\n", "")
    assert run(*trust, "fetch", where, "/") == (0, "a\n", "")
    code, out, _ = run("--insecure", "ping", where)
    assert (code, out.partition(" answers in ")[0]) == (0, where)
    assert server.accepted == 8


def test_plain_paths_by_tls(serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(table(SHOW_A), table(SHOW_A), tls=server_tls())
    assert run("-a", "sttps://localhost", "-p", str(server.port), "--cacert", str(CA), "show", "/a")[:2] == (
        0,
        "Buy milk\n",
    )
    monkeypatch.setenv("STTPC_ADDRESS", "sttps://localhost")
    monkeypatch.setenv("STTPC_PORT", str(server.port))
    monkeypatch.setenv("STTPC_CACERT", str(CA))
    assert run("show", "/a") == (0, "Buy milk\n", "")


def test_the_environment_has_a_certificate_to_show(serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(table(SHOW_A), table(SHOW_A), silence, tls=server_tls(client_ca=CA))
    url = f"sttps://localhost:{server.port}/a"
    monkeypatch.setenv("STTPC_CACERT", str(CA))
    flags = ("--cert", str(certificate("alice")), "--key", str(key("alice")))
    assert run(*flags, "show", url) == (0, "Buy milk\n", "")
    monkeypatch.setenv("STTPC_CERT", str(certificate("alice")))
    monkeypatch.setenv("STTPC_KEY", str(key("alice")))
    assert run("show", url) == (0, "Buy milk\n", "")
    monkeypatch.delenv("STTPC_CERT")
    assert run("show", url) == (
        7,
        "",
        f"sttpc: {url}: sttps://localhost:{server.port} wants a certificate of its clients\n",
    )


def test_a_server_that_is_not_trusted_is_told_in_one_sentence(serve: Serve, run: Run) -> None:
    server = serve(silence, tls=server_tls())
    url = f"sttps://localhost:{server.port}/a"
    code, out, err = run("--cacert", str(STRANGER_CA), "show", url, url)
    assert (code, out, server.accepted) == (7, "", 1)
    assert (
        err.splitlines()
        == [f"sttpc: {url}: cannot trust sttps://localhost:{server.port}: unable to get local issuer certificate"] * 2
    )


def test_json_names_what_failed(serve: Serve, run: Run) -> None:
    server = serve(silence, tls=server_tls())
    code, out, _ = run("-j", "--cacert", str(STRANGER_CA), "show", f"sttps://localhost:{server.port}/a")
    assert code == 7
    assert '"error": "not trusted"' in out
    assert f'"server": "sttps://localhost:{server.port}"' in out


def test_the_trace_shows_the_handshake(serve: Serve, run: Run) -> None:
    server = serve(table(SHOW_A), tls=server_tls())
    code, _, err = run("-v", "--cacert", str(CA), "show", f"sttps://localhost:{server.port}/a")
    assert code == 0
    lines = err.splitlines()
    at = lines.index(f"* connected to 127.0.0.1:{server.port}")
    assert lines[at + 1].startswith("* TLSv1.3, TLS_")
    assert lines[at + 2] == "> SHOW /a"


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["--cacert", "x", "show", "/a"], "--cacert is for sttps:// URLs, and there is none."),
        (["--insecure", "ping"], "--insecure is for sttps:// URLs, and there is none."),
        (["--insecure", "--cacert", str(CA), "ping", "sttps://h"], "--insecure and --cacert contradict each other."),
        (["--key", "x", "ping", "sttps://h"], "option --key is of no use without --cert."),
        (["--cacert", "none.pem", "ping", "sttps://h"], "cannot read none.pem: No such file or directory."),
        (["-a", "sttps:///run/s", "show", "/a"], "--address: there is no TLS on a Unix socket."),
        (["-a", "sttps://h:81", "show", "/a"], "--address: the port is given apart from the host."),
        (["-a", "https://h", "show", "/a"], "--address: unknown scheme https://"),
        (["fetch", "sttps://h/a", "/a"], "use: sttpc show sttps://h/a."),
        (["show", "sttps://h"], "names a server and no path"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(run: Run, argv: list[str], complaint: str) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1
