"""tools/sttpd.yaml, the sample that goes with tools/sttpd.service: right as it stands, and with all of it in force."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sttp_reactor.config import load
from sttp_reactor.sttp.keys import TABLE

TOOLS = Path(__file__).parent.parent.parent / "tools"
SAMPLE = (TOOLS / "sttpd.yaml").read_text()
UNIT = dict(re.findall(r"(?m)^(\w+)=(.*)$", (TOOLS / "sttpd.service").read_text()))


def in_force() -> str:
    """With what is commented out: a "#" and no space before the name or the indentation of a key."""
    return re.sub(r"(?m)^#(\w+:|  [-\w])", r"\1", SAMPLE)


@pytest.mark.parametrize("text", [SAMPLE, in_force()], ids=["as it stands", "all of it"])
def test_it_is_valid(text: str, tmp_path: Path) -> None:
    (tmp_path / "sttpd.yaml").write_text(text)
    assert load(TABLE, tmp_path / "sttpd.yaml").settings.port == 8080


def test_all_of_it_is_more() -> None:
    assert len(re.findall(r"(?m)^#", SAMPLE)) - len(re.findall(r"(?m)^#", in_force())) > 15


def test_its_folders_are_those_of_the_unit(tmp_path: Path) -> None:
    (tmp_path / "sttpd.yaml").write_text(SAMPLE)
    settings = load(TABLE, tmp_path / "sttpd.yaml").settings
    assert settings.docroot == Path("/var/lib") / UNIT["StateDirectory"]
    assert settings.log.access is not None
    assert Path(settings.log.access).parent == Path("/var/log") / UNIT["LogsDirectory"]
    assert Path(settings.listen_address[1]).parent == Path("/run") / UNIT["RuntimeDirectory"]
    assert "--config /etc/sttpd.yaml" in UNIT["ExecStart"]
    assert f"--docroot {settings.docroot}" in UNIT["ExecStart"]


def test_it_starts(tmp_path: Path) -> None:
    """With its folders elsewhere, made as systemd makes them, and any port."""
    text = SAMPLE.replace("8080", "0")
    for folder in ("/var/lib/sttp", "/var/log/sttpd", "/run/sttpd"):
        ours = tmp_path / folder.strip("/").replace("/", "-")
        ours.mkdir()
        text = text.replace(folder, str(ours))
    (tmp_path / "sttpd.yaml").write_text(text)
    command = [sys.executable, "-m", "sttp_reactor", "-c", str(tmp_path / "sttpd.yaml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        assert server.stderr is not None
        said = ""
        try:
            for line in server.stderr:
                said += line
                if "ready: " in line:
                    break
            assert f"{tmp_path}/run-sttpd/sttp.sock" in said
        finally:
            server.send_signal(signal.SIGTERM)
        server.stderr.read()
    assert server.returncode == 0
