"""`from sttp_reactor.net import …`: the library as its users have it, its own example included."""

from __future__ import annotations

import inspect
import os
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
from functools import partial
from pathlib import Path

import pytest
from certificates import client_context, server_files
from net_support import Net, Recorder, fail, has_ended, read_all

from sttp_reactor import net as library
from sttp_reactor.net import Address, Reactor, StartError, TlsContext, Transport, connect, resolve, serve

LOOPBACK = resolve("127.0.0.1", 0)


def echo(transport: Transport) -> None:
    transport.write(b"echo")


def test_every_name_it_promises_is_there() -> None:
    assert library.__all__ == sorted(library.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))
    for name in library.__all__:
        assert hasattr(library, name)


def test_its_example_runs(tmp_path: Path) -> None:
    """As it stands in the docstring, but for the port."""
    text = inspect.getdoc(library) or ""
    example = textwrap.dedent(text[text.index("    import signal") : text.index("Threads:")]).replace("7777", "0")
    with subprocess.Popen([sys.executable, "-c", example], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            host, port = process.stdout.readline().split()[-1].rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=10) as client:
                client.sendall(b"hello")
                client.shutdown(socket.SHUT_WR)
                assert client.recv(100) == b"hello"
            os.kill(process.pid, signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()


def test_tls_of_both_sides(net: Net) -> None:
    server = net.will_close(
        serve(net.reactor, lambda: net.recorder(data=echo), LOOPBACK, tls=TlsContext(server_files()).context)
    )
    protocol = net.recorder(made=lambda transport: transport.write(b"hello"))
    context = client_context()
    reach = partial(connect, net.reactor, host="127.0.0.1", port=port_of(server), tls=context)
    reach(lambda: protocol, server_hostname="localhost", on_failure=fail)
    net.until(lambda: protocol.received == b"echo")
    failures: list[Exception] = []
    reach(net.recorder, server_hostname="somebody.else", on_failure=failures.append)
    net.until(lambda: failures)
    assert [type(failure) for failure in failures] == [ssl.SSLCertVerificationError]


def port_of(server: library.Server) -> int:
    return int(server.addresses[0].rpartition(":")[2])


def caller(net: Net, server: library.Server) -> socket.socket:
    sock = net.will_close(socket.create_connection(("127.0.0.1", port_of(server)), timeout=5))
    sock.setblocking(False)
    return sock


def test_two_servers_share_a_reactor_and_one_of_them_is_closed(any_net: Net) -> None:
    def say(text: bytes) -> Recorder:
        return any_net.recorder(data=lambda transport: transport.write(text))

    first = any_net.will_close(serve(any_net.reactor, lambda: say(b"one"), LOOPBACK))
    second = any_net.will_close(serve(any_net.reactor, lambda: say(b"two"), LOOPBACK))
    clients = [caller(any_net, server) for server in (first, second)]
    any_net.until(lambda: first.accepted == second.accepted == 1)
    first.close()
    first.close()
    with pytest.raises(ConnectionRefusedError):
        caller(any_net, first)
    clients.append(caller(any_net, second))
    for client in clients:
        client.send(b"x")
    answers = [b""] * 3

    def all_answered() -> bool:
        for number, client in enumerate(clients):
            answers[number] += read_all(client)
        return all(answers)

    any_net.until(all_answered)
    assert answers == [b"one", b"two", b"two"]


def test_a_second_reactor_in_another_thread(net: Net) -> None:
    """It serves, while this thread's reactor connects to it; neither knows of the other."""
    other, theirs = Reactor(), Recorder(data=lambda transport: transport.write(b"pong"))
    server = serve(other, lambda: theirs, LOOPBACK)
    thread = threading.Thread(target=other.run)
    thread.start()
    protocol = net.recorder(made=lambda transport: transport.write(b"ping"))
    connect(net.reactor, lambda: protocol, "127.0.0.1", port_of(server), on_failure=fail)
    net.until(lambda: protocol.received == b"pong")

    def end() -> None:
        theirs.transport.abort()
        other.call_next_turn(other.stop)

    other.call_soon_threadsafe(end)
    thread.join(10)
    assert not thread.is_alive()
    assert theirs.heard == ["made", "data", "lost"]
    server.close()
    other.close()


def test_what_cannot_listen_releases_everything(net: Net, tmp_path: Path) -> None:
    taken = net.will_close(serve(net.reactor, net.recorder, LOOPBACK))
    path = tmp_path / "s"
    addresses = [Address(socket.AF_UNIX, str(path)), *resolve("127.0.0.1", port_of(taken))]
    with pytest.raises(StartError, match=f"cannot listen on 127.0.0.1:{port_of(taken)}"):
        serve(net.reactor, net.recorder, addresses)
    assert not path.exists()
    net.selector.refuse_after(0, 28)
    with pytest.raises(OSError, match="space"):
        serve(net.reactor, net.recorder, addresses[:1])
    net.selector.refuse_after(None)
    assert not path.exists()


def test_one_address_has_so_many_connections(net: Net) -> None:
    server = net.will_close(serve(net.reactor, net.recorder, LOOPBACK, most_per_peer=1))
    first, second = caller(net, server), caller(net, server)
    net.until(lambda: server.accepted == 2)
    net.until(lambda: has_ended(second))
    assert not has_ended(first)


def test_a_unix_socket_is_served_connected_to_and_removed(any_net: Net, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    server = any_net.will_close(
        serve(any_net.reactor, lambda: any_net.recorder(data=echo), [Address(socket.AF_UNIX, path)])
    )
    protocol = any_net.recorder(made=lambda transport: transport.write(b"hello"))
    connect(any_net.reactor, lambda: protocol, path, on_failure=fail)
    any_net.until(lambda: protocol.received == b"echo")
    server.close()
    assert not Path(path).exists()


def name_with(monkeypatch: pytest.MonkeyPatch, *ports: int) -> None:
    """Let every name have these ports of 127.0.0.1 for addresses."""
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in ports]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_the_addresses_of_a_name_are_tried_until_one_answers(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    server = net.will_close(serve(net.reactor, lambda: net.recorder(data=echo), LOOPBACK))
    name_with(monkeypatch, free_port(), free_port(), port_of(server))
    protocol = net.recorder(made=lambda transport: transport.write(b"hello"))
    connect(net.reactor, lambda: protocol, "example.invalid", 1, on_failure=fail)
    net.until(lambda: protocol.received == b"echo")


def test_that_none_of_them_answers_is_told_once(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    name_with(monkeypatch, free_port(), free_port())
    failures: list[Exception] = []
    connect(net.reactor, net.recorder, "example.invalid", 1, on_failure=failures.append)
    assert failures == []
    net.until(lambda: failures)
    net.pass_time(100)
    assert [type(failure) for failure in failures] == [ConnectionRefusedError]


def test_a_name_that_means_nothing_or_takes_too_long_is_a_failure(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    failures: list[Exception] = []
    looked_up, may_end = threading.Event(), threading.Event()

    def slowly(*_: object, **__: object) -> None:
        may_end.wait(10)
        looked_up.set()
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    connect(net.reactor, net.recorder, "example.invalid", 1, on_failure=failures.append, timeout=3.0)
    net.turns()
    net.pass_time(3.1)
    assert [type(failure) for failure in failures] == [TimeoutError]
    may_end.set()
    assert looked_up.wait(10)
    connect(net.reactor, net.recorder, "example.invalid", 1, on_failure=failures.append)
    net.until(lambda: len(failures) == 2)
    assert isinstance(failures[1], socket.gaierror)


def test_cancelled_it_tells_nobody(net: Net) -> None:
    server = net.will_close(serve(net.reactor, net.recorder, LOOPBACK))
    failures: list[Exception] = []
    protocol = net.recorder()
    connecting = connect(net.reactor, lambda: protocol, "127.0.0.1", port_of(server), on_failure=failures.append)
    connecting.cancel()
    connecting.cancel()
    net.turns(20)
    net.pass_time(100)
    assert (failures, protocol.heard) == ([], [])
