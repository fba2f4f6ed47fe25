"""What may be written, in a file and in flags, and what it becomes."""

from __future__ import annotations

import dataclasses
import operator
import typing
from pathlib import Path
from typing import Any

import pytest
from sttpd_settings import Loaded, load

from sttp_reactor.config import ConfigError
from sttp_reactor.sttp.keys import KEYS, TABLE
from sttp_reactor.sttp.settings import Settings

MIB = 1024 * 1024


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "sttpd.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def setting(loaded: Loaded, name: str) -> Any:
    return operator.attrgetter(name)(loaded.settings)


def in_sections(name: str, text: str) -> str:
    section, _, last = name.rpartition(".")
    return f"{section}:\n  {last}: {text}\n" if section else f"{last}: {text}\n"


# Scalars that mean the same in a file, unquoted, and in a flag.
SCALARS = [
    ("port", "0", 0),
    ("port", "65535", 65535),
    ("port", "+80", 80),
    ("cache.max_files", "1_000", 1000),
    ("cache.max_files", "9223372036854775807", 2**63 - 1),
    ("disk_threads", "256", 256),
    ("limits.max_line", "64", 64),
    ("limits.max_line", "1048576", MIB),
    ("sync", "false", False),
    ("sync", "True", True),
    ("sync", "yes", True),
    ("sync", "off", False),
    ("cache.max_size", "1", 1),
    ("cache.max_size", "10485760", 10 * MIB),
    ("cache.max_size", "10MB", 10 * MIB),
    ("cache.max_size", "10MiB", 10 * MIB),
    ("cache.max_size", "10 mb", 10 * MIB),
    ("cache.max_size", "512K", 512 * 1024),
    ("cache.max_size", "512kB", 512 * 1024),
    ("cache.max_size", "1.5G", 1536 * MIB),
    ("cache.max_size", "1T", MIB * MIB),
    ("cache.max_size", "100B", 100),
    ("cache.expiration", "300", 300.0),
    ("cache.expiration", "0.5", 0.5),
    ("cache.expiration", "5m", 300.0),
    ("cache.expiration", "500ms", 0.5),
    ("cache.expiration", "1h30m", 5400.0),
    ("cache.expiration", "1h 30m", 5400.0),
    ("cache.expiration", "1.5 h", 5400.0),
    ("cache.expiration", "2d3s4ms", 172_803.004),
    ("cache.expiration", "3650d", 315_360_000.0),
    ("cache.expiration", "0.1", 0.1),
    ("shutdown_timeout", "0", 0.0),
    ("shutdown_timeout", "0ms", 0.0),
    ("log.level", "critical", "critical"),
    ("log.format", "json", "json"),
    ("log.access", "false", False),
    ("log.access", "/var/log/access", Path("/var/log/access")),
    ("docroot", "/srv/a b/../c", Path("/srv/a b/../c")),
    ("listen_address", "::1", ("::1",)),
    ("listen_address", "0:0::1", ("::1",)),
    ("listen_address", "2001:1:2:3:4:5:6:7", ("2001:1:2:3:4:5:6:7",)),
    ("listen_address", "fe80::1%lo", ("fe80::1%lo",)),
    ("listen_address", "localhost", ("localhost",)),
    ("listen_address", "db_1.example.org.", ("db_1.example.org.",)),
    ("listen_address", "/run/sttp.sock", ("/run/sttp.sock",)),
    ("listen_address", "unix:/run/sttp.sock", ("/run/sttp.sock",)),
    ("limits.handshake_timeout", "2s", 2.0),
    ("tls.certificate", "false", None),
    ("tls.client_ca", "off", None),
    ("tls.min_version", "1.2", "1.2"),
    ("tls.min_version", "1.3", "1.3"),
    ("tls.port", "0", 0),
    ("http.host_names", "Notes.Example.ORG", ("notes.example.org",)),
]


@pytest.mark.parametrize(("name", "text", "expected"), SCALARS)
def test_a_scalar_in_the_file(tmp_path: Path, name: str, text: str, expected: Any) -> None:
    loaded = load(write(tmp_path, in_sections(name, text)))
    assert setting(loaded, name) == expected
    assert type(setting(loaded, name)) is type(expected)


@pytest.mark.parametrize(("name", "text", "expected"), SCALARS)
def test_a_scalar_in_a_flag(name: str, text: str, expected: Any) -> None:
    loaded = load(None, [("--set", name, text)])
    assert setting(loaded, name) == expected
    assert type(setting(loaded, name)) is type(expected)


@pytest.mark.parametrize(
    ("text", "name", "expected"),
    [
        ("cache: {max_size: '10MB', max_files: 3}", "cache.max_size", 10 * MIB),
        ("cache: {expiration: '300'}", "cache.expiration", 300.0),
        ("log: {access: '-'}", "log.access", "-"),
        ("docroot: '2026'", "docroot", Path("2026")),
        ("tls: {certificate: c.pem, key: k}", "tls.certificate", Path("c.pem")),
        ("tls: {min_version: '1.3'}", "tls.min_version", "1.3"),
        ("http: {host_names: [a, B, a]}", "http.host_names", ("a", "b")),
        ("http: {host_names: []}", "http.host_names", ()),
        ("docroot: 2026-11-21", "docroot", Path("2026-11-21")),
        ("docroot: |-\n  /srv/x\n", "docroot", Path("/srv/x")),
        ("docroot: '/srv/\\n'", "docroot", Path("/srv/\\n")),
        ("listen_address: ['::1', 127.0.0.1, /run/s]", "listen_address", ("::1", "127.0.0.1", "/run/s")),
        ("listen_address:\n- '[::1]'\n- a.b\n", "listen_address", ("::1", "a.b")),
        ("port: !!int '81'", "port", 81),
        ("shutdown_timeout: &t 5s\nlimits: {idle_timeout: *t}", "limits.idle_timeout", 5.0),
        ("cache:\n\n# nothing\nport: 81\r\n", "port", 81),
        ("\ufeffport: 81", "port", 81),
        ("%YAML 1.1\n---\nport: 81\n...\n", "port", 81),
        ('"port": 81', "port", 81),
    ],
)
def test_other_ways_to_write_it_in_yaml(tmp_path: Path, text: str, name: str, expected: Any) -> None:
    found = setting(load(write(tmp_path, text)), name)
    assert found == (tmp_path / expected if isinstance(expected, Path) else expected)


@pytest.mark.parametrize(
    ("flag", "name", "text", "expected"),
    [
        ("--access-log", "log.access", "-", "-"),
        ("--access-log", "log.access", "/2026", Path("/2026")),
        ("--listen-address", "listen_address", "::1, 127.0.0.1", ("::1", "127.0.0.1")),
        ("--listen-address", "listen_address", "[::1],[::]", ("::1", "::")),
        ("-v", "log.level", "debug", "debug"),
    ],
)
def test_other_ways_to_write_it_in_a_flag(flag: str, name: str, text: str, expected: Any) -> None:
    assert setting(load(None, [(flag, name, text)]), name) == expected


@pytest.mark.parametrize(
    "text", ["", "\n", "# a comment\n", "---\n", "--- \n...\n", "{}", "null", "~", "cache:\nlog:\n"]
)
def test_an_empty_file_is_all_defaults(tmp_path: Path, text: str) -> None:
    loaded = load(write(tmp_path, text))
    assert loaded.settings == load(None).settings
    assert set(loaded.origins.values()) == {"default"}


def test_the_published_configuration_and_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/xdg")
    text = """
    listen_address: "0.0.0.0"
    port: 8080
    docroot: "/var/sttp/files"
    cache:
      enabled: true
      max_files: 100
      max_size: 10485760    # bytes
      expiration: 300       # seconds
    """
    published, defaults = load(write(tmp_path, text)).settings, load(None).settings
    assert published.listen_address == ("0.0.0.0",)
    assert published.docroot == Path("/var/sttp/files")
    assert (published.port, published.cache) == (defaults.port, defaults.cache)
    assert dataclasses.asdict(defaults) == {
        "listen_address": ("127.0.0.1",),
        "port": 8080,
        "unix_socket_mode": "0660",
        "docroot": Path("/xdg/sttp"),
        "sync": True,
        "disk_threads": 4,
        "processes": 1,
        "read_only": False,
        "access": (),
        "proxy_protocol": {"from_": ()},
        "store": {
            "engine": "disk",
            "endpoints": ("http://127.0.0.1:2379",),
            "prefix": "/sttp/",
            "reads": "linearizable",
            "tls": {"ca": None, "certificate": None, "key": None},
            "user": "",
            "password_file": None,
            "timeout": {"connect": 1.0, "read": 1.0, "write": 2.0, "stale": 3.0},
        },
        "cache": {"enabled": True, "max_files": 100, "max_size": 10485760, "expiration": 300.0},
        "limits": {
            "max_connections": 10000,
            "max_connections_per_address": 0,
            "max_line": 8192,
            "idle_timeout": 60.0,
            "request_timeout": 10.0,
            "write_timeout": 30.0,
            "handshake_timeout": 10.0,
        },
        "tls": {"certificate": None, "key": None, "client_ca": None, "min_version": "1.2", "port": 8443},
        "http": {
            "enabled": False,
            "listen_address": ("127.0.0.1",),
            "port": 8081,
            "tls": False,
            "write": False,
            "host_names": (),
            "debug": False,
        },
        "shutdown_timeout": 10.0,
        "log": {"level": "info", "format": "text", "access": False},
    }


def test_the_section_of_a_cluster(tmp_path: Path) -> None:
    text = """
    store:
      engine: etcd
      endpoints: ["http://127.0.0.1:2379", "https://[::1]:1/"]
      prefix: /a/b/
      reads: cached
      tls: {ca: ca.pem, certificate: our.pem, key: our.key}
      user: sttp
      password_file: /etc/sttp/password
      timeout: {connect: 500ms, write: 5}
    """
    store = load(write(tmp_path, text)).settings.store
    assert store.endpoints == ("http://127.0.0.1:2379", "https://[::1]:1/")
    assert (store.engine, store.prefix, store.reads, store.user) == ("etcd", "/a/b/", "cached", "sttp")
    assert store.tls.ca == tmp_path / "ca.pem"
    assert (store.timeout.connect, store.timeout.read, store.timeout.write) == (0.5, 1.0, 5.0)


def test_flags_beat_the_file_and_the_file_beats_the_defaults(tmp_path: Path) -> None:
    path = write(tmp_path, "port: 81\nsync: false\n\nlog:\n  level: error\n")
    loaded = load(path, [("--port", "port", "82"), ("--set", "cache.max_files", "7")])
    settings = loaded.settings
    assert (settings.port, settings.sync, settings.log.level, settings.disk_threads) == (82, False, "error", 4)
    assert loaded.source == str(path)
    assert loaded.origins["port"] == "--port"
    assert loaded.origins["cache.max_files"] == "--set"
    assert loaded.origins["sync"] == f"{path}:2"
    assert loaded.origins["log.level"] == f"{path}:5"
    assert loaded.origins["disk_threads"] == "default"


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a file they count from its folder, however the file was named; in a flag from the working directory."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "work").mkdir()
    path = write(tmp_path / "etc", "docroot: ./files\nlog: {access: ../access}")
    monkeypatch.chdir(tmp_path / "work")
    for name in (path, Path("../etc/sttpd.yaml")):
        settings = load(name).settings
        assert settings.docroot.is_absolute()
        assert settings.docroot.resolve() == tmp_path / "etc" / "files"
        assert isinstance(settings.log.access, Path)
        assert settings.log.access.resolve() == tmp_path / "access"
    settings = load(path, [("-d", "docroot", "files"), ("-o", "log.access", "123")]).settings
    assert settings.docroot == tmp_path / "work" / "files"
    assert settings.log.access == tmp_path / "work" / "123"


def test_home_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert load(None).settings.docroot == Path("/home/ann/.local/share/sttp")
    assert load(None, [("-d", "docroot", "~/files")]).settings.docroot == Path("/home/ann/files")
    # The specification has relative ones ignored.
    monkeypatch.setenv("XDG_DATA_HOME", "data")
    assert load(None).settings.docroot == Path("/home/ann/.local/share/sttp")


def test_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ConfigError) as caught:
        load(None)
    assert caught.value.mistakes == ["docroot: no home folder is known that could hold it; name one"]
    assert load(None, [("-d", "docroot", "/x")]).settings.docroot == Path("/x")


def test_the_table_and_the_dataclasses_have_the_same_keys() -> None:
    def names(cls: type[Any], section: str) -> set[str]:
        types = typing.get_type_hints(cls)
        found: set[str] = set()
        for each in dataclasses.fields(cls):
            name = section + each.name.removesuffix("_")
            nested: type[Any] = types[each.name]
            is_section = dataclasses.is_dataclass(nested)
            found |= names(nested, name + ".") if is_section else {name}
        return found

    assert names(Settings, "") == set(TABLE.keys)
    assert len(TABLE.keys) == len(KEYS)
    assert not set(TABLE.sections) & set(TABLE.keys)


def test_settings_are_frozen_and_slotted() -> None:
    settings = load(None).settings
    for each in (settings, settings.cache, settings.limits, settings.log):
        assert not hasattr(each, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.cache.max_files = 3  # type: ignore[misc]
