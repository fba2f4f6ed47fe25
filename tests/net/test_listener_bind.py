"""Binding: the options that connections inherit, two families on one port, and Unix sockets with a history."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from net_support import Net
from ports import free_port, has_ipv6

from sttp_reactor.errors import StartError
from sttp_reactor.net import endpoints, unix_files
from sttp_reactor.net.address import Address, resolve
from sttp_reactor.net.endpoints import Endpoint, release
from sttp_reactor.net.listener import Listener, bind

Bind = Callable[[Address], socket.socket]


@pytest.fixture
def bound() -> Iterator[Callable[[Address], socket.socket]]:
    """`bind`, with the sockets closed in the end."""
    socks: list[socket.socket] = []

    def bind_one(address: Address) -> socket.socket:
        socks.append(bind(address))
        return socks[-1]

    yield bind_one
    for sock in socks:
        sock.close()


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this machine")


def unix(path: Path) -> Address:
    (address,) = resolve(str(path), 0)
    return address


def leave_behind(path: Path, kind: int = socket.SOCK_STREAM) -> None:
    """A socket whose server has died."""
    with socket.socket(socket.AF_UNIX, kind) as dead:
        dead.bind(str(path))


def test_a_port_that_is_held_is_never_free_and_can_be_shared_by_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers of several processes that start at once: nobody gets in between the trial and the taking."""
    (address,) = resolve("127.0.0.1", free_port())
    calls: list[Address] = []

    def bind_after_a_rival(address: Address, **options: bool) -> socket.socket:
        if calls:
            with pytest.raises(StartError, match="Address already in use"):
                bind(address)
        calls.append(address)
        return bind(address, **options)

    monkeypatch.setattr(endpoints, "bind", bind_after_a_rival)
    with endpoints.hold_port(address, []) as held:
        monkeypatch.setattr(endpoints, "bind", bind)
        assert len(calls) == 2, "a trial, and what is kept"
        with pytest.raises(StartError, match="Address already in use"):
            endpoints.hold_port(address, [])
        with pytest.raises(StartError, match="Address already in use"):
            bind(address)
        with bind(address, reuse_port=True), bind(address, reuse_port=True) as ours:
            assert ours.getsockname() == held.getsockname()
            with pytest.raises(StartError, match="Address already in use"):
                endpoints.hold_port(address, [])


def test_a_name_that_somebody_else_has_bound_since_is_left_to_him(bound: Bind, tmp_path: Path) -> None:
    path = tmp_path / "s"
    endpoint = Endpoint(unix(path))
    first = bound(unix(path))
    path.unlink()
    second = bound(unix(path))
    release({endpoint: first})
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    release({endpoint: second})
    assert not path.exists()


def test_a_duplicate_is_not_the_owner_of_the_file(bound: Bind, tmp_path: Path) -> None:
    path = tmp_path / "s"
    release({Endpoint(unix(path)): bound(unix(path)).dup()})
    assert path.exists()


def test_of_two_who_find_one_stale_socket_one_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one comes when the first has found it stale and not removed it yet."""
    path = tmp_path / "s"
    leave_behind(path)
    outcomes: list[socket.socket | StartError] = []

    def start() -> None:
        try:
            outcomes.append(bind(unix(path)))
        except StartError as error:
            outcomes.append(error)

    second = threading.Thread(target=start)
    unlink = os.unlink

    def unlink_late(name: str) -> None:
        monkeypatch.setattr(os, "unlink", unlink)
        second.start()
        second.join(0.3)  # as long as it is kept out; where it is not, it has long been done
        unlink(name)

    monkeypatch.setattr(os, "unlink", unlink_late)
    start()
    second.join()
    bound = [each for each in outcomes if isinstance(each, socket.socket)]
    try:
        assert (len(outcomes), len(bound)) == (2, 1)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
            bound[0].accept()[0].close()
    finally:
        for sock in bound:
            sock.close()


def test_a_lock_on_the_directory_that_is_not_ours_does_not_keep_us_from_binding(
    bound: Bind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unix_files, "_LOCK_SECONDS", 0.05)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        bound(unix(tmp_path / "s"))
    finally:
        os.close(descriptor)


# -- TCP --


@pytest.mark.parametrize("host", ["127.0.0.1", pytest.param("::1", marks=needs_ipv6)])
def test_connections_inherit_their_options(bound: Bind, host: str) -> None:
    (address,) = resolve(host, 0)
    listening = bound(address)
    with socket.create_connection(listening.getsockname()[:2]) as client:
        listening.setblocking(True)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert client.getpeername() == listening.getsockname()


def test_a_bound_socket_does_not_block(bound: Bind) -> None:
    with pytest.raises(BlockingIOError):
        bound(resolve("127.0.0.1", 0)[0]).accept()


@needs_ipv6
def test_ipv4_and_ipv6_share_a_port_and_each_has_its_own_connections(net: Net, bound: Bind) -> None:
    port = free_port()
    six = bound(resolve("::", port)[0])
    four = bound(resolve("0.0.0.0", port)[0])
    listeners = [net.will_close(Listener(net.reactor, sock, net.recorder)) for sock in (four, six)]
    assert [listener.address for listener in listeners] == [f"0.0.0.0:{port}", f"[::]:{port}"]
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("::1", port)):
        net.until(lambda: all(listener.accepted for listener in listeners))
    assert [listener.accepted for listener in listeners] == [1, 1]


def test_a_port_in_use_is_refused_by_name(bound: Bind) -> None:
    port = bound(resolve("127.0.0.1", 0)[0]).getsockname()[1]
    with pytest.raises(StartError, match=rf"^cannot listen on 127\.0\.0\.1:{port}: Address already in use$"):
        bind(resolve("127.0.0.1", port)[0])


def test_a_port_can_be_shared_on_purpose() -> None:
    with bind(resolve("127.0.0.1", 0)[0], reuse_port=True) as first:
        (address,) = resolve("127.0.0.1", first.getsockname()[1])
        bind(address, reuse_port=True).close()


def test_an_address_that_is_not_ours_is_refused_by_name() -> None:
    with pytest.raises(StartError, match=r"^cannot listen on 192\.0\.2\.1:0: "):
        bind(resolve("192.0.2.1", 0)[0])


def test_a_family_that_the_system_lacks_is_refused_like_any_other_address(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))

    (address,) = resolve("::1", 0)
    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(StartError, match=r"^cannot listen on \[::1\]:0: Address family not supported"):
        bind(address)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "", "a" * 300, "\udcff"])
def test_a_name_that_means_nothing_is_refused_by_name(host: str) -> None:
    with pytest.raises(StartError) as caught:
        resolve(host, 80)
    assert str(caught.value).startswith(f"{host}: ")


def test_brackets_around_an_ipv6_address_are_no_part_of_it() -> None:
    assert [str(address) for address in resolve("[::1]", 80)] == ["[::1]:80"]


def test_a_name_with_several_addresses_gives_each_once() -> None:
    addresses = resolve("localhost", 80)
    assert len(set(addresses)) == len(addresses) >= 1
    assert {address.sockaddr[1] for address in addresses} == {80}


# -- Unix --


def test_a_unix_connection_says_who_is_at_the_other_end(net: Net, tmp_path: Path) -> None:
    sock = bind(unix(tmp_path / "s"))
    protocols = [net.recorder()]
    listener = net.will_close(Listener(net.reactor, sock, lambda: protocols[0]))
    assert listener.address == str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        client.send(b"hello")
        net.until(lambda: protocols[0].chunks)
        known = f"unix:pid={os.getpid()},uid={os.getuid()}" if hasattr(socket, "SO_PEERCRED") else "unix:"
        assert protocols[0].transport.peer == known


def test_what_a_dead_server_left_behind_is_replaced(bound: Bind, tmp_path: Path) -> None:
    leave_behind(tmp_path / "s")
    bound(unix(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))


def test_a_live_server_is_left_alone(bound: Bind, tmp_path: Path) -> None:
    live = bound(unix(tmp_path / "s"))
    with pytest.raises(StartError, match=rf"^cannot listen on {tmp_path}/s: Address already in use$"):
        bind(unix(tmp_path / "s"))
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "s"))
        live.accept()[0].close()


def test_a_live_server_too_busy_to_accept_is_left_alone_and_not_waited_for(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as live:
        live.bind(str(tmp_path / "s"))
        live.listen(0)
        clients = []
        code = 0
        while code == 0:
            clients.append(socket.socket(socket.AF_UNIX))
            clients[-1].setblocking(False)
            code = clients[-1].connect_ex(str(tmp_path / "s"))
        with pytest.raises(StartError, match=r"Address already in use$"):
            bind(unix(tmp_path / "s"))
        assert (tmp_path / "s").is_socket()
        for client in clients:
            client.close()


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "s")
    before = (tmp_path / "s").lstat()
    with pytest.raises(StartError, match=rf"^cannot listen on {tmp_path}/s: there is a file of that name"):
        bind(unix(tmp_path / "s"))
    assert stat.S_IFMT((tmp_path / "s").lstat().st_mode) == stat.S_IFMT(before.st_mode)


def test_a_link_to_a_dead_socket_is_left_alone(tmp_path: Path) -> None:
    leave_behind(tmp_path / "target")
    (tmp_path / "s").symlink_to("target")
    with pytest.raises(StartError, match=r"not a socket$"):
        bind(unix(tmp_path / "s"))
    assert (tmp_path / "target").is_socket()


def test_a_live_socket_of_another_kind_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as live:
        live.bind(str(tmp_path / "s"))
        with pytest.raises(StartError, match=rf"^cannot listen on {tmp_path}/s: "):
            bind(unix(tmp_path / "s"))
        assert (tmp_path / "s").is_socket()


@pytest.mark.parametrize("path", ["missing/s", "s" * 120])
def test_a_path_that_cannot_be_bound_is_refused_by_name(tmp_path: Path, path: str) -> None:
    with pytest.raises(StartError, match=rf"^cannot listen on {tmp_path}/{path}: "):
        bind(unix(tmp_path / path))
