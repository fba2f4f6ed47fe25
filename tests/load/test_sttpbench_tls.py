"""sttpbench by TLS: whom it trusts, who it is, and that no reply lies where nobody looks for it."""

from __future__ import annotations

import contextlib
import select
import ssl
from pathlib import Path

import pytest
from certificates import CA, STRANGER_CA, certificate, key
from fake_server import Answer, FakeServer

from sttp_reactor.cli.sttpbench import main
from sttp_reactor.client import Endpoint
from sttp_reactor.load.connect import open_connections
from sttp_reactor.load.target import Target, Trust


def server(
    name: str = "server",
    *,
    version: str | None = None,
    wants_certificate: bool = False,
    answer: Answer | None = None,
) -> FakeServer:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate(name), key(name))
    if version is not None:
        tls.minimum_version = tls.maximum_version = ssl.TLSVersion[version]
    if wants_certificate:
        tls.load_verify_locations(CA)
        tls.verify_mode = ssl.CERT_REQUIRED
    return FakeServer(answer, tls=tls)


def bench(server: FakeServer, *words: str) -> int:
    """A short run with few keys; `words` may say otherwise."""
    given = set(words)
    usual = {"-w": "0", "-n": "200", "-c": "4", "--keys": "20"}
    options = [part for name, value in usual.items() if name not in given for part in (name, value)]
    return main(["-q", *options, *words, f"sttps://localhost:{server.port}"])


def refused(*words: str) -> int:
    with pytest.raises(SystemExit) as refusal:
        main(list(words))
    return int(str(refusal.value.code))


@pytest.mark.parametrize(
    ("version", "words"),
    [
        ("TLSv1_2", []),
        ("TLSv1_3", ["-c", "20"]),
        ("TLSv1_3", ["-j", "2", "--mix=show=3,update=1,list=1"]),
        ("TLSv1_3", ["-r", "2000"]),
    ],
)
def test_runs_verify_and_clean_up(version: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with server(version=version) as served:
        address = f"sttps://localhost:{served.port}"
        assert bench(served, "--cacert", str(CA), *words) == 0
        assert served.files.texts == {}
    printed = capsys.readouterr()
    assert address in printed.out
    assert "every reply right" in printed.out
    assert printed.err == ""


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_nothing_is_left_where_no_poller_sees_it(version: str) -> None:
    """A record is larger than what the engine asks of a socket: the rest of it would lie in OpenSSL."""
    with server(version=version, answer=lambda line: b"x" * 10_000) as served:
        target = Target(Endpoint("localhost", served.port, is_tls=True), trust=Trust(cacert=str(CA)))
        (sock,) = open_connections(target, 1, timeout=10.0)
        try:
            sock.send(b"a line\n")
            came = 0
            while came < 10_000:
                assert select.select([sock], [], [], 10.0)[0], f"only {came} bytes are to be seen"
                with contextlib.suppress(BlockingIOError):  # TLS has messages of its own
                    came += len(sock.recv(4096))
        finally:
            sock.close()


@pytest.mark.parametrize(
    ("name", "trusted", "reason"),
    [
        ("server", STRANGER_CA, "cannot trust"),
        ("elsewhere", CA, "cannot trust"),
        ("expired", CA, "has expired"),
    ],
)
def test_a_server_that_is_not_trusted(
    name: str, trusted: Path, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server(name) as served:
        assert bench(served, "--cacert", str(trusted)) == 7
    assert reason in capsys.readouterr().err


def test_anybody_is_trusted_where_that_is_asked_for() -> None:
    with server("expired") as served:
        assert bench(served, "--insecure") == 0


def test_a_server_that_does_not_speak_tls(capsys: pytest.CaptureFixture[str]) -> None:
    with FakeServer(lambda line: b"300 - CLIENT ERROR") as served:
        assert bench(served, "--insecure") == 7
    assert "does not speak TLS" in capsys.readouterr().err


def test_a_server_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    with server() as served:
        address = f"sttps://localhost:{served.port}"
    assert main(["-q", "--insecure", address]) == 7
    assert f"cannot connect to {address}" in capsys.readouterr().err


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_server_that_wants_a_certificate(version: str, capsys: pytest.CaptureFixture[str]) -> None:
    """By TLS 1.3 it says so behind the handshake, and that is no lost connection but a server that is not reached."""
    shown = ["--cert", str(certificate("alice")), "--key", str(key("alice"))]
    with server(version=version, wants_certificate=True) as served:
        assert bench(served, "--cacert", str(CA)) == 7
        assert bench(served, "--cacert", str(CA), *shown) == 0
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--insecure", "127.0.0.1:1"], "--insecure is for sttps:// URLs, and there is none"),
        (["--cacert=x", "unix:/x"], "--cacert is for sttps:// URLs"),
        (["--insecure", "--cacert=x", "sttps://h"], "contradict"),
        (["--key=x", "sttps://h"], "--key is of no use without --cert"),
        (["--cacert=/none", "sttps://h"], "cannot read /none"),
        ([f"--cert={CA}", "sttps://h"], "not a certificate and its key"),
    ],
)
def test_flags_that_cannot_be_followed(words: list[str], reason: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert refused(*words) == 2
    assert reason in capsys.readouterr().err
