"""Commands about the server and the connection rather than about one key, and how wrong commands are answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from sttp_reactor import __version__
from sttp_reactor.services.keyvalue_commands import COMMANDS, OK, Refused, Spec, array, bulk, integer
from sttp_reactor.services.resp import Command

if TYPE_CHECKING:
    from sttp_reactor.services.keyvalue import Session

# The version whose words and replies these are: clients look at it.
REDIS_VERSION: Final = b"7.0.15"
_CONFIG: Final = {b"save": b"", b"appendonly": b"no", b"maxmemory-policy": b"noeviction", b"databases": b"1"}


def answer(session: Session, words: Command, spec: Spec | None) -> bytes:
    """For whatever is not simply in the table: a command of these, a wrong number of words, an unknown command."""
    name = words[0].lower()
    try:
        if name in _BY_NAME and spec is None:
            run, least = _BY_NAME[name]
            if len(words) >= least:
                return run(session, words)
        elif spec is None:
            raise Refused(_unknown(words))
        raise Refused(f"ERR wrong number of arguments for '{name.decode()}' command")
    except Refused as refused:
        return b"-%b\r\n" % str(refused).encode("latin-1")


def _unknown(words: Command) -> str:
    shown = words[0][:128].decode("latin-1")
    rest = ""
    for word in words[1:]:
        if len(rest) >= 128:
            break
        rest += f"'{word[: 128 - len(rest)].decode('latin-1')}' "
    text = f"ERR unknown command '{shown}', with args beginning with: {rest}"
    return text.replace("\r", " ").replace("\n", " ")


def _quit(session: Session, _words: Command) -> bytes:
    session.end_after_reply()
    return OK


def _shutdown(session: Session, _words: Command) -> bytes:
    session.server.reactor.stop()
    session.end_after_reply()
    return b""


def _select(_session: Session, words: Command) -> bytes:
    if integer(words[1]) != 0:
        raise Refused("ERR DB index is out of range")
    return OK


def _reset(session: Session, _words: Command) -> bytes:
    session.name, session.version = b"", 2
    return b"+RESET\r\n"


def _hello(session: Session, words: Command) -> bytes:
    version = integer(words[1], "Protocol version is not an integer or out of range") if len(words) > 1 else None
    if version not in (None, 2, 3):
        raise Refused("NOPROTO unsupported protocol version")
    if len(words) == 4 and words[2].upper() == b"SETNAME":
        session.name = words[3]
    elif len(words) > 2:
        raise Refused(f"ERR Syntax error in HELLO option '{words[2].decode('latin-1')}'")
    session.version = version or session.version
    fields = [(b"server", bulk(b"redis")), (b"version", bulk(REDIS_VERSION)), (b"proto", b":%d\r\n" % session.version)]
    fields += [(b"id", b":%d\r\n" % session.id), (b"mode", bulk(b"standalone")), (b"role", bulk(b"master"))]
    return array([part for name, value in [*fields, (b"modules", b"*0\r\n")] for part in (bulk(name), value)])


def _client(session: Session, words: Command) -> bytes:
    verb = words[1].upper()
    if verb == b"ID":
        return b":%d\r\n" % session.id
    if verb == b"GETNAME":
        return bulk(session.name) if session.name else b"$-1\r\n"
    if verb == b"LIST":
        return bulk(b"".join(each.describe() for each in session.server.sessions.values()))
    if verb == b"SETINFO" and len(words) == 4:
        return OK
    if verb == b"SETNAME" and len(words) == 3:
        if re.search(rb"[^!-~]", words[2]):
            raise Refused("ERR Client names cannot contain spaces, newlines or special characters.")
        session.name = words[2]
        return OK
    shown = words[1].decode("latin-1")
    raise Refused(f"ERR Unknown subcommand or wrong number of arguments for '{shown}'. Try CLIENT HELP.")


def _config(session: Session, words: Command) -> bytes:
    if words[1].upper() != b"GET" or len(words) < 3:
        raise Refused(f"ERR Unknown subcommand or wrong number of arguments for '{words[1].decode('latin-1')}'.")
    values = {**_CONFIG, b"maxmemory": b"%d" % session.server.store.max_memory}
    found = [name for name in values if any(glob(pattern.lower()).fullmatch(name) for pattern in words[2:])]
    return array([part for name in found for part in (bulk(name), bulk(values[name]))])


def _command(_session: Session, words: Command) -> bytes:
    verb = words[1].upper() if len(words) > 1 else b""
    names = sorted({name.lower() for name in COMMANDS} | _BY_NAME.keys())
    if verb == b"COUNT":
        return b":%d\r\n" % len(names)
    if verb == b"DOCS":
        return array([])
    return array([_described(name) for name in names])


def _described(name: bytes) -> bytes:
    spec = COMMANDS.get(name)
    least, most = (spec.least, spec.most) if spec is not None else (_BY_NAME[name][1], 0)
    arity = least if most == least else -least
    flags = array([b"+denyoom\r\n" if spec is not None and spec.grows else b"+fast\r\n"])
    first, last = (1, 1) if spec is not None and least > 1 and name not in (b"ping", b"echo") else (0, 0)
    if name in (b"mset", b"mget", b"del", b"exists"):
        last = -1
    step = (2 if name == b"mset" else 1) if first else 0
    return b"*6\r\n%b:%d\r\n%b:%d\r\n:%d\r\n:%d\r\n" % (bulk(name), arity, flags, first, last, step)


def _info(session: Session, _words: Command) -> bytes:
    server, store = session.server, session.server.store
    keyspace = b"db0:keys=%d,expires=%d,avg_ttl=0\r\n" % (len(store.replies), len(store.deadlines))
    text = (
        b"# Server\r\nredis_version:%b\r\nredis_mode:standalone\r\nsttp_reactor_version:%b\r\n"
        b"uptime_in_seconds:%d\r\n\r\n# Clients\r\nconnected_clients:%d\r\n\r\n"
        b"# Memory\r\nused_memory:%d\r\nmaxmemory:%d\r\nmaxmemory_policy:noeviction\r\n\r\n"
        b"# Persistence\r\nloading:0\r\n\r\n# Stats\r\ntotal_commands_processed:%d\r\nexpired_keys:%d\r\n\r\n"
        b"# Replication\r\nrole:master\r\n\r\n# Keyspace\r\n%b"
    )
    uptime = server.reactor.clock() - server.began
    return bulk(
        text
        % (
            *(REDIS_VERSION, __version__.encode(), uptime, len(server.sessions), store.used, store.max_memory),
            *(server.commands, store.expired, keyspace if store.replies else b""),
        )
    )


def _keys(session: Session, words: Command) -> bytes:
    session.yield_turn()
    match, store = glob(words[1]).fullmatch, session.server.store
    return array([bulk(key) for key in list(store.replies) if match(key) and store.get(key) is not None])


def _scan(session: Session, words: Command) -> bytes:
    session.yield_turn()
    store, count, pattern = session.server.store, 10, b"*"
    if not words[1].isdigit():
        raise Refused("ERR invalid cursor")
    if len(words) % 2:
        raise Refused("ERR syntax error")
    for option, value in zip(words[2::2], words[3::2], strict=True):
        if option.upper() == b"COUNT":
            count = integer(value)
        elif option.upper() == b"MATCH":
            pattern = value
        elif option.upper() != b"TYPE" or value.lower() != b"string":
            raise Refused("ERR syntax error")
    if count < 1:
        raise Refused("ERR syntax error")
    cursor, keys = store.scan(int(words[1]), count)
    match = glob(pattern).fullmatch
    found = [bulk(key) for key in keys if match(key) and store.get(key) is not None]
    return array([bulk(b"%d" % cursor), array(found)])


_BY_NAME: Final[dict[bytes, tuple[Callable[[Session, Command], bytes], int]]] = {
    b"quit": (_quit, 1),
    b"stop": (_quit, 1),
    b"shutdown": (_shutdown, 1),
    b"select": (_select, 2),
    b"reset": (_reset, 1),
    b"hello": (_hello, 1),
    b"client": (_client, 2),
    b"config": (_config, 2),
    b"command": (_command, 1),
    b"info": (_info, 1),
    b"keys": (_keys, 2),
    b"scan": (_scan, 2),
}


def glob(pattern: bytes) -> re.Pattern[bytes]:
    r"""Redis's patterns (`*`, `?`, `[a-c]`, `[^a]`, `\x`) as a regular expression. Each star takes the least that will
    do and gives nothing back (an atomic group), so that no pattern takes more than the product of the two lengths."""
    pieces = [b""]
    for token in re.findall(rb"\\.|\[(?:\\.|[^\]])*\]?|.", pattern, re.DOTALL):
        if token == b"*":
            pieces.append(b"")
        elif token == b"?":
            pieces[-1] += b"."
        elif len(token) > 1 and token[:1] == b"[":
            pieces[-1] += _character_class(token.removesuffix(b"]")[1:])
        else:
            pieces[-1] += re.escape(token[-1:])
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    middle = b"".join(b"(?>.*?%b)" % piece for piece in pieces[1:-1])
    return re.compile(pieces[0] + middle + b".*" + pieces[-1], re.DOTALL)


def _character_class(inside: bytes) -> bytes:
    negated = inside[:1] == b"^"
    chosen: set[int] = set()
    for low, high in re.findall(rb"(\\.|.)(?:-(\\.|.))?", inside[negated:], re.DOTALL):
        ends = sorted((low[-1], high[-1] if high else low[-1]))
        chosen.update(range(ends[0], ends[1] + 1))
    if not chosen:
        return b"." if negated else b"(?!)"
    return b"[%b%b]" % (b"^" if negated else b"", b"".join(b"\\x%02x" % byte for byte in sorted(chosen)))
