"""Which server sttpbench loads: its URL, else -a and -p, else the variables that sttpc reads."""

from __future__ import annotations

import pytest

from sttp_reactor.cli.sttpbench import DOC
from sttp_reactor.cli.sttpbench_target import read_target
from sttp_reactor.command.arguments import parse
from sttp_reactor.load.faults import LoadError


@pytest.mark.parametrize(
    ("words", "variables", "address", "directory"),
    [
        ([], {}, "127.0.0.1:8080", "/sttpbench/"),
        (["localhost"], {}, "localhost:8080", "/sttpbench/"),
        (["localhost/d"], {"STTPC_PORT": "81"}, "localhost:81", "/d/"),
        (["localhost:82"], {"STTPC_PORT": "none"}, "localhost:82", "/sttpbench/"),
        (["sttps://h"], {}, "sttps://h:8443", "/sttpbench/"),
        (["/d"], {"STTPC_ADDRESS": "h", "STTPC_PORT": "81"}, "h:81", "/d/"),
        ([], {"STTPC_ADDRESS": "h", "STTPC_PORT": "81"}, "h:81", "/sttpbench/"),
        (["-a", "g", "-p", "82", "/d/"], {"STTPC_ADDRESS": "h", "STTPC_PORT": "81"}, "g:82", "/d/"),
        (["-p", "82", "h"], {}, "h:82", "/sttpbench/"),
        (["-a", "/run/s"], {}, "unix:/run/s", "/sttpbench/"),
        (["-a", "unix:/run/s", "/d"], {}, "unix:/run/s", "/d/"),
        (["unix:/run/s"], {}, "unix:/run/s", "/sttpbench/"),
    ],
)
def test_the_server(
    words: list[str], variables: dict[str, str], address: str, directory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("STTPC_ADDRESS", "STTPC_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    target = read_target(parse(DOC, words, command="sttpbench"))
    assert (str(target), target.directory) == (address, directory)


@pytest.mark.parametrize("words", [["-a", "h", "g"], ["-p", "81", "g:82"], ["-p", "0"], ["-a", "h:1"]])
def test_no_server(words: list[str]) -> None:
    with pytest.raises(LoadError):
        read_target(parse(DOC, words, command="sttpbench"))
