"""--print-config and the manual: what comes out can go in again."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from sttpd_settings import Loaded, load

from sttp_reactor.config import manual, print_config
from sttp_reactor.sttp.keys import TABLE
from sttp_reactor.sttp.settings import CacheSettings


def again(loaded: Loaded, path: Path, encoding: str = "utf-8", errors: str = "strict") -> Loaded:
    path.write_text(print_config(loaded), encoding, errors)
    return load(path)


def test_the_text_with_its_origins(tmp_path: Path) -> None:
    path = tmp_path / "sttpd.yaml"
    path.write_text("docroot: files\ncache:\n  expiration: 500ms\n")
    loaded = load(path, [("--port", "port", "81"), ("--set", "cache.max_size", "1K"), ("-v", "log.level", "debug")])
    assert re.sub(" +#", " #", print_config(loaded).replace(str(tmp_path), "TMP")) == (
        'listen_address: "127.0.0.1" # default\n'
        "port: 81 # --port\n"
        'unix_socket_mode: "0660" # default\n'
        'docroot: "TMP/files" # TMP/sttpd.yaml:1\n'
        "sync: true # default\n"
        "processes: 1 # default\n"
        "disk_threads: 4 # default\n"
        "read_only: false # default\n"
        "access: [] # default\n"
        "shutdown_timeout: 10 # default\n"
        "proxy_protocol:\n"
        "  from: [] # default\n"
        "store:\n"
        "  engine: disk # default\n"
        '  endpoints: "http://127.0.0.1:2379" # default\n'
        '  prefix: "/sttp/" # default\n'
        "  reads: linearizable # default\n"
        '  user: "" # default\n'
        "  password_file: false # default\n"
        "  tls:\n"
        "    ca: false # default\n"
        "    certificate: false # default\n"
        "    key: false # default\n"
        "  timeout:\n"
        "    connect: 1 # default\n"
        "    read: 1 # default\n"
        "    write: 2 # default\n"
        "    stale: 3 # default\n"
        "cache:\n"
        "  enabled: true # default\n"
        "  max_files: 100 # default\n"
        "  max_size: 1024 # --set\n"
        "  expiration: 0.5 # TMP/sttpd.yaml:3\n"
        "limits:\n"
        "  max_connections: 10000 # default\n"
        "  max_connections_per_address: 0 # default\n"
        "  max_line: 8192 # default\n"
        "  idle_timeout: 60 # default\n"
        "  request_timeout: 10 # default\n"
        "  write_timeout: 30 # default\n"
        "  handshake_timeout: 10 # default\n"
        "tls:\n"
        "  certificate: false # default\n"
        "  key: false # default\n"
        "  client_ca: false # default\n"
        '  min_version: "1.2" # default\n'
        "  port: 8443 # default\n"
        "http:\n"
        "  enabled: false # default\n"
        '  listen_address: "127.0.0.1" # default\n'
        "  port: 8081 # default\n"
        "  tls: false # default\n"
        "  write: false # default\n"
        "  host_names: [] # default\n"
        "  debug: false # default\n"
        "log:\n"
        "  level: debug # -v\n"
        "  format: text # default\n"
        "  access: false # default\n"
    )


@pytest.mark.parametrize(
    "overrides",
    [
        {},
        {"listen_address": "::1,127.0.0.1,/run/a b,localhost", "log.access": "-"},
        {"listen_address": "[::]", "log.access": "/var/log/false"},
        {"docroot": "/srv/é\U0001f600 # 'x' \"y\" \\ : [\t\n"},
        # A name whose bytes are not UTF-8, as Python holds it.
        {"docroot": "/srv/\udcff"},
        {"docroot": "/srv/" + "a b " * 100},
        {"cache.expiration": "0.000001", "limits.idle_timeout": "3650d", "shutdown_timeout": "0"},
        {"tls.certificate": "/c", "tls.key": "/k", "tls.client_ca": "/a 'b'", "tls.min_version": "1.3"},
        {"cache.enabled": "false", "sync": "no", "cache.max_size": "1T", "log.level": "critical"},
    ],
)
def test_it_loads_again_to_the_same_settings(overrides: dict[str, str], tmp_path: Path) -> None:
    loaded = load(None, [("--set", name, text) for name, text in overrides.items()])
    assert again(loaded, tmp_path / "again").settings == loaded.settings
    ascii_only = again(loaded, tmp_path / "ascii", encoding="ascii", errors="backslashreplace")
    assert ascii_only.settings == loaded.settings


SAFE_PATH = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).map("/".__add__)


@given(
    docroot=SAFE_PATH,
    expiration=st.floats(min_value=0.000001, max_value=3e8).map(lambda seconds: round(seconds, 6)),
    max_size=st.integers(1, 2**63 - 1),
)
def test_any_settings_survive(
    docroot: str, expiration: float, max_size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plain = load(None)
    settings = dataclasses.replace(
        plain.settings, docroot=Path(docroot), cache=CacheSettings(True, 1, max_size, expiration)
    )
    loaded = Loaded(TABLE, settings, plain.origins, "defaults")
    assert again(loaded, tmp_path_factory.getbasetemp() / "again", encoding="utf-8").settings == settings


def test_an_origin_cannot_end_its_comment(tmp_path: Path) -> None:
    path = tmp_path / "a\nport: 99 #"
    path.write_text("sync: false")
    assert again(load(path), tmp_path / "again").settings == load(path).settings


def test_yaml_at_large_reads_it_as_we_do() -> None:
    loaded = load(None, [("-a", "listen_address", "::1,127.0.0.1"), ("-o", "shutdown_timeout", "0.25")])
    plain: dict[str, Any] = yaml.safe_load(print_config(loaded))
    assert plain["listen_address"] == ["::1", "127.0.0.1"]
    assert plain["shutdown_timeout"] == 0.25
    assert plain["cache"] == dataclasses.asdict(loaded.settings.cache)


def test_the_manual_has_every_key_with_its_default_and_what_is_allowed() -> None:
    text = manual(TABLE)
    for key in TABLE.keys.values():
        assert f"``{key.name}`` (default: ``" in text
        assert f"{key.manual} Allowed: {key.reader.expected}.\n" in text
    assert "``cache.expiration`` (default: ``300``)\n" in text
    assert "``docroot`` (default: ``$XDG_DATA_HOME/sttp, or ~/.local/share/sttp``)\n" in text
