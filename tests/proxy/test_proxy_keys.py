"""What a proxy can be told, and what it says to mistakes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from proxied import PROXY

from sttp_reactor.config import ConfigError, load
from sttp_reactor.proxy.keys import TABLE
from sttp_reactor.sttp.keys import TABLE as OF_A_SERVER

README = (Path(__file__).parent.parent.parent / "README.rst").read_text()


def test_readme_shows_every_key_that_is_a_proxys_own_with_its_default() -> None:
    block = re.search(r"\n    balance: .*?(?=\n\n)", README, re.S)
    assert block is not None
    shown = {}
    for name, value in yaml.safe_load(block[0]).items():
        shown |= {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, dict) else {name: value}
    own = {name: key.default_value() for name, key in TABLE.keys.items() if name not in OF_A_SERVER.keys}
    assert shown.pop("servers")
    assert own.pop("servers") == ()
    assert shown == own


def test_a_server_has_an_address_and_perhaps_more(tmp_path: Path) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text("servers: [one, '192.0.2.1:81', {address: 'sttps://two:8443', weight: 3, ca: ca.pem}, /run/s]")
    servers = load(TABLE, file).settings.servers
    assert [each.address for each in servers] == ["one:8080", "192.0.2.1:81", "sttps://two:8443", "/run/s"]
    assert [each.weight for each in servers] == [1, 1, 3, 1]
    assert servers[2].ca == tmp_path / "ca.pem"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("servers: [a b]", r"proxy\.yaml:1:11: servers\.address: .*'a b' is not the name of a host"),
        ("servers: [{address: one, weight: 0}]", "weight.*from 1 to 100"),
        ("servers: [{weight: 2}]", "address"),
        ("balance: best", "balance: expected .*two_choices"),
        ("upstream: {retry_budget: 2}", "retry_budget: expected a number from 0 to 1"),
        ("upstream: {tries: 0}", "tries: expected a whole number from 1 to 10"),
        ("health: {intervall: 1}", "intervall: unknown key; did you mean health.interval"),
        ("docroot: files", "docroot: unknown key"),
        ("cache: {enabled: true}", "cache: unknown key"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "proxy.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as found:
        load(TABLE, file)
    assert re.search(said, str(found.value)), found.value


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = subprocess.run([*PROXY, *arguments], cwd=folder, capture_output=True, text=True, timeout=20)
    return done.returncode, done.stdout, done.stderr


def test_the_command_line(tmp_path: Path) -> None:
    assert run(tmp_path, "-t", "-q", "-s", "one,two:81") == (0, "", "")
    code, printed, _ = run(tmp_path, "--print-config", "-s", "one,two:81", "-b", "hash")
    assert code == 0
    (tmp_path / "printed.yaml").write_text(printed)
    assert run(tmp_path, "-t", "-q", "-c", "printed.yaml") == (0, "", "")
    assert run(tmp_path, "--print-config", "-c", "printed.yaml")[1].count("two:81") == 1
    assert run(tmp_path, "-b", "best")[0] == 2
    assert run(tmp_path, "--version")[1].startswith("sttp-proxy ")
    assert "sttp-proxy [options]" in run(tmp_path, "--help")[1]


def test_authorities_that_are_not_there_keep_it_from_starting(tmp_path: Path) -> None:
    (tmp_path / "proxy.yaml").write_text("servers: [{address: 'sttps://one', ca: gone.pem}]\nport: 0")
    for arguments in (["-t"], [], ["-o", "processes=2"]):
        code, _, said = run(tmp_path, "-c", "proxy.yaml", *arguments)
        assert code == 78, (arguments, said)
        assert "gone.pem: " in said
