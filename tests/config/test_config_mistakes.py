"""What is refused, and in which words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sttpd_settings import load

from sttp_reactor.config import ConfigError, FlagError, Loaded

SIZE = "expected a size above 0, such as 10485760 or 10MB, got"
TIME = "expected a time above 0, in seconds or such as 500ms, 5m, got"
ANY_TIME = "expected a time in seconds or such as 500ms, 5m, got"
FOLDER = "expected the path of a folder, got"
ACCESS = "expected false, the path of a file, or '-' for standard output, got"
ADDRESS = "expected an IP address, a host name, a Unix socket's path that begins with '/', or a list of them, got"
PORT = "expected a whole number from 0 to 65535, got"
MODE = "expected a file's mode in octal digits, such as 0660, got"
ABOVE_0 = "expected a whole number above 0, got"


def mistakes_in(path: Path) -> list[str]:
    """The file's mistakes, each without the folder's name."""
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert not isinstance(caught.value, FlagError)
    return [mistake.removeprefix(f"{path.parent}/") for mistake in caught.value.mistakes]


def mistakes_of(folder: Path, text: str | bytes) -> list[str]:
    path = folder / "f"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return mistakes_in(path)


ENDPOINT = "expected an URL such as http://192.0.2.1:2379 or https://etcd-1.example.com:2379, or a list of them, got"
PREFIX = "expected a text of printable ASCII that begins and ends with '/', got"

WRONG_VALUES = [
    ("store: {engine: etcd3}", ["f:1:17: store.engine: expected disk or etcd, got 'etcd3' (did you mean etcd?)"]),
    ("store: {endpoints: a:1}", [f"f:1:20: store.endpoints: {ENDPOINT} 'a:1'"]),
    ("store: {endpoints: http://a}", [f"f:1:20: store.endpoints: {ENDPOINT} 'http://a'"]),
    ("store: {endpoints: http://a:x}", [f"f:1:20: store.endpoints: {ENDPOINT} 'http://a:x'"]),
    ("store: {endpoints: http://u@a:1}", [f"f:1:20: store.endpoints: {ENDPOINT} 'http://u@a:1'"]),
    ("store: {endpoints: []}", [f"f:1:20: store.endpoints: {ENDPOINT} a list (it is empty)"]),
    (
        "store: {endpoints: [http://a:1, http://a:1]}",
        [f"f:1:33: store.endpoints: {ENDPOINT} 'http://a:1' (it is there twice)"],
    ),
    ("store: {prefix: sttp/}", [f"f:1:17: store.prefix: {PREFIX} 'sttp/'"]),
    ("store: {prefix: /sttp}", [f"f:1:17: store.prefix: {PREFIX} '/sttp'"]),
    ("store: {prefix: //}", [f"f:1:17: store.prefix: {PREFIX} '//'"]),
    (
        "store: {user: a b}",
        ["f:1:15: store.user: expected a user's name of printable ASCII without a space, or nothing, got 'a b'"],
    ),
    ("store: {user: sttp}", ["f:1:15: store.user: is of no use without store.password_file"]),
    ("store: {tls: {key: k}}", ["f:1:20: store.tls.key: is of no use without store.tls.certificate"]),
    ("port: many", [f"f:1:7: port: {PORT} 'many'"]),
    ("port: 8080.5", [f"f:1:7: port: {PORT} '8080.5'"]),
    ("port: 65536", [f"f:1:7: port: {PORT} '65536'"]),
    ("port: -1", [f"f:1:7: port: {PORT} '-1'"]),
    ("port: '8080'", [f"f:1:7: port: {PORT} '8080' (in quotes it is text)"]),
    ("port: !!str 8080", [f"f:1:7: port: {PORT} '8080'"]),
    ("port: !!int many", [f"f:1:7: port: {PORT} 'many'"]),
    ("port: 0777", [f"f:1:7: port: {PORT} '0777' (a leading 0 would make it octal)"]),
    ("port: 08080", [f"f:1:7: port: {PORT} '08080'"]),
    ("port: 0x50", [f"f:1:7: port: {PORT} '0x50'"]),
    ("port: 1:30", [f"f:1:7: port: {PORT} '1:30'"]),
    ("port: 1e3", [f"f:1:7: port: {PORT} '1e3'"]),
    ("port: \uff18\uff10", [f"f:1:7: port: {PORT} '\uff18\uff10'"]),
    ("port: yes", [f"f:1:7: port: {PORT} 'yes'"]),
    ("port:", [f"f:1:6: port: {PORT} nothing"]),
    ("port: ~", [f"f:1:7: port: {PORT} nothing"]),
    ("port: [80]", [f"f:1:7: port: {PORT} a list"]),
    ("port: {a: 80}", [f"f:1:7: port: {PORT} a mapping"]),
    (
        "port: !!python/name:os.system ''",
        [f"f:1:7: port: {PORT} a value tagged tag:yaml.org,2002:python/name:os.system"],
    ),
    ("port: !x 80", [f"f:1:7: port: {PORT} a value tagged !x"]),
    ("cache:\n  max_files: many", [f"f:2:14: cache.max_files: {ABOVE_0} 'many'"]),
    ("cache: {max_files: 0}", [f"f:1:20: cache.max_files: {ABOVE_0} '0'"]),
    ("cache: {max_files: true}", [f"f:1:20: cache.max_files: {ABOVE_0} 'true'"]),
    (
        "cache: {max_files: 9223372036854775808}",
        [f"f:1:20: cache.max_files: {ABOVE_0} '9223372036854775808' (too large)"],
    ),
    ("cache: {max_files: 1" + 5000 * "0" + "}", [f"f:1:20: cache.max_files: {ABOVE_0} '1{59 * '0'}...' (too large)"]),
    ("disk_threads: 257", ["f:1:15: disk_threads: expected a whole number from 1 to 256, got '257'"]),
    ("limits: {max_line: 63}", ["f:1:20: limits.max_line: expected a whole number from 64 to 1048576, got '63'"]),
    ("unix_socket_mode: 0888", [f"f:1:19: unix_socket_mode: {MODE} '0888'"]),
    ("unix_socket_mode: '02770'", [f"f:1:19: unix_socket_mode: {MODE} '02770'"]),
    ("unix_socket_mode: 0o660", [f"f:1:19: unix_socket_mode: {MODE} '0o660'"]),
    ("unix_socket_mode: true", [f"f:1:19: unix_socket_mode: {MODE} 'true'"]),
    ("sync: 1", ["f:1:7: sync: expected true or false, got '1'"]),
    ("sync: 'true'", ["f:1:7: sync: expected true or false, got 'true' (in quotes it is text)"]),
    ("sync: !!bool maybe", ["f:1:7: sync: expected true or false, got 'maybe'"]),
    ("sync: y", ["f:1:7: sync: expected true or false, got 'y'"]),
    ("cache: {max_size: 0}", [f"f:1:19: cache.max_size: {SIZE} '0'"]),
    ("cache: {max_size: 0MB}", [f"f:1:19: cache.max_size: {SIZE} '0MB'"]),
    ("cache: {max_size: -1}", [f"f:1:19: cache.max_size: {SIZE} '-1'"]),
    ("cache: {max_size: 1.5}", [f"f:1:19: cache.max_size: {SIZE} '1.5'"]),
    ("cache: {max_size: 10XB}", [f"f:1:19: cache.max_size: {SIZE} '10XB'"]),
    ("cache: {max_size: MB}", [f"f:1:19: cache.max_size: {SIZE} 'MB'"]),
    ("cache: {max_size: 010}", [f"f:1:19: cache.max_size: {SIZE} '010'"]),
    ("cache: {max_size: 9999999T}", [f"f:1:19: cache.max_size: {SIZE} '9999999T' (too large)"]),
    ("cache: {expiration: .nan}", [f"f:1:21: cache.expiration: {TIME} '.nan'"]),
    ("cache: {expiration: .inf}", [f"f:1:21: cache.expiration: {TIME} '.inf'"]),
    ("cache: {expiration: 1e400}", [f"f:1:21: cache.expiration: {TIME} '1e400'"]),
    ("cache: {expiration: 1.0e+400}", [f"f:1:21: cache.expiration: {TIME} '1.0e+400'"]),
    ("cache: {expiration: 0}", [f"f:1:21: cache.expiration: {TIME} '0'"]),
    ("cache: {expiration: 0.0000000001}", [f"f:1:21: cache.expiration: {TIME} '0.0000000001'"]),
    ("cache: {expiration: ''}", [f"f:1:21: cache.expiration: {TIME} ''"]),
    ("cache: {expiration: 1:30}", [f"f:1:21: cache.expiration: {TIME} '1:30'"]),
    ("cache: {expiration: 30m1h}", [f"f:1:21: cache.expiration: {TIME} '30m1h'"]),
    ("cache: {expiration: 5 minutes}", [f"f:1:21: cache.expiration: {TIME} '5 minutes'"]),
    ("cache: {expiration: 3651d}", [f"f:1:21: cache.expiration: {TIME} '3651d' (longer than ten years)"]),
    ("cache: {expiration: true}", [f"f:1:21: cache.expiration: {TIME} 'true'"]),
    ("shutdown_timeout: -1", [f"f:1:19: shutdown_timeout: {ANY_TIME} '-1'"]),
    ("shutdown_timeout: 0777", [f"f:1:19: shutdown_timeout: {ANY_TIME} '0777'"]),
    ("docroot: ''", [f"f:1:10: docroot: {FOLDER} ''"]),
    ("docroot: 2026", [f"f:1:10: docroot: {FOLDER} '2026' (put it in quotes)"]),
    ("docroot: no", [f"f:1:10: docroot: {FOLDER} 'no' (put it in quotes)"]),
    ("docroot: ~", [f"f:1:10: docroot: {FOLDER} nothing (put it in quotes)"]),
    ("docroot: [a]", [f"f:1:10: docroot: {FOLDER} a list"]),
    ('docroot: "a\\0b"', [f"f:1:10: docroot: {FOLDER} 'a\\x00b' (a path holds no NUL)"]),
    ('docroot: "\\ud800"', [f"f:1:10: docroot: {FOLDER} '\\ud800' (this is no text)"]),
    ("docroot: ~nobody.at.all/x", [f"f:1:10: docroot: {FOLDER} '~nobody.at.all/x' (this home folder is not known)"]),
    ("log: {access: true}", [f"f:1:15: log.access: {ACCESS} 'true'"]),
    ("log: {access: }", [f"f:1:14: log.access: {ACCESS} nothing"]),
    (
        "log: {level: Warn}",
        ["f:1:14: log.level: expected debug, info, warning, error or critical, got 'Warn' (did you mean warning?)"],
    ),
    ("log: {level: off}", ["f:1:14: log.level: expected debug, info, warning, error or critical, got 'off'"]),
    ("log: {format: xml}", ["f:1:15: log.format: expected text or json, got 'xml'"]),
    ("listen_address: []", [f"f:1:17: listen_address: {ADDRESS} a list (it is empty)"]),
    ("listen_address: ''", [f"f:1:17: listen_address: {ADDRESS} ''"]),
    ("listen_address: 256.0.0.1", [f"f:1:17: listen_address: {ADDRESS} '256.0.0.1'"]),
    ("listen_address: 127.1", [f"f:1:17: listen_address: {ADDRESS} '127.1'"]),
    ("listen_address: a b", [f"f:1:17: listen_address: {ADDRESS} 'a b'"]),
    ("listen_address: -a", [f"f:1:17: listen_address: {ADDRESS} '-a'"]),
    ("listen_address: '*'", [f"f:1:17: listen_address: {ADDRESS} '*' (for every address, name 0.0.0.0 and ::)"]),
    (
        "listen_address: no",
        [f"f:1:17: listen_address: {ADDRESS} 'no' (YAML reads it as true or false; put it in quotes)"],
    ),
    (
        "listen_address: '[::1]:80'",
        [f"f:1:17: listen_address: {ADDRESS} '[::1]:80' (the port has a key of its own, port)"],
    ),
    (
        "listen_address: [a:80, b, '::1', '0::1', [c]]",
        [
            f"f:1:18: listen_address: {ADDRESS} 'a:80' (the port has a key of its own, port)",
            f"f:1:34: listen_address: {ADDRESS} '0::1' (it is there twice)",
            f"f:1:42: listen_address: {ADDRESS} a list",
        ],
    ),
    (
        f"listen_address: /{107 * 'a'}",
        [f"f:1:17: listen_address: {ADDRESS} '/{59 * 'a'}...' (a Unix socket's path has at most 107 bytes)"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_VALUES, ids=[text[:40] for text, _ in WRONG_VALUES])
def test_wrong_values(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert mistakes_of(tmp_path, text) == expected


WRONG_KEYS = [
    ("prot: 80", ["f:1:1: prot: unknown key; did you mean port?"]),
    ("listen-address: a", ["f:1:1: listen-address: unknown key; did you mean listen_address?"]),
    ("Port: 80", ["f:1:1: Port: unknown key; did you mean port?"]),
    ("max_files: 80", ["f:1:1: max_files: unknown key; did you mean cache.max_files?"]),
    ("smtp: {enabled: true}", ["f:1:1: smtp: unknown key"]),
    ("color: red", ["f:1:1: color: unknown key"]),
    ("cache:\n  max_file: 3", ["f:2:3: cache.max_file: unknown key; did you mean cache.max_files?"]),
    ("cahce: {max_files: many}", ["f:1:1: cahce: unknown key; did you mean cache?"]),
    ("xyzzy: 80", ["f:1:1: xyzzy: unknown key"]),
    ("1: 80", ["f:1:1: 1: unknown key"]),
    ("cache.max_files: 80", ["f:1:1: cache.max_files: unknown key; write max_files indented below cache:"]),
    ("port: 1\nport: 2", ["f:2:1: port: duplicate key, first in line 1"]),
    ("cache: {max_files: 3}\ncache: {enabled: true}", ["f:2:1: cache: duplicate key, first in line 1"]),
    ("cache:\n  enabled: true\n  enabled: true", ["f:3:3: cache.enabled: duplicate key, first in line 2"]),
    ("xyzzy: 1\nxyzzy: 1", ["f:1:1: xyzzy: unknown key", "f:2:1: xyzzy: duplicate key, first in line 1"]),
    ("cache: 5", ["f:1:8: cache: expected a mapping of enabled, max_files, max_size, expiration, got '5'"]),
    ("log: [level]", ["f:1:6: log: expected a mapping of level, format, access, got a list"]),
    ("- port: 80", ["f:1:1: expected a mapping of keys such as listen_address, got a list"]),
    ("port 80", ["f:1:1: expected a mapping of keys such as listen_address, got 'port 80'"]),
    (
        "!!set {port}",
        ["f:1:1: expected a mapping of keys such as listen_address, got a value tagged tag:yaml.org,2002:set"],
    ),
    ("? [a]\n: 1", ["f:1:3: expected the name of a key, got a list"]),
    ("log: &l {level: info}\ncache:\n  <<: *l", ["f:3:3: cache.<<: merging is not supported; write the keys out"]),
    ("&root\nport: *root", [f"f:1:1: port: {PORT} a mapping"]),
    ("&root\ncache: *root", ["f:2:1: cache.cache: unknown key"]),
    ('"\\e[31mport": 1', ["f:1:1: \\x1b[31mport: unknown key"]),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_KEYS, ids=[text[:40] for text, _ in WRONG_KEYS])
def test_wrong_keys(tmp_path: Path, text: str, expected: list[str]) -> None:
    assert mistakes_of(tmp_path, text) == expected


WRONG_FORM = [
    ("port: 80\n\tsync: true", "f:2:1: not YAML: a tab cannot indent or separate; use spaces"),
    ("port:\t80", "f:1:6: not YAML: a tab cannot indent or separate; use spaces"),
    ("port: 80: 80", "f:1:9: not YAML: a second ':' in one value"),
    ("log: {access: 'x}", "f:1:18: not YAML: while scanning a quoted scalar"),
    ("log:\n  access: -", "f:2:11: not YAML: a list cannot begin here; the value - needs quotes"),
    ("port: *nowhere", "f:1:7: not YAML: found undefined alias 'nowhere'"),
    ("a: 1\n---\nb: 1", "f:2:1: not YAML: expected a single document in the stream"),
    ("%YAML 3.0\n---\na: 1", "f:1:1: not YAML: found incompatible YAML document"),
    ('docroot: "\\UFFFFFFFF"', "f:1:13: not YAML: a number here is too large"),
    (100_000 * "[", "f:1:"),
    (b"port: 80\nlog: \xff\n", "f:2:6: byte 0xff is not UTF-8 text"),
    (b"\xff\xfep\0o\0", "f:1:1: byte 0xff is not UTF-8 text"),
    (b"port: 80\nlog: a\0b", "f:2:7: a file in YAML holds no control character such as U+0000"),
    (1_048_577 * b"#", "f: cannot be read: it is larger than 1 MiB, which no configuration is"),
]


@pytest.mark.parametrize(("text", "start"), WRONG_FORM, ids=[repr(text[:40]) for text, _ in WRONG_FORM])
def test_what_is_not_yaml_is_one_mistake_with_its_place(tmp_path: Path, text: str | bytes, start: str) -> None:
    (mistake,) = mistakes_of(tmp_path, text)
    assert mistake.startswith(start)
    assert mistake.isprintable()


def test_deep_nesting_is_named(tmp_path: Path) -> None:
    assert mistakes_of(tmp_path, 5_000 * "[")[0].endswith("not YAML: nested too deeply")


def test_aliases_that_double_at_each_level_cost_nothing(tmp_path: Path) -> None:
    """The "billion laughs": 2**40 values if anybody looked at them all."""
    levels = ["a0: &a0 [x, x]"] + [f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]" for n in range(1, 40)]
    found = mistakes_of(tmp_path, "\n".join([*levels, "listen_address: *a39"]))
    # A list of two lists, which both stand where their one anchor does.
    wrong = [mistake for mistake in found if "unknown key" not in mistake]
    assert wrong == 2 * [f"f:39:6: listen_address: {ADDRESS} a list"]
    assert len(found) == 42


def test_all_mistakes_at_once_in_the_order_of_the_file_and_then_the_flags(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("cache:\n  max_files: many\n  enabeld: 1\nport: x\nsync: 3\nport: 4\n")
    with pytest.raises(ConfigError) as caught:
        load(path, [("--port", "port", "y"), ("--set", "proxy", "1"), ("-q", "log.level", "warning")])
    assert [mistake.removeprefix(f"{tmp_path}/") for mistake in caught.value.mistakes] == [
        f"f:2:14: cache.max_files: {ABOVE_0} 'many'",
        "f:3:3: cache.enabeld: unknown key; did you mean cache.enabled?",
        f"f:4:7: port: {PORT} 'x'",
        "f:5:7: sync: expected true or false, got '3'",
        "f:6:1: port: duplicate key, first in line 4",
        f"--port: {PORT} 'y'",
        "--set proxy: unknown key",
    ]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ([("--port", "port", "x")], [f"--port: {PORT} 'x'"]),
        ([("--port", "port", "")], [f"--port: {PORT} ''"]),
        ([("--set", "cache.max_files", "0")], [f"--set cache.max_files: {ABOVE_0} '0'"]),
        ([("--set", "cache.max_file", "0")], ["--set cache.max_file: unknown key; did you mean cache.max_files?"]),
        ([("--set", "smtp.enabled", "true")], ["--set smtp.enabled: unknown key"]),
        (
            [("--set", "cache", "0")],
            [
                "--set cache: this is a section; set one of cache.enabled, cache.max_files, cache.max_size,"
                " cache.expiration"
            ],
        ),
        (
            [("-v", "log.level", "debug"), ("-q", "log.level", "warning")],
            ["-q: contradicts -v: both set log.level; give only one of them"],
        ),
        (
            [("--port", "port", "1"), ("--set", "port", "1")],
            ["--set port: contradicts --port: both set port; give only one of them"],
        ),
        ([("--docroot", "docroot", "")], [f"--docroot: {FOLDER} ''"]),
        ([("--listen-address", "listen_address", "::1,")], [f"--listen-address: {ADDRESS} ''"]),
        ([("--set", "x\ny", "a")], ["--set x\\ny: unknown key"]),
    ],
)
def test_mistakes_in_flags_name_the_flag(overrides: list[tuple[str, str, str]], expected: list[str]) -> None:
    with pytest.raises(FlagError) as caught:
        load(None, overrides)
    assert caught.value.mistakes == expected


def test_an_access_log_in_the_docroot_is_refused(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "link").symlink_to("files")
    path = tmp_path / "f"
    path.write_text("docroot: files\nlog:\n  access: link/log\n")
    what = f"log.access: lies in the docroot, {tmp_path}/files, where clients could change it"
    assert mistakes_in(path) == [f"f:3:11: {what}"]
    path.write_text("docroot: files\nlog:\n  access: files.log\n")
    assert isinstance(load(path), Loaded)
    with pytest.raises(FlagError, match=r"--access-log: lies in the docroot"):
        load(path, [("--access-log", "log.access", str(tmp_path / "files" / "log"))])


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("certificate: /c", ["f:3:16: tls.certificate: is of no use without tls.key"]),
        ("key: /k", ["f:3:8: tls.key: is of no use without tls.certificate"]),
        ("client_ca: /a", ["f:3:14: tls.client_ca: is of no use without tls.certificate"]),
        ("{client_ca: /a, key: /k}", ["f:3:18: tls.client_ca", "f:3:27: tls.key"]),
        ("{certificate: /c, key: /k, port: 81}", ["f:3:39: tls.port: is the same as port"]),
        ("{certificate: files/c, key: /k}", ["f:3:20: tls.certificate: lies in the docroot, TMP/files"]),
        ("{certificate: /c, key: link/k}", ["f:3:29: tls.key: lies in the docroot, TMP/files"]),
        ("{certificate: /c, key: /k, client_ca: files/a}", ["f:3:44: tls.client_ca: lies in the docroot, TMP/files"]),
        ("min_version: 1.1", ["f:3:16: tls.min_version: expected 1.2 or 1.3, got '1.1'"]),
        ("certificate: true", ["f:3:16: tls.certificate: expected false or the path of a file, got 'true'"]),
        ("certificate:", ["f:3:15: tls.certificate: expected false or the path of a file, got nothing"]),
    ],
)
def test_half_of_tls_is_none(tmp_path: Path, tls: str, expected: list[str]) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "link").symlink_to("files")
    path = tmp_path / "f"
    path.write_text(f"port: 81\ndocroot: files\ntls: {tls}\n" if "{" in tls else f"port: 81\ntls:\n  {tls}\n")
    found = [mistake.replace(str(tmp_path), "TMP") for mistake in mistakes_in(path)]
    assert len(found) == len(expected)
    for mistake, start in zip(sorted(found), sorted(expected), strict=True):
        assert mistake.startswith(start)


def test_the_port_of_tls_by_default_is_no_port_for_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("docroot: files\nport: 8443\ntls: {certificate: /c, key: /k}\n")
    assert mistakes_in(path) == ["f:2:7: port: is the same as tls.port, which is for connections with TLS"]


def test_tls_needs_an_address_of_tcp(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("listen_address: /run/s\ntls: {certificate: /c, key: /k, port: 0}\nport: 0\n")
    (mistake,) = mistakes_in(path)
    assert mistake.startswith("f:2:20: tls.certificate: is of no use where listen_address has only Unix sockets")
    path.write_text("listen_address: [/run/s, '::1']\ntls: {certificate: /c, key: /k, port: 0}\nport: 0\n")
    assert isinstance(load(path), Loaded)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert mistakes_in(tmp_path / "f") == ["f: cannot be read: No such file or directory"]
    (tmp_path / "f").mkdir()
    assert mistakes_in(tmp_path / "f") == ["f: cannot be read: Is a directory"]
    with pytest.raises(ConfigError, match="cannot be read: embedded null byte"):
        load(Path("a\0b"))


def test_a_device_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load(Path("/dev/zero"))


def test_a_file_name_cannot_forge_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a\nb\x1b"
    path.write_text("port: x")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert caught.value.mistakes == [f"{tmp_path}/a\\nb\\x1b:1:7: port: {PORT} 'x'"]


def test_a_working_directory_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    os.rmdir(tmp_path / "gone")
    with pytest.raises(FlagError, match="the working directory is not known"):
        load(None, [("--docroot", "docroot", "x")])
    assert load(None, [("--docroot", "docroot", "/x")]).settings.docroot == Path("/x")


# Bytes that are often nearly a configuration: its own words and YAML's marks, in any order.
WORDS = [
    *("port", "cache", "max_files", "listen_address", "log", "access", "docroot", "many", "80", "5m", "10MB"),
    *(
        ": ",
        ":",
        "\n",
        "\n  ",
        "- ",
        "[",
        "]",
        "{",
        "}",
        ", ",
        "'",
        '"',
        "&a ",
        "*a",
        "<<: ",
        "!!int ",
        "!x ",
        "|",
        ">",
    ),
    *(
        "? ",
        "%YAML 1.1",
        "---",
        "...",
        "#",
        "\t",
        "~",
        ".nan",
        "0777",
        '"\\ud800"',
        '"\\U99999999"',
        "%",
        "@",
        "\ufeff",
    ),
]
NEARLY_YAML = st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=25).map("".join)


@given(text=NEARLY_YAML.map(lambda text: text.encode(errors="replace")) | st.binary(max_size=60))
def test_any_file_gives_settings_or_lines_that_tell_what_is_wrong(
    text: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(text)
    mistakes = []
    try:
        load(path)
    except ConfigError as error:
        mistakes = error.mistakes or ["an error with no mistake"]
    assert [each for each in mistakes if not each.startswith(f"{path}:") or not each.isprintable()] == []
