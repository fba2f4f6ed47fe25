"""The gateway as an operator has it: switched on and off, drained, limited, logged; its health and its metrics."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from certificates import certificate, client_context, key
from running import PATIENCE_SECONDS, Wire
from web import StartWeb, Web

from sttp_reactor.gateway.prometheus import HELP


def test_health(web: Web) -> None:
    assert (web.get("/healthz").status, web.get("/readyz").status) == (200, 200)
    aside = web.folder.with_name("aside")
    web.folder.rename(aside)
    try:
        answer = web.get("/readyz")
        assert answer.problem == (503, "The store cannot be read: the docroot is missing.")
        assert web.get("/files/a").problem == (503, "The docroot is missing.")
        assert web.get("/healthz").status == 200
    finally:
        aside.rename(web.folder)
    assert web.get("/readyz").status == 200


def test_it_drains_what_has_been_asked(start_web: StartWeb) -> None:
    web = start_web()
    web.write("a", b"text")
    assert web.get("/files/a").body == b"text"  # kept alive, and idle
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE_SECONDS) as half:
        half.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n")
        web.get("/healthz")  # so that the server has read that
        web.sttpd.send_signal(signal.SIGTERM)
        assert web.client.sock.recv(1) == b""  # the idle one has been closed
        half.sendall(b"\r\n")
        with half.makefile("rb") as file:
            received = file.read()
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"Connection: close" in received
    web.sttpd.ends()


def test_its_connections_are_connections_of_the_server(start_web: StartWeb) -> None:
    web = start_web("limits.max_connections=2", "processes=1")
    web.get("/healthz")
    with web.sttpd.connect() as wire:
        assert wire.ask(b"LIST /\n").startswith(b"200")
        with socket.create_connection(("127.0.0.1", web.port), PATIENCE_SECONDS) as third, third.makefile("rb") as file:
            head, _, body = file.read().partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert body == b"Too many connections; try again later.\n"


def test_one_line_each_in_the_access_log(start_web: StartWeb) -> None:
    web = start_web("log.access=access.log", "log.format=json")
    web.write("a", b"text")
    for _ in range(3):  # no quick way
        web.get("/files/a")
    web.ask("DELETE", "/files/%01")
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE_SECONDS) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        while sock.recv(1000):
            pass
    web.client.close()
    web.sttpd.stop()
    lines = [json.loads(line) for line in (web.folder.parent / "access.log").read_text().splitlines()]
    seen = [(line["action"], line["path"], line["status"]) for line in lines]
    assert seen == [*[("GET", "/files/a", 200)] * 3, ("DELETE", "/files/%01", 403), ("-", "-", 501)]
    assert lines[0]["bytes"] == 4


def test_rules_hold_for_it_too(start_web: StartWeb, tmp_path: Path) -> None:
    config = tmp_path / "sttpd.yaml"
    config.write_text(
        "access:\n  - {who: 127.0.0.1, may: read, below: /public}\n  - {who: anybody, may: none, below: /}\n"
    )
    web = start_web("http.write=true", config=config)
    web.write("public/a", b"public")
    web.write("private/a", b"private")
    for _ in range(3):
        assert web.get("/files/public/a").body == b"public"
        assert web.get("/files/private/a").problem == (403, "You may neither read nor write here.")
        assert web.get("/files/").problem[0] == 403


def test_a_reload_opens_and_closes_it(start_web: StartWeb, tmp_path: Path) -> None:
    config = tmp_path / "sttpd.yaml"
    config.write_text("log: {level: info}\n")
    web = start_web(config=config)
    web.write("a", b"text")
    assert web.get("/files/a").status == 200
    assert web.get("/files/a", Host="notes.example").status == 421
    config.write_text("http: {host_names: [notes.example]}\n")
    web.sttpd.send_signal(signal.SIGHUP)
    web.until(lambda: web.get("/files/a", Host="Notes.Example:81").status == 200)
    assert web.get("/files/a").status == 200


def test_off_it_is_not_there_and_costs_no_import(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from sttp_reactor.cli.sttpd import main\n"
        "main(['-t', '-a', '127.0.0.1'])\n"
        "import sttp_reactor.daemon.run\n"
        "print([name for name in sys.modules if 'httptools' in name or '.gateway' in name or '.http' in name])\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert result.stdout.splitlines()[-1] == "[]", result


def test_without_the_extra_one_line_says_how_to_install_it(tmp_path: Path) -> None:
    program = "import sys; sys.modules['httptools'] = None; from sttp_reactor.cli.sttpd import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "-p", "0", "-d", "files", "-o", "http.enabled=true"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert result.returncode == 78
    assert "http.enabled needs the package httptools: pip install 'sttp_reactor[http]'" in result.stderr


def test_tls(start_web: StartWeb) -> None:
    files = f"tls.certificate={certificate('server')}", f"tls.key={key('server')}", "tls.port=0"
    web = start_web("http.tls=true", *files, tls=client_context())
    web.write("a", b"text")
    assert [web.get("/files/a").body for _ in range(2)] == [b"text"] * 2
    plain = http.client.HTTPConnection("127.0.0.1", web.port, timeout=PATIENCE_SECONDS)
    plain.request("GET", "/files/a")
    response = plain.getresponse()
    assert (response.status, response.read()) == (400, b"This port speaks TLS; use https://.\n")
    plain.close()


def test_a_unix_socket(start_web: StartWeb, tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    web = start_web(f"http.listen_address=127.0.0.1,{path}")
    with Wire(str(path)) as wire:
        wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert wire.rest().startswith(b"HTTP/1.1 200 OK\r\n")
    web.client.close()
    web.sttpd.stop()
    assert not path.exists()


def test_several_processes_answer_for_all(start_web: StartWeb) -> None:
    web = start_web("processes=2")
    web.write("a", b"one")
    for number in range(20):
        web.client.close()  # the next connection may be the other process's
        assert web.get("/files/a").body == (b"one" if number < 10 else b"two")
        if number == 9:
            assert web.say("UPDATE /a two\n") == b"200 /a OK\ntwo\n"

    def everybody_knows() -> bool:
        """They tell each other once a second."""
        known = []
        for _ in range(8):
            web.client.close()
            known.append('sttp_requests_total{action="UPDATE",status="200"} 1\n' in web.get("/metrics").body.decode())
        return all(known)

    web.until(everybody_knows)


def test_every_metric_says_what_it_is(web: Web) -> None:
    text = web.get("/metrics").body.decode()
    typed = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert sorted(set(typed)) == typed
    assert [name for name in typed if name not in HELP] == []
    assert "/files" not in text


def test_prometheus_own_parser_reads_the_metrics(web: Web) -> None:
    parser = pytest.importorskip("prometheus_client.parser", reason="prometheus-client")
    web.get("/files/none")
    families = {
        family.name: family for family in parser.text_string_to_metric_families(web.get("/metrics").body.decode())
    }
    assert families["sttp_request_duration_seconds"].type == "histogram"
    assert {sample.labels["action"] for sample in families["sttp_requests"].samples} >= {"SHOW"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool")
def test_promtool_is_content(web: Web) -> None:
    text = web.get("/metrics").body
    result = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=30)
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")


def closed(web: Web, reason: str) -> float:
    [line] = [
        line
        for line in web.get("/metrics").body.decode().splitlines()
        if line.startswith("sttp_connections_closed_total{") and f'"{reason}"' in line
    ]
    return float(line.split()[-1])


@pytest.mark.parametrize(
    ("limit", "sent", "answered"),
    [("idle_timeout", b"", b""), ("request_timeout", b"GET /healthz HTTP/1.1\r\nHo", b"HTTP/1.1 408 ")],
)
def test_a_time_limit_that_ends_a_connection_is_counted_as_on_the_other_door(
    start_web: StartWeb, limit: str, sent: bytes, answered: bytes
) -> None:
    web = start_web(f"limits.{limit}=0.3", "processes=1")
    with socket.create_connection(("127.0.0.1", web.port), PATIENCE_SECONDS) as sock, sock.makefile("rb") as file:
        sock.sendall(sent)
        assert file.read().startswith(answered)
    web.client.close()  # which may have been idle for as long
    assert closed(web, limit) >= 1
    assert closed(web, "write_timeout") == 0


def test_a_peer_that_reads_nothing_is_counted_when_it_is_given_up(start_web: StartWeb) -> None:
    web = start_web("limits.write_timeout=0.5", "processes=1")
    web.write("a", b"x" * 160)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.settimeout(0.2)
        sock.connect(("127.0.0.1", web.port))
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline and not closed(web, "write_timeout"):
            try:
                sock.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500)
            except TimeoutError:
                pass
            except OSError:
                time.sleep(0.05)
    assert closed(web, "write_timeout") == 1


def test_the_report_shows_its_connections_too(start_web: StartWeb) -> None:
    web = start_web("processes=1")
    web.get("/healthz")
    peer = f"127.0.0.1:{web.client.sock.getsockname()[1]}"
    web.sttpd.send_signal(signal.SIGUSR2)
    web.get("/healthz")
    web.sttpd.stop()
    assert f"connection <http.Session {peer}: " in web.sttpd.log
