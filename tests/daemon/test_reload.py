"""SIGHUP: other settings for a server that runs, all of them or none, and no connection is lost."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from operating import operated
from running import Wire

from sttp_reactor.daemon import children as children_module
from sttp_reactor.daemon.children import Child, Children
from sttp_reactor.daemon.control import Control

PROCESSES = [1, 2]


@pytest.fixture(
    params=[PROCESSES[0], pytest.param(PROCESSES[1], marks=pytest.mark.long)], ids=["alone", "two processes"]
)
def processes(request: pytest.FixtureRequest) -> str:
    """A line of configuration, to be kept in every version of it."""
    return f"processes: {request.param}\n"


@contextlib.contextmanager
def held(name: str) -> Iterator[int]:
    """A port of somebody else's."""
    with socket.create_server((name, 0)) as other:
        yield other.getsockname()[1]


def test_the_cache_is_switched_off_and_on_and_obeys_its_new_limits(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes) as server, server.connect() as wire:

        def is_cached(name: str) -> bool:
            """Whether a change behind the server's back goes unseen."""
            (server.docroot / name).write_text("old")
            wire.ask(b"SHOW /" + name.encode())
            (server.docroot / name).write_text("new")
            return wire.ask(b"SHOW /" + name.encode()).endswith(b"\nold\n")

        assert is_cached("a")
        assert "cache.enabled is false (was true)" in server.reload(processes + "cache: {enabled: false}")
        assert wire.ask(b"SHOW /a") == b"200 /a OK\nnew\n"
        assert not is_cached("b")
        server.reload(processes)
        assert wire.ask(b"SHOW /a") == b"200 /a OK\nnew\n", "nothing from before it was off"
        assert is_cached("c")
        server.reload(processes + "cache: {max_size: 1}")
        assert not is_cached("d")
        assert wire.ask(b"SHOW /c") == b"200 /c OK\nnew\n", "what exceeds a new limit goes at once"
        server.reload(processes + "cache: {expiration: 1ms}")
        assert is_cached("e") in (True, False)
        server.reload(processes + "cache: {expiration: 1h}")
        assert is_cached("f")


def test_limits_hold_for_connections_that_are_there(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes) as server:
        with server.connect() as idle, server.connect() as slow:
            idle.ask(b"SHOW /a")
            slow.ask(b"SHOW /a")
            slow.send(b"SHOW ")
            server.reload(processes + "limits: {idle_timeout: 200ms, request_timeout: 100ms}")
            assert idle.rest() == b""
            assert slow.rest().startswith(b"300 - CLIENT ERROR")
        server.reload(processes)
        with server.connect() as first, server.connect() as second:
            first.ask(b"SHOW /a")
            second.ask(b"SHOW /a")
            server.reload(processes + "limits: {max_connections: 1, max_line: 100}")
            with server.connect() as third:
                assert third.rest().startswith(b"500 - SERVER ERROR"), "with two open, one is allowed"
            long = b"CREATE /%bf x" % (b"d/" * 60)
            assert first.ask(long).startswith(b"100"), "a line that was short enough when this connection began"
            assert first.ask(b"SHOW" + long[6:-2]).startswith(b"200"), "now it is in the cache"
        server.reload(processes + "limits: {max_line: 100}")
        with server.connect() as wire:
            assert wire.ask(long).startswith(b"300 - CLIENT ERROR")
        with server.connect() as wire:
            wire.ask(b"SHOW /a")
            assert wire.ask(b"SHOW" + long[6:-2]).startswith(b"300 - CLIENT ERROR"), "it is not answered from there"


def test_the_access_log_comes_goes_and_changes_its_form(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes) as server, server.connect() as wire:
        assert wire.ask(b"CREATE /a x") == b"100 /a CREATED\n"
        server.reload(processes + "log: {access: one}")
        assert wire.ask(b"SHOW /a") == b"200 /a OK\nx\n"
        log = server.reload(processes + "log: {access: two, format: json}")
        assert wire.ask(b"LIST /") == b"200 / OK\na\n"
        assert wire.ask(b"SHOW /a") == b"200 /a OK\nx\n"
        assert json.loads(log.splitlines()[-1])["message"].startswith("reloaded sttpd.yaml: log.format is json (was")
        server.reload(processes + "log: {level: debug}")
        assert wire.ask(b"DELETE /a") == b"600 /a DELETED\n"
        wire.close()
        server.stop()
    lines = [line.split(" ")[2:5] for line in (tmp_path / "one").read_text().splitlines()]
    assert lines == [["SHOW", "/a", "200"]]
    entries = [json.loads(line) for line in (tmp_path / "two").read_text().splitlines()]
    assert [entry["action"] for entry in entries] == ["LIST", "SHOW"]


def test_the_log_level_changes(tmp_path: Path, processes: str) -> None:
    """Of every process: a parent tells of reloads, and who serves of log files."""
    with operated(tmp_path, processes) as server:
        with server.connect() as wire:
            server.configure(processes + "log: {level: error}\nread_only: true")
            server.send_signal(signal.SIGHUP)
            while b"read-only" not in wire.ask(b"DELETE /a"):  # nothing in the log tells of it any more
                pass
        server.send_signal(signal.SIGUSR1)
        server.reload(processes + "prot: 1")
        server.reload(processes)
        server.stop()
    ready, *mistakes, reloaded = [line.split(" ", 2)[1:] for line in server.log.splitlines()[:4]]
    assert [level for level, _ in (ready, *mistakes, reloaded)] == ["info", "error", "error", "info"]
    assert "reloaded" in reloaded[1]


def test_a_flag_still_beats_the_file(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes + "log: {level: warning}", "--log-level", "info") as server:
        assert "nothing has changed" in server.reload(processes + "log: {level: error}")


def test_a_new_port_serves_and_the_old_one_does_not(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes) as server, server.connect() as wire:
        old = server.addresses[0]
        wire.send(b"CREATE /a ")
        with held("127.0.0.1") as free:
            pass
        assert f"port is {free} (was 0)" in server.reload(f"{processes}port: {free}")
        assert server.addresses == [f"127.0.0.1:{free}"]
        with server.connect() as another:
            assert another.ask(b"LIST /") == b"200 / OK\n\n"
        with pytest.raises(ConnectionRefusedError):
            server.connect(old)
        assert wire.ask(b"x") == b"100 /a CREATED\n", "who was there stays"
        server.reload(f"{processes}port: {free}\ncache: {{max_files: 7}}")
        with server.connect() as another:
            assert another.ask(b"LIST /") == b"200 / OK\na\n"


def test_unix_sockets_come_and_go(tmp_path: Path, processes: str) -> None:
    one, two = tmp_path / "one.sock", tmp_path / "two.sock"
    settings = f"{processes}listen_address: [127.0.0.1, {one}]"
    with operated(tmp_path, settings) as server, server.connect(str(one)) as wire:
        wire.ask(b"CREATE /a x")
        tcp = server.addresses[0]
        server.reload(f"{processes}listen_address: [127.0.0.1, {two}]")
        assert server.addresses == [tcp, str(two)], "port 0 keeps the port that was found"
        assert (one.exists(), two.exists()) == (False, True)
        assert wire.ask(b"SHOW /a") == b"200 /a OK\nx\n"
        for address in server.addresses:
            with server.connect(address) as another:
                assert another.ask(b"SHOW /a") == b"200 /a OK\nx\n"
        server.reload(f"{processes}listen_address: {two}")
        wire.close()
        server.stop()
    assert not two.exists()


def test_an_address_that_covers_the_one_in_use(tmp_path: Path, processes: str) -> None:
    """Both want the same port, so neither can be bound beside the other without more ado."""
    with held("127.0.0.1") as port:
        pass
    text = f"{processes}port: {port}\nlisten_address: "
    with operated(tmp_path, text + "127.0.0.1") as server, server.connect() as wire:
        for address in ("0.0.0.0", "127.0.0.1"):
            server.reload(text + f"'{address}'")
            assert server.addresses == [f"{address}:{port}"]
            with server.connect(f"127.0.0.1:{port}") as another:
                assert another.ask(b"LIST /") == b"200 / OK\n\n"
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"


def test_a_bad_file_is_reported_like_at_the_start_and_changes_nothing(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes + "cache: {max_files: 5}") as server, server.connect() as wire:
        log = server.reload(processes + "cache: {max_files: none}\nprot: 81\nlimits:\n  idle_timeout: 1ms")
        lines = [line.partition(": ")[2] for line in log.splitlines()]
        assert lines == [
            "sttpd.yaml:2:20: cache.max_files: expected a whole number above 0, got 'none'",
            "sttpd.yaml:3:1: prot: unknown key; did you mean port?",
            "the configuration was not reloaded; everything is as it was",
        ]
        (tmp_path / "sttpd.yaml").unlink()
        server.send_signal(signal.SIGHUP)
        server.wait_for("sttpd.yaml: cannot be read: No such file or directory")
        server.wait_for("everything is as it was")
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"
        assert "cache.max_files is 6 (was 5)" in server.reload(processes + "cache: {max_files: 6}")


BROKEN = {
    "port": "Address already in use",
    "access log": "none/x: No such file or directory",
    "pipe": "pipe: it is a pipe that nobody reads",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_one_thing_that_fails_and_everything_is_as_it_was(tmp_path: Path, processes: str, broken: str) -> None:
    fresh = tmp_path / "fresh.sock"
    with operated(tmp_path, processes) as server, held("127.0.0.1") as taken, server.connect() as wire:
        wire.ask(b"CREATE /a x")
        wire.ask(b"SHOW /a")
        (server.docroot / "a").write_text("behind its back")
        os.mkfifo(tmp_path / "pipe")
        access = {"port": "x", "access log": "none/x", "pipe": "pipe"}[broken]
        settings = f"{processes}cache: {{enabled: false}}\nlog: {{access: {access}}}\n"
        settings += f"listen_address: [{fresh}, 127.0.0.1]\nport: {taken if broken == 'port' else 0}"
        log = server.reload(settings)
        assert BROKEN[broken] in log
        assert "everything is as it was" in log
        assert not fresh.exists()
        assert wire.ask(b"SHOW /a") == b"200 /a OK\nx\n", "still from the cache"
        with server.connect() as another:
            assert another.ask(b"LIST /") == b"200 / OK\na\n"
        assert "nothing has changed" in server.reload(processes)


def test_what_cannot_change_is_named_and_stays(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes) as server, server.connect() as wire:
        log = server.reload("docroot: elsewhere\nsync: false\ndisk_threads: 9\nprocesses: 3\ncache: {max_files: 5}")
        assert f'docroot stays "{server.docroot}"; it takes a restart to make it "{tmp_path / "elsewhere"}"' in log
        for said in ("sync stays true", "disk_threads stays 4", "processes stays", "cache.max_files is 5 (was 100)"):
            assert said in log
        assert log.count(" warning ") == 4
        assert wire.ask(b"CREATE /a x") == b"100 /a CREATED\n"
        assert (server.docroot / "a").read_text() == "x"
        assert not (tmp_path / "elsewhere").exists()


def test_settings_that_contradict_one_that_stays(tmp_path: Path) -> None:
    """Right on its own: but the docroot is still the old one, and there an access log would be a snippet."""
    with operated(tmp_path) as server:
        log = server.reload(f"docroot: elsewhere\nlog: {{access: {server.docroot / 'log'}}}")
        assert f"log.access: lies in the docroot, {server.docroot}" in log
        assert "everything is as it was" in log
        assert not (server.docroot / "log").exists()


def test_those_that_are_stuck_are_all_told_of_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one takes all the time there is."""
    monkeypatch.setattr(children_module, "CONTROL_SECONDS", 0.05)
    with contextlib.ExitStack() as stack:
        children = Children()
        for index in range(2):
            ours, theirs = Control.pair()
            stack.enter_context(contextlib.closing(ours))
            stack.enter_context(contextlib.closing(theirs))
            children.add(Child(index, -index, ours))
        expected = [f"process {index}: does not answer: nothing within 0.05 s" for index in range(2)]
        assert children.order("prepare") == expected


def test_a_process_that_starts_later_has_the_new_settings(tmp_path: Path) -> None:
    path = tmp_path / "late.sock"
    with operated(tmp_path, "processes: 2") as server:
        server.reload(f"processes: 2\nlisten_address: [127.0.0.1, {path}]\nlimits: {{max_line: 100}}")
        children = Path(f"/proc/{server.pid}/task/{server.pid}/children")
        for pid in children.read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        for _ in range(2):
            server.wait_for(r"process \d serves again")
        for address in [*server.addresses] * 2:
            with server.connect(address) as wire:
                assert wire.ask(b"CREATE /a " + b"x" * 100).startswith(b"300 - CLIENT ERROR")


def test_under_load_nobody_notices(tmp_path: Path, processes: str) -> None:
    """Six clients ask without a pause, some with a new connection each time, while everything changes twenty times."""
    sockets = [tmp_path / "even.sock", tmp_path / "odd.sock"]

    def settings(turn: int) -> str:
        return (
            f"{processes}listen_address: [127.0.0.1, {sockets[0]}, {sockets[1 if turn % 2 else 0]}]\n".replace(
                f"{sockets[0]}, {sockets[0]}", f"{sockets[0]}"
            )
            + f"cache: {{enabled: {'yes' if turn % 3 else 'no'}, max_files: {turn + 1}}}\n"
            + f"limits: {{idle_timeout: {turn + 5}}}\nlog: {{access: {'log' if turn % 2 else 'false'}}}"
        )

    with operated(tmp_path, settings(0)) as server:
        server.converse(b"CREATE /a x\n")
        done = threading.Event()
        answered: list[int] = []
        faults: list[object] = []

        def keep_asking(fresh: bool) -> None:
            count = 0
            try:
                while not done.is_set():
                    with Wire(str(sockets[0]) if count % 2 else server.addresses[0]) as wire:
                        for _ in range(1 if fresh else 100):
                            wire.send(b"SHOW /a\nUPDATE /a x\nSHOW /a\n")
                            replies = [wire.reply() for _ in range(3)]
                            assert replies == [b"200 /a OK\nx\n"] * 3
                            count += 1
            except Exception as error:
                faults.append(error)
            answered.append(count)

        clients = [threading.Thread(target=keep_asking, args=(number < 3,)) for number in range(6)]
        for client in clients:
            client.start()
        for turn in range(1, 21):
            log = server.reload(settings(turn))
            assert "everything is as it was" not in log, log
        done.set()
        for client in clients:
            client.join()
        assert faults == []
        assert min(answered) > 0


def test_a_second_reload_waits_for_the_first(tmp_path: Path, processes: str) -> None:
    with operated(tmp_path, processes) as server:
        for _ in range(10):
            server.send_signal(signal.SIGHUP)
        server.reload(processes + "cache: {max_files: 5}")
        while "cache.max_files is 5" not in server.log:
            server.wait_for("reloaded")
