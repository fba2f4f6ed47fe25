"""The beginning of a TLS connection: deadlines, peers that speak something else, who is let in, sessions resumed."""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import struct
from pathlib import Path

import pytest
from certificates import CA, STRANGER_CA, certificate, client_context, key, server_files
from net_support import Net, has_ended, read_all
from tls_support import BOTH_VERSIONS, TlsNet, TlsPeer

from sttp_reactor.errors import StartError
from sttp_reactor.limits import HANDSHAKES_PER_TURN
from sttp_reactor.net.address import Address
from sttp_reactor.net.connector import Connector
from sttp_reactor.net.listener import Listener, bind
from sttp_reactor.net.tls import State, TlsFactory
from sttp_reactor.net.tls_context import TlsContext

CLIENT_HELLO = b"\x16\x03\x01"  # and its length, and the rest


@pytest.fixture
def tls(net: Net) -> TlsNet:
    return TlsNet(net)


def hello(sock: socket.socket) -> TlsPeer:
    """A client that has made its first step and sent nothing yet."""
    peer = TlsPeer(sock)
    peer.step()
    return peer


# -- The deadline --


@pytest.mark.parametrize("said", [0, 1, 5, 100])
def test_a_peer_that_stalls_in_the_handshake_is_dropped_at_the_deadline(tls: TlsNet, said: int) -> None:
    raw = tls.connect_raw()
    if said:
        raw.sock.send(hello(raw.sock).take()[:said])
    tls.net.pass_time(9.9)
    assert not has_ended(raw.sock)
    assert repr(tls.handshakes) == "<Handshakes: 1 under way, 0 completed, 0 failed>"
    tls.net.pass_time(0.1)
    tls.net.turns()
    assert has_ended(raw.sock)
    assert repr(tls.handshakes) == "<Handshakes: 0 under way, 0 completed, 1 failed>"
    assert tls.made == []


def test_a_handshake_that_drips_is_dropped_at_the_same_deadline(tls: TlsNet) -> None:
    raw = tls.connect_raw()
    records = hello(raw.sock).take()
    for second in range(10):
        assert not has_ended(raw.sock)
        raw.sock.send(records[second : second + 1])
        tls.net.pass_time(1.0)
    tls.net.turns()
    assert has_ended(raw.sock)


def test_a_peer_that_stalls_before_its_last_step_is_dropped_too(tls: TlsNet) -> None:
    raw = tls.connect_raw()
    peer = hello(raw.sock)
    raw.sock.send(peer.take())
    tls.net.turns(2)
    peer.receive()
    assert peer.is_established  # for itself; the server waits for what it does not send
    tls.net.pass_time(10.0)
    tls.net.turns()
    assert has_ended(raw.sock)
    assert tls.made == []


def test_a_handshake_that_is_over_has_no_deadline(tls: TlsNet) -> None:
    end = tls.connect()
    tls.net.pass_time(1000.0)
    end.peer.send(b"still here")
    tls.net.turns()
    assert end.protocol.heard == ["made", "data"]


def test_a_peer_that_goes_away_in_the_handshake_is_forgotten(tls: TlsNet) -> None:
    for farewell in (b"", CLIENT_HELLO):
        raw = tls.connect_raw()
        raw.sock.send(farewell)
        raw.sock.close()
        tls.net.turns(3)
    raw = tls.connect_raw(tcp=True)
    raw.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.sock.close()
    tls.net.until(lambda: tls.handshakes.failed == 3)
    assert len(tls.handshakes.under_way) == 0
    assert tls.made == []


def test_handshakes_can_be_given_up_all_at_once(tls: TlsNet) -> None:
    end = tls.connect()
    raws = [tls.connect_raw() for _ in range(3)]
    raws[0].sock.send(hello(raws[0].sock).take())
    tls.net.turns()
    tls.handshakes.abort_all()
    tls.net.turns(2)
    assert read_all(raws[0].sock)
    assert [has_ended(raw.sock) for raw in raws] == [True, True, True]
    assert len(tls.handshakes.under_way) == 0
    assert end.protocol.heard == ["made"]


# -- Other languages --


@pytest.mark.parametrize(
    "said", [b"SHOW /a\n\n", b"GET / HTTP/1.0\r\n\r\n", b"\n", b"\x80\x2e\x01\x03\x01" + bytes(60)]
)
def test_a_peer_that_speaks_no_tls_is_told_so_in_plain(net: Net, said: bytes) -> None:
    tls = TlsNet(net, to_plain=b"speak TLS\n")
    raw = tls.connect_raw()
    raw.sock.send(said)
    net.turns()
    assert read_all(raw.sock) == b"speak TLS\n"
    assert has_ended(raw.sock)
    raw.sock.send(said)
    raw.sock.close()
    net.turns(3)
    assert tls.made == []
    assert (len(tls.handshakes.under_way), tls.handshakes.failed) == (0, 1)


def test_a_peer_that_speaks_no_tls_may_be_told_nothing(tls: TlsNet) -> None:
    raw = tls.connect_raw()
    raw.sock.send(b"SHOW /a\n")
    tls.net.turns(2)
    assert read_all(raw.sock) == b""
    assert has_ended(raw.sock)


@pytest.mark.parametrize(
    ("nonsense", "reply"),
    [
        (b"\x16" * 100, b""),
        (CLIENT_HELLO + b"\xff\xff" + bytes(9), b"\x15\x03"),
        (CLIENT_HELLO + b"\0\4nope", b"\x15\x03"),
    ],
)
def test_nonsense_that_looks_like_tls_is_refused_and_logged_in_our_own_words(
    tls: TlsNet, nonsense: bytes, reply: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    raw = tls.connect_raw()
    with caplog.at_level(logging.DEBUG, "sttp_reactor.net"):
        raw.sock.send(nonsense)
        tls.net.turns()
    assert read_all(raw.sock)[:2] == reply
    assert has_ended(raw.sock)
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage().startswith("peer: TLS failed: ")
    assert tls.made == []


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_changed_on_the_way_nobody_gets_in_by_it(tls: TlsNet, seed: int) -> None:
    """One bit of what a client says is another one, in the handshake or after it. Nearly always its connection ends for
    it, at the deadline at the latest (a version number that nobody heeds is the exception); and the protocol, if there
    is one, hears what was said or nothing."""
    chance = random.Random(seed)
    raw = tls.connect_raw()
    peer = hello(raw.sock)
    damaged_flight = chance.randrange(3)
    with contextlib.suppress(ssl.SSLError, ConnectionError):
        for flight in range(3):
            records = bytearray(peer.take())
            if peer.is_established:
                records += peer.encrypt(b"hello")
            if flight == damaged_flight and records:
                records[chance.randrange(len(records))] ^= 1 << chance.randrange(8)
            raw.sock.send(records)
            tls.net.turns(2)
            peer.receive()
    tls.net.pass_time(10.0)
    tls.net.turns()
    assert raw.layer.state is State.CLOSED or tls.made
    assert [bytes(protocol.received) for protocol in tls.made] in ([], [b""], [b"hello"])


# -- Who is let in --


@pytest.mark.parametrize("version", BOTH_VERSIONS)
def test_a_client_of_our_authority_is_known_by_its_names(net: Net, version: str) -> None:
    tls = TlsNet(net, TlsContext(server_files(client_ca=CA)))
    end = tls.connect(client_context("alice", version=version))
    assert end.protocol.transport.peer_names == ("alice",), "her e-mail address is no name of a host"


@pytest.mark.parametrize("version", BOTH_VERSIONS)
@pytest.mark.parametrize("name", [None, "stranger"])
def test_a_client_of_no_authority_of_ours_is_turned_away(net: Net, name: str | None, version: str) -> None:
    tls = TlsNet(net, TlsContext(server_files(client_ca=CA)))
    with pytest.raises(ssl.SSLError, match="ALERT"):
        tls.connect(client_context(name, version=version))
    assert tls.made == []


def test_a_client_that_shows_what_nobody_asked_for_is_nobody(tls: TlsNet) -> None:
    end = tls.connect(client_context("stranger"))
    assert end.protocol.transport.peer_names == ()


def test_the_least_version_is_kept(net: Net) -> None:
    tls = TlsNet(net, TlsContext(server_files(min_version="1.3")))
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        tls.connect(client_context(version="TLSv1_2"))
    assert tls.made == []
    assert tls.connect().peer.ssl.version() == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_what_is_older_than_the_settings_know_is_refused(tls: TlsNet) -> None:
    context = client_context(version="TLSv1_1")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises(ssl.SSLError):
        tls.connect(context)
    assert tls.made == []


def test_a_certificate_comes_with_those_that_lead_to_its_authority(net: Net) -> None:
    tls = TlsNet(net, TlsContext(server_files("chained")))
    certificate = tls.connect().peer.ssl.getpeercert()
    assert certificate is not None
    assert certificate["subject"] == ((("commonName", "sttpd of the branch"),),)


# -- Sessions --


@pytest.mark.parametrize("version", BOTH_VERSIONS)
@pytest.mark.parametrize("client_ca", [None, CA])
def test_a_session_is_resumed_with_the_names_it_was_begun_with(net: Net, version: str, client_ca: Path | None) -> None:
    tls = TlsNet(net, TlsContext(server_files(client_ca=client_ca)))
    context = client_context("alice", version=version)
    first = tls.connect(context)
    second = tls.connect(context, session=first.peer.ssl.session)
    assert (first.peer.ssl.session_reused, second.peer.ssl.session_reused) == (False, True)
    assert (tls.handshakes.completed, tls.handshakes.resumed) == (2, 1)
    names = first.protocol.transport.peer_names
    assert second.protocol.transport.peer_names == names
    assert bool(names) == (client_ca is not None)
    second.peer.send(b"hello")
    net.turns()
    assert second.protocol.received == b"hello"


@pytest.mark.parametrize("version", BOTH_VERSIONS)
def test_no_session_survives_another_context(tls: TlsNet, version: str) -> None:
    context = client_context(version=version)
    first = tls.connect(context)
    tls.context = TlsContext(server_files())
    second = tls.connect(context, session=first.peer.ssl.session)
    assert not second.peer.ssl.session_reused


def test_another_context_is_for_the_next_connection(tls: TlsNet) -> None:
    def common_name(peer: TlsPeer) -> str:
        certificate = peer.ssl.getpeercert()
        assert certificate is not None
        (((_, name),),) = certificate["subject"]  # type: ignore[misc]
        return str(name)

    old = tls.connect()
    tls.context = TlsContext(server_files("chained"))
    new = tls.connect()
    assert (common_name(old.peer), common_name(new.peer)) == ("sttpd", "sttpd of the branch")
    for end in (old, new):
        end.peer.send(b"hello")
        tls.net.turns()
        assert end.protocol.received == b"hello"


# -- Many at once --


def test_a_burst_of_handshakes_takes_turns_and_keeps_nobody_waiting(tls: TlsNet) -> None:
    served = tls.connect(data=lambda transport: transport.write(b"pong"))
    before = tls.handshakes.completed
    peers = [hello(tls.connect_raw().sock) for _ in range(5 * HANDSHAKES_PER_TURN)]
    for peer in peers:
        peer.sock.send(peer.take())
    answered = 0
    for turn in range(1, 6):
        served.peer.send(b"ping")
        tls.net.turns()
        assert served.peer.receive() == b"pong"
        for peer in peers:
            if not peer.is_established:
                peer.receive()
        answered = sum(peer.is_established for peer in peers)
        assert answered == turn * HANDSHAKES_PER_TURN
    for peer in peers:
        peer.sock.send(peer.take())
    tls.net.until(lambda: tls.handshakes.completed - before == len(peers))
    assert len(tls.handshakes.under_way) == 0


def test_a_peer_that_says_more_while_it_waits_for_its_turn_is_not_read(tls: TlsNet) -> None:
    """What it sends would pile up here, for nobody to bound."""
    layers, socks = zip(*(tls.connect_raw() for _ in range(6 * HANDSHAKES_PER_TURN)), strict=True)
    peers = [hello(sock) for sock in socks]
    for peer in peers:
        peer.sock.send(peer.take()[:-1])  # so that nobody is through when it has had its turn
    tls.net.turns()
    flood = peers[-1].sock
    tls.net.turns()
    assert flood.send(bytes(3000)) == 3000  # read: it is the first since it joined the queue
    tls.net.turns()
    assert flood.send(bytes(6000)) == 6000
    tls.net.turns()
    assert max(layer.bytes_unread() for layer in layers) == 6000
    tls.net.turns(5)
    read_all(flood)
    assert has_ended(flood)  # in the end its nonsense is found out


def test_a_peer_that_was_not_read_while_it_waited_is_read_again(tls: TlsNet) -> None:
    peers = [hello(tls.connect_raw().sock) for _ in range(4 * HANDSHAKES_PER_TURN)]
    first_flights = [peer.take() for peer in peers]
    for start, stop in ((0, 9), (9, 20), (20, 40), (40, 1000)):
        for peer, records in zip(peers, first_flights, strict=True):
            peer.sock.send(records[start:stop])
        tls.net.turns()
    for _ in range(6):
        for peer in peers:
            peer.receive()
            peer.sock.send(peer.take())
        tls.net.turns(5)
    assert tls.handshakes.completed == len(peers)


def test_a_fin_waits_for_its_turn_as_well(tls: TlsNet) -> None:
    """The last step, the request and the FIN have come while others are being served."""
    peers = [hello(tls.connect_raw().sock) for _ in range(3 * HANDSHAKES_PER_TURN)]
    for peer in peers:
        peer.sock.send(peer.take())
    for _ in range(4):
        tls.net.turns()
    for peer in peers:
        peer.receive()
        peer.sock.send(peer.take() + peer.encrypt(b"request"))
        peer.sock.shutdown(socket.SHUT_WR)
    tls.net.turns(10)
    assert [bytes(protocol.received) for protocol in tls.made] == [b"request"] * len(peers)
    assert {tuple(protocol.heard) for protocol in tls.made} == {("made", "data", "eof")}


def test_a_fin_in_the_middle_of_a_handshake_that_waits_for_its_turn_ends_it(tls: TlsNet) -> None:
    peers = [hello(tls.connect_raw().sock) for _ in range(2 * HANDSHAKES_PER_TURN)]
    for peer in peers:
        peer.sock.send(peer.take()[:50])
        peer.sock.shutdown(socket.SHUT_WR)
    tls.net.turns(6)
    assert tls.handshakes.failed == len(peers)


# -- As a listener's and a connector's factory --


def connect_to(net: Net, context: ssl.SSLContext, server_hostname: str) -> tuple[TlsNet, list[object], object]:
    """A TLS listener, and a connector whose protocol echoes; what became of the connector, and its protocol."""
    served = TlsNet(net)
    sock = bind(Address(socket.AF_INET, ("127.0.0.1", 0)))
    listener = Listener(net.reactor, sock, served.factory)
    net.will_close(listener)
    outcome: list[object] = []
    protocol = net.recorder(made=outcome.append)
    factory = TlsFactory(
        net.reactor,
        lambda: context,
        lambda: protocol,
        server_side=False,
        server_hostname=server_hostname,
        on_failure=outcome.append,
    )
    Connector(net.reactor, Address(socket.AF_INET, sock.getsockname()), factory, outcome.append, timeout=5.0)
    net.until(lambda: outcome)
    return served, outcome, protocol


def test_a_listener_and_a_connector_take_the_factory_for_any_other(net: Net) -> None:
    served, _, protocol = connect_to(net, client_context(), "localhost")
    net.until(lambda: served.made)
    served.made[0].reactions["data"] = lambda transport: transport.write(b"pong")
    protocol.transport.write(b"ping")  # type: ignore[attr-defined]
    net.until(lambda: protocol.received)  # type: ignore[attr-defined]
    assert (served.made[0].received, protocol.received) == (b"ping", b"pong")  # type: ignore[attr-defined]
    assert protocol.transport.peer_names == ("sttpd", "localhost")  # type: ignore[attr-defined]


def test_a_connector_whose_server_is_somebody_else_fails(net: Net) -> None:
    served, outcome, protocol = connect_to(net, client_context(), "elsewhere.example")
    (error,) = outcome
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert protocol.heard == []  # type: ignore[attr-defined]
    net.until(lambda: served.handshakes.failed == 1)


# -- The files --


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (("server.pem", "server.key", "none.pem"), "cannot read the TLS client_ca none.pem: No such file or directory"),
        (("none.pem", "server.key"), "cannot read the TLS certificate none.pem: No such file or directory"),
        (("server.pem", "none.key"), "cannot read the TLS key none.key: No such file or directory"),
        (("server.pem", "."), "cannot read the TLS key .: it is not a regular file"),
        (("server.pem", "elsewhere.key"), "the TLS key elsewhere.key does not belong to the certificate server.pem"),
        (("server.pem", "encrypted.key"), "the TLS key encrypted.key is encrypted; store it without a passphrase"),
        (("server.pem", "server.pem"), "the TLS key server.pem is not a private key in PEM form"),
        (("server.key", "server.key"), "the TLS certificate server.key is not a certificate in PEM form"),
        (("server.pem", "server.key", "make.sh"), "the TLS client_ca make.sh is not a certificate in PEM form"),
        (("expired.pem", "expired.key"), "the TLS certificate expired.pem has expired"),
        (("future.pem", "future.key"), "the TLS certificate future.pem is not yet valid"),
        (
            ("alice.pem", "alice.key"),
            "the TLS certificate alice.pem cannot be used: unsuitable certificate purpose",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_said_before_a_client_finds_it(
    files: tuple[str, ...], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(certificate("server").parent)
    with pytest.raises(StartError) as caught:
        TlsContext(server_files()._replace(**dict(zip(("certificate", "key", "client_ca"), map(Path, files)))))  # noqa: B905
    assert str(caught.value) == sentence


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.open", refuse)
    with pytest.raises(StartError, match=r"cannot read the TLS certificate .*server.pem: Permission denied"):
        TlsContext(server_files())


def test_a_damaged_key(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.key"
    damaged.write_text(key("server").read_text().replace("A", "B"))
    with pytest.raises(StartError, match="the TLS key"):
        TlsContext(server_files()._replace(key=damaged))


def test_nobody_may_renegotiate() -> None:
    """TLS 1.2 lets a client ask for one handshake after the other, each dearer for the server than for the client."""
    assert TlsContext(server_files()).context.options & ssl.OP_NO_RENEGOTIATION


def test_an_authority_may_be_trusted_without_the_one_above_it(net: Net, tmp_path: Path) -> None:
    """`chained.pem` has a server's certificate, then its authority's; `ca`, which issued that one, is not needed."""
    branch = tmp_path / "branch.pem"
    branch.write_text("-----BEGIN" + certificate("chained").read_text().rpartition("-----BEGIN")[2])
    tls = TlsNet(net, TlsContext(server_files(client_ca=branch)))
    with pytest.raises(ssl.SSLError, match="ALERT"):
        tls.connect(client_context("alice"))
    context = TlsContext(server_files(client_ca=STRANGER_CA)).context
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
