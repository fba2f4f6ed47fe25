"""sttpc stats: the figures of a real server, and what it says where there are none."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import threading

import pytest
from certificates import CA, certificate, client_context, key
from running import PATIENCE_SECONDS
from web import StartWeb, Web

from sttp_reactor.cli.sttpc_stats import Figures, parse_figures, quantile, table

STTPC = [sys.executable, "-c", "import sys; from sttp_reactor.cli.sttpc import main; sys.exit(main())", "stats"]


def stats(*arguments: str) -> tuple[int, str, str]:
    result = subprocess.run([*STTPC, *arguments], capture_output=True, text=True, timeout=30)
    return result.returncode, result.stdout, result.stderr


def test_the_figures_of_a_server(web: Web) -> None:
    web.write("a", b"text")
    for _ in range(3):
        web.get("/files/a")
    code, out, err = stats(f"http://127.0.0.1:{web.port}")
    assert (code, err) == (0, "")
    rows = {line[:12].strip(): line[13:] for line in out.splitlines()}
    assert {"requests/s", "latency", "cache", "connections", "reactor lag", "process"} < {*rows}
    assert rows["cache"].startswith("66.7 % hits, 1 files")
    assert rows["connections"].startswith("0 STTP, 2 HTTP")
    code, out, _ = stats("-j", f"127.0.0.1:{web.port}")
    assert json.loads(out)["sttp_cache_files"] == 1


def test_it_watches_until_it_is_interrupted(web: Web) -> None:
    with subprocess.Popen(
        [*STTPC, "--watch", "-j", f"127.0.0.1:{web.port}"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            seen = [json.loads(process.stdout.readline())["process_cpu_seconds_total"] for _ in range(2)]
            assert seen[1] >= seen[0]
            process.send_signal(
                signal.SIGINT if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else signal.SIGTERM
            )
            assert process.wait(PATIENCE_SECONDS) in (130, -signal.SIGTERM)
        finally:
            process.kill()


def test_tls(start_web: StartWeb) -> None:
    files = f"tls.certificate={certificate('server')}", f"tls.key={key('server')}", "tls.port=0"
    web = start_web("http.tls=true", *files, tls=client_context())
    url = f"https://localhost:{web.port}"
    assert stats("--cacert", str(CA), url)[0] == 0
    assert stats("--insecure", url)[0] == 0
    code, _, err = stats(url)
    assert code == 7
    assert "certificate verify failed" in err


def test_what_is_no_server_with_figures(web: Web) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert stats("--timeout", "100ms", f"127.0.0.1:{port}")[0] == 28
    code, _, err = stats(f"127.0.0.1:{port}")
    assert (code, err) == (7, f"sttpc: http://127.0.0.1:{port}/metrics: Connection refused\n")
    assert stats(f"127.0.0.1:{web.sttpd.port}")[0] in (7, 8)  # STTP is not HTTP
    assert stats("ftp://x")[0] == 2
    assert stats("-p", "81")[0] == 2


def test_an_answer_of_something_else_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            sock, _ = listening.accept()
            with sock:
                sock.recv(1000)
                sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")

        thread = threading.Thread(target=answer)
        thread.start()
        code, _, err = stats(f"127.0.0.1:{listening.getsockname()[1]}")
        thread.join()
    assert code == 8
    assert err.endswith("these are no figures of an STTP server\n")


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.5), (0.9, 0.9), (0.99, 1.9), (1.0, 2.0)])
def test_quantiles(share: float, expected: float) -> None:
    before = [(1.0, 10.0), (2.0, 10.0), (float("inf"), 10.0)]
    now = [(1.0, 108.0), (2.0, 110.0), (float("inf"), 110.0)]
    found = quantile(share, now, before)
    assert found is not None
    assert found == pytest.approx(expected, abs=0.6)
    assert quantile(share, before, before) is None
    assert quantile(share, [(1.0, 0.0), (float("inf"), 5.0)], []) == 1.0  # it cannot say more


def test_rates_are_those_since_the_look_before() -> None:
    first = parse_figures('sttp_requests_total{action="SHOW",status="200"} 10\nnonsense\n# TYPE x\n', 5.0)
    second = Figures({'sttp_requests_total{action="SHOW",status="200"}': 30.0}, 7.0)
    assert dict(table(second, first))["requests/s"].startswith("10.0  SHOW 10.0  LIST 0.0")
