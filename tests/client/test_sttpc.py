"""sttpc as a whole: `main` with its arguments, against servers that know a table of replies."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from scripted_server import PATIENCE_SECONDS, Peer, ScriptedServer, answers, silence, table

from sttp_reactor.cli import sttpc
from sttp_reactor.client import Client, Endpoint
from sttp_reactor.errors import HostUnknown

Serve = Callable[..., ScriptedServer]
Run = Callable[..., tuple[int, str, str]]


class Stream(io.TextIOWrapper):
    """A standard stream that may say that it is a terminal."""

    def __init__(self, data: bytes = b"", *, is_terminal: bool = False, encoding: str = "utf-8") -> None:
        super().__init__(io.BytesIO(data), encoding=encoding)
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def content(self) -> str:
        self.flush()
        written = self.buffer
        assert isinstance(written, io.BytesIO)
        return written.getvalue().decode(self.encoding)


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run sttpc: exit code, standard output, standard error. Standard input is a terminal, unless `stdin` is given."""

    def start(*argv: str, stdin: bytes | None = None, typed: bytes = b"") -> tuple[int, str, str]:
        with Stream(typed if stdin is None else stdin, is_terminal=stdin is None) as stream:
            monkeypatch.setattr(sys, "stdin", stream)
            try:
                code = sttpc.main(argv)
            except SystemExit as end:
                code = int(str(end.code))
        captured = capfdbinary.readouterr()
        return code, captured.out.decode(), captured.err.decode()

    for name in ("STTPC_ADDRESS", "STTPC_PORT"):
        monkeypatch.delenv(name, raising=False)
    return start


@pytest.fixture
def ask(serve: Serve, run: Run) -> Run:
    """Run sttpc with `-p` of a server that knows `replies`, which it may ask on one connection."""

    def start(replies: dict[str, str], *argv: str, **options: bytes) -> tuple[int, str, str]:
        server = serve(table(replies))
        return run("-p", str(server.port), *argv, **options)

    return start


SHOW_A = {"SHOW /a": "200 /a OK\nBuy milk\n"}
SHOW_ALL = SHOW_A | {"SHOW /b": "200 /b OK\n\n", "SHOW /no": "400 /no NOT FOUND\n"}
LIST_ALL = {
    "LIST /": "200 / OK\na, d/, e/\n",
    "LIST /d/": "200 /d/ OK\nlong-name, z/\n",
    "LIST /d/z/": "200 /d/z/ OK\n\n",
    "LIST /e/": "400 /e/ NOT FOUND\n",
    "SHOW /a": "200 /a OK\nBuy milk\n",
    "SHOW /d/long-name": "200 /d/long-name OK\nü\n",
}


# -- The commands --


def test_show_prints_texts_over_one_connection(ask: Run) -> None:
    assert ask(SHOW_ALL, "show", "/a", "/b", "/a") == (0, "Buy milk\n\nBuy milk\n", "")


def test_show_goes_on_after_a_failure_and_exits_with_the_first(ask: Run) -> None:
    replies = SHOW_ALL | {"SHOW /bad": '500 /bad SERVER ERROR "disk full"\n'}
    code, out, err = ask(replies, "show", "/no", "/bad", "/a")
    assert (code, out) == (4, "Buy milk\n")
    assert err == "sttpc: /no: not found (400)\nsttpc: /bad: the server failed: disk full (500)\n"


def test_list_prints_a_name_a_line(ask: Run) -> None:
    assert ask(LIST_ALL, "list") == (0, "a\nd/\ne/\n", "")
    assert ask(LIST_ALL, "list", "/d/") == (0, "long-name\nz/\n", "")
    assert ask(LIST_ALL, "list", "/d/z/") == (0, "", "")


def test_list_recursively_prints_whole_paths_and_survives_a_failure(ask: Run) -> None:
    code, out, err = ask(LIST_ALL, "list", "-r")
    assert out.split() == ["/a", "/d/", "/e/", "/d/long-name", "/d/z/"]
    assert (code, err) == (4, "sttpc: /e/: not found (400)\n")


def test_list_without_the_last_slash(ask: Run) -> None:
    replies = LIST_ALL | {"LIST /d": "200 /d OK\nlong-name, z/\n"}
    assert ask(replies, "list", "-r", "/d") == (0, "/d/long-name\n/d/z/\n", "")


def test_list_long_has_lengths_and_texts(ask: Run) -> None:
    assert ask(LIST_ALL, "list", "-l", "/d/") == (0, "  1  long-name  ü\n  -  z/\n", "")


def test_list_long_of_many_files_is_pipelined_in_batches(ask: Run) -> None:
    names = [f"n{number:04}" for number in range(1_201)]
    replies = {f"SHOW /{name}": f"200 /{name} OK\n{name}\n" for name in names}
    code, out, _ = ask(replies | {"LIST /": f"200 / OK\n{', '.join(names)}\n"}, "list", "-l")
    assert code == 0
    assert out.splitlines() == [f"  5  {name}  {name}" for name in names]


def test_list_long_tells_what_cannot_be_shown(ask: Run) -> None:
    replies = {
        "LIST /": "200 / OK\na, b\n",
        "SHOW /a": '500 /a SERVER ERROR "not UTF-8"\n',
        "SHOW /b": "200 /b OK\n\n",
    }
    assert ask(replies, "list", "-l") == (5, "  0  b  \n", "sttpc: /a: the server failed: not UTF-8 (500)\n")


def test_a_list_with_names_that_mean_harm(ask: Run) -> None:
    replies = {"LIST /d/": "200 /d/ OK\n../, ./, , a//, ok/\n", "LIST /d/ok/": "200 /d/ok/ OK\n\n"}
    code, out, err = ask(replies, "list", "-r", "/d/")
    assert (code, out) == (8, "/d/ok/\n")
    assert err.splitlines() == [
        f"sttpc: /d/: the server lists '{name}', which is not a name" for name in ("../", "./", "", "a//")
    ]


def test_a_list_that_leads_too_deep(ask: Run) -> None:
    path = "/" + f"{'d' * 199}/" * 40
    replies = {
        f"LIST {path}": f"200 {path} OK\n{'n' * 33}, {'d' * 190}/, f\n",
        f"SHOW {path}f": f"200 {path}f OK\nx\n",
    }
    code, out, err = ask(replies, "list", "-rl", path)
    assert code == 8
    assert out.split()[-2:] == [f"{path}f", "x"]
    assert err.count("the server lists what it cannot be asked for") == 2


@pytest.mark.parametrize(("command", "reply"), [("create", "100 /a CREATED\n"), ("update", "200 /a OK\nx\n")])
def test_create_and_update_succeed_silently(ask: Run, command: str, reply: str) -> None:
    assert ask({f'{command.upper()} /a "Buy milk"': reply}, command, "/a", "Buy milk") == (0, "", "")


@pytest.mark.parametrize("text", ["", '"', '""', ' "x" ', "  ", "\t", "-x", "ü" * 160, "\u2028"])
def test_contents_arrive_as_they_are(ask: Run, text: str) -> None:
    replies = {f'CREATE /a "{text}"': "100 /a CREATED\n"}
    assert ask(replies, "create", "/a", "--", text) == (0, "", "")


def test_create_of_what_exists_is_refused(ask: Run) -> None:
    replies = {'CREATE /a "x"': '300 /a CLIENT ERROR "it exists; use UPDATE"\n'}
    assert ask(replies, "create", "/a", "x") == (3, "", "sttpc: /a: it exists; use UPDATE (300)\n")


def test_create_with_force_replaces(ask: Run) -> None:
    replies = {'CREATE /a "x"': '300 /a CLIENT ERROR "it exists"\n', 'UPDATE /a "x"': "200 /a OK\nx\n"}
    assert ask(replies, "create", "-f", "/a", "x") == (0, "", "")


def test_create_with_force_creates_what_vanishes_meanwhile(serve: Serve, run: Run) -> None:
    script = answers(b'300 /a CLIENT ERROR "it exists"\n', b"400 /a NOT FOUND\n", b"100 /a CREATED\n")
    assert run("-p", str(serve(script).port), "create", "-f", "/a", "x") == (0, "", "")


def test_create_with_force_gives_up_in_the_end(serve: Serve, run: Run) -> None:
    script = answers(*[b'300 /a CLIENT ERROR "it exists"\n', b"400 /a NOT FOUND\n"] * 3)
    code, _, err = run("-p", str(serve(script).port), "create", "-f", "/a", "x")
    assert (code, err) == (4, "sttpc: /a: not found (400)\n")


def test_create_with_force_over_a_directory(ask: Run) -> None:
    replies = {
        'CREATE /a "x"': '300 /a CLIENT ERROR "it exists"\n',
        'UPDATE /a "x"': '300 /a CLIENT ERROR "a directory"\n',
    }
    assert ask(replies, "create", "-f", "/a", "x") == (3, "", "sttpc: /a: a directory (300)\n")


def test_delete(ask: Run) -> None:
    replies = {
        "DELETE /a": "600 /a DELETED\n",
        "DELETE /b": "400 /b NOT FOUND\n",
        "DELETE /c/d": "410 /c/ PATH NOT FOUND\n",
    }
    assert ask(replies, "delete", "/a") == (0, "", "")
    assert ask(replies, "delete", "/b", "/c/d", "/a") == (
        4,
        "",
        "sttpc: /b: not found (400)\nsttpc: /c/d: not found, there is no directory /c/ (410)\n",
    )
    assert ask(replies, "delete", "-f", "/b", "/c/d", "/a") == (0, "", "")


def test_delete_with_force_pardons_nothing_else(ask: Run) -> None:
    replies = {"DELETE /a": '300 /a CLIENT ERROR "a directory"\n'}
    assert ask(replies, "delete", "-f", "/a") == (3, "", "sttpc: /a: a directory (300)\n")


def test_fetch(serve: Serve, run: Run) -> None:
    server = serve(table(SHOW_A), table(LIST_ALL), table({"SHOW /%61": "400 /%61 NOT FOUND\n"}))
    host = f"localhost:{server.port}"
    assert run("fetch", host, "/a") == (0, "Buy milk\n", "")
    assert run("fetch", host, "/") == (0, "a\nd/\ne/\n", "")
    assert run("fetch", host, "/%61") == (4, "", f"sttpc: {host}/%61: not found (400)\n")


def test_fetch_and_show_over_a_unix_socket(serve: Serve, run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    serve(table(SHOW_A), table(SHOW_A), path=path)
    assert run("fetch", path, "/a") == (0, "Buy milk\n", "")
    assert run("-a", path, "show", "/a") == (0, "Buy milk\n", "")


def test_a_unix_socket_has_one_spelling_everywhere(
    serve: Serve, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "s")
    serve(*[table(SHOW_A | {"LIST /": "200 / OK\na\n"})] * 4, path=path)
    assert run("fetch", f"unix:{path}", "/a") == (0, "Buy milk\n", "")
    assert run("-a", f"unix:{path}", "show", "/a") == (0, "Buy milk\n", "")
    assert run("list", f"unix:{path}") == (0, "a\n", "")
    monkeypatch.setenv("STTPC_ADDRESS", f"unix:{path}")
    assert run("show", "/a") == (0, "Buy milk\n", "")


def test_ping(serve: Serve, run: Run) -> None:
    reply = b"200 / OK\na\n"
    server = serve(*[answers(reply)] * 4)
    where = f"127.0.0.1:{server.port}"
    for arguments in (["ping", where], ["ping", f"sttp://{where}"], ["ping", f"sttp://{where}/a"]):
        code, out, err = run(*arguments)
        assert (code, err) == (0, "")
        assert out.startswith(f"{where} answers in ")
    assert run("-q", "ping", where) == (0, "", "")


def test_ping_takes_a_bare_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    pinged: list[str] = []

    def ping(client: Client) -> float:
        pinged.append(str(client.endpoint))
        return 0.0

    monkeypatch.setattr(Client, "ping", ping)
    assert run("ping", "localhost")[0] == 0
    assert run("ping")[0] == 0
    assert pinged == ["localhost:8080", "127.0.0.1:8080"]


def test_ping_of_a_full_server_fails(serve: Serve, run: Run) -> None:
    server = serve(answers(b'500 - SERVER ERROR "too many connections"\n'))
    code, out, err = run("-p", str(server.port), "ping")
    assert (code, out) == (5, "")
    assert err == f"sttpc: 127.0.0.1:{server.port}: the server failed: too many connections (500)\n"


# -- Which server --


def test_urls_name_their_servers(serve: Serve, run: Run) -> None:
    one, two = serve(table(SHOW_A)), serve(table({"SHOW /x y": "", "SHOW /ü": "200 /ü OK\nGrüße\n"}))
    urls = (f"sttp://127.0.0.1:{one.port}/a", f"127.0.0.1:{two.port}/%C3%BC", f"sttp://127.0.0.1:{one.port}/%61")
    assert run("show", *urls) == (0, "Buy milk\nGrüße\nBuy milk\n", "")
    assert (one.accepted, two.accepted) == (1, 1)


def test_the_environment_names_a_server(serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(table(SHOW_A), table(SHOW_A))
    monkeypatch.setenv("STTPC_ADDRESS", "localhost")
    monkeypatch.setenv("STTPC_PORT", str(server.port))
    assert run("show", "/a") == (0, "Buy milk\n", "")
    monkeypatch.setenv("STTPC_ADDRESS", "nosuch.invalid")
    monkeypatch.setenv("STTPC_PORT", "none")
    assert run("-a", "127.0.0.1", "-p", str(server.port), "show", "/a") == (0, "Buy milk\n", "")


def test_a_host_without_a_port_has_the_default_one(serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(*[table(SHOW_A | {"LIST /": "200 / OK\na\n"})] * 7)
    monkeypatch.setenv("STTPC_PORT", str(server.port))
    assert run("show", "127.0.0.1/a") == (0, "Buy milk\n", "")
    assert run("show", "sttp://127.0.0.1/a") == (0, "Buy milk\n", "")
    assert run("fetch", "127.0.0.1", "/a") == (0, "Buy milk\n", "")
    assert run("list", "127.0.0.1") == (0, "a\n", "")
    monkeypatch.setenv("STTPC_PORT", "none")
    assert run("-p", str(server.port), "show", "127.0.0.1/a", "/a", f"127.0.0.1:{server.port}/a")[0] == 0
    assert run("-p", str(server.port), "fetch", "127.0.0.1", "/a")[0] == 0
    assert run("show", f"127.0.0.1:{server.port}/a")[0] == 0


def test_a_path_without_its_slash_is_guessed_at(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(endpoint: Endpoint, deadline: float) -> list[object]:
        raise HostUnknown(f"unknown host {endpoint.host}")

    monkeypatch.setattr("sttp_reactor.client.client.resolve", unknown)
    assert run("show", "notes/today") == (
        6,
        "",
        "sttpc: notes/today: unknown host notes; a path begins with '/', as in /notes/today\n",
    )
    assert run("show", "sttp://notes/today")[2] == "sttpc: sttp://notes/today: unknown host notes\n"


def test_an_empty_variable_is_none(serve: Serve, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    server = serve(table(SHOW_A))
    monkeypatch.setenv("STTPC_ADDRESS", "")
    monkeypatch.setenv("STTPC_PORT", str(server.port))
    assert run("show", "/a") == (0, "Buy milk\n", "")


# -- Output --


def test_include_prints_status_lines(ask: Run) -> None:
    assert ask(SHOW_ALL, "-i", "show", "/a", "/no")[:2] == (4, "200 /a OK\nBuy milk\n400 /no NOT FOUND\n")
    assert ask(LIST_ALL, "list", "-i", "/d/")[1] == "200 /d/ OK\nlong-name\nz/\n"
    assert ask({'CREATE /a "x"': "100 /a CREATED\n"}, "-i", "create", "/a", "x")[1] == "100 /a CREATED\n"
    assert ask({"SHOW /a": '300 /a CLIENT ERROR "no"\n'}, "-i", "show", "/a")[1] == '300 /a CLIENT ERROR "no"\n'


def test_no_newline_is_about_the_last_line(ask: Run) -> None:
    assert ask(SHOW_ALL, "-n", "show", "/a")[1] == "Buy milk"
    assert ask(SHOW_ALL, "-n", "show", "/a", "/b", "/a")[1] == "Buy milk\n\nBuy milk"
    assert ask(LIST_ALL, "-n", "list", "/d/")[1] == "long-name\nz/"


def test_quiet_leaves_the_exit_code(ask: Run, run: Run) -> None:
    assert ask(SHOW_ALL, "-q", "show", "/no", "/a") == (4, "Buy milk\n", "")
    assert run("-q", "-p", "1", "show", "/a") == (7, "", "")


def test_json_has_an_object_for_each_reply(ask: Run) -> None:
    code, out, err = ask(SHOW_ALL, "-j", "show", "/a", "/no")
    assert (code, err) == (4, "")
    found, missing = map(json.loads, out.splitlines())
    server = found.pop("server")
    assert found == {
        "action": "SHOW",
        "path": "/a",
        "ok": True,
        "status": 200,
        "reply": "200 /a OK",
        "text": "Buy milk",
    }
    assert missing == {
        "server": server,
        "action": "SHOW",
        "path": "/no",
        "ok": False,
        "status": 400,
        "reply": "400 /no NOT FOUND",
        "message": "not found (400)",
    }


def test_json_of_a_list(ask: Run) -> None:
    _, out, _ = ask(LIST_ALL, "list", "-rlj", "/d/")
    objects = [json.loads(line) for line in out.splitlines()]
    assert [each.get("names", each.get("text")) for each in objects] == [["long-name", "z/"], "ü", []]


@pytest.mark.parametrize("command", [["delete", "/a"], ["ping"]])
def test_json_where_there_is_no_reply(run: Run, command: list[str]) -> None:
    code, out, err = run("-j", "-p", "1", *command)
    assert (code, err) == (7, "")
    found = json.loads(out)
    assert (found["action"], found["ok"], found["status"]) == (
        command[0].replace("delete", "DELETE").upper(),
        False,
        None,
    )
    assert found["error"] == "cannot connect"
    assert found["server"] == "127.0.0.1:1"
    assert "refused" in found["message"]


def test_json_of_a_ping(serve: Serve, run: Run) -> None:
    server = serve(answers(b"200 / OK\n\n"))
    code, out, _ = run("-j", "-p", str(server.port), "ping")
    assert code == 0
    assert json.loads(out)["seconds"] > 0


def test_json_of_a_pardoned_delete(ask: Run) -> None:
    code, out, _ = ask({"DELETE /a": "400 /a NOT FOUND\n"}, "-j", "delete", "-f", "/a")
    assert (code, json.loads(out)["ok"]) == (0, True)


def test_json_can_be_printed_anywhere(ask: Run) -> None:
    text = "ü\t\u202e\u2028\U000e0001"
    _, out, _ = ask({"SHOW /a": f"200 /a OK\n{text}\n"}, "-j", "show", "/a")
    assert json.loads(out)["text"] == text
    assert '"ü\\t\\u202e\\u2028\\udb40\\udc01"' in out


def test_time_goes_to_standard_error(ask: Run) -> None:
    code, out, err = ask(SHOW_A, "--time", "show", "/a")
    assert (code, out) == (0, "Buy milk\n")
    assert err.startswith("sttpc: /a: resolve ")
    assert ", connect " in err
    assert ", reply " in err


def test_time_in_json(ask: Run) -> None:
    _, out, err = ask(SHOW_A, "--time", "-j", "show", "/a")
    assert err == ""
    assert json.loads(out)["time"].keys() == {"resolve", "connect", "reply"}


def test_the_trace_goes_to_standard_error_escaped(serve: Serve, run: Run) -> None:
    server = serve(answers(b"200 /a OK\n\x1b[31mred\n"))
    where = f"127.0.0.1:{server.port}"
    code, out, err = run("-v", "show", f"{where}/a")
    assert (code, out) == (8, "")
    assert err.splitlines() == [
        f"* connecting to {where}",
        f"* connected to {where}",
        "> SHOW /a",
        "< 200 /a OK",
        "< \\x1b[31mred",
        f"* closed the connection to {where}",
        f"sttpc: {where}/a: {where} broke the protocol: "
        "the contents of a reply hold a control character or are not UTF-8",
    ]


HOSTILE = "a\tb\u202ec\u2028d\u3000\u200d\U000e0001"


def test_a_pipe_gets_the_text_as_it_is(ask: Run) -> None:
    assert ask({"SHOW /a": f"200 /a OK\n{HOSTILE}\n"}, "show", "/a")[1] == HOSTILE + "\n"


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "a\tb\\u202ec\\u2028d\u3000\u200d\\U000e0001\n"),
        ("latin-1", "a\tb\\u202ec\\u2028d\\u3000\\u200d\\U000e0001\n"),
    ],
)
def test_a_terminal_gets_what_it_can_show(ask: Run, monkeypatch: pytest.MonkeyPatch, encoding: str, shown: str) -> None:
    with Stream(is_terminal=True, encoding=encoding) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        assert ask({"SHOW /a": f"200 /a OK\n{HOSTILE}\n"}, "show", "/a")[0] == 0
        assert terminal.content() == shown


def test_a_message_from_the_server_is_escaped(ask: Run) -> None:
    assert ask({"SHOW /a": '500 /a SERVER ERROR "\u202eflow"\n'}, "show", "/a")[2] == (
        "sttpc: /a: the server failed: \\u202eflow (500)\n"
    )


# -- Exit codes --


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ('300 /a CLIENT ERROR "x"', 3),
        ("310 /a FILENAME TOO LONG", 3),
        ("400 /a NOT FOUND", 4),
        ("410 / PATH NOT FOUND", 4),
        ('500 /a SERVER ERROR "x"', 5),
        ("510 / CANNOT CREATE PATH", 5),
        ("HTTP/1.1 400 Bad Request", 8),
    ],
)
def test_the_exit_code_of_a_reply(serve: Serve, run: Run, reply: str, code: int) -> None:
    found, out, err = run("-p", str(serve(answers(reply.encode() + b"\n")).port), "show", "/a")
    assert (found, out) == (code, "")
    assert err.startswith("sttpc: ")
    assert err.count("\n") == 1


def test_the_exit_code_of_an_early_close(serve: Serve, run: Run) -> None:
    assert run("-p", str(serve(answers(b"")).port), "show", "/a")[0] == 8


def test_the_exit_code_of_an_unknown_host(run: Run) -> None:
    code, out, err = run("show", "sttp://nosuch.invalid/a")
    assert (code, out) == (6, "")
    assert err.startswith("sttpc: sttp://nosuch.invalid/a: unknown host nosuch.invalid (")


def test_the_exit_code_of_a_time_out(serve: Serve, run: Run) -> None:
    code, _, err = run("-p", str(serve(silence).port), "--timeout", "100ms", "show", "/a")
    assert code == 28
    assert "timed out waiting for" in err


def test_a_server_that_cannot_be_reached_is_tried_once(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[object] = []
    getaddrinfo = socket.getaddrinfo

    def counted(*arguments: Any, **options: Any) -> Any:
        tries.append(arguments)
        return getaddrinfo(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    code, _, err = run("-p", "1", "show", "/a", "/b", "/c")
    assert (code, len(tries)) == (7, 1)
    assert err.count("cannot connect to 127.0.0.1:1: Connection refused\n") == 3


def test_a_silent_server_is_asked_again(serve: Serve, run: Run) -> None:
    server = serve(silence, table(SHOW_A))
    code, out, _ = run("-p", str(server.port), "--timeout", "0.2s", "show", "/slow", "/a")
    assert (code, out) == (28, "Buy milk\n")


# -- Wrong command lines --


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        (["shwo", "/a"], "did you mean show?"),
        (["cat", "/a"], "did you mean show?"),
        (["get", "/a"], "did you mean show?"),
        (["ls"], "did you mean list?"),
        (["rm", "/a"], "did you mean delete?"),
        (["del", "/a"], "did you mean delete?"),
        (["set", "/a", "x"], "did you mean create -f?"),
        (["xyzzy", "/a"], "there is fetch, show, list, create, update, delete, dump, load, ping and stats"),
        (["--color", "show", "/a"], "unknown option --color."),
        (["create", "/a", "Buy", "milk", "now"], "stands in quotes: 'Buy milk now'"),
        (["update", "-q", "/a", "Buy", "milk"], "stands in quotes: 'Buy milk'"),
        (["show"], "URL"),
        (["show", "/d/"], "without the trailing /"),
        (["show", "/a b"], "/a b: a path holds no space."),
        (["show", "localhost"], "names a server and no path; a path begins with '/', as in /localhost"),
        (["show", "localhost:80"], "names a server and no path"),
        (["show", "/a", "/b c"], "/b c: a path holds no space."),
        (["show", "sttp://u@h/a"], "no users"),
        (["show", "h:1/a?b"], "write %3F"),
        (["show", "h:1/%0a"], "no line break"),
        (["create", "/a", "x" * 161], "at most 160 characters"),
        (["create", "/a", "two\nlines"], "no line break"),
        (["create", "/a"], "CONTENT is missing; give the text, or - to type it"),
        (["delete", "/a", "a"], "a path begins with '/', as in /a"),
        (["list", "-f"], "--force does not go with list"),
        (["fetch", "sttp://h/a", "/a"], "use: sttpc show sttp://h/a"),
        (["fetch", "h/a", "/a"], "as two arguments"),
        (["fetch", "h:x", "/a"], "a port is a number"),
        (["fetch", "h", "a"], "begin with /"),
        (["fetch", "-a", "h", "h", "/a"], "fetch takes its server as HOST[:PORT]"),
        (["fetch", "-p", "1", "h:1", "/a"], "--port is for a HOST without a port"),
        (["-p", "0", "show", "/a"], "--port: a port is a number from 1 to 65535"),
        (["-a", "h:1", "show", "/a"], "--address: the port is given apart"),
        (["-a", "", "show", "/a"], "--address: the host is missing"),
        (["-a", "h", "show", "g:1/a"], "--address is for plain paths"),
        (["-p", "1", "show", "g:1/a"], "--port is for plain paths"),
        (["-qv", "ping"], "contradict"),
        (["--timeout", "0", "ping"], "--timeout"),
        (["--timeout", "nan", "ping"], "--timeout"),
        (["--timeout", "5x", "ping"], "--timeout"),
        (["--timeout", "mms", "ping"], "--timeout"),
        (["--retry", "-1", "ping"], "--retry"),
        (["--retry", "1.5", "ping"], "--retry"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(run: Run, argv: list[str], complaint: str) -> None:
    code, out, err = run(*argv)
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.startswith("sttpc: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("argv", "error", "message"),
    [
        (["-j", "shwo", "/a"], "wrong command line", "unknown command shwo; did you mean show?"),
        (["shwo", "-nj", "/a"], "wrong command line", "unknown command shwo; did you mean show?"),
        (["show", "--nonsense", "--json"], "wrong command line", "unknown option --nonsense"),
        (["show", "-j", "/a b"], "cannot be sent", "/a b: a path holds no space"),
        (["create", "/a", "x" * 161, "--json"], "cannot be sent", "/a: contents are too long; at most 160 characters"),
        (["--js", "ping", "--retry", "x"], "cannot be sent", "--retry: expected a whole number, as in 3, got 'x'"),
    ],
)
def test_a_wrong_command_line_is_an_object_where_objects_are_asked_for(
    run: Run, argv: list[str], error: str, message: str
) -> None:
    code, out, err = run(*argv)
    assert (code, err) == (2, "")
    nothing = {"server": None, "action": None, "path": None, "ok": False, "status": None}
    assert json.loads(out) == nothing | {"error": error, "message": message}


def test_json_after_two_dashes_asks_for_nothing(run: Run) -> None:
    code, out, err = run("shwo", "--", "-j")
    assert (code, out) == (2, "")
    assert err.startswith("sttpc: unknown command shwo")


@pytest.mark.parametrize("command", ["fetch", "show", "list", "create", "update", "delete", "ping"])
def test_the_help_of_each_command_is_about_it_alone(run: Run, command: str) -> None:
    code, out, err = run(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"sttpc {command}: ")
    (usage,) = [line for line in out.splitlines() if line.startswith("  sttpc ")]
    assert usage.startswith(f"  sttpc {command} ")
    for argument in ("URL", "HOST", "CONTENT"):
        assert (f"\n{argument} is " in out) == (argument in usage)
    for option in ("-r", "-l", "-f"):
        assert (f"\n  {option}, " in out) == (f"[{option}]" in usage)
    assert "\n  -a ADDR, " in out
    assert run("help", command) == (0, out, "")
    assert run("-h", command) == (0, out, "")


@pytest.mark.parametrize(("name", "value"), [("STTPC_PORT", "http"), ("STTPC_ADDRESS", "h:1")])
def test_a_wrong_variable_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    code, _, err = run("show", "/a")
    assert code == 2
    assert err.startswith(f"sttpc: {name}: ")


def test_nothing_is_sent_if_one_argument_is_wrong(serve: Serve, run: Run) -> None:
    server = serve()
    assert run("-p", str(server.port), "delete", "/a", "/b c")[0] == 2
    assert server.accepted == 0


def test_help_and_version(run: Run) -> None:
    code, out, err = run("--help")
    assert (code, err) == (0, "")
    assert "Exit codes:" in out
    assert max(map(len, out.splitlines())) <= 120
    assert run("--version")[0] == 0


# -- Standard input --


@pytest.mark.parametrize(
    ("stdin", "text"),
    [
        (b"Buy milk\n", "Buy milk"),
        (b"Buy milk", "Buy milk"),
        (b"Buy milk\r\n", "Buy milk"),
        (b'"Gr\xc3\xbc\xc3\x9fe" \n', '"Grüße" '),
        (b"\n", ""),
    ],
)
@pytest.mark.parametrize("argument", [[], ["-"]])
def test_one_line_of_standard_input(ask: Run, stdin: bytes, text: str, argument: list[str]) -> None:
    replies = {f'UPDATE /a "{text}"': "200 /a OK\nx\n"}
    assert ask(replies, "update", "/a", *argument, stdin=stdin) == (0, "", "")


@pytest.mark.parametrize(
    ("stdin", "complaint"),
    [
        (b"a\nb\n", "more than one line"),
        (b"a\n\n", "more than one line"),
        (b"a\nb", "more than one line"),
        (b"", "is empty"),
        (b"\xff\n", "not UTF-8"),
        (b"x" * 8192, "too long"),
        (b"x" * 100_000 + b"\n", "too long"),
        (b"x" * 161, "at most 160 characters"),
        (b"a\rb\n", "control characters"),
    ],
)
def test_other_standard_input_is_refused_and_nothing_sent(serve: Serve, run: Run, stdin: bytes, complaint: str) -> None:
    server = serve()
    code, out, err = run("-p", str(server.port), "create", "/a", stdin=stdin)
    assert (code, out, server.accepted) == (2, "", 0)
    assert complaint in err


def test_contents_on_the_command_line_leave_standard_input_alone(ask: Run) -> None:
    assert ask({'CREATE /a "x"': "100 /a CREATED\n"}, "create", "/a", "x", stdin=b"1\n2\n3\n")[0] == 0


def test_a_line_typed_at_a_terminal(ask: Run) -> None:
    replies = {'CREATE /a "typed"': "100 /a CREATED\n"}
    assert ask(replies, "create", "/a", "-", typed=b"typed\nlater\n") == (0, "", "")


def test_closed_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit) as end:
        sttpc.main(["create", "/a"])
    assert end.value.code == 2


# -- As a process of its own --


def start_sttpc(*argv: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "sttp_reactor.cli.sttpc", *argv]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE)


def test_a_reader_that_leaves_is_no_mistake(serve: Serve) -> None:
    server = serve(table(SHOW_A))
    reading, writing = os.pipe()
    os.close(reading)
    with start_sttpc("-p", str(server.port), "show", "/a", "/a", "/a", stdout=writing) as process:
        os.close(writing)
        assert process.communicate(timeout=PATIENCE_SECONDS)[1] == b""
    assert process.returncode == 1


def test_a_full_disk_is_told(serve: Serve) -> None:
    server = serve(table(SHOW_A))
    full = os.open("/dev/full", os.O_WRONLY)
    with start_sttpc("-p", str(server.port), "show", "/a", stdout=full) as process:
        os.close(full)
        err = process.communicate(timeout=PATIENCE_SECONDS)[1]
    assert err == b"sttpc: cannot write to standard output: No space left on device\n"
    assert process.returncode == 1


def test_an_interrupt_is_quiet(serve: Serve) -> None:
    processes: list[subprocess.Popen[bytes]] = []

    def interrupt(peer: Peer) -> None:
        assert peer.line()
        processes[0].send_signal(signal.SIGINT)
        peer.wait_for_close()

    server = serve(interrupt)
    # The script cannot run before this has a process to hold, for it is started by what the process sends.
    with start_sttpc("-p", str(server.port), "--timeout", "1m", "show", "/a") as process:
        processes.append(process)
        assert process.communicate(timeout=PATIENCE_SECONDS)[1] == b""
    assert process.returncode == 130
