"""README.rst is run: every command and every program, from a copy, in order, twice; what they print is compared.

In the copy ports, a socket's path and how long a load takes are other ones, for tests run beside each other.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from ports import free_port
from readme_blocks import KINDS, Block, Command, blurred, promised_prints, read_blocks, read_commands

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.rst").read_text()
BLOCKS = [*read_blocks(README)]
# What a command may take. Only a failing test waits that long.
PATIENCE_SECONDS = 20.0

pytestmark = [
    pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed"),
    pytest.mark.timeout(120),
]


def test_every_literal_block_says_what_it_is() -> None:
    """One that ends a paragraph with "::" would be run by nobody: give it `.. code-block:: KIND`."""
    assert [line for line in README.split("\n") if line.endswith("::") and not line.lstrip().startswith("..")] == []
    assert {block.kind for block in BLOCKS} <= KINDS
    assert len(BLOCKS) == README.count(".. code-block::") > 10


def test_few_blocks_are_not_run() -> None:
    assert README.count(".. not run: ") == len([block for block in BLOCKS if block.excuse]) <= 4


class Copy:
    """A folder, a shell's surroundings, and README as it is to be read there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = {
            port: str(free_port()) for port in ("8080", "8081", "8001", "8002", "8010", "7777", "7007", "6380")
        }
        for name in ("server.pem", "server.key", "ca.pem"):
            shutil.copy(ROOT / "tests" / "tls" / name, folder / name.replace("ca", "clients"))
        commands = folder / "bin"
        commands.mkdir()
        for name in ("sttpd", "sttpc", "sttpbench", "sttp-proxy"):
            module = name.replace("-", "_")
            self._write_command(commands / name, f"from sttp_reactor.cli.{module} import main; sys.exit(main())")
        # No link: an interpreter that is called by one does not find its virtual environment.
        (commands / "python").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
        (commands / "python").chmod(0o755)
        if shutil.which("nc") is None:
            self._write_command(commands / "nc", "from plain_netcat import main; sys.exit(main())")
        (folder / ".curlrc").write_text("silent\n")  # it shows its progress where its output is no terminal
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("STTP", "PYTHON"))}
        self.environ = kept | {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "PYTHONPATH": f"{ROOT}:{Path(__file__).parent}",
            "PYTHONUNBUFFERED": "1",
            "STTPC_PORT": self.ports["8080"],
            "HOME": str(folder),
        }

    def _write_command(self, file: Path, program: str) -> None:
        # A shell's `exec` and a Python string in one: the path of an interpreter on a first line may hold no space.
        executable = shlex.quote(sys.executable)
        file.write_text(f"#!/bin/sh\n'''exec' {executable} \"$0\" \"$@\"\n' '''\nimport sys; {program}\n")
        file.chmod(0o755)

    def text(self, text: str) -> str:
        for port, ours in self.ports.items():
            text = re.sub(rf"\b{port}\b", ours, text)
        text = text.replace("/tmp/sttp.sock", f"{self.folder}/sock")
        # A load of 10 s, judged by a limit that a busy machine does not keep, would show nothing more.
        return text.replace("-d 10s", "-d 200ms -w 0 --keys 20").replace("p99<5ms", "p99<20s")

    def blocks(self) -> list[Block]:
        return [*read_blocks(self.text(README))]

    def popen(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """With the server of `tools/run.sh` running, from which README goes on."""
    copy = Copy(tmp_path_factory.mktemp("readme"))
    server = copy.popen("sttpd", "-p", copy.ports["8080"])
    try:
        wait_for_port(int(copy.ports["8080"]))
        yield copy
    finally:
        end(server)


@pytest.mark.parametrize("turn", ["the first time", "the second time"])
def test_what_readme_says_is_so(copy: Copy, turn: str) -> None:
    for block in copy.blocks():
        if not block.excuse and not is_out_of_reach(block):
            RUN[block.kind](copy, block)


def is_out_of_reach(block: Block) -> bool:
    """It needs what is not installed here: an extra, or a program of somebody else."""
    needs_http = "services.hello" in block.text or "http.enabled=" in block.text
    return needs_http and (find_spec("httptools") is None or shutil.which("curl") is None)


def run_console(copy: Copy, block: Block) -> None:
    commands = [*read_commands(block)]
    said = run_script(copy, "\n".join(["exec 2>&1", *map(in_bash, commands)]), block).split("\0")[:-1]
    for command, output, code in zip(commands, said[::2], said[1::2], strict=True):
        where = f"README.rst:{block.line}: {command.line}"
        lines = output.removesuffix("\n").split("\n") if output else []
        assert [*map(blurred, lines)] == [*map(blurred, command.output)], where
        assert code == "0", where


def in_bash(command: Command) -> str:
    """The command, and after it a NUL, its exit code and another one."""
    if not command.line.endswith("&"):
        return f"{command.line}\nprintf '\\0%d\\0' $?"
    # In the background: its lines have come when there are as many as README shows.
    wait = f"until [ $(wc -l <said) -ge {len(command.output)} ]; do sleep 0.02; done; cat said; printf '\\0000\\0'"
    return f": >said\n{command.line[:-1]} >said 2>&1 &\ntrap 'kill $!' EXIT\n{wait}"


def run_script(copy: Copy, script: str, block: Block) -> str:
    process = copy.popen("bash", "-c", script)
    try:
        return process.communicate(timeout=PATIENCE_SECONDS)[0]
    except subprocess.TimeoutExpired:
        raise AssertionError(f"README.rst:{block.line}: not done after {PATIENCE_SECONDS} s") from None
    finally:
        end(process)


def run_bash(copy: Copy, block: Block) -> None:
    said = run_script(copy, f"set -e\n{block.text}\necho it has come so far", block)
    assert said.endswith("it has come so far\n"), f"README.rst:{block.line}: {said}"


def run_python(copy: Copy, block: Block) -> None:
    file = copy.folder / "example.py"
    file.write_text(block.text)
    process = copy.popen(sys.executable, "-W", "error", str(file))
    try:
        if block.text.endswith(".run()"):
            check_echo(int(copy.ports["7777"]), block)
        else:
            said = process.communicate(timeout=PATIENCE_SECONDS)[0]
            assert said.splitlines() == promised_prints(block), f"README.rst:{block.line}"
            assert process.returncode == 0
    finally:
        end(process)


def check_echo(port: int, block: Block) -> None:
    """A program that does not end is a server, and the one of README echoes."""
    wait_for_port(port)
    with socket.create_connection(("localhost", port), PATIENCE_SECONDS) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello", f"README.rst:{block.line}"


def run_yaml(copy: Copy, block: Block) -> None:
    """It is valid as it stands, and one that names a docroot starts as it stands."""
    file = copy.folder / "sttpd.yaml"
    file.write_text(block.text)
    program = "sttp-proxy" if "servers:" in block.text else "sttpd"
    run_console(copy, block._replace(text=f"$ {program} -t -q -c {file.name}"))
    if "docroot:" not in block.text:
        return
    # Beside the server that runs already, so on another port and below another folder.
    (copy.folder / "sample").mkdir(exist_ok=True)
    (copy.folder / "sample" / file.name).write_text(block.text.replace(copy.ports["8080"], "0"))
    process = copy.popen("sttpd", "-c", f"sample/{file.name}")
    try:
        said = read_until(process, b'"ready: ')
        assert b'"ready: ' in said, f"README.rst:{block.line}: {said.decode()}"
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        end(process)


def read_until(process: subprocess.Popen[str], word: bytes) -> bytes:
    """What it has said with `word`, or until its end."""
    said = b""
    assert process.stdout is not None
    while word not in said and (piece := os.read(process.stdout.fileno(), 4096)):
        said += piece
    return said


RUN = {"console": run_console, "bash": run_bash, "python": run_python, "yaml": run_yaml, "text": lambda *_: None}


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("localhost", port), 1):
                return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nobody listens on port {port}")


def end(process: subprocess.Popen[str]) -> None:
    """With whatever it has started."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=PATIENCE_SECONDS)
    except ProcessLookupError:
        pass
    finally:
        process.kill()
        process.communicate()
