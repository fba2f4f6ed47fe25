"""What goes wrong around a server, and that it goes on by itself when that is over.

Peers that read nothing, reset, or vanish without a word; workers that are to die; a clock that jumps; a queue, a table
of descriptors or a disk that is full.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import re
import resource
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import PATIENCE_SECONDS, Start, Stopwatch, Sttpd, Wire

from sttp_reactor.limits import DISK_THREADS, QUEUED_JOBS, REQUESTS_IN_FLIGHT

FAULTY = str(Path(__file__).with_name("faulty_sttpd.py"))
SHORT = 0.3
MEGABYTE = 1 << 20

# SO_LINGER with no time: close sends a reset.
RESET = struct.pack("ii", 1, 0)
# With this set, close says nothing to the peer (Linux, for who may administer the network).
TCP_REPAIR = 19

# What is looked up of a process is the server's, not that of a parent of several.
ALONE = ("-o", "processes=1")

needs_proc = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not tell of a process")


def descriptors(server: Sttpd) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))


def memory(server: Sttpd) -> int:
    """Bytes, with the pages of libraries divided by those who share them."""
    rollup = Path(f"/proc/{server.pid}/smaps_rollup").read_text()
    return 1024 * int(rollup.partition("\nPss:")[2].split()[0])


def wait_until(condition: Callable[[], bool], otherwise: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.01)


def status_of(reply: bytes) -> int:
    return int(reply[:3])


# -- Peers --


def reset(wire: Wire) -> None:
    wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    wire.close()


@needs_proc
def test_a_reset_in_the_middle_of_the_replies(start: Start) -> None:
    """What waits to be sent, and what is still to be asked, goes with the connection; nobody else notices."""
    server = start(*ALONE)
    with server.connect() as wire:
        assert wire.ask(b"CREATE /a " + b"x" * 160) == b"100 /a CREATED\n"
        before = descriptors(server)
        for script in (b"SHOW /a\n" * 10_000, b"SHOW /b\nLIST /\nSHOW /a\n" * 100):
            for _ in range(5):
                rude = server.connect()
                rude.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                rude.send(script)
                assert rude.socket.recv(100)
                reset(rude)
                assert wire.ask(b"SHOW /a") == b"200 /a OK\n" + b"x" * 160 + b"\n"
        wait_until(lambda: descriptors(server) == before, "descriptors of connections that were reset stay open")
        assert wire.ask(b"UPDATE /a y") == b"200 /a OK\ny\n"


def vanish(wire: Wire) -> None:
    """Without a word, as a machine that has lost its power: neither FIN nor RST is sent."""
    with wire:
        try:
            wire.socket.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError as error:
            pytest.skip(f"no way to make a half-open connection here: {error}")


@needs_proc
def test_half_open_connections_are_given_up(start: Start) -> None:
    """One that has never spoken, one that has been answered, one in the middle of a line, two with a request open."""
    server = start(*ALONE, "-o", f"limits.idle_timeout={SHORT}", "-o", f"limits.request_timeout={SHORT}")
    before = descriptors(server)
    for script in (b"", b"LIST /\n", b"CREATE /half a li", b"CREATE /whole text\n", b"SHOW /none\n" * 100):
        wire = server.connect()
        wire.send(script)
        vanish(wire)
    assert server.converse(b"LIST /\n").startswith(b"200 / "), "who comes later is accepted later"
    wait_until(lambda: descriptors(server) == before, "half-open connections stay")
    assert server.converse(b"SHOW /half\nSHOW /whole\n") == b"400 /half NOT FOUND\n200 /whole OK\ntext\n"


# Until each worker thread has had its turn.
WAVES = 5
NAMES = int(os.environ.get("STTP_LIST_NAMES", "200000"))
UNREAD = 4


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """A directory of many names, in memory where there is room: most disks take half a minute to make it."""
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    docroot = Path(tempfile.mkdtemp(prefix="sttp-list-", dir=in_memory))
    try:
        (docroot / "large").mkdir()
        folder = os.open(docroot / "large", os.O_RDONLY)
        for number in range(NAMES):
            os.mknod(b"%032d" % number, stat.S_IFREG | 0o644, dir_fd=folder)
        os.close(folder)
        (tmp_path / "files").symlink_to(docroot)
        yield docroot / "large"
    finally:
        shutil.rmtree(docroot)


@needs_proc
@pytest.mark.long
@pytest.mark.timeout(240)
def test_huge_lists_that_nobody_reads(start: Start, large: Path) -> None:
    """Others are served meanwhile; the memory is what a bounded number of lists takes; the clients are cut off, and
    the next ones take no more than they did."""
    server = start(*ALONE, "-o", "limits.write_timeout=1")
    others: list[float] = []
    with server.connect() as wire:
        wire.ask(b"CREATE /a text")
        wire.ask(b"SHOW /a")
        base, before = memory(server), descriptors(server)
        waves = [_wave_of_lists(server, wire, before, others) for _ in range(WAVES)]
        with server.connect() as rude:
            rude.send(b"LIST /large/\n")
            assert rude.socket.recv(1000).startswith(b"200 /large/ OK\n000")
            reset(rude)
        wait_until(lambda: descriptors(server) == before, "the descriptor of one that has reset stays open")
        assert wire.ask(b"SHOW /a") == b"200 /a OK\ntext\n"
    used = ", ".join(f"{peak / MEGABYTE:.0f} and {after / MEGABYTE:.0f}" for peak, after in waves)
    print(
        f"{NAMES} names for {UNREAD} clients that do not read; {base / MEGABYTE:.0f} MB before; most and after: {used}"
    )
    print(f"p99 of a cached SHOW meanwhile: {min(others) * 1000:.0f} ms")
    # A name costs some 200 bytes while a list is made, in each of the worker threads, and 34 of each reply, which those
    # who wait for it share; then fragments of the heap, of each thread's own, which is why it takes some waves.
    assert max(peak for peak, _ in waves) - base < (DISK_THREADS * 200 + UNREAD * 34) * NAMES
    (_, after_before), (_, after) = waves[-2:]
    assert after < 1.2 * after_before + 16 * MEGABYTE
    assert min(others) < 0.5, "others wait for those who do not read"


def _wave_of_lists(server: Sttpd, wire: Wire, before: int, others: list[float]) -> tuple[int, int]:
    """The peak of the memory and what is left of it; adds the p99 of another client's cached SHOWs."""
    wires = [server.connect() for _ in range(UNREAD)]
    peak, seconds = 0, []
    for each in wires:
        each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        each.send(b"LIST /large/\n")
    wait_until(lambda: descriptors(server) >= before + UNREAD, "not accepted")
    deadline = time.monotonic() + 90
    while descriptors(server) > before:
        assert time.monotonic() < deadline, "who does not read is not cut off"
        with Stopwatch() as watch:
            assert wire.ask(b"SHOW /a") == b"200 /a OK\ntext\n"
        seconds.append(watch.seconds)
        peak = max(peak, memory(server))
        time.sleep(0.005)  # not to measure what we cost ourselves
    for each in wires:
        each.close()
    others.append(sorted(seconds)[int(len(seconds) * 0.99)])
    return peak, memory(server)


# -- Workers --


def test_workers_that_are_to_die_live_on(start: Start) -> None:
    """Far more often than there are workers; each request is answered 500, whoever else asks is served."""
    server = start(command=[sys.executable, FAULTY, "show,commit", "SystemExit"])
    times = 3 * DISK_THREADS
    with server.connect() as wire:
        for number in range(times):
            assert status_of(wire.ask(b"SHOW /%d" % number)) == 500
            assert status_of(wire.ask(b"CREATE /%d x" % number)) == 500
        assert wire.ask(b"LIST /") == b"200 / OK\n\n"
    # It is told, and that is all that may be in the log: `finish` takes any other traceback for a failure.
    server.send_signal(signal.SIGTERM)
    with contextlib.suppress(AssertionError):
        server.ends()
    assert server.process.returncode == 0
    assert server.log.count("a job failed") == 2 * times


@needs_proc
def test_a_full_queue_answers_everybody_once_the_disk_is_back(start: Start, tmp_path: Path) -> None:
    """More requests than the queue holds, of more clients than it takes to fill it; then the disk comes back."""
    hang = tmp_path / "hang"
    server = start(command=[sys.executable, FAULTY, "show,commit", str(hang)])
    clients = 2 * QUEUED_JOBS // REQUESTS_IN_FLIGHT
    with server.connect() as wire, contextlib.ExitStack() as stack:
        wire.ask(b"CREATE /hot text")
        wire.ask(b"SHOW /hot")
        before = memory(server)
        hang.touch()
        wires = [stack.enter_context(server.connect()) for _ in range(clients)]
        for number, each in enumerate(wires):
            each.send(b"".join(b"SHOW /%d-%d\n" % (number, place) for place in range(REQUESTS_IN_FLIGHT)))
            each.send(b"CREATE /%d text\nSHOW /%d\n" % (number, number))
        for _ in range(10):
            assert wire.ask(b"SHOW /hot") == b"200 /hot OK\ntext\n", "what is cached needs no disk"
        assert memory(server) - before < 32 * MEGABYTE
        hang.unlink()
        for number, each in enumerate(wires):
            for place in range(REQUESTS_IN_FLIGHT):
                assert each.reply() == b"400 /%d-%d NOT FOUND\n" % (number, place)
            assert each.reply() == b"100 /%d CREATED\n" % number
            assert each.reply() == b"200 /%d OK\ntext\n" % number
        assert wire.ask(b"UPDATE /hot new") == b"200 /hot OK\nnew\n"


@needs_proc
def test_without_descriptors_for_files_requests_are_500_until_there_are_some(start: Start) -> None:
    """Connections have taken them all. What is cached is served; what needs a file says why it cannot be."""
    few = 60
    server = start(*ALONE, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (few, few)))
    with server.connect() as wire:
        assert wire.ask(b"CREATE /cached text") == b"100 /cached CREATED\n"
        assert wire.ask(b"SHOW /cached") == b"200 /cached OK\ntext\n"
        wires = [server.connect() for _ in range(few)]
        wait_until(lambda: descriptors(server) >= few - 1, "it does not accept as many as it can")
        assert wire.ask(b"SHOW /cached") == b"200 /cached OK\ntext\n"
        for request in (b"SHOW /none", b"LIST /", b"CREATE /new text", b"UPDATE /cached new", b"DELETE /cached"):
            assert status_of(wire.ask(request)) == 500, request
        for each in wires:
            each.close()
        wait_until(lambda: descriptors(server) < few // 2, "descriptors stay open")
        assert (server.docroot / "cached").read_text() == "text"
        assert wire.ask(b"LIST /") == b"200 / OK\ncached\n"
        assert wire.ask(b"UPDATE /cached new") == b"200 /cached OK\nnew\n"
        assert wire.ask(b"CREATE /new text") == b"100 /new CREATED\n"


# -- Clocks --

# Every look at the wall clock finds it hours away from the one before, now ahead, now back.
JUMPING = """
import itertools, sys, time
jumps = itertools.cycle((5 * 3600.0, -7 * 3600.0))
def jumping(tell, unit):
    return lambda *arguments: tell(*arguments) + int(next(jumps) * unit)
time.time, time.time_ns = jumping(time.time, 1), jumping(time.time_ns, 10**9)
tell = time.clock_gettime
time.clock_gettime = lambda clock: jumping(tell, 1)(clock) if clock == time.CLOCK_REALTIME else tell(clock)
from sttp_reactor.cli.sttpd import main
sys.exit(main())
"""


def test_a_wall_clock_that_jumps_cuts_no_session_and_keeps_no_entry(start: Start, tmp_path: Path) -> None:
    command = [sys.executable, "-c", JUMPING]
    server = start("-o", "cache.expiration=3600", "--access-log", "access.log", command=command)
    short = ("-o", f"cache.expiration={SHORT}", "-o", f"limits.idle_timeout={2 * SHORT}")
    hasty = start(*short, docroot="other files", command=command)
    with server.connect() as wire, server.connect() as silent, server.connect() as halfway:
        halfway.send(b"SHOW /a")
        assert wire.ask(b"CREATE /a old") == b"100 /a CREATED\n"
        assert wire.ask(b"SHOW /a") == b"200 /a OK\nold\n"
        (server.docroot / "a").write_text("new")
        with hasty.connect() as other, hasty.connect() as idle, Stopwatch() as watch:
            # Another server's entry goes when its short time is over.
            assert other.ask(b"CREATE /a new") == b"100 /a CREATED\n"
            assert other.ask(b"SHOW /a") == b"200 /a OK\nnew\n"
            (hasty.docroot / "a").write_text("newer")
            wait_until(lambda: other.ask(b"SHOW /a") == b"200 /a OK\nnewer\n", "an entry outlives its time")
            assert idle.rest() == b"", "an idle connection is closed in its time"
            assert watch.so_far > 1.8 * SHORT
        for _ in range(20):
            assert wire.ask(b"SHOW /a") == b"200 /a OK\nold\n", "an entry expires before its time"
        halfway.send(b"\n")
        assert halfway.reply() == b"200 /a OK\nold\n"
        assert silent.ask(b"SHOW /a") == b"200 /a OK\nold\n"
    server.stop()
    hours = {line.split(" ")[0][:13] for line in (tmp_path / "access.log").read_text().splitlines()}
    assert len(hours) > 1, "the clock did not jump"


# -- Disks --


@contextlib.contextmanager
def mounted(folder: Path) -> Iterator[Path]:
    """A file system of a megabyte. Skips where that is not permitted."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount")
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"cannot mount here: {made.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> None:
    with open(folder / "filling", "wb", buffering=0) as file:
        try:
            while file.write(bytes(512)):
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


WRITES = (b"CREATE /d/new " + b"x" * 160, b"UPDATE /d/a " + b"y" * 160, b"DELETE /d/b")


def test_a_disk_that_is_full_for_a_while(start: Start, tmp_path: Path) -> None:
    """Of a real file system: the right 5xx, nothing by halves, and no restart when it is over."""
    with mounted(tmp_path / "files") as mount:
        server = start()
        with server.connect() as wire:
            assert wire.ask(b"CREATE /d/a old") == b"100 /d/a CREATED\n"
            assert wire.ask(b"CREATE /d/b old") == b"100 /d/b CREATED\n"
            fill(mount)
            assert re.fullmatch(rb'500 /d/new SERVER ERROR "the disk is full"\n', wire.ask(WRITES[0]))
            assert wire.ask(b"CREATE /e/f/new text")[:3] in (b"500", b"510")
            assert wire.ask(b"SHOW /d/a") == b"200 /d/a OK\nold\n"
            assert wire.ask(b"LIST /d") == b"200 /d OK\na, b\n"
            assert os.listdir(mount / ".sttp" / "tmp") == []
            (mount / "filling").unlink()
            assert wire.ask(b"CREATE /d/new old") == b"100 /d/new CREATED\n"
            assert wire.ask(b"UPDATE /d/a new") == b"200 /d/a OK\nnew\n"


def test_a_disk_that_is_read_only_for_a_while(start: Start, tmp_path: Path) -> None:
    """From the start, because no system makes a file system read-only under an open journal on demand."""
    with mounted(tmp_path / "files") as mount:
        (mount / "d").mkdir()
        for name in ("a", "b"):
            (mount / "d" / name).write_text("old")
        subprocess.run(["mount", "-o", "remount,ro", str(mount)], check=True)
        server = start()
        with server.connect() as wire:
            assert [status_of(wire.ask(request)) for request in WRITES] == [500] * 3
            assert wire.ask(b"SHOW /d/b") == b"200 /d/b OK\nold\n"
            subprocess.run(["mount", "-o", "remount,rw", str(mount)], check=True)
            assert [status_of(wire.ask(request)) for request in WRITES] == [100, 200, 600]
        assert sorted(os.listdir(mount / "d")) == ["a", "new"]
        assert (mount / "d" / "a").read_text() == "y" * 160
        server.stop()


def test_a_docroot_that_is_removed_and_made_anew(start: Start) -> None:
    server = start("-o", "cache.enabled=false")
    with server.connect() as wire:
        assert wire.ask(b"CREATE /d/a old") == b"100 /d/a CREATED\n"
        shutil.rmtree(server.docroot)
        for request in (b"SHOW /d/a", b"LIST /", *WRITES):
            assert status_of(wire.ask(request)) == 500, request
        server.docroot.mkdir()
        assert wire.ask(b"LIST /") == b"200 / OK\n\n", "and nothing of the old one comes back"
        assert wire.ask(b"CREATE /d/a new") == b"100 /d/a CREATED\n"
        assert (server.docroot / "d" / "a").read_text() == "new"


PR_CAPBSET_DROP = 24
OVERRIDES = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH


def obey_permissions() -> None:
    """For root, whom no permission keeps out: the program that is started next will be."""
    for capability in OVERRIDES if os.geteuid() == 0 else ():
        if ctypes.CDLL(None, use_errno=True).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl")


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "prctl"), reason="root cannot be kept out here")
def test_a_permission_that_is_lost_and_given_back(start: Start) -> None:
    server = start("-o", "cache.enabled=false", preexec_fn=obey_permissions)
    folder = server.docroot / "d"
    with server.connect() as wire:
        assert wire.ask(b"CREATE /d/a old") == b"100 /d/a CREATED\n"
        assert wire.ask(b"CREATE /d/b old") == b"100 /d/b CREATED\n"
        try:
            folder.chmod(0o500)
            assert [status_of(wire.ask(request)) for request in (WRITES[0], WRITES[2])] == [500, 500]
            assert status_of(wire.ask(b"CREATE /d/e/f text")) == 510
            folder.chmod(0)
            assert [status_of(wire.ask(request)) for request in (b"SHOW /d/a", b"LIST /d", *WRITES)] == [500] * 5
            assert wire.ask(b"CREATE /e x") == b"100 /e CREATED\n", "elsewhere all is well"
        finally:
            folder.chmod(0o700)
        assert wire.ask(b"LIST /d") == b"200 /d OK\na, b\n"
        assert wire.ask(b"SHOW /d/a") == b"200 /d/a OK\nold\n"
        assert [status_of(wire.ask(request)) for request in WRITES] == [100, 200, 600]
